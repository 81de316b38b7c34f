"""The shipped policy on an arm that is driven by joint commands: the loop of the real cell, in simulated time."""

from dataclasses import replace

import numpy as np
import pytest
from arm_ports import lift

from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.core.outcome import Outcome
from robomd_ros.policies.loader import load_policy
from sim_bridge.cell import SimCell
from sim_bridge.standin_arm import StandinArm

SEEDS = range(700_000, 700_003)


@pytest.fixture(scope="module")
def arm():
    made = StandinArm()
    yield made
    made.close()


@pytest.fixture(scope="module")
def thread():
    made = PolicyThread(load_policy("lift_ur5e_bc"))
    yield made
    made.close()


@pytest.mark.parametrize("velocity", [False, True])
def test_the_shipped_policy_lifts_the_cube_through_joint_commands(arm, thread, velocity):
    rollouts = [lift(arm, thread, seed, velocity=velocity) for seed in SEEDS]

    for result, ports, _ in rollouts:
        assert (result.outcome, result.steps) == (Outcome.UNKNOWN, thread.info.horizon), (
            result.reason
        )
        np.testing.assert_allclose(np.diff(result.action_times), 0.1, atol=0.021)
        assert result.facts["limited_commands"] == "0"
        assert ports.trail < 0.05
        assert ports.fastest < 1.6
    assert sum(lifted for _, _, lifted in rollouts) >= len(SEEDS) - 1


class Blind:
    """The shipped policy before a grey wall: it reaches for the average cube, and finds 3 of 12."""

    def __init__(self, policy):
        self._policy, self.info = policy, policy.info
        self.reset, self.close = policy.reset, policy.close

    def act(self, observation):
        return self._policy.act(replace(observation, image=np.full_like(observation.image, 128)))


def test_a_blinded_policy_lifts_what_it_lifts_under_robosuites_controller_and_no_more(arm, thread):
    """Seed by seed: the success is the cube's and not a flag's of the rollout before."""
    blind = Blind(thread.policy)
    cell = SimCell(arm.scene, blind)
    theirs = [cell.rollout(seed).success for seed in SEEDS]
    asked = PolicyThread(blind)
    ours = [lift(arm, asked, seed)[2] for seed in SEEDS]

    assert ours == theirs
    assert {True, False} == set(ours)  # both are seen
