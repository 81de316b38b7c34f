"""Words, marks and colour classes of what the pages show. State is never told by colour alone."""

from __future__ import annotations

import math

from robomd_msgs.msg import CellState, OperatorRequest, SessionStatus
from robomd_ros.core.outcome import Outcome

OUTCOMES = {
    Outcome.UNKNOWN: ("not labelled", "?", "wait"),
    Outcome.SUCCESS: ("success", "✓", "good"),
    Outcome.FAILURE: ("failure", "✗", "bad"),
    Outcome.INVALID: ("invalid", "⊘", "dim"),
    Outcome.SAFETY_STOP: ("safety stop", "■", "warn"),
    Outcome.TIMEOUT: ("time-out", "…", "warn"),
    Outcome.POLICY_ERROR: ("policy error", "!", "warn"),
}
"""Word, mark and colour class of an outcome."""

CELL = {
    CellState.UNKNOWN: ("Unknown", "dim"),
    CellState.NOT_READY: ("Not ready", "warn"),
    CellState.READY: ("Ready", "good"),
    CellState.HOMING: ("Homing: the robot moves", "move"),
    CellState.WAITING: ("Waits for you", "wait"),
    CellState.RUNNING: ("Running: the robot moves", "move"),
    CellState.STOPPED: ("Stopped", "bad"),
}

SESSION = {
    SessionStatus.IDLE: ("No session", "dim"),
    SessionStatus.RUNNING: ("Running", "move"),
    SessionStatus.TRAINING: ("Training", "move"),
    SessionStatus.WAITING: ("Waiting", "wait"),
    SessionStatus.PAUSED: ("Paused", "wait"),
    SessionStatus.DONE: ("Done", "good"),
    SessionStatus.FAILED: ("Failed", "bad"),
}

REQUESTS = {
    OperatorRequest.SET_UP: ("Set this up", "It is set up", "Not possible"),
    OperatorRequest.CONSENT: ("May the robot move?", "Start the robot", "Do not run"),
    OperatorRequest.RECOVER: ("The robot was stopped", "It is safe: recover", "Leave it"),
}
"""Heading, and what DONE and REFUSE mean, of a request."""


def outcome_word(value: int) -> str:
    """Name of an Outcome constant."""
    return OUTCOMES[Outcome(value)][0] if value in list(Outcome) else f"outcome {value}"


def duration(seconds: float) -> str:
    """4 s, 3 min, 2 h 10 min; "" when not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float) -> str:
    """40 %; a dash when not known."""
    return f"{100 * share:.0f}\u00a0%" if math.isfinite(share) else "–"


def settles(more: int | None) -> str:
    """What it takes until the 90 % interval leaves one half out."""
    if more is None:
        return "not tried yet, or even"
    if more == 0:
        return "settled"
    return f"{more} more rollout{'s' if more > 1 else ''} would settle this"
