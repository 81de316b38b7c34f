"""The theorems about the potential, where their truth is known."""

import numpy as np
import pytest

from robomd_ros.evaluation.potential import exploration_entropy, first_at, learn, optimum
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.known import NearestIndex
from robomd_ros.search.mdp import Landscape


@pytest.fixture(scope="module")
def landscape():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 2)).astype(np.float32)
    failed = points[:, 0] > 0.8
    p_failure = 1 / (1 + np.exp(-4 * (points[:, 0].astype(np.float64) - 0.8)))
    return Landscape(NearestIndex(points), failed, np.zeros(2, np.float32), p_failure)


def test_a_potential_leaves_the_optimum_where_it_is(landscape):
    exact = optimum(landscape, SearchConfig())
    assert exact.same == 1.0
    assert exact.gap < 1e-9


def test_the_search_gets_better_and_says_when(landscape):
    curve = learn(landscape, SearchConfig(steps=8_192, n_envs=32, batch_size=256), 0)
    assert curve.steps[0] == 0
    assert curve.steps == sorted(curve.steps)
    assert curve.returns[-1] > curve.returns[0] + 0.1
    assert curve.finding[-1] > 0.9
    assert len(curve.steps) == len(curve.returns) == len(curve.finding)


def test_the_first_look_at_which_a_value_is_reached():
    assert first_at([0, 10, 20], [0.1, 0.6, 0.5], 0.5) == 10
    assert first_at([0, 10, 20], [0.1, 0.6, 0.5], 0.7) == float("inf")


def test_exploration_entropy_by_hand():
    assert exploration_entropy(np.arange(21)) == pytest.approx(np.log(21))
    assert exploration_entropy(np.array([3, 3, 3])) == 0.0
    assert exploration_entropy(np.array([0, 0, 1, 1])) == pytest.approx(np.log(2))
