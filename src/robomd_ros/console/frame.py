"""What every page of the console has: style, keys, the header with the stop, the help."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from nicegui import ui
from nicegui.element import Element

from robomd_ros.console.widgets import button

_HEAD = """
<link rel="stylesheet" href="/static/console.css">
<script defer src="/static/console.js"></script>
<meta name="color-scheme" content="light dark">
"""
KEYS = (
    ("s", "success"),
    ("f", "failure"),
    ("i", "invalid"),
    ("u", "take my last label back"),
    ("c", "change the label shown"),
    ("d", "done, yes: the answer to what the cell asks"),
    ("r", "refuse what the cell asks"),
    ("Esc", "STOP, at any time, also while you type"),
    ("Space", "STOP while the robot moves"),
    ("?", "this list, and away with it"),
)


def head() -> None:
    """Style and script."""
    ui.add_head_html(_HEAD)


def stop_button() -> Element:
    """The biggest button of all; console.js sends it without the page's websocket."""
    out = button("STOP", "stop", "Esc", "stop")
    return out.props('aria-label="stop the robot now"')


class Shown:
    """What the page shows, as console.js reads it when a key goes down: not what is known by the time it arrives."""

    def __init__(self) -> None:
        self._element = ui.element("span").classes("shown").props("hidden")

    def set(self, **data: Any) -> None:
        """Values of the data attributes."""
        for name, value in data.items():
            key, text = f"data-{name}", str(value)
            if self._element.props.get(key) != text:
                self._element.props[key] = text


def help_dialog() -> ui.dialog:
    """The keys."""
    with ui.dialog() as out, ui.element("div").classes("card ask"):
        ui.label("Keys").classes("heading")
        with ui.element("dl").classes("keys"):
            for key, meaning in KEYS:
                with ui.element("dt"):
                    ui.label(key).classes("key")
                with ui.element("dd"):
                    ui.label(meaning)
        ui.label(f"robomd_ros {metadata.version('robomd_ros')}").classes("dim-text")
    return out


def stored(seq: Any, text: str, good: bool = True) -> None:
    """Tell the person, and console.js how long it took since the key."""
    import json

    number = int(seq) if isinstance(seq, int | float) else 0
    ui.run_javascript(f"robomd.told({number}, {json.dumps(text)}, {str(good).lower()})")
