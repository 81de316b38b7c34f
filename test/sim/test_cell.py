"""One rollout: what it records, how it ends, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from red_servo import RedServo, info, raises

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, PolicyError
from robomd_ros.core.outcome import Control, Outcome
from sim_bridge.cell import SimCell, check_fits, resize, to_osc_pose


def test_a_policy_that_sees_succeeds_and_its_trace_is_whole(cell):
    seen = []
    result = cell.rollout(0, on_frame=lambda observation, step: seen.append(step))
    trace = result.trace
    assert result.outcome is Outcome.SUCCESS
    assert 5 < result.steps < result.horizon
    assert seen == list(range(result.steps + 1))
    assert len(trace.frames) == result.steps + 1 == len(trace.actions) + 1
    assert np.diff(trace.stamps) == pytest.approx(0.1, abs=1e-9)
    assert result.duration == pytest.approx(0.1 * result.steps)
    assert trace.joint_positions.shape == (result.steps + 1, 9)
    assert trace.joint_names[0] == "joint1"
    assert np.array_equal(trace.frames[0], cell.nominal_render(0))


def test_the_same_policy_fails_where_it_cannot_see(cell, catalogue):
    cell.apply(catalogue.perturbation("cube_green"))
    result = cell.rollout(0)
    assert result.outcome is Outcome.FAILURE
    assert result.steps == result.horizon


@pytest.mark.parametrize("seed", range(5))
def test_a_zero_action_rollout_does_not_succeed(cell, seed):
    result = cell.rollout(seed, Control.ZERO_ACTION)
    assert result.outcome is Outcome.FAILURE
    assert result.steps == 40
    assert not result.trace.actions.any()


def test_a_short_lift_is_no_success(cell):
    scene = cell.scene
    scene.reset(0)
    lifted = scene.data.qpos.copy()
    address = scene.model.joint("cube_joint0").qposadr[0]
    lifted[address + 2] += 0.12
    for _ in range(2):  # thrown up again in each step: up at its end, but never for three
        scene.data.qpos[:], scene.data.qvel[:] = lifted, 0.0
        scene.step(np.zeros(7))
    assert scene.solved
    assert not scene.success()


def test_a_stop_ends_it_and_keeps_what_was_recorded(cell):
    result = cell.rollout(0, should_stop=iter([False, False, True]).__next__)
    assert result.stopped
    assert result.steps == 2
    assert len(result.trace.frames) == 3
    assert result.outcome is Outcome.INVALID


def test_an_error_of_the_policy_keeps_what_was_recorded(cell):
    result = SimCell(cell.scene, raises()).rollout(0)
    assert isinstance(result.error, PolicyError)
    assert "out of ideas" in str(result.error)
    assert result.outcome is Outcome.POLICY_ERROR
    assert len(result.trace.frames) == 4


@pytest.mark.parametrize("action", [np.zeros(3), np.full(4, np.nan), None, "left"])
def test_nonsense_of_the_policy_is_a_policy_error(cell, action):
    class Odd(RedServo):
        def act(self, observation):
            return action

    result = SimCell(cell.scene, Odd()).rollout(0)
    assert result.outcome is Outcome.POLICY_ERROR
    assert result.steps == 0


def test_the_clock_never_goes_back(cell):
    stamps = [cell.now]
    for _ in range(2):
        stamps += cell.rollout(1, Control.ZERO_ACTION).trace.stamps[:3].tolist()
        cell.nominal_render(0)
        stamps.append(cell.idle(0.2).stamp)
    assert all(later > earlier for earlier, later in pairwise(stamps))


def test_without_a_policy_only_the_control_runs(cell):
    empty = SimCell(cell.scene)
    with pytest.raises(NotReadyError, match="no policy"):
        empty.rollout(0)


@pytest.mark.parametrize(
    "wrong",
    [{"robot": "UR5e"}, {"rate": 20.0}, {"task": "stack"}, {"action_space": "joints"},
     {"proprio": ("cube_pos",)}, {"action_dim": 7}],
)  # fmt: skip
def test_a_policy_for_another_cell_is_refused(cell, wrong):
    with pytest.raises(InvalidArgumentError):
        check_fits(cell.scene, RedServo(replace(info("other"), **wrong)))


def test_a_policy_with_another_image_size_sees_it_resized_by_area(cell):
    sizes = []

    class Small(RedServo):
        def act(self, observation):
            sizes.append(observation.image.shape)
            return super().act(observation)

    small = Small(replace(info("small", 48)))
    assert SimCell(cell.scene, small).rollout(0).outcome is Outcome.SUCCESS
    assert set(sizes) == {(48, 48, 3)}
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    by_hand = pixels.reshape(2, 2, 2, 2, 3).astype(float).mean((1, 3))
    assert np.abs(resize(pixels, 2, 2) - by_hand).max() <= 0.5


def test_actions_are_clipped_and_positions_become_poses():
    full = to_osc_pose(np.array([2, -2, 0.5, 1], np.float32), "osc_position")
    assert full.tolist() == [1, -1, 0.5, 0, 0, 0, 1]


def test_a_pool_of_renders_is_seeded_and_leaves_the_cell_alone(cell, catalogue):
    before = cell.scene.reset(0).image
    perturbations, images = cell.render_pool(6, np.random.default_rng(3), catalogue)
    again = cell.render_pool(6, np.random.default_rng(3), catalogue)
    assert len(perturbations) == len(images) == 6
    assert perturbations == again[0]
    assert np.array_equal(images, again[1])
    assert np.array_equal(cell.scene.reset(0).image, before)
