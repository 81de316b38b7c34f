"""A comparison as a table for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from robomd_ros.core.comparison import Comparison, ComparisonConfig, Row, Verdict

WIDE = 100
"""Terminals from so many characters on get all columns."""
STYLES = {
    Verdict.BETTER: "bold green",
    Verdict.NO_WORSE: "green",
    Verdict.WORSE: "bold red",
    Verdict.UNDECIDED: "dim",
}


def comparison_table(found: Comparison, a: str, b: str, width: int = 120) -> Table:
    """One row a condition, worst for B first, and the overall one at the end; a wide terminal gets both rates' intervals."""
    percent = f"{100 * (1 - found.config.alpha):g} %"
    wide = width >= WIDE
    table = Table(
        title=f"A = {a}, B = {b}: failures, {'same scenes' if found.paired else 'independent samples'}",
        title_justify="left",
        caption=f"Intervals at {percent} and p are of each row alone; the last column is corrected for their number.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("condition", overflow="fold", ratio=1)
    rates = ("A", "rate", "B", "rate") if wide else ("A", "B")
    for name in (*rates, "B - A", "interval", "p", "B is"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(found.rows, key=lambda r: -_or(r.difference, -2.0)):
        table.add_row(*_cells(row, found.config, wide))
    table.add_section()
    table.add_row(*_cells(found.overall, found.config, wide))
    return table


def _cells(row: Row, config: ComparisonConfig, wide: bool) -> tuple[str | Text, ...]:
    known = math.isfinite(row.difference)
    p = min(1.0, 2 * min(row.p_worse, row.p_better))
    counts = []
    for failures, n in ((row.failures_a, row.n_a), (row.failures_b, row.n_b)):
        counts.append(f"{failures}/{n}")
        if wide:
            counts.append("{:.2f} – {:.2f}".format(*row.rate_interval(failures, n, config)))
    return (
        row.name,
        *counts,
        f"{row.difference:+.2f}" if known else "–",
        f"{row.low:+.2f} … {row.high:+.2f}",
        f"{p:.3f}" if p >= 0.001 else "<0.001",
        Text(row.verdict, style=STYLES[row.verdict]),
    )


def sentence(found: Comparison) -> str:
    """The verdict in one sentence."""
    worse = [row.name for row in found.rows if row.verdict is Verdict.WORSE]
    better = [row.name for row in found.rows if row.verdict is Verdict.BETTER]
    overall, config = found.overall, found.config
    said = {
        Verdict.WORSE: "B is worse overall",
        Verdict.BETTER: "B is better overall",
        Verdict.NO_WORSE: f"B is no worse overall: less than {config.margin:g} above A's failure rate",
        Verdict.UNDECIDED: f"overall undecided: B's failure rate lies {overall.low:+.2f} to {overall.high:+.2f} from A's",
    }[overall.verdict]
    parts = [said]
    parts += [f"worse under {', '.join(worse)}"] if worse else ["no condition shown to be worse"]
    parts += [f"better under {', '.join(better)}"] if better else []
    return f"{'; '.join(parts)} (alpha {config.alpha:g}, {tests(found)})."


def tests(found: Comparison) -> str:
    """Which tests these are, in a few words."""
    if found.config.anytime:
        return "anytime-valid: look and stop whenever you like"
    return "exact McNemar" if found.paired else "exact Fisher"


def comparison_json(found: Comparison, **more: Any) -> dict[str, Any]:
    """Plain JSON; what is not known is null."""
    return {
        "verdict": found.verdict.value,
        "overall": row_json(found.overall, found.config),
        "conditions": [row_json(row, found.config) for row in found.rows],
        "config": asdict(found.config),
        "paired": found.paired,
        "tests": tests(found),
        "notes": list(found.notes),
        **more,
    }


def row_json(row: Row, config: ComparisonConfig) -> Mapping[str, Any]:
    """One row with the intervals of both rates."""
    values = {k: v for k, v in asdict(row).items() if k != "verdict"}
    return {
        **{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()},
        "interval_a": list(row.rate_interval(row.failures_a, row.n_a, config)),
        "interval_b": list(row.rate_interval(row.failures_b, row.n_b, config)),
        "verdict": row.verdict.value,
    }


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other
