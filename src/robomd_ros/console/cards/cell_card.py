"""The cell: what it does, and what keeps it from running."""

from __future__ import annotations

import math

from nicegui import ui

from robomd_msgs.msg import CellState
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Listing, card, show
from robomd_ros.console.words import CELL, percent


class CellCard:
    """What robomd/cell_state says."""

    def __init__(self) -> None:
        with card("cell", "cell") as self._card:
            ui.label("Cell").classes("heading")
            self._message = ui.label("").classes("sentence")
            self._why = Listing("why-not", "ul")
            self._facts = ui.label("").classes("dim-text")

    def update(self, view: View) -> None:
        """Draw the newest state."""
        cell = view.state.cell
        if cell is None:
            self._message.set_text("No word of a cell yet.")
            return
        silent = view.state.cell_silent(view.now)
        text = "The cell has gone silent: what is shown is old." if silent else cell.message
        self._message.set_text(text or CELL.get(cell.state, ("", ""))[0])
        self._why.draw(tuple(cell.why_not), lambda: _sentences(cell))
        show(self._why.element, bool(cell.why_not))
        self._facts.set_text(_facts(cell))
        alarming = silent or bool(cell.why_not)
        self._card.classes(add="alert" if alarming else "", remove="" if alarming else "alert")


def _sentences(cell: CellState) -> None:
    for sentence in cell.why_not:
        with ui.element("li"):
            ui.label(sentence)


def _facts(cell: CellState) -> str:
    parts = [
        cell.hardware,
        f"robot {cell.robot_mode}" if cell.robot_mode else "",
        f"safety {cell.safety_mode}" if cell.safety_mode else "",
        "program runs" if cell.program_running else "program does not run",
        f"speed {percent(cell.speed_scaling)}" if math.isfinite(cell.speed_scaling) else "",
    ]
    return " · ".join(p for p in parts if p)
