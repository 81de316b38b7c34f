"""Who sits at this page: asked once, kept in a cookie of the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from nicegui import ui

from robomd_ros.adapters.conversions import MAX_NAME

COOKIE = "robomd_labeler"
_YEAR = 31_536_000


class Who:
    """The name in the header, and the dialog that asks for it.

    Args:
        cookies: of the request.
        proposed: for a browser that has not said yet.
        on_change: called when the name changes.
    """

    def __init__(
        self, cookies: Mapping[str, str], proposed: str, on_change: Callable[[], None]
    ) -> None:
        self.name = unquote(cookies.get(COOKIE, ""))[:MAX_NAME].strip()
        self._on_change = on_change
        # Quasar would put the cursor back to where it was, on a button that Enter presses.
        with (
            ui.dialog().props("persistent no-refocus") as self._dialog,
            ui.element("div").classes("card ask"),
        ):
            ui.label("Who is at this console?").classes("heading")
            ui.label("Your name is stored with each label and answer that you give.").classes(
                "sentence"
            )
            self._input = (
                ui.input("your name", value=self.name or proposed)
                .props(f"outlined autofocus maxlength={MAX_NAME} autocomplete=name")
                .on("keydown.enter", self._take)
            )
            with ui.element("button").classes("act primary").on("click", self._take):
                ui.label("That is me")
        if not self.name:
            self._dialog.open()

    def button(self) -> None:
        """The name, to be tapped when somebody else takes over."""
        entry = (
            ui.element("button")
            .classes("who")
            .props('type=button title="somebody else takes over"')
        )
        with entry.on("click", self.ask):
            self._shown = ui.label(self.name or "who?")

    def ask(self) -> None:
        """Open the dialog."""
        self._input.set_value(self.name)
        self._dialog.open()

    def _take(self) -> None:
        name = " ".join((self._input.value or "").split())[:MAX_NAME]
        if not name:
            return
        self.name = name
        self._shown.set_text(name)
        ui.run_javascript(
            f"document.cookie = '{COOKIE}={quote(name, safe='')}; Path=/; Max-Age={_YEAR}; SameSite=Lax'"
        )
        self._dialog.close()
        self._on_change()
