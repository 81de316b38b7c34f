"""The failure distribution over factors and their values: what the heat views show."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2_contingency

from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Factor
from robomd_ros.report.conditions import rate_of
from robomd_ros.report.data import Tile, TileRow
from robomd_ros.report.words import css_color, swatch, variation_title

CHOSEN_FOR_FAILING = ("search", "confirm")
"""Purposes left out of the view over values: rollouts run *because* they were likely to fail would colour it."""

BINS = 5
GREY_SATURATION = 0.25
_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
_SHOWN = {h: colorsys.hsv_to_rgb(k / 6, 0.85, 0.9) for k, h in enumerate(_HUES)} | {
    "dark": (0.25, 0.25, 0.25),
    "pale": (0.8, 0.8, 0.8),
}
_AXES = {
    "color": (),
    "scalar": ("",),
    "angles": ("azimuth", "elevation"),
    "size": ("x", "y", "z"),
    "offset": ("x", "y", "z"),
}


def catalogue_tiles(records: Sequence[RolloutRecord], catalogue: Catalogue) -> tuple[TileRow, ...]:
    """A row a factor, a tile a named variation, from the rollouts in which it was the only change."""
    rows = []
    for factor in catalogue.factors:
        named = [v for v in catalogue.variations.values() if v.factor == factor]
        tiles = tuple(
            Tile(
                variation_title(v).removeprefix(factor.split("_")[0] + " "),
                rate_of(r for r in records if r.perturbation.id == v.id),
                swatch(v),
            )
            for v in named
        )
        if tiles:
            rows.append(TileRow(factor.replace("_", " "), tiles))
    return tuple(rows)


def varied(records: Sequence[RolloutRecord], catalogue: Catalogue) -> list[RolloutRecord]:
    """Evidence with continuous or composed variations that was not chosen for its likely failure."""
    return [
        r
        for r in records
        if r.is_evidence
        and r.perturbation.variations
        and r.perturbation.id not in catalogue.variations
        and r.purpose not in CHOSEN_FOR_FAILING
    ]


def value_tiles(records: Sequence[RolloutRecord], catalogue: Catalogue) -> tuple[TileRow, ...]:
    """A row a factor (or component), a tile a bin of values, from `varied` rollouts; clearest differences first."""
    rows: list[TileRow] = []
    for factor in catalogue.numeric_factors:
        used = [
            (r, v.value)
            for r in records
            for v in r.perturbation.variations
            if v.factor == factor.name
        ]
        if used:
            ids = {r.id for r, _ in used}
            unchanged = rate_of(r for r in records if r.id not in ids)
            for name, tiles in _views(factor, used):
                rows.append(TileRow(name, tiles, unchanged, factor.unit))
    return tuple(sorted(rows, key=_p_value))


def _p_value(row: TileRow) -> float:
    """How likely so different rates are by chance: chi-square over the bins and "unchanged"; only for the order of rows."""
    rates = [r for r in (row.unchanged, *(t.rate for t in row.tiles)) if r and r.n]
    table = np.array([[r.failures, r.n - r.failures] for r in rates])
    if len(rates) < 2 or not table.sum(axis=0).all():
        return 1.0
    return float(chi2_contingency(table).pvalue)


Used = Sequence[tuple[RolloutRecord, tuple[float, ...]]]


def _views(factor: Factor, used: Used) -> list[tuple[str, tuple[Tile, ...]]]:
    name = factor.name.replace("_", " ")
    if factor.kind == "color":
        return [(name, _hue_tiles(used))]
    axes = _AXES.get(factor.kind) or tuple(str(i) for i in range(factor.dim))
    return [
        (f"{name} {axes[i] if i < len(axes) else i}".strip(), _bin_tiles(factor, i, used))
        for i in range(factor.dim)
        if factor.high[i] > factor.low[i]
    ]


def _hue_tiles(used: Used) -> tuple[Tile, ...]:
    """Six hues, then what has none: dark and pale."""
    bins: list[list[RolloutRecord]] = [[] for _ in _SHOWN]
    for record, value in used:
        bins[hue_bin(value)].append(record)
    return tuple(
        Tile(label, rate_of(mine), css_color(rgb))
        for (label, rgb), mine in zip(_SHOWN.items(), bins, strict=True)
    )


def hue_bin(rgb: Sequence[float]) -> int:
    """0..5 = the nearest of red, yellow, green, cyan, blue, magenta; 6 and 7 = dark and light colours without a hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    if saturation < GREY_SATURATION or value < GREY_SATURATION:
        return 6 if value < 0.5 else 7
    return round(6 * hue) % 6


def _bin_tiles(factor: Factor, axis: int, used: Used) -> tuple[Tile, ...]:
    """Five equal bins over the range of one component."""
    edges = np.linspace(factor.low[axis], factor.high[axis], BINS + 1)
    bins: list[list[RolloutRecord]] = [[] for _ in range(BINS)]
    for record, value in used:
        bins[int(np.searchsorted(edges[1:-1], value[axis], "right"))].append(record)
    return tuple(
        Tile(_bounds(edges[k], edges[k + 1]), rate_of(mine)) for k, mine in enumerate(bins)
    )


def _bounds(low: float, high: float) -> str:
    return f"{low:.2g} … {high:.2g}".replace("-", "−")
