"""The scripted expert, its demonstrations, and the shipped policies, in the simulator."""

from dataclasses import replace

import numpy as np
import pytest

from robomd_ros.policies.loader import list_policies, load_policy
from robomd_ros.policies.preflight import Level, preflight
from sim_bridge.cell import SimCell
from sim_bridge.demos import DemoConfig, collect_demos, demonstrate
from sim_bridge.scene import Scene
from sim_bridge.tasks import get_task

SEEDS = range(700_000, 700_006)
LIFT = get_task("lift")


@pytest.fixture(scope="module")
def scene():
    made = Scene()
    yield made
    made.close()


def test_the_expert_succeeds_also_when_pushed(scene):
    assert all(demonstrate(scene, LIFT.expert(), seed, noise=0.15) for seed in SEEDS)


def test_a_demonstration_records_what_the_expert_wanted_and_where_it_grasped(scene):
    demo = demonstrate(scene, LIFT.expert(), SEEDS[0], noise=0.15)
    closing = demo.actions[:, 6] > 0
    assert closing.any()
    assert not closing[:5].any()
    np.testing.assert_allclose(demo.grasp, demo.proprio[closing.argmax(), :3], atol=1e-5)
    assert len(demo.images) == len(demo.proprio) == len(demo.actions) < scene.horizon


def test_demonstrations_do_not_depend_on_the_number_of_processes():
    one, _ = collect_demos(DemoConfig(demos=3, first_seed=SEEDS[0]), workers=1)
    two, _ = collect_demos(DemoConfig(demos=3, first_seed=SEEDS[0]), workers=2)
    for name in one.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("name", list_policies())
def test_shipped_policies_see_and_succeed(name):
    policy = load_policy(name)
    cell = SimCell(Scene(policy.info.task, policy.info.robot), policy)
    wanted = len(SEEDS) - 1 if policy.info.task == "lift" else len(SEEDS) // 2
    assert sum(cell.rollout(seed).success for seed in SEEDS) >= wanted
    cell.policy = _Blanked(policy)
    assert sum(cell.rollout(seed).success for seed in SEEDS) <= 1
    cell.close()


def test_preflight_passes_the_shipped_policy_and_explains_a_camera_upside_down(scene):
    policy = load_policy("lift_panda_bc")
    good = preflight(policy, scene, trials=3)
    assert good.level is Level.OK, good.checks
    turned = preflight(_Turned(policy), scene, trials=3)
    assert turned.level is Level.ERROR
    assert "upside down" in turned.checks[-1].sentence


class _Blanked:
    def __init__(self, policy):
        self.policy, self.info = policy, policy.info
        self.reset, self.close = policy.reset, policy.close

    def act(self, observation):
        return self.policy.act(replace(observation, image=self.change(observation.image)))

    def change(self, image):
        return np.full_like(image, 128)


class _Turned(_Blanked):
    def change(self, image):
        return np.ascontiguousarray(image[::-1])
