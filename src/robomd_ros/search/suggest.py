"""What to try next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import MAX_QUESTIONS, Answer, Question
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.search.known import NearestIndex

if TYPE_CHECKING:
    from robomd_ros.search.asking import Asker

STRATEGIES = ("search", "learn", "random", "space_filling")
MAX_SUGGESTIONS = 64
_CONTINUOUS, _PAIRS = 96, 32
_PROPOSALS = 128
_TOO_ALIKE = 0.05  # of the perturbation space: closer ones are the same scene to the eye


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

    "search" multiplies the predicted risk with the distance to everything tried; half of the time only candidates
    nearest to what the search policy proposes are looked at. "learn" takes the widest intervals, "random" the space of
    variations, "space_filling" what is farthest from everything tried. Without a trained model "search" and "learn"
    fill the space.

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
    pool = candidates(catalogue, rng, 2 * count, by_hand)
    space = PerturbationSpace(catalogue)
    if asker is None and strategy in ("search", "learn"):
        return _space_filling(_Ask(None, pool, space, tried, rng), count)
    return chooser(_Ask(asker, pool, space, tried, rng), count)


def candidates(
    catalogue: Catalogue, rng: np.random.Generator, at_least: int = 0, by_hand: bool = False
) -> list[Perturbation]:
    """The catalogue's singles, random pairs of them, and (not by hand) points of the continuous space, all different."""
    pool = {p.id: p for p in catalogue.singles}
    singles = catalogue.singles
    for _ in range(_PAIRS if len(singles) > 1 else 0):
        a, b = (singles[i].variations[0] for i in rng.choice(len(singles), 2, replace=False))
        if a.factor != b.factor:
            pair = Perturbation((a, b))
            pool.setdefault(pair.id, pair)
    if catalogue.numeric_factors and not by_hand:
        for _ in range(max(_CONTINUOUS, at_least)):
            sample = catalogue.sample(rng, active=float(rng.choice((0.15, 0.3, 0.45))))
            pool.setdefault(sample.id, sample)
    return list(pool.values())


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

    def answers(self) -> list[Answer | None]:
        """One a candidate, in the pool's order; None = nothing is trained."""
        if self.asker is None:
            return [None] * len(self.pool)
        answers: list[Answer] = []
        for start in range(0, len(self.pool), MAX_QUESTIONS):
            part = [Question(p) for p in self.pool[start : start + MAX_QUESTIONS]]
            answers += sorted(self.asker.ask(part, evidence=0), key=lambda a: a.index)
        return list(answers)


def _search(ask: _Ask, count: int) -> list[Suggestion]:
    answers = ask.answers()
    risk = np.array([a.p_failure if a else math.nan for a in answers])
    proposed = _proposed(ask)
    allowed = proposed if proposed is not None and ask.rng.random() < 0.5 else None

    def reason(i: int, novelty: float) -> str:
        by = (
            "near a point the search policy proposes, "
            if proposed is not None and proposed[i]
            else ""
        )
        return (
            f"{by}predicted to fail with P = {risk[i]:.2f}, at {novelty:.2f} from everything tried."
        )

    # Distances grow with the square root of the number of factors: without this the search would only propose scenes in
    # which everything is changed, and nobody could say what broke the policy.
    return _pick(ask, count, risk / np.sqrt(_active(ask.pool)), answers, reason, allowed)


def _learn(ask: _Ask, count: int) -> list[Suggestion]:
    answers = ask.answers()
    width = np.array([a.p_high - a.p_low if a else math.nan for a in answers])

    def reason(i: int, novelty: float) -> str:
        answer = answers[i]
        ends = (answer.p_low, answer.p_high) if answer else (0.0, 1.0)
        return f"the 90 % interval is wide, {ends[0]:.2f} to {ends[1]:.2f}, at {novelty:.2f} from everything tried."

    # Novelty saturates: what is merely far teaches less than what is undecided.
    return _pick(ask, count, width, answers, reason, saturate=0.5)


def _space_filling(ask: _Ask, count: int) -> list[Suggestion]:
    answers = ask.answers()
    # Each further factor makes a scene farther from all others and tells less about each of them.
    sparse = 1.0 / _active(ask.pool)

    def reason(_: int, novelty: float) -> str:
        return (
            f"far from everything tried ({novelty:.2f})." if ask.tried else "nothing was tried yet."
        )

    return _pick(ask, count, sparse, answers, reason)


def _random(ask: _Ask, count: int) -> list[Suggestion]:
    order = ask.rng.permutation(len(ask.pool))[:count]
    drawn = _Ask(ask.asker, [ask.pool[i] for i in order], ask.space, ask.tried, ask.rng)
    return [
        Suggestion(p, a.p_failure if a else math.nan, 0.0, "drawn at random.")
        for p, a in zip(drawn.pool, drawn.answers(), strict=True)
    ]


def _active(pool: Sequence[Perturbation]) -> NDArray[np.float64]:
    """Number of factors each candidate changes, (N,), at least 1."""
    return np.array([max(1, len(p.variations)) for p in pool], np.float64)


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


def _pick(
    ask: _Ask,
    count: int,
    value: NDArray[np.float64],
    answers: Sequence[Answer | None],
    reason: Callable[[int, float], str],
    allowed: NDArray[np.bool_] | None = None,
    saturate: float = math.inf,
) -> list[Suggestion]:
    """Greedy: largest value x novelty, where novelty is the distance to all tried and all picked so far."""
    vectors = ask.space.vectors(ask.pool)
    novelty = np.full(len(ask.pool), np.inf)
    if ask.tried:
        _, novelty = NearestIndex(ask.space.vectors(ask.tried)).nearest(vectors)
    free = np.ones(len(ask.pool), np.bool_)
    picked: list[Suggestion] = []
    while len(picked) < count and free.any():
        score = value * np.minimum(novelty, min(saturate, 10.0))
        open_ = free & allowed if allowed is not None and (free & allowed).any() else free
        best = int(np.argmax(np.where(open_, score, -np.inf)))
        answer = answers[best]
        picked.append(
            Suggestion(
                ask.pool[best],
                answer.p_failure if answer else math.nan,
                float(score[best]),
                reason(best, min(float(novelty[best]), 10.0)),
            )
        )
        away = np.linalg.norm(vectors - vectors[best], axis=1)
        novelty = np.minimum(novelty, away)
        free &= away > _TOO_ALIKE
    return picked
