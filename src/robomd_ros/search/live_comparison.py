"""Two policies on the same scenes, round by round, until it is decided which is better: may stop after any pair."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from robomd_ros.core.comparison import (
    OVERALL,
    Comparison,
    ComparisonConfig,
    Row,
    Verdict,
    decide,
    paired_row,
)
from robomd_ros.core.errors import PolicyError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.pairing import Pair
from robomd_ros.core.records import RolloutRecord

MAX_ERRORS = 5
"""Rollouts that may end without an outcome before the comparison gives up."""


@dataclass(frozen=True)
class Turn:
    """One rollout that both policies are given; `ends_round`: every condition has had its turn."""

    condition: str
    seed: int
    ends_round: bool


class Monitor:
    """What the pairs show so far. Asked after every pair, which its tests allow.

    Each condition's evidence counts every pair. The overall evidence counts whole rounds, in which every condition came once,
    so that it is about the mean over the conditions: pairs on scenes of their own are independent, and the mean of a product
    of such bets is at most what bets on the mean would give (arithmetic and geometric mean).
    """

    def __init__(self, conditions: Sequence[str], config: ComparisonConfig) -> None:
        self.conditions = tuple(conditions)
        self.pairs: list[Pair] = []
        self._config = replace(config, anytime=True)
        self._rows = {name: Row(name, 0, 0, 0, 0) for name in conditions}
        self._overall = Row(OVERALL, 0, 0, 0, 0)
        self._round: list[Pair] = []
        self._whole: list[Pair] = []
        self._by_condition: dict[str, list[Pair]] = defaultdict(list)
        self.comparison = self._decide()

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        self.pairs.append(pair)
        self._round.append(pair)
        some = self._by_condition[pair.condition]
        some.append(pair)
        self._rows[pair.condition] = self._update(self._rows[pair.condition], some)
        self.comparison = self._decide()

    def end_round(self) -> None:
        """Count the round for the whole, if no condition was left out of it."""
        if {p.condition for p in self._round} == set(self.conditions):
            self._whole += self._round
            self._overall = self._update(self._overall, self._whole)
            self.comparison = self._decide()
        self._round = []

    def decided(self, condition: str) -> bool:
        """Whether this condition's verdict stands."""
        return any(
            r.name == condition and r.verdict is not Verdict.UNDECIDED for r in self.comparison.rows
        )

    def _update(self, before: Row, pairs: Sequence[Pair]) -> Row:
        """The numbers now, with the strongest evidence there ever was: a verdict that was reached stays."""
        now = paired_row(before.name, pairs, self._config)
        return replace(
            now,
            p_worse=min(now.p_worse, before.p_worse),
            p_better=min(now.p_better, before.p_better),
            p_no_worse=min(now.p_no_worse, before.p_no_worse),
        )

    def _decide(self) -> Comparison:
        return decide(list(self._rows.values()), self._overall, self._config)


class Rollouts(Protocol):
    """Port: a policy that is given turns and answers with records, in order, reading a little ahead."""

    def __call__(self, turns: Iterable[Turn]) -> Iterator[RolloutRecord]:
        """One record a turn."""
        ...


def run_comparison(
    a: Rollouts,
    b: Rollouts,
    monitor: Monitor,
    pairs: int,
    first_seed: int,
    each: bool = False,
    told: Callable[[Pair], None] = lambda pair: None,
) -> None:
    """Run both policies, every pair on a scene of its own, until decided or until `pairs` are spent.

    Args:
        a: the policy before.
        b: the policy after.
        monitor: counts; holds the result, also after an exception.
        pairs: at most.
        first_seed: of the scenes; they count up from here.
        each: go on until each condition is decided, running only those that are not; else until the verdict stands.
        told: after each pair.

    Raises:
        PolicyError: too many rollouts ended without a success or a failure.
    """
    turns = itertools.islice(_turns(monitor, first_seed, each), pairs)
    for_a, for_b, ours = itertools.tee(turns, 3)
    results_a, results_b = a(for_a), b(for_b)
    errors = 0
    for turn, of_a, of_b in zip(ours, results_a, results_b, strict=False):
        wrong = [r for r in (of_a, of_b) if not r.is_evidence]
        if wrong:
            errors += 1
            _refuse(wrong[0], turn, errors)
        else:
            failed = (r.outcome is Outcome.FAILURE for r in (of_a, of_b))
            pair = Pair(turn.condition, turn.seed, *failed)
            monitor.add(pair)
            told(pair)
        if turn.ends_round:
            monitor.end_round()
        if _done(monitor, each):
            return


def _turns(monitor: Monitor, first_seed: int, each: bool) -> Iterator[Turn]:
    seeds = itertools.count(first_seed)
    while True:
        left = [c for c in monitor.conditions if not (each and monitor.decided(c))]
        if not left:
            return
        for condition in left:
            yield Turn(condition, next(seeds), condition == left[-1])


def _done(monitor: Monitor, each: bool) -> bool:
    if each:
        return all(monitor.decided(c) for c in monitor.conditions)
    return monitor.comparison.verdict is not Verdict.UNDECIDED


def _refuse(record: RolloutRecord, turn: Turn, errors: int) -> None:
    if errors > MAX_ERRORS:
        reason = record.labels[-1].reason if record.labels else "no outcome"
        raise PolicyError(
            f"{errors} rollouts ended without success or failure, the last one of policy {record.policy_id} under "
            f"{turn.condition}: {reason}"
        )
