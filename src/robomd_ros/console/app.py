"""Routes of the console: its pages, its pictures, and the stop."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from nicegui import ui

from robomd_ros.console.page import OperatorPage
from robomd_ros.console.pictures import film
from robomd_ros.console.second_look import SecondLookPage
from robomd_ros.core.errors import RobomdError

if TYPE_CHECKING:
    from robomd_ros.nodes.operator_console import OperatorConsoleNode

_FRESH = {"Cache-Control": "no-store"}
_ROLLOUT_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def console_app(node: OperatorConsoleNode) -> FastAPI:
    """The web application of a console; one a process, because NiceGUI's pages are global."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    static = Path(str(resources.files("robomd_ros"))) / "console" / "static"
    app.mount("/static", StaticFiles(directory=static), name="console_static")

    @app.get("/camera.jpg")
    def camera(after: int = 0) -> Response:
        """The newest frame, or 204 while there is none after number `after`."""
        number, jpeg = node.picture.jpeg()
        if not jpeg or number == after:
            return Response(status_code=204, headers={**_FRESH, "X-Age": f"{node.picture.age:.2f}"})
        headers = {**_FRESH, "X-Number": str(number), "X-Age": f"{node.picture.age:.2f}"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    @app.get("/reference/{perturbation}.png")
    def reference(perturbation: str) -> Response:
        """How the scene looks under a perturbation, from the study."""
        try:
            png = node.link.reference(perturbation).png
        except RobomdError:
            png = b""
        return Response(png, media_type="image/png", headers=_FRESH) if png else _nothing()

    @app.get("/film/{rollout_id}.webp")
    def recording(rollout_id: str) -> Response:
        """A recording as an animation."""
        if node.study is None or not _ROLLOUT_ID.fullmatch(rollout_id):
            return _nothing()
        try:
            data = _film(node.study / "recordings" / f"{rollout_id}.mcap")
        except RobomdError:
            return _nothing()
        return Response(data, media_type="image/webp", headers=_FRESH)

    @app.post("/stop")
    def stop() -> JSONResponse:
        """Stop the arm. Apart from the page's websocket: it works for a page that is stale or busy, too."""
        try:
            return JSONResponse({"stopped": True, "said": node.link.stop()})
        except RobomdError as error:
            return JSONResponse({"stopped": False, "said": str(error)}, status_code=503)

    @ui.page("/", title="RoboMD console")
    def operator(request: Request) -> None:
        OperatorPage(node, request)

    @ui.page("/second-look", title="RoboMD second look")
    def second_look(request: Request) -> None:
        SecondLookPage(node, request)

    return app


def _nothing() -> Response:
    return Response(status_code=404, headers=_FRESH)


@lru_cache(4)
def _film(recording: Path) -> bytes:
    return film(recording)
