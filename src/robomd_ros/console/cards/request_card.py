"""What the cell wants from the person: set up, consent, recover."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from nicegui import background_tasks, run, ui

from robomd_msgs.msg import OperatorRequest
from robomd_ros.console.link import Reference
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Listing, button, card, picture, show
from robomd_ros.console.words import REQUESTS
from robomd_ros.core.errors import RobomdError


class RequestCard:
    """Heading, sentence, reference picture, steps, two answers.

    Args:
        reference: picture of a perturbation; blocks.
    """

    def __init__(self, reference: Callable[[str], Reference]) -> None:
        self._reference = reference
        self._id = ""
        with card("what the cell asks", "request") as self._card:
            self._heading = ui.label("").classes("heading")
            self._title = ui.label("").classes("request-title")
            with ui.element("div").classes("request-body"):
                with ui.element("figure").classes("reference") as self._figure:
                    self._picture = picture("how it should look")
                    self._caption = ui.label("").classes("caption")
                with ui.element("div").classes("request-text"):
                    self._sentence = ui.label("").classes("sentence")
                    self._steps = Listing("steps", "ol")
            self.note = (
                ui.input(placeholder="note, if there is something to say")
                .props('outlined dense aria-label="note to the answer" maxlength=500')
                .classes("note")
            )
            with ui.element("div").classes("buttons two"):
                self._done = button("", "done", "d", "primary")
                self._refuse = button("", "refuse", "r", "quiet")

    def update(self, view: View) -> None:
        """Draw the open request, or nothing."""
        request = view.state.open_request
        show(self._card, request is not None)
        if request is None:
            self._id = ""
            return
        if request.id != self._id:
            self._id = request.id
            self._fill(request)

    def _fill(self, request: OperatorRequest) -> None:
        heading, done, refuse = REQUESTS.get(request.kind, ("The cell asks", "Done", "No"))
        self._heading.set_text(heading)
        self._title.set_text(request.title)
        self._done.text.set_text(done)
        self._refuse.text.set_text(refuse)
        kinds = {
            OperatorRequest.SET_UP: "set-up",
            OperatorRequest.CONSENT: "consent",
            OperatorRequest.RECOVER: "recover",
        }
        self._card.classes(remove="set-up consent recover", add=kinds.get(request.kind, ""))
        self._sentence.set_text(_sentence(request))
        self._steps.draw(tuple(request.steps), lambda: _steps(request))
        self.note.set_value("")
        show(self._figure, False)
        if request.kind == OperatorRequest.SET_UP:
            background_tasks.create(self._show_reference(request))

    async def _show_reference(self, request: OperatorRequest) -> None:
        wanted = request.perturbation.id or "nominal"
        try:
            reference = await run.io_bound(self._reference, wanted)
        except RobomdError:  # the text says what to do: the picture is a help
            return
        if request.id != self._id or reference is None or not reference.png:
            return
        self._picture.props["src"] = f"/reference/{quote(wanted, safe='')}.png"
        exact = reference.of == wanted
        text = "how it looked before" if exact else "the nominal scene: not this variation"
        self._caption.set_text(text)
        show(self._figure, True)


def _sentence(request: OperatorRequest) -> str:
    applied = request.perturbation
    if not applied.id:
        return ""
    return applied.sentence or "The nominal scene: nothing is changed."


def _steps(request: OperatorRequest) -> None:
    for step in request.steps:
        with ui.element("li"):
            ui.label(step)
