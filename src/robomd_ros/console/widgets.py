"""Small parts that the cards share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from nicegui import ui
from nicegui.element import Element


@contextmanager
def card(name: str, marker: str) -> Iterator[Element]:
    """A section, named for screen readers; `marker` is its class, for the style sheet and for tests."""
    with ui.element("section").classes(f"card {marker}").props(f'aria-label="{name}"') as out:
        yield out


def button(text: str, act: str, key: str = "", look: str = "") -> Element:
    """A button that does `act` (console.js sends it), by click and by its key."""
    out = ui.element("button").classes(f"act {look}")
    out.props(f'type=button data-act={act} aria-keyshortcuts="{key}"')
    with out:
        label = ui.label(text).classes("act-text")
        if key:
            ui.label(key).classes("key").props("aria-hidden=true")
    out.text = label
    return out


def picture(alt: str) -> Element:
    """An <img>; `show` gives it its source."""
    return ui.element("img").props(f'alt="{alt}" draggable=false').classes("picture")


def show(element: Element, visible: bool) -> None:
    """Take the element out of the page, or put it back."""
    if element.visible != visible:
        element.set_visibility(visible)


class Pill:
    """A word on a colour, "● Ready"."""

    def __init__(self, marker: str) -> None:
        self._label = ui.label("").classes(f"pill {marker}")
        self._look = ""

    def set(self, text: str, look: str) -> None:
        """Text and colour class."""
        self._label.set_text(text)
        if look != self._look:
            self._label.classes(add=look, remove=self._look)
            self._look = look


class Listing:
    """A container that is rebuilt when what it shows changes, and only then."""

    def __init__(self, marker: str, tag: str = "div") -> None:
        self.element = ui.element(tag).classes(marker)
        self._shown: Hashable = None

    def draw(self, content: Hashable, build: Callable[[], None]) -> None:
        """Call `build` inside the emptied container if `content` is not what is shown."""
        if content == self._shown:
            return
        self._shown = content
        self.element.clear()
        with self.element:
            build()
