"""The annotated camera picture: what the robot sees, and how likely the policy fails there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from robomd_ros.core.records import check_rgb
from robomd_ros.report.alarm import AlarmState

PANEL_WIDTH = 380
"""Width of the panel beside the camera picture, in pixels."""

_BACKGROUND, _INK, _DIM, _TRACK = (24, 27, 32), (236, 239, 244), (150, 158, 170), (58, 64, 74)
_LOW, _MIDDLE, _HIGH = (76, 175, 110), (235, 180, 60), (225, 80, 70)
_FRAMES = {AlarmState.RISK: _HIGH, AlarmState.NOVEL: _MIDDLE}
_WORDS = {AlarmState.RISK: "ALARM", AlarmState.NOVEL: "NOVEL"}


@dataclass(frozen=True)
class OverlayFacts:
    """What is written into the picture. NaN or "" = unknown.

    Attributes:
        applied: perturbation id.
        verified: the image shows that it is there.
        p_failure, p_low, p_high: live risk and its 90 % interval, 0..1.
        distance, distance_limit: to the nearest known embedding.
        trusted: it is near enough to what is known.
        note: instead of a risk, why there is none ("not trained yet"); beside a risk, what to mind.
        alarm: RISK draws a red frame, NOVEL an amber one.
        cell: one line about the cell and what it asks the operator for.
        stopped: the cell was stopped: its line is drawn as an alarm.
        session: one line about the session.
        ranking: riskiest entries of the risk map, (id, p, low, high), riskiest first.
    """

    applied: str = ""
    verified: bool = False
    p_failure: float = math.nan
    p_low: float = math.nan
    p_high: float = math.nan
    distance: float = math.nan
    distance_limit: float = math.nan
    trusted: bool = False
    note: str = ""
    alarm: AlarmState = AlarmState.UNKNOWN
    cell: str = ""
    stopped: bool = False
    session: str = ""
    ranking: Sequence[tuple[str, float, float, float]] = ()


def risk_color(p: float) -> tuple[int, int, int]:
    """Green at 0, amber at 0.5, red at 1; grey when unknown."""
    if not math.isfinite(p):
        return _DIM
    p = min(max(p, 0.0), 1.0)
    low, high, t = (_LOW, _MIDDLE, 2 * p) if p < 0.5 else (_MIDDLE, _HIGH, 2 * p - 1)
    red, green, blue = (round(a + (b - a) * t) for a, b in zip(low, high, strict=True))
    return red, green, blue


def draw_overlay(
    rgb: NDArray[np.uint8], facts: OverlayFacts, height: int = 480
) -> NDArray[np.uint8]:
    """The (H, W, 3) camera picture enlarged to at least `height` rows, with a panel of facts on its right."""
    check_rgb(rgb)
    height = max(height, rgb.shape[0])
    width = round(rgb.shape[1] * height / rgb.shape[0])
    canvas = Image.new("RGB", (width + PANEL_WIDTH, height), _BACKGROUND)
    resample = Image.Resampling.NEAREST if height >= 3 * rgb.shape[0] else Image.Resampling.BILINEAR
    canvas.paste(Image.fromarray(rgb).resize((width, height), resample), (0, 0))
    draw = ImageDraw.Draw(canvas)
    if facts.alarm in _FRAMES:
        draw.rectangle((0, 0, width - 1, height - 1), outline=_FRAMES[facts.alarm], width=8)
    _panel(draw, facts, width + 20, PANEL_WIDTH - 40, height)
    return np.asarray(canvas)


def _panel(draw: ImageDraw.ImageDraw, facts: OverlayFacts, x: int, width: int, height: int) -> None:
    y = _risk(draw, facts, x, 14, width)
    y = _line(draw, x, y + 8, "applied", 14, _DIM)
    y = _wrapped(draw, x, y, facts.applied.replace("+", " + ") or "unknown", 17, width, 2)
    if facts.applied and not facts.verified:
        y = _line(draw, x, y, "not seen in the image", 14, _MIDDLE)
    if facts.cell:
        y = _line(draw, x, y + 8, "cell", 14, _DIM)
        y = _wrapped(draw, x, y, facts.cell, 16, width, 2, _HIGH if facts.stopped else _INK)
    if facts.session:
        y = _line(draw, x, y + 8, "session", 14, _DIM)
        y = _wrapped(draw, x, y, facts.session, 16, width, 2)
    if facts.ranking:
        y = _line(draw, x, y + 8, "riskiest so far", 14, _DIM) + 2
    for name, p, low, high in facts.ranking:
        if y + 26 > height - 6:
            break
        y = _line(draw, x, y, _fit(f"{p:.2f}  {name}", 14, width), 14, _INK)
        y = _bar(draw, x, y, width, 4, p, low, high) + 3


def _risk(draw: ImageDraw.ImageDraw, facts: OverlayFacts, x: int, y: int, width: int) -> int:
    y = _line(draw, x, y, "risk of failure, live", 14, _DIM)
    if not math.isfinite(facts.p_failure):
        return _wrapped(draw, x, y, facts.note or "unknown", 22, width, 3)
    shown = risk_color(facts.p_failure if facts.trusted else math.nan)
    draw.text((x, y), f"{100 * facts.p_failure:.0f} %", shown, _font(46))
    word = _WORDS.get(facts.alarm, "")
    draw.text((x + width, y + 14), word, _FRAMES.get(facts.alarm), _font(24), anchor="ra")
    y += 56
    y = _bar(draw, x, y, width, 16, facts.p_failure, facts.p_low, facts.p_high, shown) + 6
    interval = f"90 % interval {100 * facts.p_low:.0f} to {100 * facts.p_high:.0f} %"
    y = _line(draw, x, y, interval, 16, _INK)
    near = f"distance {facts.distance:.2f} of {facts.distance_limit:.2f}: "
    near += "near known rollouts" if facts.trusted else "never seen anything like this"
    y = _line(draw, x, y, _fit(near, 14, width), 14, _DIM if facts.trusted else _MIDDLE)
    return _line(draw, x, y, _fit(facts.note, 14, width), 14, _MIDDLE) if facts.note else y


def _bar(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    width: int,
    height: int,
    p: float,
    low: float,
    high: float,
    color: tuple[int, int, int] | None = None,
) -> int:
    """A bar of length p with the interval drawn over it; returns the y below it."""
    draw.rectangle((x, y, x + width, y + height), fill=_TRACK)
    if math.isfinite(p):
        draw.rectangle((x, y, x + round(width * p), y + height), fill=color or risk_color(p))
    if math.isfinite(low) and math.isfinite(high):
        middle = y + height // 2
        left, right = x + round(width * low), x + round(width * high)
        draw.line((left, middle, right, middle), fill=_INK, width=2)
        for end in (left, right):
            draw.line((end, y, end, y + height), fill=_INK, width=2)
    return y + height


def _line(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, color: tuple) -> int:
    draw.text((x, y), text, color, _font(size))
    return y + round(size * 1.4)


def _wrapped(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    text: str,
    size: int,
    width: int,
    most: int,
    color: tuple[int, int, int] = _INK,
) -> int:
    """Up to `most` lines, the last one cut where there is more; returns the y below them."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(lines) < most and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    for line in lines:
        y = _line(draw, x, y, _fit(line, size, width), size, color)
    return y


def _fit(text: str, size: int, width: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]
