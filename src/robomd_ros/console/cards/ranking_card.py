"""The ranking so far, with its intervals, and what would settle each."""

from __future__ import annotations

import math

from nicegui import ui

from robomd_msgs.msg import FailureLikelihood
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Listing, card
from robomd_ros.console.words import percent, settles
from robomd_ros.core.statistics import rollouts_to_settle

_TOP = 6


class RankingCard:
    """The riskiest entries of robomd/risk_map."""

    def __init__(self) -> None:
        with card("ranking", "ranking"):
            ui.label("Riskiest so far").classes("heading")
            self._list = Listing("rank-list", "ol")

    def update(self, view: View) -> None:
        """Draw the newest map."""
        entries = view.state.risk_map.entries[:_TOP] if view.state.risk_map else []
        content = tuple(
            (
                e.perturbation_id,
                e.p_failure,
                e.p_failure_low,
                e.p_failure_high,
                e.rollouts,
                e.failures,
            )
            for e in entries
        )
        self._list.draw(content or "none", lambda: _entries(entries))


def _entries(entries: list[FailureLikelihood]) -> None:
    if not entries:
        ui.label("No risk map yet: it comes with the first training.").classes("dim-text")
    for entry in entries:
        with ui.element("li").classes("rank"):
            with ui.element("div").classes("spread"):
                ui.label(entry.perturbation_id or entry.sentence).classes("rank-name")
                ui.label(percent(entry.p_failure)).classes("rank-p")
            _bar(entry)
            ui.label(_line(entry)).classes("dim-text")


def _bar(entry: FailureLikelihood) -> None:
    low, high, p = (
        100 * min(max(v, 0.0), 1.0) if math.isfinite(v) else 0.0
        for v in (entry.p_failure_low, entry.p_failure_high, entry.p_failure)
    )
    with ui.element("div").classes("bar").props("aria-hidden=true"):
        ui.element("div").classes("bar-interval").style(
            f"left: {low:.1f}%; width: {high - low:.1f}%"
        )
        ui.element("div").classes("bar-p").style(f"left: {p:.1f}%")


def _line(entry: FailureLikelihood) -> str:
    interval = f"{percent(entry.p_failure_low)} to {percent(entry.p_failure_high)}"
    tried = f"{entry.failures} of {entry.rollouts} failed" if entry.rollouts else "predicted"
    return f"{interval} · {tried} · {settles(rollouts_to_settle(entry.failures, entry.rollouts))}"
