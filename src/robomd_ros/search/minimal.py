"""Which part of a failing combination makes the policy fail: delta debugging with outcomes that are chance.

Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28 (2002). What a subset does is not
seen in one run: it is rolled out until an anytime-valid test says whether it fails more often than the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

from robomd_ros.core.errors import InvalidArgumentError, PolicyError
from robomd_ros.core.sequential import (
    FAILED,
    confidence_sequence,
    log_evidence,
    log_evidence_below,
)
from robomd_ros.core.variations import Perturbation

MAX_SIZE = 16
"""Variations of a combination."""

T = TypeVar("T")


def ddmin(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """A part of `items` that fails, and does not if any single one of its items is left out.

    Args:
        items: which fail together.
        fails: asked about proper, non-empty parts, some of them more than once.
    """
    left, parts = tuple(items), 2
    while len(left) > 1:
        chunks = _split(left, parts)
        without = [tuple(x for x in left if x not in chunk) for chunk in chunks]
        failing = next((c for c in chunks if fails(c)), None)
        if failing is not None:
            left, parts = failing, 2
            continue
        failing = next((w for w in without if fails(w)), None) if parts > 2 else None
        if failing is not None:
            left, parts = failing, max(parts - 1, 2)
        elif parts >= len(left):
            break
        else:
            parts = min(2 * parts, len(left))
    return left


@dataclass(frozen=True)
class MinimalConfig:
    """When a subset counts as failing.

    Attributes:
        threshold: it fails when its failure rate is above this.
        alpha: chance at most that any subset is judged wrongly.
        max_rollouts: of one subset; undecided by then, it counts as not failing, and the result says so.
        budget: rollouts of all subsets together.
    """

    threshold: float = 0.5
    alpha: float = 0.05
    max_rollouts: int = 40
    budget: int = 400

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InvalidArgumentError(
                f"threshold {self.threshold}: want a number between 0 and 1."
            )
        if not 0 < self.alpha <= 0.5:
            raise InvalidArgumentError(f"alpha {self.alpha}: want a number above 0, up to 0.5.")
        if self.max_rollouts < 1 or self.budget < 1:
            raise InvalidArgumentError(
                f"{self.max_rollouts} rollouts of {self.budget}: want at least 1."
            )


@dataclass(frozen=True)
class Tested:
    """A subset and what its rollouts showed; `fails` None = undecided."""

    perturbation: Perturbation
    failures: int
    rollouts: int
    fails: bool | None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Of its failure rate; holds although it was rolled out until decided."""
        return confidence_sequence(
            (self.rollouts - self.failures, self.failures), FAILED, confidence
        )


class Rollouts(Protocol):
    """Port: roll a perturbation out again and again."""

    def __call__(self, perturbation: Perturbation) -> Generator[bool]:
        """Whether each rollout failed, one at a time; closed when no more are wanted."""
        ...


class BudgetSpentError(Exception):
    """The search ends here, with what is known."""


class MinimalSearch:
    """Finds a minimal failing part of a combination; holds what is known at any time.

    Attributes:
        tested: subsets by id, in the order they were tested.
        smallest: the smallest one that is known to fail; None = none is.
        complete: the search came to its end.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        config: MinimalConfig | None = None,
        told: Callable[[Tested], None] = lambda tested: None,
    ) -> None:
        """Prepare.

        Args:
            rollouts: the port.
            config: of the tests.
            told: after each rollout, with the subset that it belongs to.
        """
        self.config = config or MinimalConfig()
        self.tested: dict[str, Tested] = {}
        self.smallest: Perturbation | None = None
        self.complete = False
        self._rollouts, self._told = rollouts, told
        self._level = self.config.alpha

    @property
    def spent(self) -> int:
        """Rollouts so far."""
        return sum(t.rollouts for t in self.tested.values())

    def run(self, perturbation: Perturbation) -> None:
        """Search.

        Raises:
            InvalidArgumentError: the combination is empty or does not fail, or the nominal scene fails already.
        """
        size = len(perturbation.variations)
        if not 1 <= size <= MAX_SIZE:
            raise InvalidArgumentError(f"{size} variations: want 1 to {MAX_SIZE} to choose from.")
        # ddmin asks about size^2 + 3 size subsets at most, and there are no more than 2^size
        self._level = self.config.alpha / min(2**size, size * size + 3 * size)
        try:
            if not self._fails(perturbation):
                raise InvalidArgumentError(
                    _does_not_fail(self.tested[perturbation.id], self.config)
                )
            if self._fails(Perturbation()):
                raise InvalidArgumentError(
                    "the unchanged scene fails, too: no variation is needed to make the policy fail."
                )
            ddmin(perturbation.variations, lambda some: self._fails(Perturbation(some)))
            self.complete = True
        except BudgetSpentError:
            pass

    def without(self) -> tuple[Tested, ...]:
        """The smallest failing set with each of its variations left out, as far as tested."""
        if self.smallest is None:
            return ()
        some = self.smallest.variations
        ids = [Perturbation(tuple(v for v in some if v != left)).id for left in some]
        return tuple(self.tested[i] for i in ids if i in self.tested)

    def _fails(self, perturbation: Perturbation) -> bool:
        known = self.tested.get(perturbation.id)
        if known is None:
            known = self._test(perturbation)
        if known.fails and self._is_smaller(perturbation):
            self.smallest = perturbation
        return known.fails is True

    def _is_smaller(self, perturbation: Perturbation) -> bool:
        return self.smallest is None or len(perturbation.ids) < len(self.smallest.ids)

    def _test(self, perturbation: Perturbation) -> Tested:
        tested = Tested(perturbation, 0, 0, None)
        with closing(self._rollouts(perturbation)) as outcomes:
            while tested.fails is None and tested.rollouts < self.config.max_rollouts:
                if self.spent >= self.config.budget:
                    raise BudgetSpentError
                outcome = next(outcomes, None)
                if outcome is None:
                    break
                failures, rollouts = tested.failures + outcome, tested.rollouts + 1
                tested = Tested(perturbation, failures, rollouts, self._judge(failures, rollouts))
                self.tested[perturbation.id] = tested
                self._told(tested)
        if not tested.rollouts:
            raise PolicyError(f"no rollout of {perturbation.id} ended in a success or a failure.")
        return tested

    def _judge(self, failures: int, rollouts: int) -> bool | None:
        """One of the two nulls is true (but for a rate of exactly the threshold), so each gets the whole level."""
        counts, wanted = (rollouts - failures, failures), -math.log(self._level)
        if float(log_evidence(counts, FAILED, self.config.threshold)) >= wanted:
            return True
        if float(log_evidence_below(counts, FAILED, self.config.threshold)) >= wanted:
            return False
        return None


def _does_not_fail(tested: Tested, config: MinimalConfig) -> str:
    low, high = tested.interval(1 - config.alpha)
    shown = "is not shown to fail" if tested.fails is None else "does not fail"
    return (
        f"{tested.perturbation.id} {shown} in more than {config.threshold:g} of its rollouts: {tested.failures} of "
        f"{tested.rollouts} failed ({low:.2f} to {high:.2f})."
    )


def _split(items: tuple[T, ...], parts: int) -> list[tuple[T, ...]]:
    """`parts` chunks of nearly equal length."""
    edges = [round(k * len(items) / parts) for k in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(edges)]
