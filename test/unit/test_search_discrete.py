import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.discrete import CatalogueRollouts, KnownSetOutcome

LIFT = load_catalogue("lift")
ACTIONS = [LIFT.perturbation(i) for i in ("cube_red", "cube_blue", "table_red")]


def rollouts(outcome, count=1, **config):
    return CatalogueRollouts(
        ACTIONS, outcome, SearchConfig(**config), count, np.random.default_rng(0)
    )


def never(applied):
    return np.zeros(len(applied))


def test_variations_accumulate_and_a_factor_is_replaced():
    batch = rollouts(never)
    batch.reset()
    assert batch.step(np.array([0]))[0].tolist() == [[1, 0, 0]]
    assert batch.step(np.array([2]))[0].tolist() == [[1, 0, 1]]
    assert batch.step(np.array([1]))[0].tolist() == [[0, 1, 1]]
    assert batch.reset().tolist() == [[0, 0, 0]]


def test_rewards_by_hand():
    def both_red(applied):
        return (applied[:, 0] & applied[:, 2]).astype(float)

    batch = rollouts(both_red, horizon=4, repeat_penalty=0.5, failure_reward=7.0)
    batch.reset()
    steps = [batch.step(np.array([a]))[1:3] for a in (0, 0, 2)]
    assert [float(r[0]) for r, _ in steps] == pytest.approx([-0.25, -0.75, 7.0])
    assert [bool(f[0]) for _, f in steps] == [False, False, True]


def test_outcome_is_the_known_rate_of_the_set_else_noisy_or():
    perturbations = ["cube_red"] * 4 + ["table_red"] * 4 + ["cube_red+table_red"] * 9
    failed = np.array([False] * 4 + [True] * 2 + [False] * 2 + [True] * 9)
    outcome = KnownSetOutcome(ACTIONS, [LIFT.perturbation(p) for p in perturbations], failed)
    p = outcome(np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]], bool))
    assert p == pytest.approx([0.5 / 5, 2.5 / 5, 9.5 / 10])
    unseen = outcome(np.array([[0, 1, 1], [0, 0, 0]], bool))
    assert 0.5 < unseen[0] < 1.0
    assert unseen[1] == pytest.approx(0.0)


def test_only_single_variations_are_actions():
    with pytest.raises(InvalidArgumentError, match="single"):
        CatalogueRollouts(
            [LIFT.perturbation("cube_red+table_red")], never, SearchConfig(), 1,
            np.random.default_rng(0),
        )  # fmt: skip
