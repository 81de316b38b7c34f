"""The shipped policy on an arm that is driven by joint commands: the loop of the real cell, in simulated time."""

import numpy as np
import pytest
from arm_ports import lift

from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.core.outcome import Outcome
from robomd_ros.policies.loader import load_policy
from sim_bridge.standin_arm import StandinArm

SEEDS = range(700_000, 700_004)


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


def test_a_blinded_policy_does_not(arm, thread):
    """The check of the check: what lifts the cube is what the camera shows."""
    seen = thread.policy.act
    blind = PolicyThread(type("Blind", (), {
        "info": thread.info, "reset": thread.policy.reset, "close": lambda self: None,
        "act": lambda self, o: seen(type(o)(np.full_like(o.image, 128), o.proprio, o.stamp)),
    })())  # fmt: skip

    assert sum(lift(arm, blind, seed)[2] for seed in SEEDS) <= 1
