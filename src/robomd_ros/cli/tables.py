"""Answers as a table for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from robomd_ros.core.answers import Answer
from robomd_ros.report.data import EmbeddingFigures

BAR_WIDTH = 16
"""Characters from P(failure) 0 to 1."""
WIDE = 110
"""Terminals from so many characters on get all columns."""


def risk_style(p: float) -> str:
    """Colour of a probability of failure."""
    return "red" if p >= 0.5 else "yellow" if p >= 0.2 else "green"


def interval_bar(p: float, low: float, high: float) -> Text:
    """The 90 % interval as a line with the estimate as a mark on it, 0 on the left, 1 on the right."""
    if not all(math.isfinite(x) for x in (p, low, high)):
        return Text("·" * BAR_WIDTH, style="dim")
    at, start, end = (min(int(x * BAR_WIDTH), BAR_WIDTH - 1) for x in (p, low, high))
    text = Text()
    for i in range(BAR_WIDTH):
        if i == at:
            text.append("●", style=risk_style(p))
        else:
            text.append("─" if start <= i <= end else "·", style="" if start <= i <= end else "dim")
    return text


def what(answer: Answer) -> str:
    """What was asked about, in one line."""
    perturbation = answer.question.perturbation
    text = f'"{answer.question.text}"' if answer.question.text else ""
    parts = [perturbation.id if perturbation is not None else "", text]
    return " ".join(part for part in parts if part) or "(image)"


def number(value: float, digits: int = 2) -> str:
    """A number, or "–" for what is not known."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def evidence_text(answer: Answer) -> str:
    """Rollouts of exactly this condition, or the outcomes of the nearest ones."""
    if answer.rollouts:
        return f"{answer.failures}/{answer.rollouts} failed"
    near = " ".join(e.outcome.name[0] for e in answer.evidence)
    return f"near: {near}" if near else "none"


def answers_table(answers: Sequence[Answer], title: str = "", width: int = 120) -> Table:
    """Riskiest first, for a terminal of `width` characters; a narrow one gets no density and no distance."""
    wide = width >= WIDE
    table = Table(
        title=title or None,
        title_justify="left",
        caption=_WIDE_CAPTION if wide else _CAPTION,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("#", justify="right")
    table.add_column("what", overflow="fold", ratio=1)
    table.add_column("P(fail)", justify="right", no_wrap=True)
    table.add_column("90 %", no_wrap=True)
    table.add_column("0" + " " * (BAR_WIDTH - 2) + "1", no_wrap=True)
    if wide:
        table.add_column("density", justify="right")
        table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("rollouts", no_wrap=True)
    for answer in answers:
        table.add_row(*_row(answer, wide))
    return table


_CAPTION = (
    "?: further from the known rollouts than they are from each other, not to be trusted. "
    "near: the nearest rollouts failed (F) or succeeded (S)."
)
_WIDE_CAPTION = (
    f"{_CAPTION} density: of the search policy, relative to the riskiest. "
    "distance: to the nearest known rollout."
)


def _row(answer: Answer, wide: bool) -> Iterable[Any]:
    doubt = "" if answer.trusted else "?"
    yield str(answer.rank)
    yield what(answer)
    yield Text(doubt + number(answer.p_failure), style=f"bold {risk_style(answer.p_failure)}")
    yield f"{number(answer.p_low)}–{number(answer.p_high)}"
    yield interval_bar(answer.p_failure, answer.p_low, answer.p_high)
    if wide:
        yield number(answer.density_ratio)
        yield Text(doubt + number(answer.distance), style="yellow" if doubt else "")
    yield evidence_text(answer)


def answer_json(answer: Answer) -> dict[str, Any]:
    """One answer as plain JSON; what is not known is null."""
    perturbation = answer.question.perturbation
    floats = {
        "p_failure": answer.p_failure,
        "p_failure_low": answer.p_low,
        "p_failure_high": answer.p_high,
        "log_density": answer.log_density,
        "density_ratio": answer.density_ratio,
        "log_density_untrained": answer.log_density_untrained,
        "distance": answer.distance,
        "distance_limit": answer.distance_limit,
        "effective_rollouts": answer.effective_rollouts,
    }
    return {
        "rank": answer.rank,
        "question": answer.index,
        "perturbation_id": perturbation.id if perturbation is not None else "",
        "sentence": answer.question.sentence,
        **{name: value if math.isfinite(value) else None for name, value in floats.items()},
        "trusted": answer.trusted,
        "seen": answer.seen,
        "rollouts": answer.rollouts,
        "failures": answer.failures,
        "evidence": [
            {"rollout_id": e.rollout_id, "outcome": e.outcome.name, "distance": e.distance}
            for e in answer.evidence
        ],
    }


def figures_table(figures: EmbeddingFigures) -> Table:
    """The figures of an embedding's training."""
    table = Table(
        title="How good the embedding is",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("figure", overflow="fold", ratio=1)
    table.add_column("better", no_wrap=True)
    table.add_column(f"learnt from\nn = {figures.known}", justify="right", no_wrap=True)
    table.add_column(f"held out\nn = {figures.held_out}", justify="right", no_wrap=True)
    for row in figures.rows:
        table.add_row(row.name, row.better, number(row.known, 3), number(row.held_out, 3))
    return table
