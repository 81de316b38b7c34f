"""Replaying a search over a pool, against figures worked by hand."""

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.search.replay import Found, Pool, at_random, found, replay


def pool(points, failed):
    shaped = np.array(points, np.float32).reshape(-1, 1)
    return Pool(shaped, shaped, np.array(failed, bool))


def rng():
    return np.random.default_rng(0)


def test_figures_by_hand():
    heldout = pool([0.4, 3.2, 9.0, 9.1], [True, True, True, False])
    # Failures at 0, 0.5 (no new one), 3; a success at 9 covers nothing.
    tried = np.array([[0.0], [0.5], [9.0], [3.0]], np.float32)
    got = found(tried, np.array([True, True, False, True]), heldout, 1.0)
    assert got == Found(3, 2, pytest.approx(2 / 3))


def test_a_chain_of_neighbours_is_one_distinct_failure():
    tried = np.arange(5, dtype=np.float32)[:, None]
    heldout = pool([0.0], [True])
    assert found(tried, np.ones(5, bool), heldout, 1.0).distinct == 1
    assert found(tried, np.ones(5, bool), heldout, 0.9).distinct == 5


def test_without_a_failure_nothing_is_found():
    nothing = found(np.zeros((3, 1), np.float32), np.zeros(3, bool), pool([0.0], [True]), 1.0)
    assert nothing == Found(0, 0, 0.0)


def test_each_row_once_in_batches_and_with_the_outcomes_so_far_only():
    p = pool(range(30), [False] * 30)
    seen = []

    def choose(some, done, free, count, rng):
        seen.append((len(done), count))
        assert not set(done) & set(free)
        return list(range(count))

    order = replay(p, choose, 22, rng(), start=8, batch=5)
    assert seen == [(8, 5), (13, 5), (18, 4)]
    assert len(set(order.tolist())) == 22


def test_equal_generators_replay_equally():
    p = pool(range(50), [False] * 50)
    one, two = (replay(p, at_random, 20, rng()) for _ in range(2))
    assert one.tolist() == two.tolist()


def test_more_than_there_is_is_refused():
    with pytest.raises(InvalidArgumentError, match="budget of 31"):
        replay(pool(range(30), [False] * 30), at_random, 31, rng())
