"""What a diagnosis session runs next, and when it is done. No ROS, no clock: a pure function of what was seen.

A session starts with a negative control and a few nominal rollouts (the control arm), fills the space of variations, and
then mixes, in stated shares, what the search proposes, what teaches most and plain chance. A failure that was found is one
rollout, not a failing condition: it is repeated before it is called one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.statistics import probability_above
from robomd_ros.core.variations import Perturbation

Suggest = Callable[[str, int], Sequence[Perturbation]]
"""(strategy, count) -> perturbations, best first; strategies as in SuggestNext.srv."""

MAX_ROLLOUTS = 100_000


@dataclass(frozen=True)
class SessionConfig:
    """How a session spends its rollouts.

    Attributes:
        rollouts: budget, control arm included.
        nominal: nominal rollouts at the start: the control arm.
        initial: space-filling rollouts wanted before anything is searched; earlier ones of the study count.
        search_share, learn_share, random_share: of the rollouts after the start; they add up to 1.
        confirm_share: at most this share of the session goes into repeats.
        repeats: rollouts a condition needs before it can be called failing.
        confirm_probability: a condition is failing when P(failure rate > 0.5) is above this (uniform prior).
        patience: stop after so many rollouts without a new failing condition; 0 = never.
    """

    rollouts: int = 60
    nominal: int = 2
    initial: int = 24
    search_share: float = 0.5
    learn_share: float = 0.25
    random_share: float = 0.25
    confirm_share: float = 0.35
    repeats: int = 3
    confirm_probability: float = 0.9
    patience: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rollouts <= MAX_ROLLOUTS:
            raise InvalidArgumentError(f"rollouts {self.rollouts}: want 1 to {MAX_ROLLOUTS}.")
        shares = (self.search_share, self.learn_share, self.random_share)
        if min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-6:
            raise InvalidArgumentError(f"search, learn and random shares {shares} do not sum to 1.")
        if min(self.nominal, self.initial, self.patience) < 0 or self.repeats < 1:
            raise InvalidArgumentError("nominal, initial and patience want >= 0, repeats >= 1.")
        if not 0 <= self.confirm_share <= 1 or not 0 < self.confirm_probability < 1:
            raise InvalidArgumentError("confirm_share and confirm_probability want 0..1.")


@dataclass(frozen=True)
class Plan:
    """The next rollout: what to apply, why, and with which seed."""

    perturbation: Perturbation
    purpose: str
    seed: int
    control: Control = Control.NONE


@dataclass
class _Tally:
    """Evidence about one perturbation."""

    perturbation: Perturbation
    rollouts: int = 0
    failures: int = 0


@dataclass
class SessionPlanner:
    """Chooses rollouts; feed every outcome back with `record`.

    A session is resumed by recording what it did before into a new planner with the same config and seed.

    Attributes:
        config: how to spend the rollouts.
        seed: of everything random in the session.
    """

    config: SessionConfig
    seed: int = 0
    done: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    _tallies: dict[str, _Tally] = field(default_factory=dict)
    _purposes: Counter[str] = field(default_factory=Counter)
    _nominal: int = 0
    _evidence: int = 0
    _controlled: bool = False
    _control_succeeded: bool = False
    _found: list[str] = field(default_factory=list)
    _since_new: int = 0
    _refused: set[str] = field(default_factory=set)

    def add_history(self, perturbation: Perturbation, outcome: Outcome) -> None:
        """Count an evidence rollout that was in the study before this session."""
        if outcome.is_evidence:
            self._evidence += 1
            self._count(perturbation, outcome)

    def record(self, plan: Plan, outcome: Outcome) -> None:
        """Take in what a planned rollout came to."""
        self.done += 1
        self._purposes[plan.purpose] += 1
        if plan.control is not Control.NONE:
            self._controlled = self._controlled or outcome.is_evidence
            self._control_succeeded = self._control_succeeded or outcome is Outcome.SUCCESS
            return
        self.outcomes[outcome] += 1
        if not outcome.is_evidence:
            return
        self._evidence += 1
        self._nominal += not plan.perturbation.variations
        before = set(self.confirmed)
        self._count(plan.perturbation, outcome)
        if outcome is Outcome.FAILURE and plan.perturbation.id not in self._found:
            self._found.append(plan.perturbation.id)
        new = set(self.confirmed) - before
        self._since_new = 0 if new else self._since_new + 1

    def refuse(self, plan: Plan) -> None:
        """The operator would not set this up, or not let it run: it is not asked for again in this session."""
        self._refused.add(plan.perturbation.id)

    @property
    def confirmed(self) -> list[str]:
        """Perturbation ids that failed often enough, repeats included, to be called failing conditions."""
        return [
            t.perturbation.id
            for t in self._tallies.values()
            if t.rollouts >= self.config.repeats
            and probability_above(t.failures, t.rollouts, 0.5) >= self.config.confirm_probability
        ]

    def stop_reason(self) -> str:
        """Why the session is over, or "" while it goes on."""
        if self._control_succeeded:
            return "the negative control succeeded: the success check fires without any motion, so no rollout means anything. Mend the success check first."
        if self.done >= self.config.rollouts:
            return f"the budget of {self.config.rollouts} rollouts is used up."
        if self.config.patience and self._since_new >= self.config.patience:
            return f"{self._since_new} rollouts in a row brought no new failing condition."
        return ""

    def next(self, suggest: Suggest) -> Plan | None:
        """The next rollout, or None when the session is over."""
        if self.stop_reason():
            return None
        seed = int(np.random.default_rng([self.seed, self.done]).integers(2**31))
        if not self._controlled:
            return Plan(Perturbation(), "control", seed, Control.ZERO_ACTION)
        if self._nominal < self.config.nominal:
            return Plan(Perturbation(), "initial", seed)
        if self._evidence < self.config.initial:
            return Plan(self._first(suggest, "space_filling"), "initial", seed)
        pending = self._unconfirmed()
        if pending and self._purposes["confirm"] < self.config.confirm_share * self.done:
            return Plan(pending[0], "confirm", seed)
        purpose = self._most_behind()
        return Plan(self._first(suggest, purpose), purpose, seed)

    def _count(self, perturbation: Perturbation, outcome: Outcome) -> None:
        tally = self._tallies.setdefault(perturbation.id, _Tally(perturbation))
        tally.rollouts += 1
        tally.failures += outcome is Outcome.FAILURE

    def _first(self, suggest: Suggest, strategy: str) -> Perturbation:
        wanted = (p for p in suggest(strategy, 1 + len(self._refused)) if p.id not in self._refused)
        return next(wanted, Perturbation())

    def _unconfirmed(self) -> list[Perturbation]:
        """Conditions this session saw failing that still want repeats, nearest to a verdict first."""
        open_ = [t for t in (self._tallies[i] for i in self._found) if self._undecided(t)]
        return [t.perturbation for t in sorted(open_, key=lambda t: -t.rollouts)]

    def _undecided(self, tally: _Tally) -> bool:
        # A success among the first repeats already rules a majority verdict out cheaply.
        short = tally.rollouts < self.config.repeats and tally.failures == tally.rollouts
        return short and tally.perturbation.id not in self._refused

    def _most_behind(self) -> str:
        shares = {
            "search": self.config.search_share,
            "learn": self.config.learn_share,
            "random": self.config.random_share,
        }
        spent = 1 + sum(self._purposes[p] for p in shares)
        return max(shares, key=lambda p: shares[p] * spent - self._purposes[p])
