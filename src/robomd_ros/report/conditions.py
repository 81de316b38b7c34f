"""Conditions and their verdicts: which ones fail, how sure that is, and how many demonstrations they want."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from robomd_ros.core.answers import Answer
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import probability_above, wilson
from robomd_ros.core.variations import NOMINAL, Perturbation
from robomd_ros.report.data import Condition, Demand, Rate, Verdict
from robomd_ros.report.words import swatches, title
from robomd_ros.search.session import SessionConfig

DEMONSTRATIONS = 25
"""For a condition that always fails. 25 under each of the three worst conditions, 75 in all, took the failures over the 21
variations of Lift from 0.30 to 0.11 (shared prototype, n = 252)."""

MAX_DEMANDS = 8


def rate(failures: int, n: int) -> Rate:
    """A rate with its 90 % Wilson interval."""
    if not n:
        return Rate(0, 0, math.nan, math.nan)
    low, high = wilson(failures, n, 0.9)
    return Rate(failures, n, float(low), float(high))


def rate_of(records: Iterable[RolloutRecord]) -> Rate:
    """Failures among the rollouts that are evidence."""
    failed = [r.outcome is Outcome.FAILURE for r in records if r.is_evidence]
    return rate(sum(failed), len(failed))


def certainty(seen: Rate) -> float:
    """P(failure rate > 1/2), uniform prior; NaN where nothing was run."""
    return float(probability_above(seen.failures, seen.n, 0.5)) if seen.n else math.nan


def verdict(seen: Rate, nominal: Rate) -> Verdict:
    """What the rollouts allow to say; "fails" is the rule by which a session confirms a condition."""
    rule = SessionConfig()
    if not seen.n:
        return Verdict.UNTESTED
    if seen.n < rule.repeats:
        return Verdict.OPEN
    if certainty(seen) >= rule.confirm_probability:
        return Verdict.FAILS
    if nominal.n and seen.low > nominal.high:
        return Verdict.WORSE
    if 1.0 - certainty(seen) >= rule.confirm_probability:
        return Verdict.WORKS
    return Verdict.OPEN


def by_condition(
    records: Iterable[RolloutRecord],
) -> dict[str, tuple[Perturbation, list[RolloutRecord]]]:
    """Evidence grouped by the id of its perturbation, in the order of the first rollout."""
    groups: dict[str, tuple[Perturbation, list[RolloutRecord]]] = {}
    for record in records:
        if record.is_evidence:
            groups.setdefault(record.perturbation.id, (record.perturbation, []))[1].append(record)
    return groups


def condition(
    perturbation: Perturbation, seen: Rate, nominal: Rate, in_catalogue: bool
) -> Condition:
    """A condition without predictions."""
    return Condition(
        id=perturbation.id,
        title=title(perturbation),
        sentence=perturbation.sentence,
        swatches=swatches(perturbation),
        rate=seen,
        certainty=certainty(seen),
        verdict=verdict(seen, nominal),
        in_catalogue=in_catalogue,
    )


def with_answer(known: Condition, answer: Answer) -> Condition:
    """The condition with what the model expects of it."""
    return replace(
        known,
        p=answer.p_failure,
        p_low=answer.p_low,
        p_high=answer.p_high,
        density_ratio=answer.density_ratio,
        trusted=answer.trusted,
        distance=answer.distance,
        distance_limit=answer.distance_limit,
        effective_rollouts=answer.effective_rollouts,
    )


def badness(known: Condition) -> tuple[float, float]:
    """Sort key, worst first: the lower end of what was seen, then of what is expected."""
    seen = known.rate.low if known.rate.n else -1.0
    return -seen, -(known.p_low if math.isfinite(known.p_low) else -1.0)


def demands(conditions: Sequence[Condition]) -> tuple[Demand, ...]:
    """Demonstrations to collect, worst condition first.

    Conditions that fail or are worse than the unchanged scene by their rollouts count; where there are none, those that the
    model expects to fail (lower end of the interval above one half, trusted), to be confirmed first.
    """
    chosen = [c for c in conditions if c.verdict in (Verdict.FAILS, Verdict.WORSE)]
    confirm = not chosen
    if confirm:
        chosen = [c for c in conditions if c.trusted and c.p_low > 0.5]
    chosen = [c for c in sorted(chosen, key=badness) if c.id != NOMINAL]
    return tuple(
        Demand(c, demonstrations(c.p if confirm else c.rate.value), confirm)
        for c in chosen[:MAX_DEMANDS]
    )


def demonstrations(failure_rate: float) -> int:
    """25 for a condition that always fails, in proportion to the failure rate, rounded up to the next five."""
    return 5 * max(1, math.ceil(DEMONSTRATIONS * failure_rate / 5 - 1e-9))
