"""One line each about the live risk, the cell and the session, for people."""

from __future__ import annotations

from robomd_msgs.msg import CellState, FailureLikelihood, OperatorRequest, SessionStatus
from robomd_ros.report.alarm import AlarmState

_SESSION = ("idle", "running", "training", "waiting", "paused", "done", "failed")
_CELL = ("unknown", "not ready", "ready", "homing", "waiting", "running", "STOPPED")


def percent(answer: FailureLikelihood) -> str:
    """Risk and interval: risk 62 % (40 to 80 %)."""
    p, low, high = answer.p_failure, answer.p_failure_low, answer.p_failure_high
    return f"risk {100 * p:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


def alarm_sentence(
    state: AlarmState, answer: FailureLikelihood | None, note: str, applied: str
) -> str:
    """What the alarm says.

    Args:
        state: of the alarm.
        answer: it was judged by; None = there is none.
        note: why there is none.
        applied: perturbation id; "" = unknown.
    """
    if answer is None:
        before = "" if state is AlarmState.UNKNOWN else f", was {state.value}"
        return f"no live risk{before}: {note}"
    where = applied or "what the camera sees"
    if state is AlarmState.RISK:
        return f"the policy is likely to fail here: {percent(answer)}, {where}"
    if state is AlarmState.NOVEL:
        return (
            f"never seen anything like this: distance {answer.distance:.2f}, trusted up to "
            f"{answer.distance_limit:.2f}; {where}"
        )
    return f"no alarm: {percent(answer)}, {where}"


def cell_line(cell: CellState, request: OperatorRequest | None) -> str:
    """What the cell does, and what it asks the operator for, else why it does nothing."""
    state = _name(_CELL, cell.state)
    if request is not None and request.kind != OperatorRequest.NONE:
        return f"{state}; operator: {request.title}"
    said = cell.why_not[0] if cell.why_not else cell.message
    return f"{state}: {said}" if said else state


def session_line(status: SessionStatus) -> str:
    """How far the diagnosis is."""
    line = (
        f"{_name(_SESSION, status.state)} {status.done} of {status.total}, {status.failures} failed"
    )
    return f"{line}. {status.message}" if status.message else line


def _name(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else "unknown"
