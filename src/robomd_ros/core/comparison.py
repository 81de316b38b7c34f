"""Is policy B better or worse than policy A, under each condition and overall?

A difference is B's failure rate less A's: above 0, B is worse. Where both were run on the same scene seeds, outcomes are
compared pair by pair. Verdicts are corrected for their number; see docs/statistics.md for the tests and why these.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

import numpy as np

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.exact_tests import (
    Table,
    holm,
    newcombe_interval,
    normal_tail,
    p_below,
    sign_flip,
    stratified_fisher,
    tango_interval,
    tango_z,
)
from robomd_ros.core.pairing import Pair, Trial, match, numbered, row_name
from robomd_ros.core.sequential import (
    DIFFERENCE,
    FAILED,
    confidence_sequence,
    log_evidence,
    log_evidence_below,
    p_value,
)
from robomd_ros.core.statistics import few_groups, wilson

OVERALL = "overall"


class Verdict(StrEnum):
    """What is shown about B. UNDECIDED: more rollouts would be needed."""

    BETTER = "better"
    NO_WORSE = "no worse"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class ComparisonConfig:
    """How sure, and how much worse is still no matter.

    Attributes:
        alpha: chance at most of any wrong "better" or "worse" in the whole comparison, and of a wrong "no worse".
        margin: "no worse" means that B's failure rate is less than this above A's.
        anytime: tests that hold however often one looks, at the price of some power; else for one look.
    """

    alpha: float = 0.05
    margin: float = 0.1
    anytime: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 0.5:
            raise InvalidArgumentError(f"alpha {self.alpha}: want a number above 0, up to 0.5.")
        if not 0 < self.margin < 1:
            raise InvalidArgumentError(f"margin {self.margin}: want a number between 0 and 1.")


@dataclass(frozen=True)
class Row:
    """What is known of one condition, or overall.

    Attributes:
        name: of the condition; CONTINUOUS = all conditions with values of their own; OVERALL.
        failures_a, n_a, failures_b, n_b: counts.
        difference, low, high: B's failure rate less A's, and its interval at confidence 1 - alpha, of this row alone.
        p_worse, p_better, p_no_worse: against "B is not worse", "not better", "worse by the margin or more".
        verdict: after correction for the number of rows.
    """

    name: str
    failures_a: int
    n_a: int
    failures_b: int
    n_b: int
    difference: float = math.nan
    low: float = -1.0
    high: float = 1.0
    p_worse: float = 1.0
    p_better: float = 1.0
    p_no_worse: float = 1.0
    verdict: Verdict = Verdict.UNDECIDED

    def rate_interval(self, failures: int, n: int, config: ComparisonConfig) -> tuple[float, float]:
        """Wilson's, or a confidence sequence where one may look at any time."""
        if config.anytime:
            return confidence_sequence((n - failures, failures), FAILED, 1 - config.alpha)
        return wilson(failures, n, 1 - config.alpha)


@dataclass(frozen=True)
class Comparison:
    """The rows, and all of them together.

    Attributes:
        rows: one a condition, in the order of their first appearance in A.
        overall: all conditions; weighted by their number of rollouts.
        config: of the tests.
        paired: on the same scenes, else two independent samples.
        notes: what the reader has to know, a sentence each.
    """

    rows: tuple[Row, ...]
    overall: Row
    config: ComparisonConfig
    paired: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """WORSE if B is worse overall or under any condition; else what holds overall."""
        if any(row.verdict is Verdict.WORSE for row in self.rows):
            return Verdict.WORSE
        return self.overall.verdict


def compare(
    a: Sequence[Trial], b: Sequence[Trial], config: ComparisonConfig | None = None
) -> Comparison:
    """Compare two sets of rollouts under the conditions that both were run under.

    Raises:
        InvalidArgumentError: no condition in common.
    """
    config = config or ComparisonConfig()
    common, notes = _common(a, b)
    a, b = ([t for t in some if t.condition in common] for some in (a, b))
    pairs = match(a, b)
    paired = 2 * len(pairs) >= min(len(a), len(b))
    if paired:
        rows, overall = _paired_rows(pairs, config)
        left = len(a) + len(b) - 2 * len(pairs)
        if left:
            notes.append(f"{left} rollouts without a partner on the same seed are left out.")
        if config.anytime and len({p.seed for p in pairs}) < len(pairs):
            notes.append(
                "Conditions share scene seeds: --anytime takes their pairs for independent overall."
            )
    else:
        notes.append(
            f"Unpaired: {len(pairs)} of {min(len(a), len(b))} rollouts share condition and scene seed, so A and B are "
            "compared as independent samples, which takes more rollouts."
        )
        rows, overall = (_blocks if config.anytime else _unpaired_rows)(a, b, config)
    return decide(rows, overall, config, paired, tuple(notes))


def paired_row(name: str, pairs: Sequence[Pair], config: ComparisonConfig) -> Row:
    """The numbers of pairs, not yet judged."""
    n = len(pairs)
    worse = sum(p.difference > 0 for p in pairs)
    better = sum(p.difference < 0 for p in pairs)
    row = Row(name, sum(p.a_failed for p in pairs), n, sum(p.b_failed for p in pairs), n)
    if not n:
        return row
    row = replace(row, difference=(worse - better) / n)
    if config.anytime:
        return _anytime(row, worse, better, n, config)
    sums: dict[int, int] = defaultdict(int)
    for p in pairs:
        sums[p.seed] += p.difference
    p_worse, p_better = sign_flip(sums.values())
    shrink = 1 / _design_effect(pairs, row.difference, 1 - config.alpha)
    effective = (worse * shrink, better * shrink, n * shrink)
    low, high = tango_interval(*effective, 1 - config.alpha)
    p_no_worse = normal_tail(tango_z(*effective, config.margin))
    return replace(
        row, low=low, high=high, p_worse=p_worse, p_better=p_better, p_no_worse=p_no_worse
    )


def decide(
    rows: Sequence[Row],
    overall: Row,
    config: ComparisonConfig,
    paired: bool = True,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """Verdicts: half of alpha for the overall row, half for all others together, those by Holm.

    With one condition there is one question, and it gets all of alpha.
    """
    if len(rows) == 1:
        row = _judge(rows, config.alpha)[0]
        return Comparison((row,), replace(row, name=OVERALL), config, paired, notes)
    judged, whole = _judge(rows, config.alpha / 2), _judge([overall], config.alpha / 2)[0]
    shown = {row.verdict for row in judged}
    if whole.verdict is Verdict.UNDECIDED and shown <= {Verdict.NO_WORSE, Verdict.BETTER}:
        whole = replace(whole, verdict=Verdict.NO_WORSE)  # a mean of differences below the margin
    return Comparison(judged, whole, config, paired, notes)


def _judge(rows: Sequence[Row], alpha: float) -> tuple[Row, ...]:
    different = holm([min(1.0, 2 * min(r.p_worse, r.p_better)) for r in rows])
    no_worse = holm([r.p_no_worse for r in rows])
    out = []
    for row, p, p_no_worse in zip(rows, different, no_worse, strict=True):
        verdict = Verdict.UNDECIDED
        if p <= alpha:
            verdict = Verdict.WORSE if row.p_worse < row.p_better else Verdict.BETTER
        elif p_no_worse <= alpha:
            verdict = Verdict.NO_WORSE
        out.append(replace(row, verdict=verdict))
    return tuple(out)


def _anytime(row: Row, worse: int, better: int, n: int, config: ComparisonConfig) -> Row:
    counts = (better, n - worse - better, worse)
    low, high = confidence_sequence(counts, DIFFERENCE, 1 - config.alpha)
    return replace(
        row,
        low=low,
        high=high,
        p_worse=p_value(float(log_evidence(counts, DIFFERENCE, 0.0))),
        p_better=p_value(float(log_evidence_below(counts, DIFFERENCE, 0.0))),
        p_no_worse=p_value(float(log_evidence_below(counts, DIFFERENCE, config.margin))),
    )


def _paired_rows(pairs: Sequence[Pair], config: ComparisonConfig) -> tuple[list[Row], Row]:
    groups = _grouped(pairs)
    rows = [paired_row(name, some, config) for name, some in groups.items()]
    return rows, paired_row(OVERALL, pairs, config)


def _unpaired_rows(
    a: Sequence[Trial], b: Sequence[Trial], config: ComparisonConfig
) -> tuple[list[Row], Row]:
    tables = _tables(a, b)
    groups: dict[str, list[Table]] = defaultdict(list)
    for condition, table in tables.items():
        groups[row_name(condition)].append(table)
    rows = [_unpaired_row(name, some, config) for name, some in groups.items()]
    return rows, _unpaired_row(OVERALL, list(tables.values()), config)


def _unpaired_row(name: str, tables: Sequence[Table], config: ComparisonConfig) -> Row:
    counts = {f.name: sum(getattr(t, f.name) for t in tables) for f in fields(Table)}
    p_worse, p_better = stratified_fisher(tables)
    difference, low, high = newcombe_interval(tables, 1 - config.alpha)
    p_no_worse = p_below(lambda c: newcombe_interval(tables, c)[2], config.margin)
    return Row(name, **counts, difference=difference, low=low, high=high, p_worse=p_worse, p_better=p_better, p_no_worse=p_no_worse)  # fmt: skip


def _blocks(
    a: Sequence[Trial], b: Sequence[Trial], config: ComparisonConfig
) -> tuple[list[Row], Row]:
    """Independent samples looked at any time: the k-th rollout of A under a condition with the k-th of B."""
    return _paired_rows(match(numbered(a), numbered(b)), config)


def _tables(a: Iterable[Trial], b: Iterable[Trial]) -> dict[str, Table]:
    counts: dict[str, list[int]] = {}
    for at, some in ((0, a), (2, b)):
        for trial in some:
            tally = counts.setdefault(trial.condition, [0, 0, 0, 0])
            tally[at] += trial.failed
            tally[at + 1] += 1
    return {condition: Table(*tally) for condition, tally in counts.items()}


def _design_effect(pairs: Sequence[Pair], mean: float, confidence: float) -> float:
    """How much wider an interval has to be because pairs share scenes (Kish), and because those are few."""
    by_seed: dict[int, float] = defaultdict(float)
    alone = 0.0
    for pair in pairs:
        gap = pair.difference - mean
        by_seed[pair.seed] += gap
        alone += gap * gap
    if len(by_seed) == len(pairs):
        return 1.0
    together = float(np.sum(np.square(list(by_seed.values()))))
    effect = max(1.0, together / alone) if alone else 1.0
    return effect * few_groups(len(by_seed), confidence)


def _grouped(pairs: Iterable[Pair]) -> Mapping[str, list[Pair]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[row_name(pair.condition)].append(pair)
    return groups


def _common(a: Sequence[Trial], b: Sequence[Trial]) -> tuple[set[str], list[str]]:
    """Conditions that both were run under, and a sentence about the others."""
    ours, theirs = ({t.condition for t in some} for some in (a, b))
    if not ours or not theirs:
        empty = "A" if not ours else "B"
        raise InvalidArgumentError(
            f"{empty} has no labelled rollout that is evidence: nothing to compare."
        )
    if not ours & theirs:
        raise InvalidArgumentError(
            f"A and B have no condition in common (A: {_some(ours)}; B: {_some(theirs)})."
        )
    lone = ours ^ theirs
    text = f"{len(lone)} conditions that only one of them was run under are left out."
    return ours & theirs, [text] if lone else []


def _some(conditions: set[str]) -> str:
    shown = sorted(conditions)[:3]
    return ", ".join(shown) + (" ..." if len(conditions) > 3 else "")
