"""How did it end? One key a label, and what may be said about a failure."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui
from nicegui.element import Element

from robomd_msgs.msg import LabeledRollout
from robomd_ros.console.state import waits_for_label
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Pill, button, card, show
from robomd_ros.console.words import OUTCOMES, duration
from robomd_ros.core.outcome import Outcome


class LabelCard:
    """The rollout that keys mean, three labels, chips, undo and change.

    Args:
        phases: offered as chips.
        reasons: offered as chips.
    """

    def __init__(self, phases: Sequence[str], reasons: Sequence[str]) -> None:
        self._chips: list[tuple[str, str, Element]] = []
        with card("label", "label-card") as self._card:
            with ui.element("div").classes("spread"):
                self._heading = ui.label("").classes("heading")
                self._pill = Pill("outcome")
            self._what = ui.label("").classes("sentence")
            self._facts = ui.label("").classes("dim-text")
            with ui.element("div").classes("buttons three") as self._labels:
                button("Success", "success", "s", "good")
                button("Failure", "failure", "f", "bad")
                button("Invalid", "invalid", "i", "quiet")
            with ui.element("div").classes("why") as self._why:
                with ui.element("div").classes("chips"):
                    for phase in phases:
                        self._chip("phase", phase)
                with ui.element("div").classes("chips"):
                    for reason in reasons:
                        self._chip("reason", reason)
                self.reason = (
                    ui.input(placeholder="why, in your own words (optional)")
                    .props('outlined dense aria-label="reason" maxlength=500')
                    .classes("reason")
                )
            with ui.element("div").classes("buttons two") as self._after:
                self._undo = button("Undo my last", "undo", "u", "quiet")
                self._change = button("Change it", "change", "c", "quiet")

    def _chip(self, kind: str, text: str) -> None:
        chip = ui.element("button").classes("chip").props("type=button aria-pressed=false")
        chip.props["data-act"] = kind
        chip.props["data-value"] = text
        with chip:
            ui.label(text)
        self._chips.append((kind, text, chip))

    def update(self, view: View) -> None:
        """Draw the rollout that is meant, or that one runs, or that there is none."""
        rollout, choice = view.rollout, view.choice
        show(self._labels, view.takes_label)
        show(self._why, view.takes_label)
        labelled = rollout is not None and not waits_for_label(rollout)
        show(self._change, labelled and not choice.changing)
        show(self._undo, bool(choice.by) and view.state.last_label_of(choice.by) is not None)
        for kind, text, chip in self._chips:
            chosen = "true" if text == getattr(choice, kind) else "false"
            if chip.props["aria-pressed"] != chosen:
                chip.props["aria-pressed"] = chosen
        if rollout is not None:
            self._draw(rollout, choice.changing)
        elif view.state.running:
            self._say(
                "Watch the rollout", f"{view.state.running} runs. Label it when it has ended."
            )
        else:
            self._say("No rollout yet", "The first one will be labelled here.")

    def _say(self, heading: str, text: str) -> None:
        self._heading.set_text(heading)
        self._what.set_text(text)
        self._facts.set_text("")
        self._pill.set("", "dim")

    def _draw(self, rollout: LabeledRollout, changing: bool) -> None:
        waits = waits_for_label(rollout)
        heading = "How did it end?" if waits else "Change the label" if changing else "Labelled"
        self._heading.set_text(heading)
        self._what.set_text(rollout.perturbation.sentence or rollout.perturbation.id or "nominal")
        self._facts.set_text(_facts(rollout))
        word, mark, look = OUTCOMES.get(Outcome(rollout.outcome.value), OUTCOMES[Outcome.UNKNOWN])
        self._pill.set(f"{mark} {word}", look)


def _facts(rollout: LabeledRollout) -> str:
    parts = [rollout.rollout_id, duration(rollout.duration)]
    if rollout.label_count:
        outcome = rollout.outcome
        said = ", ".join(t for t in (outcome.phase, outcome.reason) if t)
        parts.append(f"by {outcome.labeler or 'somebody'}" + (f" ({said})" if said else ""))
    return " · ".join(p for p in parts if p)
