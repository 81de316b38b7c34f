"""Does the camera image show the perturbation that was set up by hand? Figures, and a sentence where it does not.

All of it compares with an image of the nominal scene. What moved meanwhile (the arm, the cube's place, a person) changed,
too: so a colour is looked for among the changed pixels, light is judged by the median over all of them, and a warning is
given only where the image contradicts what is wanted.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.image_change import changed_pixels, mean_change
from robomd_ros.core.variations import Catalogue, Perturbation, Variation, color_name

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_HUE_NEAR = 35.0  # [deg] half of the way from red to yellow, and a little
_GREY = 0.2  # saturation below which nobody calls a pixel coloured
_SATURATED, _DARK = 240, 20  # of 255: what a camera cannot tell from brighter or darker
_ENOUGH = 0.02  # share of usable pixels below which light is not judged
_PARTIAL = 0.15  # a lamp is not the only light: so much of what it should do is enough
_DRIFT = 0.15  # change of luminance of a nominal scene that is no daylight any more
_NEW_COLOR = (
    0.3  # share of the changed pixels that have one colour of no thing in the nominal scene
)
_SIDE = 320  # pixels: more only cost time
_LEFT_OVER = 0.1  # share of a nominal scene that a moved cube does not explain

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class SetupConfig:
    """What counts as a change; see the parameters of perturbation_tagger of the same names."""

    pixel_change: float = 0.06
    min_share: float = 0.0003


@dataclass(frozen=True)
class SetupFigures:
    """What a person can read off. NaN as in robomd_msgs/SetupCheck.

    Attributes:
        luminance, luminance_nominal: mean luma, 0..1.
        hue: circular mean of the changed pixels, weighted by how coloured they are [deg].
        saturation: their mean, 0..1.
        image_change: mean absolute difference to the nominal image, 0..1.
        changed_share: of the pixels, 0..1.
    """

    luminance: float
    luminance_nominal: float = math.nan
    hue: float = math.nan
    saturation: float = math.nan
    image_change: float = math.nan
    changed_share: float = math.nan


@dataclass(frozen=True)
class SetupVerdict:
    """Whether the image fits; `warning` is one sentence, "" = nothing to say."""

    there: bool
    warning: str = ""


def check_setup(
    wanted: Perturbation,
    image: Image,
    nominal: Image | None,
    catalogue: Catalogue,
    config: SetupConfig | None = None,
) -> tuple[SetupFigures, SetupVerdict]:
    """Compare an image with what is wanted.

    Args:
        wanted: applied, or being set up.
        image: (H, W, 3) uint8 RGB.
        nominal: of the nominal scene, by the same camera; None = not seen yet.
        catalogue: kinds of the factors.
        config: thresholds.
    """
    if nominal is None or nominal.shape != image.shape:
        missing = "no image of the nominal scene has been seen yet: have it shown once, so that set-ups can be checked."
        return SetupFigures(_luminance(image)), SetupVerdict(
            not wanted.variations, missing if wanted.variations else ""
        )
    step = max(1, round(max(image.shape) / _SIDE))
    seen = _Seen(image[::step, ::step], nominal[::step, ::step], config or SetupConfig())
    return seen.figures, _judge(wanted, seen, catalogue)


@dataclass(frozen=True)
class _Seen:
    image: Image
    nominal: Image
    config: SetupConfig

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W)."""
        return _clumps(changed_pixels(self.image, self.nominal, self.config.pixel_change))

    @cached_property
    def share(self) -> float:
        return float(self.changed.mean())

    @cached_property
    def hsv(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Hue [deg], saturation and value of the changed pixels."""
        return _hsv(self.image[self.changed])

    @cached_property
    def hue(self) -> float:
        """Of the changed pixels; NaN where none is coloured."""
        hue, saturation, value = self.hsv
        pull = np.sum(saturation * value * np.exp(1j * np.radians(hue)))
        return float(np.degrees(np.angle(pull)) % 360) if abs(pull) > 0 else math.nan

    @cached_property
    def saturation(self) -> float:
        return float(self.hsv[1].mean()) if self.hsv[1].size else math.nan

    @cached_property
    def gain(self) -> NDArray[np.float64] | None:
        """(3,) median of image / nominal by channel over pixels that are neither black nor burnt out; None = too few."""
        usable = (self.nominal.max(axis=2) < _SATURATED) & (self.nominal.min(axis=2) > _DARK)
        if usable.mean() < _ENOUGH:
            usable = self.nominal.min(axis=2) > _DARK
        if usable.mean() < _ENOUGH:
            return None
        gains: NDArray[np.float64] = np.median(
            self.image[usable].astype(np.float64) / self.nominal[usable], axis=0
        )
        return gains

    @property
    def figures(self) -> SetupFigures:
        return SetupFigures(
            luminance=_luminance(self.image),
            luminance_nominal=_luminance(self.nominal),
            hue=self.hue,
            saturation=self.saturation,
            image_change=mean_change(self.image, self.nominal),
            changed_share=self.share,
        )

    def look(self) -> str:
        """The changed pixels in words."""
        if self.saturation < _GREY or math.isnan(self.hue):
            return color_name([float(np.median(self.hsv[2]))] * 3)
        return f"{_hue_name(self.hue)} (hue {self.hue:.0f}°)"


def _judge(wanted: Perturbation, seen: _Seen, catalogue: Catalogue) -> SetupVerdict:
    if not wanted.variations:
        return _judge_nominal(seen)
    lights = [v for v in wanted.variations if _is_light(v, catalogue)]
    warnings = []
    if lights and not _hides_light(wanted, catalogue):
        warnings.append(_judge_light(lights, seen))
    if seen.share < seen.config.min_share:
        return SetupVerdict(
            False, next(filter(None, warnings), "") or _nothing_changed(wanted.variations)
        )
    colored = [v for v in wanted.variations if _is_color(v, catalogue)]
    if not any(v.factor == "light_color" for v in lights):
        warnings += [_judge_color(v, seen, catalogue) for v in colored]
    if not lights and not colored:
        warnings.append(_judge_plain(seen))
    if len(wanted.variations) == 1:
        warnings.append(_judge_share(wanted.variations[0], seen.share, catalogue))
    warning = next(filter(None, warnings), "")
    return SetupVerdict(not warning, warning)


def _judge_nominal(seen: _Seen) -> SetupVerdict:
    ratio = float(seen.gain @ _LUMA) if seen.gain is not None else 1.0
    if abs(ratio - 1) > _DRIFT:
        word = "darker" if ratio < 1 else "brighter"
        return SetupVerdict(
            False,
            f"the image is {word} than the nominal scene was ({100 * ratio:.0f} %): is the light as it was, and exposure locked?",
        )
    if seen.share > _LEFT_OVER:
        return SetupVerdict(
            False,
            f"{100 * seen.share:.0f} % of the image differs from the nominal scene: is everything back in its place?",
        )
    return SetupVerdict(True)


def _judge_light(lights: list[Variation], seen: _Seen) -> str:
    """Is it as dark, bright or coloured as these lights must make it, at least in part? "" = yes, or nobody can tell."""
    expected = np.ones(3)
    for variation in lights:
        if len(variation.value) in (1, 3) and variation.factor != "light_direction":
            expected = expected * np.asarray(variation.value)
    if seen.gain is None:
        return ""
    drop, ratio = 1 - float(expected @ _LUMA), float(seen.gain @ _LUMA)
    now = f"{_luminance(seen.image):.2f}, nominal {_luminance(seen.nominal):.2f}"
    names = " and ".join(v.id for v in lights)
    if abs(drop) > _DRIFT and (1 - ratio) * math.copysign(1, drop) < 0.5 * _PARTIAL * min(
        abs(drop), 1
    ):
        return f"the image is as bright as before ({now}), though {names} is wanted: is auto exposure on? lock it."
    spread = float(np.ptp(expected))
    if spread < 2 * _DRIFT:
        return ""
    if float(np.ptp(seen.gain)) < _PARTIAL * spread:
        return f"the colours are as before, though {names} is wanted: is auto white balance on? lock it."
    hue, want = _hue(seen.gain), _hue(expected)
    if _apart(hue, want) > 2 * _HUE_NEAR:
        return f"the light looks {_hue_name(hue)} (hue {hue:.0f}°), wanted {_hue_name(want)}."
    return ""


def _judge_color(variation: Variation, seen: _Seen, catalogue: Catalogue) -> str:
    """Are there changed pixels of the wanted colour, and enough for such a thing? "" = yes."""
    matching = float(_match(variation.value, seen).sum()) / seen.changed.size
    if matching < max(seen.config.min_share, _image_share(variation, catalogue)[0]):
        return f"the changed pixels look {seen.look()}, wanted {color_name(variation.value)} ({variation.id})."
    return ""


def _judge_share(variation: Variation, share: float, catalogue: Catalogue) -> str:
    """Of one variation alone: does it cover as much of the image as such a thing can? "" = yes."""
    low, high = _image_share(variation, catalogue)
    if low <= share <= high:
        return ""
    much = "covers" if share > high else "covers only"
    what = variation.factor.split("_")[0]
    return f"the change {much} {100 * share:.0f} % of the image: is it the {what} that was changed, and exposure locked?"


def _judge_plain(seen: _Seen) -> str:
    """Where no colour is wanted, did no new one come? "" = none."""
    hue, saturation, value = seen.hsv
    vivid = (saturation > 0.6) & (value > 0.12)
    if vivid.mean() < _NEW_COLOR:
        return ""
    pull = np.sum(saturation[vivid] * np.exp(1j * np.radians(hue[vivid])))
    new = float(np.degrees(np.angle(pull)) % 360)
    known_hue, known_saturation, known_value = _hsv(seen.nominal.reshape(-1, 3))
    known = (known_saturation > 0.35) & (known_value > 0.2) & (_apart(known_hue, new) <= _HUE_NEAR)
    if known.mean() >= seen.config.min_share:
        return ""
    return f"the changed pixels look {_hue_name(new)} (hue {new:.0f}°), though no colour is wanted."


def _match(rgb: tuple[float, ...], seen: _Seen) -> NDArray[np.bool_]:
    """Which of the changed pixels have this colour, however bright the light on them is."""
    hue, saturation, value = seen.hsv
    white = max(float(np.percentile(seen.nominal.max(axis=2), 99)), 1.0) / 255.0
    wanted_hue, wanted_saturation, wanted_value = (float(x[0]) for x in _hsv(_bytes(rgb)))
    if wanted_saturation < 0.25 or wanted_value < 0.25:
        grey = (saturation < _GREY) | (value < 0.15)
        return grey & (np.abs(value / white - wanted_value) < 0.3)
    near = _apart(hue, wanted_hue) <= _HUE_NEAR
    return near & (saturation >= max(_GREY, 0.4 * wanted_saturation)) & (value > 0.12)


def _nothing_changed(variations: tuple[Variation, ...]) -> str:
    names = "+".join(v.id for v in variations)
    return f"the image shows no change against the nominal scene: is {names} really set up?"


def _is_light(variation: Variation, catalogue: Catalogue) -> bool:
    return variation.factor.startswith("light") and _kind(variation, catalogue) in (
        "color",
        "scalar",
    )


def _is_color(variation: Variation, catalogue: Catalogue) -> bool:
    return _kind(variation, catalogue) == "color" and not variation.factor.startswith("light")


def _hides_light(wanted: Perturbation, catalogue: Catalogue) -> bool:
    """What changes a large part of the image leaves too little to judge the light by."""
    others = [v for v in wanted.variations if not v.factor.startswith("light")]
    return any(_image_share(v, catalogue)[1] > 0.5 for v in others)


def _image_share(variation: Variation, catalogue: Catalogue) -> tuple[float, ...]:
    factor = catalogue.factors.get(variation.factor)
    return factor.image_share if factor else (0.0, 1.0)


def _kind(variation: Variation, catalogue: Catalogue) -> str:
    factor = catalogue.factors.get(variation.factor)
    return factor.kind if factor else ""


def _clumps(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a (H, W) mask with three others around them: the camera's noise stands alone."""
    rows, columns = mask.shape
    padded = np.pad(mask, 1).astype(np.uint8)
    around = sum(
        padded[i : i + rows, j : j + columns] for i, j in itertools.product(range(3), repeat=2)
    )
    kept: NDArray[np.bool_] = mask & (np.asarray(around) > 3)
    return kept


def _luminance(image: Image) -> float:
    return float(image.reshape(-1, 3).mean(axis=0) @ _LUMA) / 255.0


def _apart(a: NDArray[np.float64] | float, b: float) -> NDArray[np.float64]:
    """Angle between hues [deg], 0..180."""
    return np.abs((np.asarray(a) - b + 180) % 360 - 180)


def _hue(rgb: NDArray[np.float64]) -> float:
    return 360 * colorsys.rgb_to_hsv(*(float(v) for v in rgb))[0]


def _hue_name(hue: float) -> str:
    return color_name(colorsys.hsv_to_rgb(hue / 360, 1.0, 1.0))


def _bytes(rgb: tuple[float, ...]) -> Image:
    return np.round(255 * np.asarray([rgb])).astype(np.uint8)


def _hsv(
    pixels: Image,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Hue [deg], saturation and value 0..1 of (N, 3) pixels."""
    rgb = pixels.astype(np.float64) / 255.0
    value = rgb.max(axis=1)
    span = value - rgb.min(axis=1)
    r, g, b = rgb.T
    safe = np.where(span > 0, span, 1.0)
    sector = np.select(
        [value == r, value == g], [((g - b) / safe) % 6, (b - r) / safe + 2], (r - g) / safe + 4
    )
    saturation = span / np.where(value > 0, value, 1.0)
    return np.where(span > 0, 60 * sector, 0.0), saturation, value
