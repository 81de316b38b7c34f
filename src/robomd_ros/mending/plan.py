"""From what is known to what to collect: demonstrations under which variations, and what they should bring."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.study import StudyMeta
from robomd_ros.core.variations import NOMINAL
from robomd_ros.mending.effect import SHIPPED, Effect
from robomd_ros.mending.risks import Risk

MAX_DEMOS = 100_000
CONFIDENCE = 0.90
_DRAWS = 4000


@dataclass(frozen=True)
class Budget:
    """What may be spent.

    Attributes:
        demos: demonstrations in all, what setting up costs included; 0 = none, a control.
        least: fewest under one variation: for less nobody sets it up.
        setup: what setting up one variation costs, in demonstrations.
        setup_of: the same for single factors or variations, by name; goes before `setup`.
        without: factors or variations that cannot be set up.
    """

    demos: int = 80
    least: int = 4
    setup: float = 0.0
    setup_of: Mapping[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.demos <= MAX_DEMOS or not 1 <= self.least <= MAX_DEMOS:
            raise InvalidArgumentError(
                f"{self.demos} demonstrations, at least {self.least} a variation: want up to {MAX_DEMOS}, and at least 1 a variation."
            )
        costs = [self.setup, *self.setup_of.values()]
        if not all(0 <= c < float("inf") for c in costs):
            raise InvalidArgumentError(f"cost of setting up {costs}: want numbers from 0 on.")


@dataclass(frozen=True)
class Entry:
    """One condition of the plan.

    Attributes:
        id, sentence: of the perturbation.
        demos: to collect under it.
        p, low, high: P(failure) now, with a 90 % interval.
        rollouts, failures: of exactly this condition.
        after, after_low, after_high: expected P(failure) afterwards, with a 90 % interval.
        confirm: hardly tried: run it some times before demonstrations are made.
    """

    id: str
    sentence: str
    demos: int
    p: float
    low: float
    high: float
    rollouts: int
    failures: int
    after: float
    after_low: float
    after_high: float
    confirm: bool = False


@dataclass(frozen=True)
class DataPlan:
    """What to collect and what to expect of it.

    Attributes:
        task, robot, policy_id: of the policy to be mended.
        entries: every condition of the catalogue, most demonstrations first.
        before, after: mean P(failure) over all of them: estimate, low and high end of a 90 % interval.
        gain: before - after, likewise.
        effect: how the expectation was made.
        based_on: what P(failure) now rests on, in words.
        cost: demonstrations and set-ups together, in demonstrations.
    """

    task: str
    robot: str
    policy_id: str
    entries: tuple[Entry, ...]
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    gain: tuple[float, float, float]
    effect: Effect
    based_on: str
    cost: float

    @property
    def demos(self) -> int:
        """Demonstrations in all."""
        return sum(entry.demos for entry in self.entries)

    @property
    def wanted(self) -> tuple[Entry, ...]:
        """Entries that want demonstrations."""
        return tuple(entry for entry in self.entries if entry.demos)

    def to_json(self) -> str:
        """The whole plan."""
        return json.dumps(asdict(self) | {"demos": self.demos}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_atomic(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> DataPlan:
        """Read what `save` wrote. Raises StorageError."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StorageError(f"{path} is not a collection plan: {error}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DataPlan:
        """From plain values. Raises KeyError, TypeError or ValueError."""
        plain = {k: v for k, v in data.items() if k != "demos"}
        entries = tuple(Entry(**entry) for entry in plain.pop("entries"))
        if any(type(e.demos) is not int or not 0 <= e.demos <= MAX_DEMOS for e in entries):
            raise ValueError(f"demonstrations want whole numbers from 0 to {MAX_DEMOS}")
        for name in ("before", "after", "gain"):
            estimate, low, high = plain[name]
            plain[name] = (float(estimate), float(low), float(high))
        return cls(entries=entries, effect=Effect(**plain.pop("effect")), **plain)


def make_plan(
    risks: Sequence[Risk],
    budget: Budget,
    meta: StudyMeta,
    based_on: str,
    effect: Effect = SHIPPED,
) -> DataPlan:
    """Spend the budget where it is expected to remove most failures over all conditions.

    Args:
        risks: of every condition that counts, the unchanged scene among them.
        budget: demonstrations and what setting up costs.
        meta: of the study.
        based_on: what the risks rest on, in words.
        effect: what demonstrations do.

    Raises:
        InvalidArgumentError: no condition, or a name in the budget that none has.
    """
    if not risks:
        raise InvalidArgumentError("no condition to plan for: the catalogue is empty.")
    demos = allocate(risks, budget, effect)
    return describe(risks, demos, setup_costs(risks, budget), effect, meta, based_on)


def allocate(risks: Sequence[Risk], budget: Budget, effect: Effect) -> NDArray[np.int64]:
    """Demonstrations under each condition: step by step, where one more brings most for its cost.

    The first step under a condition is `budget.least` demonstrations and its setting up.
    """
    costs = setup_costs(risks, budget)
    kin = same_factor(risks)
    p = np.array([r.p for r in risks])
    demos, left = np.zeros(len(risks), np.int64), float(budget.demos)
    while True:
        steps = np.where(demos, 1, budget.least)
        prices = steps + np.where(demos, 0.0, costs)
        now = effect.after(p, demos, kin @ demos).sum()
        then = demos[None, :] + np.diag(steps)
        gains = now - effect.after(p[None, :], then, then @ kin).sum(axis=1)
        worth = np.where((prices <= left) & (gains > 1e-12), gains / prices, -1.0)
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            return demos
        demos[best] += steps[best]
        left -= float(prices[best])


def setup_costs(risks: Sequence[Risk], budget: Budget) -> NDArray[np.float64]:
    """Cost of setting up each condition, in demonstrations; infinite for the unchanged scene and what is left out."""
    known = {name for r in risks for v in r.perturbation.variations for name in (v.id, v.factor)}
    unknown = [n for n in (*budget.without, *budget.setup_of) if n not in known]
    if unknown:
        raise InvalidArgumentError(
            f"no variation or factor {', '.join(unknown)}; there are {', '.join(sorted(known))}."
        )
    costs = []
    for risk in risks:
        names = [n for v in risk.perturbation.variations for n in (v.id, v.factor)]
        own = [budget.setup_of[n] for n in names if n in budget.setup_of]
        impossible = risk.perturbation.id == NOMINAL or any(n in budget.without for n in names)
        costs.append(np.inf if impossible else own[0] if own else budget.setup)
    return np.array(costs, np.float64)


def same_factor(risks: Sequence[Risk]) -> NDArray[np.float64]:
    """(N, N) 1 where two different conditions change the same factors."""
    factors = [tuple(v.factor for v in r.perturbation.variations) for r in risks]
    same = np.array([[float(bool(a) and a == b) for b in factors] for a in factors])
    np.fill_diagonal(same, 0.0)
    return same


def describe(
    risks: Sequence[Risk],
    demos: NDArray[np.int64],
    costs: NDArray[np.float64],
    effect: Effect,
    meta: StudyMeta,
    based_on: str,
) -> DataPlan:
    """The plan with its expectation: what is unsure now and what fine-tunings scatter, drawn many times."""
    rng = np.random.default_rng(0)
    kin = same_factor(risks) @ demos
    now = np.stack([r.draw(rng, _DRAWS) for r in risks], axis=1)
    then = effect.draw(effect.after(now, demos, kin), rng)
    expected = effect.after([r.p for r in risks], demos, kin)
    low, high = np.quantile(then, _tails(), axis=0)
    entries = [
        Entry(
            r.perturbation.id, r.perturbation.sentence, int(n), r.p, r.low, r.high, r.rollouts, r.failures,
            float(q), float(min(a, q)), float(max(b, q)), bool(n) and r.unsure,
        )
        for r, n, q, a, b in zip(risks, demos, expected, low, high, strict=True)
    ]  # fmt: skip
    entries.sort(key=lambda e: (-e.demos, -e.p))
    mean_now, mean_then = float(np.mean([r.p for r in risks])), float(expected.mean())
    return DataPlan(
        task=meta.task,
        robot=meta.robot,
        policy_id=meta.policy_id,
        entries=tuple(entries),
        before=_span(mean_now, now.mean(axis=1)),
        after=_span(mean_then, then.mean(axis=1)),
        gain=_span(mean_now - mean_then, (now - then).mean(axis=1)),
        effect=effect,
        based_on=based_on,
        cost=float(demos.sum() + costs[demos > 0].sum()),
    )


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _span(estimate: float, draws: NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = (float(x) for x in np.quantile(draws, _tails()))
    return estimate, min(low, estimate), max(high, estimate)
