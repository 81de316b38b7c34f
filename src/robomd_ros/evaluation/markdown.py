"""Tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others numbers."""
    line = "| " + " | ".join(head) + " |"
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join([line, rule, *("| " + " | ".join(row) + " |" for row in rows)])


def with_interval(value: float, low: float, high: float) -> str:
    """0.912 [0.890, 0.934]; a dash for what could not be measured."""
    return "–" if math.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
