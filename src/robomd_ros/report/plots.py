"""The report's pictures as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from robomd_ros.report.data import EmbeddingMap, ReliabilityBin, Scorer
from robomd_ros.report.svg import Chart

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def embedding_map(data: EmbeddingMap) -> Markup:
    """Known rollouts (ring = success, cross = failure) with the search policy's proposals under them."""
    ranges = _frame(data)
    chart = Chart(
        f"Map of {len(data.points)} known embeddings in two dimensions, {len(data.proposals)} proposals of the search policy",
        *ranges,
        width=760,
        height=470,
        left=34,
        bottom=34,
    )
    shares = [f"PC {i + 1} ({100 * s:.2g} % of variance)" for i, s in enumerate(data.explained)]
    chart.axes(shares[0], shares[1])
    chart.add(
        '<rect class="frame" x="{x}" y="{y}" width="{w}" height="{h}"/>',
        x=chart.left, y=chart.top, w=chart.width - chart.left - chart.right, h=chart.height - chart.top - chart.bottom,
    )  # fmt: skip
    for at in data.proposals:
        if _inside(at, *ranges):
            chart.circle(at, 7, "proposal")
    for point in sorted(data.points, key=lambda p: p.failed):
        at = (point.x, point.y)
        if point.failed:
            chart.cross(at, 3.2, "cross", point.title)
        else:
            chart.circle(at, 3.2, "ring", point.title)
    return chart.svg()


def outside(data: EmbeddingMap) -> int:
    """Proposals that lie outside the picture, which the known rollouts frame."""
    ranges = _frame(data)
    return sum(not _inside(at, *ranges) for at in data.proposals)


def _frame(data: EmbeddingMap) -> tuple[tuple[float, float], tuple[float, float]]:
    return _range([p.x for p in data.points]), _range([p.y for p in data.points])


def _inside(
    at: tuple[float, float], x_range: tuple[float, float], y_range: tuple[float, float]
) -> bool:
    return x_range[0] <= at[0] <= x_range[1] and y_range[0] <= at[1] <= y_range[1]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Observed failure rate over predicted probability; on the diagonal a prediction keeps its word."""
    chart = Chart(
        "Reliability: " + "; ".join(f"predicted {b.predicted:.2f}, failed {b.rate.failures} of {b.rate.n}" for b in bins),
        (0.0, 1.0), (0.0, 1.0), width=440, height=420,
    )  # fmt: skip
    chart.axes("predicted P(failure)", "failed", QUARTERS, QUARTERS, "%")
    chart.line((0, 0), (1, 1), "diagonal")
    for b in bins:
        said = f"predicted {100 * b.predicted:.0f} %, failed {b.rate.failures} of {b.rate.n}"
        chart.line((b.predicted, b.rate.low), (b.predicted, b.rate.high), "whisker", said)
        chart.circle((b.predicted, b.rate.value), 5, "dot", said)
    return chart.svg()


def auc_bars(scorers: Sequence[Scorer]) -> Markup:
    """AUC of each scorer with its interval where there is one; bars start at 50 %, a coin, and go left below it."""
    shown = [s for s in scorers if math.isfinite(s.auc)]
    low = min([0.5, *(s.auc for s in shown), *(s.low for s in shown if math.isfinite(s.low))])
    start = math.floor(low * 10) / 10
    chart = Chart(
        "Ranking accuracy: " + "; ".join(f"{s.name} {s.auc:.2f}" for s in shown),
        (start, 1.0), (len(shown) + 0.0, 0.0), width=760, height=44 * len(shown) + 50, left=250, top=6, bottom=40, right=70,
    )  # fmt: skip
    ticks = [t / 10 for t in range(round(start * 10), 11)]
    chart.axes("AUC: share of pairs in which the failure gets the higher risk", "", ticks, (), "%")
    chart.line((0.5, 0), (0.5, len(shown)), "coin", "a coin")
    for i, s in enumerate(shown):
        css = "ours" if s.ours else "other"
        middle = i + 0.5
        chart.text((start, middle), s.name, f"name end {css}", dx=-10, dy=5)
        chart.line((0.5, middle), (s.auc, middle), f"bar {css}", s.note)
        if math.isfinite(s.low):
            chart.line((s.low, middle), (s.high, middle), "whisker")
        chart.text((1.0, middle), f"{100 * s.auc:.1f} %", f"value {css}", dx=10, dy=5)
    return chart.svg()
