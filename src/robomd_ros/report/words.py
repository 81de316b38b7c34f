"""Short words and CSS colours for perturbations."""

from __future__ import annotations

from collections.abc import Sequence

from robomd_ros.core.variations import Perturbation, Variation, color_name

_COLOR_SUFFIX = "_color"


def css_color(rgb: Sequence[float]) -> str:
    """The "#rrggbb" of an RGB triple in 0..1."""
    return "#" + "".join(f"{round(255 * min(max(float(c), 0.0), 1.0)):02x}" for c in rgb)


def is_color(factor: str, value: Sequence[float]) -> bool:
    """Whether a value of this factor can be shown as a swatch."""
    return factor.endswith(_COLOR_SUFFIX) and len(value) == 3


def swatch(variation: Variation) -> str:
    """CSS colour of a colour variation, "" for any other."""
    return css_color(variation.value) if is_color(variation.factor, variation.value) else ""


def swatches(perturbation: Perturbation) -> tuple[str, ...]:
    """CSS colours of the colour variations, in the order of the title."""
    return tuple(s for s in map(swatch, perturbation.variations) if s)


def title(perturbation: Perturbation) -> str:
    """Words for a set of variations: "cube red + light intensity 0.4"; "unchanged scene" when it is empty."""
    return " + ".join(map(variation_title, perturbation.variations)) or "unchanged scene"


def variation_title(variation: Variation) -> str:
    """Words for one variation: "table red", "light intensity 0.4", "cube dark blue"; of a vector only the factor."""
    name, eq, _ = variation.id.partition("=")
    if not eq:
        return name.replace("_", " ")
    if is_color(variation.factor, variation.value):
        thing = variation.factor.removesuffix(_COLOR_SUFFIX)
        return f"{thing.replace('_', ' ')} {color_name(variation.value)}"
    thing = variation.factor.replace("_", " ")
    return f"{thing} {variation.value[0]:.2g}" if len(variation.value) == 1 else thing


def listing(words: Sequence[str]) -> str:
    """Join as "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
