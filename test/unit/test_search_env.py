import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from robomd_ros.search.config import SearchConfig
from robomd_ros.search.env import VirtualRolloutEnv, VirtualRolloutVecEnv
from robomd_ros.search.known import KnownSet, NearestIndex
from robomd_ros.search.mdp import Landscape, VirtualRollouts


def line(**config):
    """Known points at x = 0 (success), 1 (success), 3 (failure); start at 0."""
    landscape = Landscape(
        NearestIndex([[0.0], [1.0], [3.0]]),
        np.array([False, False, True]),
        np.zeros(1, np.float32),
        np.array([0.1, 0.5, 0.9]),
    )
    return landscape, SearchConfig(**config)


def two_clusters(m=80, d=16, seed=0):
    rng = np.random.default_rng(seed)
    failed = np.arange(m) % 3 == 0
    embeddings = rng.normal(size=(m, d)) * 0.3
    embeddings[:, 0] += np.where(failed, 2.0, -1.0)
    known = KnownSet(embeddings, failed, tuple(map(str, range(m))), ("nominal",) * m)
    return Landscape.from_known(known, known.reduced(4))


def test_reward_is_equation_2_by_hand():
    landscape, config = line(
        failure_reward=5.0, success_penalty=3.0, repeat_penalty=0.25, horizon=6, distance_weight=2.0
    )
    rollouts = VirtualRollouts(landscape, config, 1)
    rollouts.reset()
    steps = [1.4, 0.8, 1.0, 0.0, 3.5]
    want = [
        -3 / (6 * (2 * 0.4 + 1)),
        -3 / (6 * (2 * 0.2 + 1)) - 0.25,  # the same point again
        -3 / 6 - 0.5,  # and again
        -3 / 6,  # another point: the count starts anew
        5 / (2 * 0.5 + 1),
    ]
    for action, reward in zip(steps, want, strict=True):
        states, rewards, failed, _ = rollouts.step(np.array([[action]]))
        assert rewards[0] == pytest.approx(reward, rel=1e-5)
    assert failed[0]
    assert states[0] == pytest.approx(3.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-4, 6), min_size=1, max_size=10), st.floats(0.1, 1.0))
def test_shaping_adds_only_the_potential_of_the_start(actions, gamma):
    """Sum of gamma^t F telescopes to gamma^n phi(s_n) - phi(s_0), with phi = 0 after a failure (Theorem 1)."""
    total = {}
    for shaping in (False, True):
        landscape, config = line(gamma=gamma, shaping=shaping, max_episode=100)
        rollouts = VirtualRollouts(landscape, config, 1)
        rollouts.reset()
        total[shaping] = 0.0
        for t, action in enumerate(actions):
            states, rewards, failed, _ = rollouts.step(np.array([[action]]))
            total[shaping] += gamma**t * rewards[0]
            if failed[0]:
                break
    phi = {0.0: 0.1, 1.0: 0.5, 3.0: 0.9}
    end = 0.0 if failed[0] else gamma ** (t + 1) * phi[float(states[0, 0])]
    assert total[True] - total[False] == pytest.approx(end - phi[0.0], abs=1e-4)


def test_uncertainty_bonus_is_the_binary_entropy():
    landscape, config = line(uncertainty_bonus=2.0)
    plain = VirtualRollouts(landscape, line()[1], 1)
    bonus = VirtualRollouts(landscape, config, 1)
    step = np.array([[1.0]])
    gained = bonus.step(step)[1] - plain.step(step)[1]
    assert gained[0] == pytest.approx(2.0 * np.log(2), rel=1e-5)


def test_an_episode_ends_at_a_failure_or_at_its_length():
    landscape, config = line(max_episode=2)
    rollouts = VirtualRollouts(landscape, config, 2)
    rollouts.reset()
    _, _, failed, truncated = rollouts.step(np.array([[0.0], [3.0]]))
    assert failed.tolist() == [False, True]
    assert not truncated.any()
    rollouts.reset(failed)
    _, _, failed, truncated = rollouts.step(np.array([[0.0], [0.0]]))
    assert truncated.tolist() == [True, False]


def test_gymnasium_and_sb3_checkers_pass():
    env = VirtualRolloutEnv(two_clusters(), SearchConfig())
    check_env(env, skip_render_check=True)
    sb3_check_env(env)


def test_batch_equals_single_environments():
    landscape, config = two_clusters(), SearchConfig(max_episode=4)
    batch = VirtualRolloutVecEnv(landscape, config, 5)
    singles = [VirtualRolloutEnv(landscape, config) for _ in range(5)]
    states = batch.reset()
    for env, state in zip(singles, states, strict=True):
        np.testing.assert_array_equal(env.reset()[0], state)
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = rng.uniform(-3, 3, (5, landscape.dim)).astype(np.float32)
        states, rewards, dones, infos = batch.step(actions)
        for i, env in enumerate(singles):
            state, reward, failed, truncated, _ = env.step(actions[i])
            assert (reward, failed or truncated) == (pytest.approx(rewards[i]), dones[i])
            if dones[i]:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], state)
                assert infos[i]["TimeLimit.truncated"] == truncated
                state, _ = env.reset()
            np.testing.assert_array_equal(state, states[i])


def test_an_endless_batch_starts_anew_without_ending():
    landscape, config = line()
    env = VirtualRolloutVecEnv(landscape, config, 1, endless=True)
    env.reset()
    states, _, dones, infos = env.step(np.array([[3.0]]))
    assert not dones[0]
    assert states[0] == pytest.approx(0.0)
    assert "episode" in infos[0]
