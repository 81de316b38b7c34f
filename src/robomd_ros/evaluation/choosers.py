"""Ways to choose the next rollouts from a pool, to be replayed beside each other; each sees only outcomes so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from robomd_ros.core.probes import DIM, ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.evaluation.baselines import make_forest
from robomd_ros.learning.risk import FactorRisk, Layout, RiskPrior
from robomd_ros.search.acquisition import (
    BY_CHANCE,
    Board,
    greedy,
    hunt,
    radius_of,
    risk_times_novelty,
    teach,
    without,
)
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.known import KnownSet, NearestIndex
from robomd_ros.search.replay import Choose, Pool, at_random, replay
from robomd_ros.search.suggest import PerturbationSpace
from robomd_ros.search.train import train_search

Rows = NDArray[np.intp]
Risk = Callable[[Pool, Rows, Rows], NDArray[np.float64]]
"""(pool, rows rolled out, rows asked about) -> P(failure)."""

BATCH, START = 5, 10
_REFIT, _REFIT_TO_LEARN = 20, 10
"""Rollouts after which the process learns its length-scales anew."""
_RETRAIN = 30
_PROPOSALS = 128
_CLIP = 1e-3


def pool_of(
    records: Sequence[RolloutRecord],
    failed: NDArray[np.bool_],
    catalogue: Catalogue,
    table: ProbeTable | None = None,
) -> Pool:
    """Continuous rollouts as a pool: places in the perturbation space; factor values, masks and probes as features."""
    perturbations = [r.perturbation for r in records]
    features = np.stack([np.concatenate(catalogue.vector(p)) for p in perturbations])
    if table is not None:
        features = np.hstack([features, table.of(perturbations)])
    points = PerturbationSpace(catalogue).vectors(perturbations)
    return Pool(points, features.astype(np.float32), failed)


class TabularRisk:
    """P(failure) from factor values, and probes where wanted: the mean of a forest's and a Gaussian process's logit.

    The process learns its length-scales anew every `refit` rollouts and takes each outcome as evidence at once. One
    object a replay.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        forest: bool = True,
        process: bool = True,
        refit: int = _REFIT,
        probe: bool = False,
    ) -> None:
        self._layout = Layout.of(catalogue, probe=DIM if probe else 0)
        self._dim = catalogue.dim
        self._forest, self._process = forest, process
        self._prior: RiskPrior | None = None
        self._refit, self._at = refit, -refit

    def __call__(self, pool: Pool, done: Rows, asked: Rows) -> NDArray[np.float64]:
        """A `Risk`."""
        known, question = pool.subset(done), pool.features[asked]
        seen = 2 * self._dim + self._layout.probe
        if known.failed.all() or not known.failed.any():
            rate = (known.failed.sum() + 0.5) / (len(known) + 1.0)
            return np.full(len(asked), float(rate))
        logits = []
        if self._forest:
            forest = make_forest(len(done), trees=200)
            forest.fit(known.features[:, :seen], known.failed)
            p = forest.predict_proba(question[:, :seen])[:, 1]
            p = np.clip(p, _CLIP, 1 - _CLIP)
            logits.append(np.log(p / (1 - p)))
        if self._process:
            logits.append(self.process(known).logits(*self.split(question)))
        return np.asarray(expit(np.mean(logits, axis=0)))

    def process(self, known: Pool) -> FactorRisk:
        """The process with these rollouts as its evidence."""
        evidence = (*self.split(known.features), known.failed)
        if self._prior is None or len(known) - self._at >= self._refit:
            self._prior, self._at = RiskPrior.learn(self._layout, *evidence), len(known)
        return self._prior.given(*evidence)

    def split(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What the process sees: values, with the probe behind them where it is wanted, and the mask."""
        n = self._dim
        values = np.hstack([features[:, :n], features[:, 2 * n : 2 * n + self._layout.probe]])
        return values, features[:, n : 2 * n] > 0.5


@dataclass
class Searcher:
    """Boards for the choices of one replay.

    Attributes:
        risk: of the candidates.
        radius: of the space.
    """

    risk: Risk
    radius: float

    def board(self, pool: Pool, done: Rows, free: Rows) -> Board:
        """The free rows as candidates."""
        risk = self.risk(pool, done, free)
        return Board(pool.points[free], risk, pool.points[done], pool.failed[done], self.radius)

    def exploit(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """The riskiest; ties by chance."""
        risk = self.risk(pool, done, free)
        return np.lexsort((rng.random(len(free)), -risk))[:count].tolist()

    def risk_novelty(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """P(failure) times the distance to everything tried."""
        return [i for i, _ in risk_times_novelty(self.board(pool, done, free), count)]

    def hunt(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """What `suggest` does."""
        return [i for i, _ in hunt(self.board(pool, done, free), count)]


class Proposer(Searcher):
    """As `suggest` with a search policy: half of the batches among the candidates nearest to PPO's proposals.

    The policy is trained every `_RETRAIN` rollouts on what was tried, in the perturbation space.
    """

    def __init__(
        self, risk: Risk, radius: float, seed: int, steps: int = 0, always: bool = False
    ) -> None:
        super().__init__(risk, radius)
        config = SearchConfig()
        self._config = replace(config, steps=steps) if steps else config
        self._seed, self._always = seed, always
        self._proposals: NDArray[np.float32] | None = None
        self._at = -_RETRAIN

    def hunt(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """What `suggest` does when it has a search policy."""
        board = self.board(pool, done, free)
        if not board.failed.any() or (not self._always and rng.random() < 0.5):
            return [i for i, _ in hunt(board, count)]
        near, _ = NearestIndex(board.points).nearest(self._propose(board, rng))
        rows = np.unique(near)
        keep = np.zeros(len(free), np.bool_)
        keep[rows] = True
        chosen = [int(rows[i]) for i, _ in hunt(without(board, keep), count)]
        rest = [i for i, _ in hunt(board, count) if i not in chosen]
        return (chosen + rest)[:count]

    def _propose(self, board: Board, rng: np.random.Generator) -> NDArray[np.float32]:
        if len(board.tried) - self._at >= _RETRAIN:
            names = tuple(map(str, range(len(board.tried))))
            known = KnownSet(board.tried, board.failed, names, names)
            self._policy, self._at = (
                train_search(known, self._config, seed=self._seed),
                len(board.tried),
            )
        return self._policy.propose(_PROPOSALS, rng)


def space_filling(
    pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
) -> Sequence[int]:
    """Maximin: the farthest from everything tried."""
    board = Board(pool.points[free], np.ones(len(free)), pool.points[done], pool.failed[done], 1.0)
    return [i for i, _ in greedy(board, np.ones(len(free)), count)]


def latin_hypercube(catalogue: Catalogue, active: float = 0.4) -> Choose:
    """A Latin hypercube over activity and values of the factors, each point the nearest free condition of the pool."""

    def choose(
        pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        wanted = PerturbationSpace(catalogue).vectors(hypercube(catalogue, count, rng, active))
        distances = NearestIndex(pool.points[free]).distances(wanted)
        chosen: list[int] = []
        for row in distances:
            row[chosen] = np.inf
            chosen.append(int(np.argmin(row)))
        return chosen

    return choose


def hypercube(
    catalogue: Catalogue, count: int, rng: np.random.Generator, active: float
) -> list[Perturbation]:
    """Conditions whose values and activity of each factor lie in different ones of `count` equal parts."""

    def column() -> NDArray[np.float64]:
        return np.asarray((rng.permutation(count) + rng.random(count)) / count)

    parts: list[list] = [[] for _ in range(count)]
    for factor in catalogue.numeric_factors:
        low, high = np.array(factor.low), np.array(factor.high)
        values = np.stack([column() for _ in range(factor.dim)], axis=1)
        for i in np.flatnonzero(column() < active):
            parts[i].append(catalogue.make(factor.name, (low + values[i] * (high - low)).tolist()))
    return [Perturbation(tuple(p)) for p in parts]


def searches(
    catalogue: Catalogue, pool: Pool, budget: int, seed: int, search_steps: int = 0
) -> dict[str, NDArray[np.intp]]:
    """Every way of searching, replayed with the same first rollouts: the rows each rolled out, in order."""
    radius = radius_of(pool.points, np.random.default_rng(0))

    def tabular(**parts: bool) -> Searcher:
        return Searcher(TabularRisk(catalogue, **parts), radius)

    proposer = Proposer(TabularRisk(catalogue), radius, seed, search_steps)
    ways: dict[str, Choose] = {
        "random": at_random,
        "maximin": space_filling,
        "forest": tabular(process=False).exploit,
        "gp": tabular(forest=False).exploit,
        "risk_novelty": tabular().risk_novelty,
        "hunt": tabular().hunt,
        "hunt_ppo": proposer.hunt,
        "risk_novelty_probe": tabular(probe=True).risk_novelty,
        "hunt_probe": tabular(probe=True).hunt,
    }
    found = {
        name: replay(pool, choose, budget, np.random.default_rng(seed), start=START, batch=BATCH)
        for name, choose in ways.items()
    }
    rng = np.random.default_rng(seed)
    found["latin_hypercube"] = replay(
        pool, at_random, budget, rng, initial=latin_hypercube(catalogue), start=budget
    )
    return found


class Teacher:
    """Choices that teach the model, of one replay.

    Attributes:
        risk: with its Gaussian process.
        radius: of the space.
        by_chance: part of the choices that chance makes.
    """

    def __init__(self, risk: TabularRisk, radius: float, by_chance: float = BY_CHANCE) -> None:
        self.risk, self.radius, self.by_chance = risk, radius, by_chance

    def teach(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """What `suggest` does to learn."""
        process = self.risk.process(pool.subset(done))
        asked = self.risk.split(pool.features[free])
        risk = np.asarray(expit(process.logits(*asked)))
        board = Board(pool.points[free], risk, pool.points[done], pool.failed[done], self.radius)
        return [i for i, _ in teach(board, process.covariance(*asked), count, rng, self.by_chance)]

    def uncertain(
        self, pool: Pool, done: Rows, free: Rows, count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        """The least sure ones, far from what was tried: what most people would try."""
        risk = self.risk(pool, done, free)
        board = Board(pool.points[free], risk, pool.points[done], pool.failed[done], self.radius)
        return [i for i, _ in greedy(board, risk * (1.0 - risk), count, saturate=1.0)]


def lessons(
    catalogue: Catalogue, pool: Pool, budget: int, seed: int
) -> dict[str, NDArray[np.intp]]:
    """Every way of choosing what to learn from, replayed with the same first rollouts: the rows in order."""
    radius = radius_of(pool.points, np.random.default_rng(0))

    def risk(probe: bool = False) -> TabularRisk:
        return TabularRisk(catalogue, refit=_REFIT_TO_LEARN, probe=probe)

    ways: dict[str, Choose] = {
        "random": at_random,
        "exploit": Searcher(risk(), radius).exploit,
        "uncertain": Teacher(risk(), radius).uncertain,
        "teach": Teacher(risk(), radius).teach,
        "teach_all": Teacher(risk(), radius, by_chance=0.0).teach,
        "teach_probe": Teacher(risk(probe=True), radius).teach,
    }
    return {
        name: replay(
            pool, choose, budget, np.random.default_rng(seed), start=2 * START, batch=BATCH
        )
        for name, choose in ways.items()
    }
