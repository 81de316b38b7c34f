"""The session: how far it is, how long it still takes, start and cancel."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from robomd_msgs.msg import SessionStatus
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Pill, button, card, show
from robomd_ros.console.words import SESSION, duration

_ACTIVE = (
    SessionStatus.RUNNING,
    SessionStatus.TRAINING,
    SessionStatus.WAITING,
    SessionStatus.PAUSED,
)


class SessionCard:
    """Progress of robomd/session.

    Args:
        trouble: why the session that was started here ended; "" = it did not.
    """

    def __init__(self, trouble: Callable[[], str]) -> None:
        self._problem = trouble
        with card("session", "session"):
            with ui.element("div").classes("spread"):
                ui.label("Session").classes("heading")
                self._pill = Pill("session-state")
            self._bar = ui.linear_progress(value=0.0, show_value=False, size="10px").props(
                'aria-label="progress of the session"'
            )
            self._progress = ui.label("").classes("progress")
            self._message = ui.label("").classes("dim-text")
            self._trouble = ui.label("").classes("warning").props("role=alert")
            with ui.element("div").classes("buttons session-start") as self._start:
                self.rollouts = ui.number(
                    "rollouts", value=20, min=1, max=100_000, precision=0
                ).props("outlined dense")
                button("Start a diagnosis", "start", "", "primary")
            with ui.element("div").classes("buttons two") as self._running:
                button("Cancel the session", "cancel", "", "quiet")

    def update(self, view: View) -> None:
        """Draw the newest status."""
        status = view.state.session
        active = status is not None and status.state in _ACTIVE
        show(self._start, not active)
        show(self._running, active)
        problem = self._problem()
        show(self._trouble, bool(problem) and not active)
        self._trouble.set_text(problem)
        if status is None:
            self._pill.set("no word of diagnosis", "dim")
            self._progress.set_text("")
            return
        self._pill.set(*SESSION.get(status.state, ("unknown", "dim")))
        self._bar.set_value(status.done / status.total if status.total else 0.0)
        self._progress.set_text(_progress(status))
        self._message.set_text(status.message)


def _progress(status: SessionStatus) -> str:
    if not status.total:
        return ""
    parts = [
        f"{status.done} of {status.total} rollouts",
        f"{status.successes} ✓  {status.failures} ✗"
        + (f"  {status.not_evidence} neither" if status.not_evidence else ""),
    ]
    if left := duration(status.remaining):
        parts.append(f"about {left} left")
    return " · ".join(parts)
