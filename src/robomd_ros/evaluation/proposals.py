"""What the search policy's proposals are worth: the next rollouts chosen among them, among all, and among its control's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import MAX_QUESTIONS, Question
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue
from robomd_ros.evaluation.choosers import pool_of
from robomd_ros.evaluation.cross_validation import failures
from robomd_ros.evaluation.fitting import fit_without, search_without
from robomd_ros.search.acquisition import Board, hunt, radius_of, without
from robomd_ros.search.asking import Asker
from robomd_ros.search.known import NearestIndex
from robomd_ros.search.policy import SearchPolicy
from robomd_ros.search.replay import Pool, found

PROPOSALS = 256


def compare(
    records: Sequence[RolloutRecord],
    catalogue: Catalogue,
    inside: NDArray[np.bool_],
    known: int,
    count: int,
    seed: int,
    search_steps: int = 0,
) -> dict[str, dict[str, Any]]:
    """Train all models on some random rollouts, choose the next ones in one go, and see what these find.

    Args:
        records: continuous ones.
        catalogue: of the task.
        inside: (N,) those that may be known or chosen; the failures among the others are to be covered.
        known: rollouts that are known, at most half of those inside.
        count: rollouts to choose.
        seed: of the choice of the known ones and of the models.
        search_steps: of the search; 0 = the default.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(inside))
    known = min(known, len(order) // 2)
    mine, free = [records[i] for i in order[:known]], [records[i] for i in order[known:]]
    asker, search = _train(mine, catalogue, seed, search_steps)
    pool = pool_of(records, failures(records), catalogue)
    radius = radius_of(pool.points, np.random.default_rng(0))
    chosen_from, heldout = pool.subset(order[known:]), pool.subset(~inside)
    board = _board(asker, free, chosen_from, pool.subset(order[:known]), radius)
    places = search.projection.apply(asker.embed([Question(r.perturbation) for r in free]))
    near = {
        "hunt": np.ones(len(free), np.bool_),
        "ppo": _near(search, places, rng),
        "untrained": _near(replace(search, trained=search.untrained), places, rng),
    }
    rows = {name: _chosen(board, keep, count) for name, keep in near.items()}
    rows["random"] = rng.permutation(len(free))[:count]
    return {
        name: {
            **found(chosen_from.points[r], chosen_from.failed[r], heldout, radius).__dict__,
            "candidates": int(near[name].sum()) if name in near else len(free),
        }
        for name, r in rows.items()
    }


def _train(
    records: Sequence[RolloutRecord], catalogue: Catalogue, seed: int, search_steps: int
) -> tuple[Asker, SearchPolicy]:
    """What `fit_study` makes of these rollouts."""
    held = np.arange(len(records)) % 5 == 0
    fitted = fit_without(records, catalogue, held, seed)
    return fitted.asker, search_without(fitted, held, seed, search_steps)


def _board(
    asker: Asker, free: Sequence[RolloutRecord], candidates: Pool, tried: Pool, radius: float
) -> Board:
    risk: list[float] = []
    for start in range(0, len(free), MAX_QUESTIONS):
        part = [Question(r.perturbation) for r in free[start : start + MAX_QUESTIONS]]
        answers = sorted(asker.ask(part, evidence=0), key=lambda a: a.index)
        risk += [a.p_failure for a in answers]
    return Board(candidates.points, np.array(risk), tried.points, tried.failed, radius)


def _near(
    search: SearchPolicy, places: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Candidates nearest to a proposal, where the search moves."""
    proposals = search.projection.apply(search.propose(PROPOSALS, rng))
    keep = np.zeros(len(places), np.bool_)
    keep[NearestIndex(places).nearest(proposals)[0]] = True
    return keep


def _chosen(board: Board, keep: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Among some of the candidates; what they lack comes from all."""
    rows = np.flatnonzero(keep)
    chosen = [int(rows[i]) for i, _ in hunt(without(board, keep), count)]
    if len(chosen) < count:
        chosen += [i for i, _ in hunt(board, count) if i not in chosen]
    return np.array(chosen[:count], np.intp)
