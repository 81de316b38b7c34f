"""A blind second look: a share of the labelled rollouts is judged again from the recording, by whoever sits here."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import background_tasks, run, ui
from nicegui.events import GenericEventArguments

from robomd_msgs.msg import LabeledRollout
from robomd_ros.console.frame import Shown, head, help_dialog, stop_button, stored
from robomd_ros.console.who import Who
from robomd_ros.console.widgets import button, card, picture, show
from robomd_ros.core.errors import InvalidArgumentError, RobomdError
from robomd_ros.core.outcome import Outcome

if TYPE_CHECKING:
    from robomd_ros.nodes.operator_console import OperatorConsoleNode

_LABELS = {"success": Outcome.SUCCESS, "failure": Outcome.FAILURE, "invalid": Outcome.INVALID}
_PEOPLE = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.INVALID)


def chosen(rollouts: Sequence[LabeledRollout], share: float) -> list[LabeledRollout]:
    """The rollouts that belong to the share: labelled by judgement, with a recording.

    The id alone decides, so that every console means the same ones and nobody can choose.
    """
    return [
        r
        for r in rollouts
        if r.label_count
        and r.outcome.value in _PEOPLE
        and r.recording
        and zlib.crc32(r.rollout_id.encode()) < share * 2**32
    ]


def left(rollouts: Sequence[LabeledRollout]) -> list[LabeledRollout]:
    """Those of them that nobody has looked at a second time."""
    return [r for r in rollouts if r.second_look.value == Outcome.UNKNOWN]


class SecondLookPage:
    """Plays one recording after the other. First label, labeler and variation are not told."""

    def __init__(self, node: OperatorConsoleNode, request: Request) -> None:
        self._node = node
        self._rollout_id = ""
        head()
        self._shown = Shown()
        self._who = Who(request.cookies, node.config.labeler, lambda: None)
        self._help = help_dialog()
        with ui.element("header").classes("top"):
            ui.link("← Console", "/").classes("brand")
            ui.element("span").classes("grow")
            self._who.button()
            stop_button()
        with ui.element("div").classes("console one"), card("second look", "second-look"):
            with ui.element("div").classes("spread"):
                ui.label("Second look").classes("heading")
                self._progress = ui.label("").classes("progress")
            self._text = ui.label("").classes("sentence")
            self._film = picture("recording of the rollout").classes("film")
            with ui.element("div").classes("buttons three") as self._buttons:
                button("Success", "success", "s", "good")
                button("Failure", "failure", "f", "bad")
                button("Invalid", "invalid", "i", "quiet")
            with ui.element("div").classes("buttons two"):
                self._skip = button("Another one", "skip", "", "quiet")
        ui.on("act", self._act)
        ui.timer(0.5, self._moving)
        background_tasks.create(self._next(), context=ui.context.client)

    def _moving(self) -> None:
        self._shown.set(moving=int(self._node.state.moving))

    async def _next(self) -> None:
        """Play one that is left, at random."""
        try:
            rows = await run.io_bound(self._node.link.all_rollouts)
        except RobomdError as error:
            self._say(str(error))
            return
        share = chosen(rows or [], self._node.config.second_look_share)
        waiting = [r for r in left(share) if r.rollout_id != self._rollout_id] or left(share)
        self._progress.set_text(f"{len(share) - len(left(share))} of {len(share)} done")
        if not waiting:
            self._say(
                "Every rollout of the share has had its second look."
                if share
                else "No labelled rollout with a recording belongs to the share yet."
            )
            return
        row = random.choice(waiting)
        self._rollout_id = row.rollout_id
        self._shown.set(rollout=row.rollout_id, count=row.label_count)
        self._film.props["src"] = f"/film/{row.rollout_id}.webp"
        self._text.set_text("How did this rollout end? What was said before is not shown.")
        for element in (self._film, self._buttons, self._skip):
            show(element, True)

    def _say(self, text: str) -> None:
        self._rollout_id = ""
        self._shown.set(rollout="", count=0)
        self._text.set_text(text)
        for element in (self._film, self._buttons, self._skip):
            show(element, False)

    async def _act(self, event: GenericEventArguments) -> None:
        said: dict[str, Any] = event.args if isinstance(event.args, dict) else {}
        act = said.get("act")
        if act == "help":
            self._help.set_value(not self._help.value)
        elif act == "skip":
            await self._next()
        elif act in _LABELS and not self._who.name:
            self._who.ask()
        elif act in _LABELS:
            try:
                await self._look(_LABELS[act], str(said.get("rollout") or ""))
            except RobomdError as error:
                stored(said.get("seq"), str(error), False)
                return
            stored(said.get("seq"), "second look stored")
            await self._next()

    async def _look(self, outcome: Outcome, rollout_id: str) -> None:
        if not rollout_id or rollout_id != self._rollout_id:
            raise InvalidArgumentError("another recording is shown now: look at it first.")
        self._rollout_id = ""
        await run.io_bound(
            self._node.link.label, rollout_id, outcome, self._who.name, second_look=True
        )
