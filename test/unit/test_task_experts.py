"""Tasks and experts without a simulator: a hand that is a point, things that are points."""

from __future__ import annotations

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue
from sim_bridge.expert import ACTION_SCALE, CLOSE, OPEN
from sim_bridge.tasks import TASKS, get_task
from sim_bridge.tasks.base import Placement, Spot

EVERY_TASK = {"robot_color", "light_color", "light_intensity", "light_direction", "camera_offset"}


class PointWorld:
    """A hand that does what it is told; a thing within 2 cm of it goes with it once it has closed for two steps."""

    def __init__(self, held: str, **things: tuple[float, float, float]) -> None:
        self.eef_position = np.array([-0.1, 0.0, 1.0])
        self._things = {name: np.array(place, float) for name, place in things.items()}
        self._held, self._closed = held, 0

    def position(self, name: str) -> np.ndarray:
        return self._things[name].copy()

    def step(self, action: np.ndarray) -> None:
        self._closed = self._closed + 1 if action[6] > 0 else 0
        near = np.linalg.norm(self.eef_position - self._things[self._held]) < 0.02
        motion = action[:3] * ACTION_SCALE
        self.eef_position = self.eef_position + motion
        if near and self._closed > 2:
            self._things[self._held] += motion


def run(task: str, world: PointWorld, steps: int, push: float = 0.0):
    """Actions and heights of the hand; pushes where the expert allows it."""
    expert, rng = get_task(task).expert(), np.random.default_rng(0)
    actions, places = [], []
    for _ in range(steps):
        action = expert.act(world)
        actions.append(action)
        places.append(world.eef_position.copy())
        executed = action.copy()
        if not expert.steady:
            executed[:3] += rng.normal(0, push, 3)
        world.step(executed)
    return expert, np.array(actions), np.array(places)


@pytest.mark.parametrize("push", [0.0, 0.15])
def test_stack_is_carried_over_the_base_and_let_go(push):
    world = PointWorld("cube", cube=(0.02, -0.08, 0.82), base=(-0.01, 0.07, 0.825))
    expert, actions, places = run("stack", world, 45, push)
    over = world.position("cube") - world.position("base")
    assert np.abs(over[:2]).max() < 0.01
    assert over[2] == pytest.approx(0.047, abs=0.01)
    assert len(expert.marks) == expert.points == 2
    closing = actions[:, 6] > 0
    assert actions[0, 6] == OPEN == actions[-1, 6]
    assert np.flatnonzero(np.diff(closing.astype(int))).size == 2  # one grasp, one release
    assert expert.marks[0] == pytest.approx(places[closing.argmax()])
    assert places[closing][:, 2].max() > 0.88  # over the base, not through it


def test_lift_comes_down_on_a_cone_closes_and_goes_straight_up():
    world = PointWorld("cube", cube=(0.05, -0.05, 0.82))
    expert, actions, places = run("lift", world, 30)
    away = np.linalg.norm(places[:, :2] - (0.05, -0.05), axis=1)
    assert (places[away > 0.045, 2] > 0.82 + 0.05).all()
    first = int((actions[:, 6] == CLOSE).argmax())
    assert (actions[first : first + 3, :3] == 0).all()
    assert (actions[first + 3 :, :3] == (0, 0, 1)).all()
    assert len(expert.marks) == 1
    expert.reset()
    assert expert.marks == []


@pytest.mark.parametrize("name", TASKS)
def test_a_task_and_its_catalogue_speak_of_the_same_factors(name):
    task, catalogue = get_task(name), load_catalogue(name)
    assert catalogue.task == name
    assert set(catalogue.factors) == {*task.colors, *task.sizes, *EVERY_TASK}
    for variation in catalogue.variations.values():
        assert variation.sentence.endswith(".")
        assert variation.sentence.count(". ") == 0


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(InvalidArgumentError, match="lift"):
        get_task("fold_laundry")


def test_placement_draws_from_the_generator_it_is_given():
    class Thing:
        bottom_offset = np.array([0, 0, -0.02])

    spots = {"a": Spot((0.0, 0.1), (-0.2, -0.1), 0.8, (0.5, 0.5))}
    placement = Placement({"a": Thing()}, spots)
    placement.rng = np.random.default_rng(3)
    first = placement.sample()["a"]
    placement.rng = np.random.default_rng(3)
    again = placement.sample()["a"]
    assert first[0].tolist() == again[0].tolist()
    assert 0.0 <= first[0][0] <= 0.1
    assert -0.2 <= first[0][1] <= -0.1
    assert first[0][2] == pytest.approx(0.82)
    assert first[1] == pytest.approx([np.cos(0.25), 0, 0, np.sin(0.25)])
