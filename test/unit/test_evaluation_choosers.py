"""Ways to choose, replayed over a pool whose truth is known; a search in a world that is a formula."""

from __future__ import annotations

import numpy as np
import pytest

from robomd_ros.core.metrics import auc
from robomd_ros.core.probes import DIM, ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.evaluation import live_search
from robomd_ros.evaluation.choosers import (
    TabularRisk,
    hypercube,
    latin_hypercube,
    lessons,
    pool_of,
    searches,
)
from robomd_ros.evaluation.tables.choice import first_reached
from robomd_ros.evaluation.tables.search import pool_rows
from robomd_ros.search.replay import Pool, found, replay
from robomd_ros.search.suggest import PerturbationSpace

LIFT = load_catalogue("lift")
SPACE = PerturbationSpace(LIFT)


def dark(perturbation: Perturbation) -> bool:
    """Fails in the dark, and with a small cube."""
    values = {v.factor: v.value for v in perturbation.variations}
    return (
        values.get("light_intensity", (1.0,))[0] < 0.6 or values.get("cube_size", (1.0,))[0] < 0.017
    )


def make_pool(n: int, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    conditions = [LIFT.sample(rng) for _ in range(n)]
    failed = np.array([dark(p) for p in conditions])
    factors = np.stack([np.concatenate(LIFT.vector(p)) for p in conditions])
    probes = rng.normal(np.where(failed, 0.0, -1.0)[:, None], 0.5, (n, DIM))
    features = np.hstack([factors, probes]).astype(np.float32)
    return Pool(SPACE.vectors(conditions), features, failed)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return make_pool(150)


@pytest.fixture(scope="module")
def searched(pool: Pool) -> dict[str, np.ndarray]:
    return searches(LIFT, pool, 30, 0, search_steps=256)


def test_each_search_rolls_out_each_condition_once(searched: dict[str, np.ndarray]) -> None:
    assert {"random", "hunt", "hunt_ppo", "risk_novelty", "latin_hypercube"} <= set(searched)
    for rows in searched.values():
        assert len(set(rows.tolist())) == 30


def test_a_search_finds_more_failures_than_chance_and_more_distinct_ones(
    pool: Pool, searched: dict[str, np.ndarray]
) -> None:
    got = {
        name: found(pool.points[rows], pool.failed[rows], make_pool(50, 1), 1.9)
        for name, rows in searched.items()
    }
    assert got["hunt"].failures > got["random"].failures
    assert got["hunt"].distinct > got["random"].distinct


def test_all_lessons_begin_alike_and_differ_after(pool: Pool) -> None:
    rows = lessons(LIFT, pool, 30, 3)
    first = {tuple(r[:20]) for r in rows.values()}
    assert len(first) == 1
    assert len({tuple(r) for r in rows.values()}) == len(rows)


def test_the_risk_knows_no_outcome_but_those_it_is_given(pool: Pool) -> None:
    done, asked = np.arange(40), np.arange(40, 150)
    hidden = pool.failed.copy()
    hidden[asked] = ~hidden[asked]
    other = Pool(pool.points, pool.features, hidden)
    same = TabularRisk(LIFT)(pool, done, asked), TabularRisk(LIFT)(other, done, asked)
    assert np.array_equal(*same)
    assert np.all((same[0] > 0) & (same[0] < 1))


def test_a_risk_without_both_outcomes_is_the_rate(pool: Pool) -> None:
    done = np.flatnonzero(~pool.failed)[:9]
    assert TabularRisk(LIFT)(pool, done, np.arange(3)) == pytest.approx(0.05)


def test_a_risk_sees_the_probe_where_it_is_wanted_and_only_there(pool: Pool) -> None:
    """Outcomes by chance, so that nothing but the probe tells them."""
    failed = np.random.default_rng(2).random(150) < 0.5
    blind = Pool(pool.points, pool.features[:, :-DIM], failed)
    probes = np.repeat(np.where(failed, 0.5, -1.5)[:, None], DIM, axis=1)
    seeing = Pool(pool.points, np.hstack([blind.features, probes]).astype(np.float32), failed)
    done, asked = np.arange(40), np.arange(40, 150)
    with_probe = TabularRisk(LIFT, probe=True)(seeing, done, asked)
    without = TabularRisk(LIFT)(seeing, done, asked)
    assert auc(with_probe, failed[asked]) > 0.95
    assert auc(without, failed[asked]) < 0.7
    assert np.array_equal(without, TabularRisk(LIFT)(blind, done, asked))


def test_a_pool_has_its_probes_behind_all_else() -> None:
    conditions = [LIFT.perturbation(p) for p in ("cube_red", "light_intensity=0.5")]
    records = [RolloutRecord(str(i), p, "lift", "Panda", "p") for i, p in enumerate(conditions)]
    table = ProbeTable("p", {"cube_red": np.array([0.1, 0.2, 0.3], np.float32)})
    made, plain = (pool_of(records, np.zeros(2, bool), LIFT, t) for t in (table, None))
    assert np.array_equal(made.features[:, :-DIM], plain.features)
    assert made.features[0, -DIM:] == pytest.approx([0.1, 0.2, 0.3])
    assert np.isnan(made.features[1, -DIM:]).all()


def test_a_hypercube_has_each_part_of_each_factor_once() -> None:
    drawn = hypercube(LIFT, 20, np.random.default_rng(0), 1.0)
    for place in range(LIFT.dim):
        column = np.array([LIFT.vector(p)[0][place] for p in drawn])
        if np.ptp(column) > 0:  # the table's thickness is fixed
            parts = np.clip(((column + 1) / 2 * 20).astype(int), 0, 19)
            assert (
                len(set(parts.tolist())) >= 19
            )  # values have four digits: one may round into the next part
    assert len(hypercube(LIFT, 20, np.random.default_rng(0), 0.5)[0].variations) <= 9


def test_a_hypercube_in_a_pool_takes_no_condition_twice(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    rows = replay(pool, lambda *a: [], 25, rng, initial=latin_hypercube(LIFT), start=25)
    assert len(set(rows.tolist())) == 25


@pytest.mark.parametrize(("share", "failing"), [(0.5, 0.5), (0.1, 0.1)])
def test_failures_are_left_out_until_the_share_is_reached(share: float, failing: float) -> None:
    failed = np.random.default_rng(0).random(1000) < 0.7
    inside = pool_rows(failed, share, np.random.default_rng(1))
    assert failed[inside].mean() == pytest.approx(failing, abs=0.01)
    assert (~failed[inside]).sum() == (~failed).sum()
    whole = pool_rows(failed, 1.0, np.random.default_rng(1))
    assert whole.sum() == 640


def test_a_curve_reaches_a_value_between_two_marks() -> None:
    assert first_reached([10, 20, 30], np.array([0.5, 0.6, 0.8]), 0.7) == pytest.approx(25)
    assert first_reached([10, 20], np.array([0.5, 0.6]), 0.4) == 10
    assert first_reached([10, 20], np.array([0.5, 0.6]), 0.7) == float("inf")


def test_a_live_search_repeats_the_first_distinct_failures_on_other_scenes() -> None:
    asked: list[tuple[str, int]] = []

    def roll_out(perturbation: Perturbation, scene: int) -> bool:
        asked.append((perturbation.id, scene))
        return dark(perturbation)

    run = live_search.Run("hunt", 1, 25, 4)
    factors = ("light_intensity", "light_color", "cube_size")
    got = live_search.search(roll_out, LIFT, factors, run, make_pool(60))
    assert got["repeated"] == got["confirmed"] == 4
    assert got["repeats"] == [3, 3, 3, 3]
    assert len(asked) == 25 + 4 * 3
    assert len({scene for _, scene in asked}) == len(asked)
    assert {v.split("=")[0] for i, _ in asked for v in i.split("+")} <= set(factors)
    assert got["failures"] >= got["distinct"] >= 4
