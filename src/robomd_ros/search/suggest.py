"""What to try next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import MAX_QUESTIONS, Answer, Question
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.search.acquisition import Board, greedy, hunt, radius_of, teach
from robomd_ros.search.known import NearestIndex

if TYPE_CHECKING:
    from robomd_ros.search.asking import Asker

STRATEGIES = ("search", "learn", "random", "space_filling")
MAX_SUGGESTIONS = 64
_CONTINUOUS, _PAIRS = 400, 32
_PROPOSALS = 128


@dataclass(frozen=True)
class Suggestion:
    """One perturbation worth a rollout.

    Attributes:
        perturbation: what to apply.
        p_failure: predicted; NaN = nothing trained.
        score: of the strategy, larger = sooner.
        reason: one sentence.
    """

    perturbation: Perturbation
    p_failure: float
    score: float
    reason: str


def suggest(
    asker: Asker | None,
    catalogue: Catalogue,
    tried: Sequence[Perturbation],
    strategy: str,
    count: int,
    rng: np.random.Generator,
    by_hand: bool = False,
) -> list[Suggestion]:
    """Choose what to roll out next, best first, no two nearly alike.

    "search" takes what probably fails and tells most if it does (see acquisition.py), and says of each whether the search
    policy proposes it, too. "learn" takes what tells most about all other candidates, and every fourth at random;
    where factor values say nothing, the widest intervals; "random" the space of variations, "space_filling" what is
    farthest from everything tried. Without a trained model "search" and "learn" fill the space.

    Args:
        asker: None = nothing is trained.
        catalogue: of the task.
        tried: perturbations rolled out or planned already.
        strategy: one of STRATEGIES.
        count: 1 to MAX_SUGGESTIONS.
        rng: of the candidates.
        by_hand: a person sets them up, who has the catalogue's things at hand and no lamp of 0.37: named ones only.
    """
    if strategy not in STRATEGIES:
        raise InvalidArgumentError(f"strategy {strategy[:40]!r}: want one of {STRATEGIES}.")
    if not 1 <= count <= MAX_SUGGESTIONS:
        raise InvalidArgumentError(f"count {count}: want 1 to {MAX_SUGGESTIONS}.")
    chooser = {
        "search": _search,
        "learn": _learn,
        "random": _random,
        "space_filling": _space_filling,
    }[strategy]
    known = {p.id for p in tried}
    probed = [p for p in asker.probed if p.id not in known] if asker is not None else []
    pool = candidates(catalogue, rng, 2 * count, by_hand, probed)
    space = PerturbationSpace(catalogue)
    if asker is None and strategy in ("search", "learn"):
        return _space_filling(_Ask(None, pool, space, tried, rng), count)
    return chooser(_Ask(asker, pool, space, tried, rng), count)


def candidates(
    catalogue: Catalogue,
    rng: np.random.Generator,
    at_least: int = 0,
    by_hand: bool = False,
    probed: Sequence[Perturbation] = (),
) -> list[Perturbation]:
    """The catalogue's singles, random pairs of them, and (not by hand) points of the continuous space, all different.

    Points about which the policy was asked come first: more is known of them.
    """
    pool = {p.id: p for p in catalogue.singles}
    singles = catalogue.singles
    for _ in range(_PAIRS if len(singles) > 1 else 0):
        a, b = (singles[i].variations[0] for i in rng.choice(len(singles), 2, replace=False))
        if a.factor != b.factor:
            pair = Perturbation((a, b))
            pool.setdefault(pair.id, pair)
    if catalogue.numeric_factors and not by_hand:
        some = [probed[i] for i in rng.permutation(len(probed))[:_CONTINUOUS]]
        drawn = draw(catalogue, rng, max(_CONTINUOUS, at_least) - len(some))
        pool.update((p.id, p) for p in (*some, *drawn) if p.variations)
    return list(pool.values())


def draw(catalogue: Catalogue, rng: np.random.Generator, count: int) -> list[Perturbation]:
    """Random points of the continuous space with few and with many factors."""
    return [
        catalogue.sample(rng, active=float(rng.choice((0.15, 0.3, 0.45))))
        for _ in range(max(0, count))
    ]


class PerturbationSpace:
    """Distances between perturbations that need no model: factor values in -1..1 and which factors are applied."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        labels = [v.id for v in catalogue.variations.values() if not v.value]
        self._labels = {vid: i for i, vid in enumerate(labels)}
        # Each factor weighs the same, however many components it has.
        dims = [f.dim for f in catalogue.numeric_factors]
        self._weights = np.sqrt(1.0 / np.repeat(dims, dims)) if dims else np.zeros(0)

    def vectors(self, perturbations: Sequence[Perturbation]) -> NDArray[np.float32]:
        """(N, D) coordinates."""
        rows = np.zeros((len(perturbations), 2 * self._catalogue.dim + len(self._labels)))
        for row, perturbation in zip(rows, perturbations, strict=True):
            values, mask = self._catalogue.vector(perturbation)
            row[: len(values)] = values * self._weights
            row[len(values) : 2 * len(values)] = mask * self._weights
            for vid in perturbation.ids:
                if vid in self._labels:
                    row[2 * len(values) + self._labels[vid]] = 1.0
        return rows.astype(np.float32)


@dataclass(frozen=True)
class _Ask:
    """What every strategy sees."""

    asker: Asker | None
    pool: list[Perturbation]
    space: PerturbationSpace
    tried: Sequence[Perturbation]
    rng: np.random.Generator

    @cached_property
    def answers(self) -> list[Answer] | None:
        """One a candidate, in the pool's order; None = nothing is trained."""
        if self.asker is None:
            return None
        answers: list[Answer] = []
        for start in range(0, len(self.pool), MAX_QUESTIONS):
            part = [Question(p) for p in self.pool[start : start + MAX_QUESTIONS]]
            answers += sorted(self.asker.ask(part, evidence=0), key=lambda a: a.index)
        return answers

    @cached_property
    def board(self) -> Board:
        """The candidates among everything tried; what failed once counts as found."""
        points = self.space.vectors(self.pool)
        risk = [a.p_failure for a in self.answers] if self.answers else [math.nan] * len(points)
        failed = [self.asker is not None and self.asker.tally(p)[1] > 0 for p in self.tried]
        return Board(
            points,
            np.array(risk, np.float64),
            self.space.vectors(self.tried),
            np.array(failed, np.bool_),
            radius_of(points, np.random.default_rng(0)),
        )

    def suggestions(self, chosen: Sequence[tuple[int, float]], reason: str) -> list[Suggestion]:
        """What was chosen; the reason's {p}, {low}, {high} and {away} are filled in."""
        novelty, found = self.board.novelty(), []
        for i, score in chosen:
            risk = _Risk.of(self.answers[i] if self.answers else None)
            away = (
                f"{novelty[i]:.2f} from everything tried" if self.tried else "nothing was tried yet"
            )
            text = reason.format(p=risk.p, low=risk.low, high=risk.high, away=away)
            found.append(Suggestion(self.pool[i], risk.p, score, text))
        return found


class _Risk(NamedTuple):
    p: float
    low: float
    high: float

    @classmethod
    def of(cls, answer: Answer | None) -> _Risk:
        if answer is None:
            return cls(math.nan, math.nan, math.nan)
        return cls(answer.p_failure, answer.p_low, answer.p_high)


def _search(ask: _Ask, count: int) -> list[Suggestion]:
    reason = "predicted to fail with P = {p:.2f}, {away}."
    chosen = hunt(ask.board, count)
    found = ask.suggestions(chosen, reason)
    proposed = _proposed(ask)
    if proposed is None:
        return found
    near = "near a point the search policy proposes, "
    return [
        replace(s, reason=near + s.reason) if proposed[i] else s
        for s, (i, _) in zip(found, chosen, strict=True)
    ]


def _proposed(ask: _Ask) -> NDArray[np.bool_] | None:
    """Candidates that are nearest to a point drawn from the search policy; None without one."""
    if ask.asker is None or ask.asker.search is None:
        return None
    search = ask.asker.search
    places = ask.asker.embed([Question(p) for p in ask.pool])
    # Compared where the search moves: a proposal says nothing about the other dimensions.
    index = NearestIndex(search.projection.apply(places))
    nearest, _ = index.nearest(search.projection.apply(search.propose(_PROPOSALS, ask.rng)))
    hit = np.zeros(len(ask.pool), np.bool_)
    hit[nearest] = True
    return hit


def _learn(ask: _Ask, count: int) -> list[Suggestion]:
    doubt = ask.asker.doubt(ask.pool) if ask.asker is not None else None
    said = "the 90 % interval is {low:.2f} to {high:.2f}, {away}."
    if doubt is not None:
        chosen = teach(ask.board, doubt, count, ask.rng)
        taught, drawn = ([c for c in chosen if bool(c[1]) == known] for known in (True, False))
        return [
            *ask.suggestions(taught, "its outcome tells most about all others: " + said),
            *ask.suggestions(
                drawn, "drawn at random, as every fourth is to keep the model honest: " + said
            ),
        ]
    width = np.array([a.p_high - a.p_low for a in ask.answers or ()])
    # Novelty saturates: what is merely far teaches less than what is undecided.
    return ask.suggestions(greedy(ask.board, width, count, saturate=0.3), said)


def _space_filling(ask: _Ask, count: int) -> list[Suggestion]:
    # Each further factor makes a scene farther from all others and tells less about each of them.
    sparse = 1.0 / np.array([max(1, len(p.variations)) for p in ask.pool], np.float64)
    return ask.suggestions(greedy(ask.board, sparse, count), "{away}.")


def _random(ask: _Ask, count: int) -> list[Suggestion]:
    drawn = ask.rng.permutation(len(ask.pool))[:count]
    some = replace(ask, pool=[ask.pool[i] for i in drawn])
    return some.suggestions([(i, 0.0) for i in range(len(drawn))], "drawn at random.")
