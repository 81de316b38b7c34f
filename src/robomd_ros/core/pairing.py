"""Rollouts of two policies side by side: which of A's belongs to which of B's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord

CONTINUOUS = "continuous"
"""Name of the row that conditions with values of their own share."""
CHOSEN_BY_OUTCOME = ("search", "confirm")
"""Purposes of rollouts that were run because something was likely to fail: they would make A look bad, or B."""


@dataclass(frozen=True)
class Trial:
    """One rollout that is evidence: under what, on which scene (-1 = not seeded), and whether it failed."""

    condition: str
    seed: int
    failed: bool


@dataclass(frozen=True)
class Pair:
    """Both policies under one condition on one scene."""

    condition: str
    seed: int
    a_failed: bool
    b_failed: bool

    @property
    def difference(self) -> int:
        """1 = only B failed, -1 = only A did, 0 = both or neither."""
        return int(self.b_failed) - int(self.a_failed)


def trials(records: Iterable[RolloutRecord]) -> list[Trial]:
    """The rollouts that are evidence and were not chosen by their outcome."""
    return [
        Trial(r.perturbation.id, r.seed, r.outcome is Outcome.FAILURE)
        for r in records
        if r.is_evidence and r.purpose not in CHOSEN_BY_OUTCOME
    ]


def match(a: Iterable[Trial], b: Iterable[Trial]) -> list[Pair]:
    """Rollouts of one condition on one seed, the first of A with the first of B and so on."""
    waiting: dict[tuple[str, int], list[Trial]] = defaultdict(list)
    for trial in b:
        if trial.seed >= 0:
            waiting[trial.condition, trial.seed].append(trial)
    found = []
    for trial in a:
        same = waiting.get((trial.condition, trial.seed))
        if same:
            found.append(Pair(trial.condition, trial.seed, trial.failed, same.pop(0).failed))
    return found


def numbered(some: Sequence[Trial]) -> list[Trial]:
    """The trials with their turn within their condition instead of a seed: independent samples, matched as they came."""
    seen: dict[str, int] = defaultdict(int)
    out = []
    for trial in some:
        out.append(replace(trial, seed=seen[trial.condition]))
        seen[trial.condition] += 1
    return out


def halves(some: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The earlier and the later half of each condition's trials: one policy against itself, which has to come out even."""
    turns = numbered(some)
    size: dict[str, int] = defaultdict(int)
    for trial in some:
        size[trial.condition] += 1
    early = [2 * turn.seed < size[turn.condition] for turn in turns]
    first = [t for t, is_early in zip(some, early, strict=True) if is_early]
    return first, [t for t, is_early in zip(some, early, strict=True) if not is_early]


def row_name(condition: str) -> str:
    """Conditions with values of their own, seen once each, share a row."""
    return CONTINUOUS if "=" in condition else condition
