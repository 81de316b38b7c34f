"""Answers as a table for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from robomd_ros.core.answers import Answer

BAR_WIDTH = 20
"""Characters from P(failure) 0 to 1."""


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
        return f"{answer.failures} of {answer.rollouts} failed"
    near = " ".join(e.outcome.name[0] for e in answer.evidence)
    return f"none; nearest {near}" if near else "none"


def answers_table(answers: Sequence[Answer], title: str = "", top: int = 0) -> Table:
    """Riskiest first; `top` rows of them, 0 = all."""
    table = Table(
        title=title or None, title_justify="left", caption=_CAPTION, caption_justify="left"
    )
    table.add_column("#", justify="right")
    table.add_column("what", overflow="fold", ratio=2)
    table.add_column("P(failure)", justify="right", no_wrap=True)
    table.add_column("90 % interval", no_wrap=True)
    table.add_column("0        0.5        1", no_wrap=True, min_width=BAR_WIDTH)
    table.add_column("density", justify="right")
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("evidence")
    for answer in answers[: top or None]:
        table.add_row(*_row(answer))
    return table


_CAPTION = (
    "density: of the search policy, relative to the riskiest. distance: to the nearest known rollout; "
    "? = further than known ones are from each other, not to be trusted. F, S: nearest rollouts failed, succeeded."
)


def _row(answer: Answer) -> Iterable[Any]:
    distance = Text(number(answer.distance) + ("" if answer.trusted else " ?"))
    if not answer.trusted:
        distance.stylize("yellow")
    return (
        str(answer.rank),
        what(answer),
        Text(number(answer.p_failure), style=f"bold {risk_style(answer.p_failure)}"),
        f"{number(answer.p_low)} – {number(answer.p_high)}",
        interval_bar(answer.p_failure, answer.p_low, answer.p_high),
        number(answer.density_ratio),
        distance,
        evidence_text(answer),
    )


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
