"""The newest rollouts and their labels; a tap picks one."""

from __future__ import annotations

from nicegui import ui

from robomd_msgs.msg import LabeledRollout
from robomd_ros.adapters import stamps
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Listing, button, card, show
from robomd_ros.console.words import OUTCOMES
from robomd_ros.core.outcome import Outcome

_SHOWN = 8


class RecentCard:
    """What robomd/rollouts says."""

    def __init__(self) -> None:
        with card("rollouts", "recent"):
            with ui.element("div").classes("spread"):
                ui.label("Rollouts").classes("heading")
                self._count = ui.label("").classes("dim-text")
            self._trouble = ui.label("").classes("warning").props("role=alert")
            self._list = Listing("recent-list", "ul")
            with ui.element("div").classes("buttons two"):
                self._older = button("Older ones without a label", "older", "", "quiet")
                ui.link("Second look", "/second-look").classes("act quiet")

    def update(self, view: View) -> None:
        """Draw the newest rollouts."""
        summary = view.state.summary
        if summary is not None:
            self._count.set_text(f"{summary.total} stored, {summary.unlabeled} without a label")
            show(self._trouble, bool(summary.trouble))
            self._trouble.set_text(summary.trouble)
        known = {r.rollout_id for r in view.state.rollouts if not r.label_count}
        show(self._older, summary is not None and summary.unlabeled > len(known))
        picked = view.rollout.rollout_id if view.rollout else ""
        rows = view.state.rollouts[:_SHOWN]
        content = tuple(
            (
                r.rollout_id,
                r.outcome.value,
                r.outcome.labeler,
                r.label_count,
                stamps.to_ns(r.outcome.stamp),
            )
            for r in rows
        )
        self._list.draw((picked, content), lambda: _rows(rows, picked))


def _rows(rows: tuple[LabeledRollout, ...], picked: str) -> None:
    for row in rows:
        word, mark, look = OUTCOMES.get(Outcome(row.outcome.value), OUTCOMES[Outcome.UNKNOWN])
        with ui.element("li"):
            entry = ui.element("button").classes("recent-row").props("type=button data-act=pick")
            entry.props["data-value"] = row.rollout_id
            entry.props["aria-current"] = "true" if row.rollout_id == picked else "false"
            with entry:
                ui.label(f"{mark} {word}").classes(f"pill {look}")
                ui.label(row.perturbation.id or "nominal").classes("recent-what")
                ui.label(row.outcome.labeler).classes("dim-text")
