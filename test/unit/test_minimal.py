"""Minimal failing sets: delta debugging on oracles whose causes are known, sure ones and noisy ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robomd_ros.core.errors import InvalidArgumentError, PolicyError
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.search.minimal import MinimalConfig, MinimalSearch, ddmin

LIFT = load_catalogue("lift")
SIX = LIFT.perturbation("cube_blue+table_red+robot_green+light_grey+light_intensity=0.4+cube_flat")


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))
    )
)
def test_ddmin_finds_the_cause_of_a_monotone_failure(case):
    n, cause = case
    asked = []

    def fails(some):
        asked.append(some)
        return cause <= set(some)

    assert set(ddmin(range(n), fails)) == cause
    assert len(asked) <= n * n + 3 * n
    assert all(0 < len(some) < n for some in asked)


@given(st.integers(1, 7), st.randoms(use_true_random=False))
def test_ddmin_ends_at_a_set_of_which_nothing_can_be_left_out(n, random):
    """Whatever fails and does not, monotone or not."""
    fate = {s: random.random() < 0.4 for k in range(n) for s in itertools.combinations(range(n), k)}
    fate[tuple(range(n))] = True
    left = ddmin(range(n), lambda some: fate[some])
    assert fate[left]
    if len(left) > 1:
        assert not any(fate[tuple(x for x in left if x != out)] for out in left)


class Scene:
    """Fails with rate `high` where all of a cause is there, else with rate `low`."""

    def __init__(self, *causes, high=1.0, low=0.0, seed=0):
        self.causes, self.high, self.low = [set(c.split("+")) for c in causes], high, low
        self.rng, self.closed = np.random.default_rng(seed), 0

    def __call__(self, perturbation):
        there = any(cause <= set(perturbation.ids) for cause in self.causes)
        try:
            while True:
                yield bool(self.rng.random() < (self.high if there else self.low))
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    "cause", ["table_red", "cube_blue+light_intensity=0.4", "cube_flat+robot_green+table_red"]
)
def test_one_two_and_three_causes(cause):
    search = MinimalSearch(scene := Scene(cause))
    search.run(SIX)
    assert set(search.smallest.ids) == set(cause.split("+"))
    assert search.complete
    assert all(t.fails is False for t in search.without())
    assert len(search.without()) == len(search.smallest.ids)
    assert scene.closed == len(search.tested)
    assert search.spent == sum(t.rollouts for t in search.tested.values())


def test_two_causes_leave_one_of_them():
    search = MinimalSearch(Scene("table_red", "cube_blue"))
    search.run(SIX)
    assert search.smallest.ids in (("table_red",), ("cube_blue",))


def test_noise_misleads_it_as_seldom_as_it_says():
    n, config, wrong, spent = 100, MinimalConfig(alpha=0.05), 0, []
    pair = LIFT.perturbation("cube_blue+table_red+light_grey")
    for seed in range(n):
        search = MinimalSearch(Scene("cube_blue+table_red", high=0.95, low=0.05, seed=seed), config)
        search.run(pair)
        wrong += set(search.smallest.ids) != {"cube_blue", "table_red"}
        spent.append(search.spent)
    assert wrong <= stats.binom.isf(1e-6, n, config.alpha)
    assert np.median(spent) < 150


def test_a_subset_near_the_threshold_stays_undecided_and_is_not_gone_on_with():
    def rollouts(perturbation):
        sure = len(perturbation.ids) == 2
        yield from itertools.cycle(
            [True] if sure else [True, False] if perturbation.ids else [False]
        )

    search = MinimalSearch(rollouts, MinimalConfig(max_rollouts=20))
    search.run(LIFT.perturbation("cube_blue+table_red"))
    assert search.smallest.id == "cube_blue+table_red"
    assert [t.fails for t in search.without()] == [None, None]
    low, high = search.without()[0].interval(0.95)
    assert low < 0.5 < high


def test_a_spent_budget_leaves_what_is_known():
    search = MinimalSearch(Scene("table_red"), MinimalConfig(budget=30))
    search.run(SIX)
    assert not search.complete
    assert search.spent == 30
    assert "table_red" in search.smallest.ids


def test_an_interrupt_leaves_what_is_known():
    def told(tested):
        if len(search.tested) == 3:
            raise KeyboardInterrupt

    search = MinimalSearch(Scene("table_red"), told=told)
    with pytest.raises(KeyboardInterrupt):
        search.run(SIX)
    assert search.smallest == SIX
    assert len(search.tested) == 3


@pytest.mark.parametrize(
    ("scene", "what", "sentence"),
    [
        (Scene("cube_green"), SIX, r"does not fail in more than 0.5 of its rollouts: 0 of"),
        (Scene("table_red", low=1.0), SIX, "the unchanged scene fails, too"),
        (Scene("table_red"), Perturbation(), "want 1 to 16"),
    ],
)
def test_nothing_to_minimise_is_said(scene, what, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        MinimalSearch(scene).run(what)


def test_no_outcome_at_all_is_said():
    def rollouts(perturbation):
        yield from ()

    with pytest.raises(PolicyError, match="no rollout of"):
        MinimalSearch(rollouts).run(SIX)


@pytest.mark.parametrize("bad", [{"threshold": math.nan}, {"threshold": 1.0}, {"alpha": 0.0}, {"budget": 0}, {"max_rollouts": 0}])  # fmt: skip
def test_impossible_settings_are_refused(bad):
    with pytest.raises(InvalidArgumentError, match="want"):
        MinimalConfig(**bad)
