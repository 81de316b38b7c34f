"""Variations, sets of them, and the catalogue of a task.

A *factor* is one thing that can be changed (the cube's colour). A *variation* gives one factor one value. A *perturbation*
is a set of variations with at most one a factor; the empty set is the nominal scene. Each has a string id that can be
written in a shell, stored, and parsed back: `cube_red`, `light_intensity=0.4`, `cube_red+light_intensity=0.4`, `nominal`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError, UnknownIdError

NOMINAL = "nominal"
MAX_VARIATIONS = 64
"""Longest list of variations that is looked at at all: more is a mistake, not a scene."""

_KINDS = ("color", "size", "scalar", "offset", "angles", "label")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_PALETTE: dict[str, tuple[float, float, float]] = {
    "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5),
    "dark grey": (0.25, 0.25, 0.25), "light grey": (0.75, 0.75, 0.75),
    "red": (1.0, 0.0, 0.0), "dark red": (0.5, 0.0, 0.0), "pink": (1.0, 0.6, 0.7),
    "orange": (1.0, 0.5, 0.0), "brown": (0.5, 0.3, 0.1), "yellow": (1.0, 1.0, 0.0),
    "olive": (0.5, 0.5, 0.0), "light yellow": (1.0, 1.0, 0.6),
    "green": (0.0, 1.0, 0.0), "dark green": (0.0, 0.5, 0.0), "light green": (0.6, 1.0, 0.6),
    "cyan": (0.0, 1.0, 1.0), "teal": (0.0, 0.5, 0.5), "light cyan": (0.6, 1.0, 1.0),
    "blue": (0.0, 0.0, 1.0), "dark blue": (0.0, 0.0, 0.5), "light blue": (0.6, 0.7, 1.0),
    "purple": (0.5, 0.0, 0.5), "magenta": (1.0, 0.0, 1.0), "lilac": (0.8, 0.6, 1.0),
}  # fmt: skip


def color_name(rgb: Sequence[float]) -> str:
    """Nearest plain English colour name of an RGB triple in 0..1."""
    return min(_PALETTE, key=lambda n: math.dist(_PALETTE[n], rgb))


def format_value(value: Iterable[float]) -> str:
    """Shortest text of a value that keeps four significant digits; the canonical form inside ids."""
    return ",".join(f"{v:.4g}" for v in value)


def _canonical(value: Sequence[float]) -> tuple[float, ...]:
    """Four significant digits: what an id can hold."""
    return tuple(float(f"{float(v):.4g}") for v in value)


@dataclass(frozen=True)
class Factor:
    """One thing that can be changed.

    Attributes:
        name: snake_case, e.g. "cube_color".
        kind: color, size, scalar, offset, angles, or label (no number: an object, a table cloth).
        low, high: range of each component, in `unit`; empty for kind "label".
        nominal: value of the unchanged scene; empty where it has none (a texture, a label).
        unit: "1", "m", "rad", ...
        sentence: template with {value}, {name} (nearest colour name) or {percent}.
        image_share: least and largest part of the camera image that shows it, for the check of a set-up.
    """

    name: str
    kind: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    nominal: tuple[float, ...] = ()
    unit: str = "1"
    sentence: str = "Change the {factor} to {value}."
    image_share: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or self.kind not in _KINDS:
            raise InvalidArgumentError(
                f"factor {self.name!r} of kind {self.kind!r}: want snake_case and one of {_KINDS}."
            )
        if len(self.low) != len(self.high) or any(
            a > b for a, b in zip(self.low, self.high, strict=True)
        ):
            raise InvalidArgumentError(
                f"factor {self.name}: low {self.low} and high {self.high} are not a range."
            )
        if self.nominal and len(self.nominal) != len(self.low):
            raise InvalidArgumentError(
                f"factor {self.name}: nominal {self.nominal} wants {len(self.low)} numbers."
            )

        if len(self.image_share) != 2 or not 0 <= self.image_share[0] <= self.image_share[1] <= 1:
            raise InvalidArgumentError(
                f"factor {self.name}: image_share {self.image_share} wants two numbers, 0 <= least <= largest <= 1."
            )

    @property
    def dim(self) -> int:
        """Number of components."""
        return len(self.low)

    def check(self, value: Sequence[float]) -> tuple[float, ...]:
        """The value as canonical floats (four significant digits), or an error that says the range."""
        if len(value) != self.dim:
            raise InvalidArgumentError(
                f"{self.name} wants {self.dim} numbers [{self.unit}], got {len(value)}."
            )
        out, low, high = (_canonical(v) for v in (value, self.low, self.high))
        for v, lo, hi in zip(out, low, high, strict=True):  # a limit such as pi is rounded, too
            if not lo <= v <= hi:
                raise InvalidArgumentError(
                    f"{self.name}={format_value(out)} is outside {format_value(self.low)} .. {format_value(self.high)} [{self.unit}]."
                )
        return out

    def describe(self, value: Sequence[float]) -> str:
        """One English sentence for the value."""
        return self.sentence.format(
            factor=self.name.replace("_", " "),
            value=" ".join(f"{v:.3g}" for v in value),
            name=color_name(value) if self.kind == "color" else "",
            percent=f"{100 * value[0]:.0f}" if value else "",
        )

    def normalize(self, value: Sequence[float]) -> NDArray[np.float32]:
        """Value mapped from its range to -1..1, shape (dim,)."""
        low, span = np.asarray(self.low), np.asarray(self.high) - np.asarray(self.low)
        return (2.0 * (np.asarray(value) - low) / np.where(span > 0, span, 1.0) - 1.0).astype(
            np.float32
        )


@dataclass(frozen=True, order=True)
class Variation:
    """One factor set to one value. `sentence` is what the text encoder reads."""

    factor: str
    id: str
    value: tuple[float, ...] = field(default=(), compare=False)
    sentence: str = field(default="", compare=False)


@dataclass(frozen=True)
class Perturbation:
    """A set of variations, at most one a factor, kept sorted by factor."""

    variations: tuple[Variation, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.variations))
        for a, b in pairwise(ordered):
            if a.factor == b.factor:
                raise InvalidArgumentError(
                    f"{a.id} and {b.id} both change {a.factor}: apply one of them."
                )
        object.__setattr__(self, "variations", ordered)

    @cached_property
    def id(self) -> str:
        """Variation ids joined by "+"; "nominal" when empty."""
        return "+".join(v.id for v in self.variations) or NOMINAL

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the variations, sorted by factor."""
        return tuple(v.id for v in self.variations)

    @property
    def sentence(self) -> str:
        """The sentences of all variations as one text."""
        return " ".join(v.sentence for v in self.variations) or "Change nothing."


@dataclass(frozen=True)
class Catalogue:
    """The factors of a task and its named variations.

    Attributes:
        task: "lift", ...
        factors: by name, in the order of the factor vector.
        variations: named ones by id.
    """

    task: str
    factors: Mapping[str, Factor]
    variations: Mapping[str, Variation]

    @property
    def numeric_factors(self) -> tuple[Factor, ...]:
        """Factors that have numbers, in the order of `vector`."""
        return tuple(f for f in self.factors.values() if f.dim)

    @property
    def dim(self) -> int:
        """Length of the factor vector."""
        return sum(f.dim for f in self.numeric_factors)

    @property
    def singles(self) -> tuple[Perturbation, ...]:
        """Each named variation alone, in the catalogue's order."""
        return tuple(Perturbation((v,)) for v in self.variations.values())

    def variation(self, variation_id: str) -> Variation:
        """Parse one id: a name of the catalogue, or "factor=v1,v2"."""
        known = self.variations.get(variation_id)
        if known is not None:
            return known
        name, eq, numbers = variation_id.partition("=")
        if not eq:
            shown = ", ".join(self.variations)
            raise UnknownIdError(
                f"no variation {variation_id[:80]!r} in task {self.task}; known: {shown}; or factor=v1,v2."
            )
        factor = self.factors.get(name)
        if factor is None or not factor.dim:
            shown = ", ".join(f.name for f in self.numeric_factors)
            raise UnknownIdError(f"no factor {name[:80]!r} in task {self.task}; known: {shown}.")
        try:
            value = [float(x) for x in numbers.split(",")] if len(numbers) < 1000 else []
        except ValueError:
            raise InvalidArgumentError(
                f"{variation_id[:80]!r}: want {factor.dim} numbers separated by commas."
            ) from None
        return self.make(name, value)

    def make(self, factor: str, value: Sequence[float]) -> Variation:
        """The variation that sets a factor to a value; a catalogue name is used where the value has one."""
        checked = self.factors[factor].check(value)
        for known in self.variations.values():
            if known.factor == factor and known.value == checked:
                return known
        return Variation(
            factor,
            f"{factor}={format_value(checked)}",
            checked,
            self.factors[factor].describe(checked),
        )

    def perturbation(self, ids: str | Iterable[str]) -> Perturbation:
        """Parse "a+b", "nominal", "" or a list of ids."""
        parts = ids.split("+") if isinstance(ids, str) else list(ids)
        if len(parts) > MAX_VARIATIONS:
            raise TooLargeError(f"{len(parts)} variations at once; at most {MAX_VARIATIONS}.")
        return Perturbation(tuple(self.variation(p) for p in parts if p not in ("", NOMINAL)))

    def vector(self, perturbation: Perturbation) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Factor values normalised to -1..1 (0 where not applied) and the mask of applied ones, both (dim,)."""
        values, mask = np.zeros(self.dim, np.float32), np.zeros(self.dim, np.bool_)
        applied = {v.factor: v.value for v in perturbation.variations}
        at = 0
        for factor in self.numeric_factors:
            if applied.get(factor.name):
                values[at : at + factor.dim] = factor.normalize(applied[factor.name])
                mask[at : at + factor.dim] = True
            at += factor.dim
        return values, mask

    def sample(
        self, rng: np.random.Generator, active: float = 0.4, tries: int = 100
    ) -> Perturbation:
        """A random continuous perturbation: each numeric factor active with probability `active`, uniform in its range.

        At least one factor is active.
        """
        for _ in range(tries):
            chosen = [f for f in self.numeric_factors if rng.random() < active]
            if chosen:
                return Perturbation(
                    tuple(self.make(f.name, rng.uniform(f.low, f.high).tolist()) for f in chosen)
                )
        raise InvalidArgumentError(
            f"no factor became active in {tries} tries with probability {active}."
        )


def _factor(name: str, entry: Mapping[str, Any]) -> Factor:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Factor(name, **fields)


def load_catalogue(source: str | Path) -> Catalogue:
    """Read a catalogue: a shipped task name ("lift") or the path of a TOML file.

    Raises:
        UnknownIdError: no such shipped task or file.
        InvalidArgumentError: the file is not a catalogue.
    """
    text_source = resources.files("robomd_ros.core") / "catalogues" / f"{source}.toml"
    path = text_source if text_source.is_file() else Path(source)
    if not path.is_file():
        raise UnknownIdError(
            f"no catalogue {str(source)!r}: neither a shipped task nor a TOML file."
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        factors = {name: _factor(name, entry) for name, entry in data["factors"].items()}
        variations = {}
        for vid, entry in data["variations"].items():
            if not _NAME.match(vid):
                raise InvalidArgumentError(f"variation id {vid!r} is not snake_case.")
            factor = factors[entry["factor"]]
            value = factor.check(entry.get("value", ()))
            variations[vid] = Variation(
                factor.name, vid, value, entry.get("sentence") or factor.describe(value)
            )
        return Catalogue(str(data["task"]), factors, variations)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{path} is not a variation catalogue: {error}") from error
