"""The operator's page: draws the state ten times a second, and does what keys and buttons say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.events import GenericEventArguments

from robomd_ros.adapters.conversions import MAX_NAME
from robomd_ros.console.cards.camera_card import CameraCard
from robomd_ros.console.cards.cell_card import CellCard
from robomd_ros.console.cards.label_card import LabelCard
from robomd_ros.console.cards.ranking_card import RankingCard
from robomd_ros.console.cards.recent_card import RecentCard
from robomd_ros.console.cards.request_card import RequestCard
from robomd_ros.console.cards.session_card import SessionCard
from robomd_ros.console.frame import Shown, head, help_dialog, stop_button, stored
from robomd_ros.console.labelling import Seen, already
from robomd_ros.console.view import Choice, View
from robomd_ros.console.who import Who
from robomd_ros.console.widgets import Pill
from robomd_ros.console.words import CELL, outcome_word
from robomd_ros.core.answers import MAX_TEXT
from robomd_ros.core.errors import BusyError, InvalidArgumentError, RobomdError
from robomd_ros.core.outcome import Outcome

if TYPE_CHECKING:
    from robomd_ros.nodes.operator_console import OperatorConsoleNode

_REDRAW = 0.1
_LABELS = {"success": Outcome.SUCCESS, "failure": Outcome.FAILURE, "invalid": Outcome.INVALID}


class OperatorPage:
    """One page in one browser.

    Args:
        node: with state, link and labelling.
        request: of the browser.
    """

    def __init__(self, node: OperatorConsoleNode, request: Request) -> None:
        self._node = node
        self._choice = Choice()
        self._drawn: tuple[Any, ...] = ()
        self._meant = ""
        head()
        self._shown = Shown()
        self._who = Who(request.cookies, node.config.labeler, self._draw)
        self._help = help_dialog()
        self._build()
        self._does: dict[str, Callable[[dict[str, Any]], Awaitable[str]]] = {
            **dict.fromkeys(_LABELS, self._label),
            "undo": self._undo,
            "change": self._change,
            "pick": self._pick,
            "phase": self._chip,
            "reason": self._chip,
            "done": self._answer,
            "refuse": self._answer,
            "start": self._start,
            "cancel": self._cancel,
            "older": self._older,
            "help": self._show_help,
        }
        ui.on("act", self._act)
        self._draw()
        ui.timer(_REDRAW, self._draw)

    def _build(self) -> None:
        node = self._node
        with ui.element("header").classes("top"):
            ui.label("RoboMD").classes("brand")
            self._cell_pill = Pill("cell-state")
            ui.element("span").classes("grow")
            self._who.button()
            stop_button()
        with ui.element("div").classes("console"):
            with ui.element("div").classes("column first"):
                self._request = RequestCard(node.link.reference)
                self._label_card = LabelCard(node.config.phases, node.config.reasons)
                cell = CellCard()
            with ui.element("div").classes("column second"):
                camera = CameraCard()
                session = SessionCard(lambda: node.link.diagnose_error)
            with ui.element("div").classes("column third"):
                ranking = RankingCard()
                recent = RecentCard()
        self._session = session
        self._cards = (self._request, self._label_card, session, camera, cell, ranking, recent)

    # -- drawing --------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Bring the page up to date; nothing is sent where nothing has changed."""
        now = self._node.now()
        self._choice = replace(self._choice, by=self._who.name)
        self._forget_what_is_over()
        state = self._node.state
        drawn = (state, self._choice, int(now), self._node.link.diagnose_error)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        view = View(state, self._choice, now)
        for card in self._cards:
            card.update(view)
        self._draw_cell(view)
        rollout, request = view.rollout, state.open_request
        self._shown.set(
            rollout=rollout.rollout_id if rollout and view.takes_label else "",
            count=rollout.label_count if rollout else 0,
            request=request.id if request else "",
            moving=int(state.moving),
        )

    def _draw_cell(self, view: View) -> None:
        cell = view.state.cell
        if cell is None or view.state.cell_silent(view.now):
            self._cell_pill.set("⚠ The cell is silent", "bad")
        else:
            text, look = CELL.get(cell.state, CELL[0])
            self._cell_pill.set(f"● {text}", look)

    def _forget_what_is_over(self) -> None:
        """A new rollout ends a change that was begun on the one before, and takes its chips away."""
        meant = View(self._node.state, self._choice, 0.0).rollout
        current = meant.rollout_id if meant else ""
        before, self._meant = self._meant, current
        if before and current != before:
            self._choice = replace(self._choice, changing=False, phase="", reason="")
            self._label_card.reason.set_value("")

    # -- doing ----------------------------------------------------------------------------------------------------

    async def _act(self, event: GenericEventArguments) -> None:
        """One key or button; what went wrong is told in one sentence."""
        said = event.args if isinstance(event.args, dict) else {}
        does = self._does.get(str(said.get("act")))
        if does is None:
            return
        if not self._who.name and said.get("act") != "help":
            self._who.ask()
            return
        good = True
        try:
            text = await does(said)
        except RobomdError as error:
            text, good = str(error), False
        if text:
            stored(said.get("seq"), text, good)
        self._draw()

    async def _label(self, said: dict[str, Any]) -> str:
        outcome = _LABELS[said["act"]]
        seen = Seen(_text(said, "rollout"), _count(said))
        shown = View(self._node.state, self._choice, 0.0).rollout
        if not seen.rollout_id and shown is not None:
            raise BusyError(already(shown))
        failed = outcome is Outcome.FAILURE
        typed = (self._label_card.reason.value or "").strip()
        reason = "; ".join(t for t in (self._choice.reason, typed) if t)[:MAX_TEXT]
        row = await run.io_bound(
            self._node.labelling.label,
            seen,
            outcome,
            self._who.name,
            reason,
            self._choice.phase if failed else "",
        )
        self._choice = Choice(by=self._who.name)
        self._label_card.reason.set_value("")
        return f"stored: {outcome_word(row.outcome.value)}"

    async def _undo(self, said: dict[str, Any]) -> str:
        last = self._node.state.last_label_of(self._who.name)
        row = await run.io_bound(self._node.labelling.undo, last, self._who.name)
        self._choice = replace(self._choice, rollout_id=row.rollout_id, changing=False)
        return f"taken back: {row.rollout_id} is {outcome_word(row.outcome.value)} again"

    async def _change(self, said: dict[str, Any]) -> str:
        rollout = View(self._node.state, self._choice, 0.0).rollout
        if rollout is None:
            raise InvalidArgumentError("there is no label to change now.")
        self._choice = replace(
            self._choice, rollout_id=rollout.rollout_id, changing=not self._choice.changing
        )
        return ""

    async def _pick(self, said: dict[str, Any]) -> str:
        picked = _text(said, "value")
        newest = self._node.state.newest
        is_newest = newest is not None and newest.rollout_id == picked
        self._choice = Choice(by=self._who.name, rollout_id="" if is_newest else picked)
        return ""

    async def _chip(self, said: dict[str, Any]) -> str:
        kind, value = said["act"], _text(said, "value")
        chosen = "" if getattr(self._choice, kind) == value else value
        self._choice = replace(self._choice, **{kind: chosen})
        return ""

    async def _answer(self, said: dict[str, Any]) -> str:
        request, done = _text(said, "request"), said["act"] == "done"
        if not request:
            raise InvalidArgumentError("the cell asks for nothing now.")
        note = (self._request.note.value or "").strip()
        await run.io_bound(self._node.link.answer, request, done, self._who.name, note)
        return "told the cell: done" if done else "told the cell: no"

    async def _start(self, said: dict[str, Any]) -> str:
        rollouts = int(self._session.rollouts.value or 0)
        if not 1 <= rollouts <= 100_000:
            raise InvalidArgumentError(f"rollouts {rollouts}: want 1 to 100000.")
        await run.io_bound(self._node.link.diagnose, rollouts)
        return f"a diagnosis of {rollouts} rollouts has begun"

    async def _cancel(self, said: dict[str, Any]) -> str:
        ended = await run.io_bound(self._node.link.cancel_diagnosis)
        return "the session is being cancelled" if ended else "no session runs"

    async def _older(self, said: dict[str, Any]) -> str:
        rows = await run.io_bound(self._node.link.unlabelled)
        if not rows:
            return "every rollout has a label"
        self._node.look_back(rows[-1])
        self._choice = Choice(by=self._who.name, rollout_id=rows[-1].rollout_id)
        return ""

    async def _show_help(self, said: dict[str, Any]) -> str:
        self._help.set_value(not self._help.value)
        return ""


def _text(said: dict[str, Any], name: str) -> str:
    return str(said.get(name) or "")[:MAX_NAME]


def _count(said: dict[str, Any]) -> int:
    try:
        return int(said.get("count") or 0)
    except (TypeError, ValueError):
        return 0
