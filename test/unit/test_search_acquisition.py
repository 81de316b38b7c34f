"""Choosing conditions from points and predictions alone."""

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.search.acquisition import (
    Board,
    Worth,
    hunt,
    radius_of,
    risk_times_novelty,
    teach,
    without,
)

RNG = np.random.default_rng(0)


def board(points, risk, tried=(), failed=(), radius=1.0):
    shaped = np.array(points, np.float32).reshape(len(risk), -1)
    places = np.array(tried, np.float32).reshape(len(failed), shaped.shape[1])
    return Board(shaped, np.array(risk, float), places, np.array(failed, bool), radius)


def first(chosen):
    return [i for i, _ in chosen]


def test_risk_times_novelty_by_hand():
    # distances to the tried 0: 1, 2, 4; times the risk: 0.9, 1.0, 0.4
    b = board([1, 2, 4], [0.9, 0.5, 0.1], [0], [True])
    assert risk_times_novelty(b, 1) == [(1, pytest.approx(1.0))]
    # 2 is taken: 1 and 4 are at 1 and 2 now, 0.9 and 0.2
    assert risk_times_novelty(b, 3) == [
        (1, pytest.approx(1.0)), (0, pytest.approx(0.9)), (2, pytest.approx(0.2)),
    ]  # fmt: skip


def test_a_failure_beside_a_found_one_is_worth_less_than_a_distinct_one():
    b = board([0.1, 5.0], [0.9, 0.8], [0.0], [True])
    assert first(hunt(b, 1, Worth(novelty=0.0, reach=0.0))) == [1]


def test_a_success_nearby_takes_nothing_from_being_distinct():
    b = board([0.1, 5.0], [0.9, 0.8], [0.0], [False])
    assert first(hunt(b, 1, Worth(novelty=0.0, reach=0.0))) == [0]


def test_among_equally_risky_ones_the_one_near_much_that_fails_is_taken():
    crowd = [10.0, 10.1, 10.2, 10.3]
    b = board([0.0, *crowd], [0.9] * 5)
    assert first(hunt(b, 1))[0] in (1, 2, 3, 4)
    assert first(hunt(b, 2))[1] == 0  # and then not the same crowd again


def test_caution_prefers_the_sure_one():
    b = board([0.0, 10.0], [0.6, 0.9], [9.0], [False])
    bold, sure = (
        first(hunt(b, 1, Worth(distinct=1.0, reach=0.0, novelty=1.0, caution=c)))
        for c in (0.5, 4.0)
    )
    assert (bold, sure) == ([0], [1])


def test_what_tells_most_about_all_is_tried_first():
    # 0 and 1 move together, 2 is alone; each outcome is a measurement of variance 4, each weighs 1/16.
    together = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.2]])
    b = board([0, 1, 2], [0.5, 0.5, 0.5])
    chosen = teach(b, together, 2, RNG, by_chance=0.0)
    assert chosen[0] == (0, pytest.approx((1 + 0.81) / 5 / 16))
    assert first(chosen) == [0, 2]  # 1 is told by 0 already


def test_what_is_nearly_sure_need_not_be_known_better():
    # 0 tells of 1, which nearly surely fails, 2 of the undecided 3; all else is alike.
    pairs = np.kron(np.eye(2), np.array([[1.0, 0.9], [0.9, 1.0]]))
    b = board([0, 1, 2, 3], [0.7, 0.97, 0.7, 0.5])
    tells = np.flatnonzero([True, False, True, False])
    order = first(teach(b, pairs, 4, RNG, by_chance=0.0))
    assert order.index(tells[1]) < order.index(tells[0])


def test_chance_chooses_its_part_and_says_so():
    rng = np.random.default_rng(0)
    b = board(rng.normal(size=(400, 3)), rng.random(400))
    chosen = teach(b, np.eye(400), 200, rng)
    assert len(set(first(chosen))) == len(chosen) == 200
    assert 0.15 < np.mean([worth == 0 for _, worth in chosen]) < 0.35
    assert [w for _, w in chosen] == sorted((w for _, w in chosen), reverse=True)


def test_what_fails_for_sure_teaches_little():
    b = board([0, 1], [0.99, 0.5])
    assert first(teach(b, np.diag([1.5, 1.0]), 1, RNG, by_chance=0.0)) == [1]


def test_a_batch_has_no_two_alike_and_ends_with_the_candidates():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    b = board(points, rng.random(40))
    for choose in (hunt, risk_times_novelty):
        assert len(set(first(choose(b, 40)))) == 40
        assert len(choose(b, 60)) == 40


def test_the_radius_holds_half_of_the_conditions():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(2000, 4)).astype(np.float32)
    radius = radius_of(points, rng)
    others = rng.normal(size=(25, 4))
    near = np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1)
    assert (near <= radius).mean() == pytest.approx(0.5, abs=0.15)
    assert radius_of(10 * points, np.random.default_rng(2)) == pytest.approx(
        10 * radius_of(points, np.random.default_rng(2)), rel=1e-4
    )


def test_a_board_of_some_of_the_candidates():
    b = board([0, 1, 2], [0.1, 0.2, 0.3])
    part = without(b, np.array([True, False, True]))
    assert part.p_failure.tolist() == [0.1, 0.3]
    assert part.points.ravel().tolist() == [0, 2]


def test_what_does_not_fit_together_is_refused():
    none = np.zeros((0, 1), np.float32)
    with pytest.raises(InvalidArgumentError, match="want as many"):
        Board(np.zeros((2, 1), np.float32), np.zeros(3), none, np.zeros(0, np.bool_), 1.0)
