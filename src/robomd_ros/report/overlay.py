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

PANEL_WIDTH = 380
"""Width of the panel beside the camera picture, in pixels."""

_BACKGROUND, _INK, _DIM, _TRACK = (24, 27, 32), (236, 239, 244), (150, 158, 170), (58, 64, 74)
_LOW, _MIDDLE, _HIGH = (76, 175, 110), (235, 180, 60), (225, 80, 70)


@dataclass(frozen=True)
class OverlayFacts:
    """What is written into the picture. NaN or "" = unknown.

    Attributes:
        applied: perturbation id.
        verified: the image shows that it is there.
        p_failure, p_low, p_high: live risk and its 90 % interval, 0..1.
        distance, distance_limit: to the nearest known embedding.
        note: instead of a risk, why there is none ("not trained yet").
        alarm: the risk is high.
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
    note: str = ""
    alarm: bool = False
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
    if facts.alarm:
        draw.rectangle((0, 0, width - 1, height - 1), outline=_HIGH, width=8)
    _panel(draw, facts, width + 20, PANEL_WIDTH - 40, height)
    return np.asarray(canvas)


def _panel(draw: ImageDraw.ImageDraw, facts: OverlayFacts, x: int, width: int, height: int) -> None:
    y = _risk(draw, facts, x, 18, width)
    y = _line(draw, x, y + 12, "applied", 14, _DIM)
    name = facts.applied or "unknown"
    seen = (
        "" if not facts.applied else ("  (seen)" if facts.verified else "  (not seen in the image)")
    )
    y = _wrapped(draw, x, y, name + seen, 18, width)
    if facts.session:
        y = _line(draw, x, y + 10, "session", 14, _DIM)
        y = _wrapped(draw, x, y, facts.session, 16, width)
    if facts.ranking:
        y = _line(draw, x, y + 12, "riskiest so far", 14, _DIM) + 2
    for name, p, low, high in facts.ranking:
        if y + 34 > height - 8:
            break
        y = _line(draw, x, y, _fit(f"{p:.2f}  {name}", 15, width), 15, _INK)
        y = _bar(draw, x, y, width, 7, p, low, high) + 6


def _risk(draw: ImageDraw.ImageDraw, facts: OverlayFacts, x: int, y: int, width: int) -> int:
    y = _line(draw, x, y, "risk of failure, live", 14, _DIM)
    if not math.isfinite(facts.p_failure):
        return _wrapped(draw, x, y, facts.note or "unknown", 22, width)
    draw.text((x, y), f"{100 * facts.p_failure:.0f} %", risk_color(facts.p_failure), _font(46))
    if facts.alarm:
        draw.text((x + width - 88, y + 14), "ALARM", _HIGH, _font(24))
    y += 56
    y = _bar(draw, x, y, width, 16, facts.p_failure, facts.p_low, facts.p_high) + 6
    interval = f"90 % interval {100 * facts.p_low:.0f} to {100 * facts.p_high:.0f} %"
    y = _line(draw, x, y, interval, 16, _INK)
    trusted = facts.distance <= facts.distance_limit
    text = f"distance {facts.distance:.2f} of {facts.distance_limit:.2f}"
    text += ": near known rollouts" if trusted else ": far from all that is known"
    return _line(draw, x, y, text, 14, _DIM if trusted else _MIDDLE)


def _bar(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    width: int,
    height: int,
    p: float,
    low: float,
    high: float,
) -> int:
    """A bar of length p with the interval drawn over it; returns the y below it."""
    draw.rectangle((x, y, x + width, y + height), fill=_TRACK)
    if math.isfinite(p):
        draw.rectangle((x, y, x + round(width * p), y + height), fill=risk_color(p))
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


def _wrapped(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, width: int) -> int:
    """Up to three lines; an id is broken at its plus signs."""
    words = text.replace("+", " + ").split()
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    for line in lines[:3]:
        y = _line(draw, x, y, _fit(line, size, width), size, _INK)
    return y


def _fit(text: str, size: int, width: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]
