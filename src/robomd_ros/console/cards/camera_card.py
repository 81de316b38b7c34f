"""The live camera, and whether the picture shows what is set up."""

from __future__ import annotations

import math

from nicegui import ui

from robomd_msgs.msg import SetupCheck
from robomd_ros.console.view import View
from robomd_ros.console.widgets import Pill, card, picture, show
from robomd_ros.console.words import percent


class CameraCard:
    """console.js fetches the picture, one frame after the other, never faster than it is shown."""

    def __init__(self) -> None:
        with card("camera", "camera"):
            with ui.element("div").classes("live-frame"):
                picture("live camera").classes("live")
                ui.label("no camera picture yet").classes("live-note")
            with ui.element("div").classes("check") as self._check:
                with ui.element("div").classes("spread"):
                    self._what = ui.label("").classes("check-what")
                    self._pill = Pill("there")
                self._warning = ui.label("").classes("warning").props("role=alert")
                with ui.element("dl").classes("figures"):
                    self._change = _figure("difference to nominal")
                    self._share = _figure("pixels changed")
                    self._light = _figure("luminance")
                    self._hue = _figure("hue of the change")

    def update(self, view: View) -> None:
        """Draw the newest image check, or nothing while there is none."""
        check = view.state.fresh_check(view.now)
        show(self._check, check is not None)
        if check is None:
            return
        doing = "being set up" if check.setting_up else "applied"
        self._what.set_text(f"{check.perturbation_id or 'nominal'}, {doing}")
        if check.there:
            self._pill.set("✓ the image shows it", "good")
        else:
            self._pill.set("✗ the image does not show it", "bad")
        show(self._warning, bool(check.warning))
        self._warning.set_text(f"⚠ {check.warning}")
        self._change.set_text(percent(check.image_change))
        self._share.set_text(percent(check.changed_share))
        self._light.set_text(_light(check))
        self._hue.set_text(_hue(check))


def _figure(name: str) -> ui.label:
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(name)
        with ui.element("dd"):
            return ui.label("")


def _light(check: SetupCheck) -> str:
    nominal = check.luminance_nominal
    if not math.isfinite(nominal):
        return percent(check.luminance)
    return f"{percent(check.luminance)}, nominal {percent(nominal)}"


def _hue(check: SetupCheck) -> str:
    if not math.isfinite(check.hue):
        return "–"
    return f"{check.hue:.0f}°, saturation {percent(check.saturation)}"
