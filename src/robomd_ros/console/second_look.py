"""A blind second look: a share of the labelled rollouts is judged again from the recording, by whoever sits here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import background_tasks, run, ui
from nicegui.events import GenericEventArguments

from robomd_ros.console.frame import Shown, head, help_dialog, stop_button, stored
from robomd_ros.console.who import Who
from robomd_ros.console.widgets import button, card, picture, show
from robomd_ros.core.agreement import due
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, RobomdError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study

if TYPE_CHECKING:
    from robomd_ros.nodes.operator_console import OperatorConsoleNode

_LABELS = {"success": Outcome.SUCCESS, "failure": Outcome.FAILURE, "invalid": Outcome.INVALID}


@dataclass(frozen=True)
class Share:
    """The rollouts that are judged twice: how many were, and those that wait, the next one first."""

    done: int
    waiting: tuple[RolloutRecord, ...]


def share_of(folder: Path, labeler: str, share: float) -> Share:
    """What core.agreement.due draws for everybody, as far as there is a recording to show. Raises RobomdError."""
    with Study.open(folder).store(read_only=True) as store:
        records = store.records(with_frames=False)
    shown = {r.id: r for r in records if r.recording}
    waiting = [shown[i] for i in due(records, labeler, share) if i in shown]
    return Share(sum(bool(r.second_looks) for r in records), tuple(waiting))


class SecondLookPage:
    """Plays one recording after the other. First label, labeler and variation are not told."""

    def __init__(self, node: OperatorConsoleNode, request: Request) -> None:
        self._node = node
        self._rollout_id = ""
        self._skipped: set[str] = set()
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
        """Play the next one that waits."""
        try:
            share = await self._share()
        except RobomdError as error:
            self._say(str(error))
            return
        waiting = [r for r in share.waiting if r.id not in self._skipped]
        if not waiting:  # once more round
            self._skipped.clear()
            waiting = list(share.waiting)
        self._progress.set_text(f"{share.done} of {share.done + len(share.waiting)} done")
        if not waiting:
            self._say(
                "Every rollout of the share has had its second look."
                if share.done
                else "No labelled rollout with a recording belongs to the share yet."
            )
            return
        record = waiting[0]
        self._rollout_id = record.id
        self._shown.set(rollout=record.id, count=len(record.labels))
        self._film.props["src"] = f"/film/{record.id}.webp"
        self._text.set_text("How did this rollout end? What was said before is not shown.")
        for element in (self._film, self._buttons, self._skip):
            show(element, True)

    async def _share(self) -> Share:
        folder = self._node.study
        if folder is None:
            raise NotReadyError("it is not known where the study is: is outcome_labeler running?")
        wanted = self._node.config.second_look_share
        found: Share = await run.io_bound(share_of, folder, self._who.name, wanted)
        return found

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
            self._skipped.add(self._rollout_id)
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
