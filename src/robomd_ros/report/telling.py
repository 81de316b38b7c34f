"""The rollouts most worth looking at: the riskiest failures, and the ones that surprised the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.report.data import Condition, Gallery, Thumbnail
from robomd_ros.report.words import title

EACH = 6
SURPRISE = 0.4
"""A failure predicted below this, or a success predicted above one minus this, is a surprise."""


def galleries(
    records: Sequence[RolloutRecord],
    predictions: Mapping[str, float],
    ranking: Sequence[Condition],
) -> tuple[Gallery, ...]:
    """Galleries that have something to show.

    Args:
        records: of the study.
        predictions: held-out P(failure) by rollout id; where it is empty the failure rate of the rollout's own condition
            stands in for the riskiest failures, and nothing is called a surprise.
        ranking: conditions with their rates.
    """
    shown = [r for r in records if r.is_evidence and r.first_frame is not None]
    failed = [r for r in shown if r.outcome is Outcome.FAILURE]
    passed = [r for r in shown if r.outcome is Outcome.SUCCESS]
    rates = {c.id: c.rate.value for c in ranking}
    risk = predictions or {r.id: rates.get(r.perturbation.id, math.nan) for r in shown}
    source = "held-out P(failure)" if predictions else "failure rate of the condition"
    name = "risk" if predictions else "its condition fails"
    found = [
        Gallery(
            "Riskiest failures",
            f"Failed, and the highest {source}: what breaking looks like.",
            name,
            _pick(failed, risk, highest=True),
        )
    ]
    if predictions:
        low = [r for r in failed if predictions.get(r.id, math.nan) < SURPRISE]
        high = [r for r in passed if predictions.get(r.id, math.nan) > 1 - SURPRISE]
        found += [
            Gallery(
                "Surprising failures",
                "Failed although the model, which had not seen the rollout, expected success: look here for what it misses.",
                name,
                _pick(low, risk, highest=False),
            ),
            Gallery(
                "Surprising successes",
                "Succeeded although failure was expected: the edge of what the policy copes with, or luck.",
                name,
                _pick(high, risk, highest=True),
            ),
        ]
    return tuple(g for g in found if g.thumbnails)


def _pick(
    records: Iterable[RolloutRecord], risk: Mapping[str, float], highest: bool
) -> tuple[Thumbnail, ...]:
    """The most extreme ones, one a condition."""
    rated = [r for r in records if math.isfinite(risk.get(r.id, math.nan))]
    seen: dict[str, RolloutRecord] = {}
    for record in sorted(rated, key=lambda r: risk[r.id], reverse=highest):
        seen.setdefault(record.perturbation.id, record)
    return tuple(_thumbnail(r, risk[r.id]) for r in list(seen.values())[:EACH])


def _thumbnail(record: RolloutRecord, p: float) -> Thumbnail:
    if record.first_frame is None:  # filtered before; said for the type checker
        raise ValueError(f"rollout {record.id} has no first frame.")
    failed = record.outcome is Outcome.FAILURE
    return Thumbnail(
        record.id, title(record.perturbation), failed, p, record.seed, record.first_frame
    )
