"""The rollout's loop in a world whose clock is ours: how it ends, and that nothing is sent once it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arm_world import HOME, READY, Scripted, World, run

from robomd_ros.arm.limiter import Limits
from robomd_ros.arm.result import RolloutConfig
from robomd_ros.arm.servo import ServoConfig
from robomd_ros.arm.state import ArmState
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, PolicyError, SafetyError
from robomd_ros.core.outcome import Control, Outcome


def test_the_policy_has_its_horizon_at_its_own_rate_and_a_person_says_what_came_of_it():
    world = World(Scripted(horizon=10))
    result = run(world, seed=7)

    assert (result.outcome, result.reason, result.steps, result.horizon) == (
        Outcome.UNKNOWN,
        "",
        10,
        10,
    )
    assert world.policy.resets == [7]
    assert result.actions.shape == (10, 7)
    assert result.actions.dtype == np.float32
    np.testing.assert_allclose(np.diff(result.action_times), 0.1, atol=0.04)
    assert result.action_times[-1] - result.action_times[0] == pytest.approx(0.9, abs=0.04)
    times = [t for t, _ in world.sent]
    np.testing.assert_allclose(np.diff(times), 0.01, atol=1e-6)
    assert times[-1] - times[0] == pytest.approx(
        1.0, abs=0.05
    )  # the last action has its period, too
    assert len(world.held) == 1
    assert world.held[0] >= times[-1]
    assert np.abs(world.q - HOME).max() > 0.05
    assert result.commands == len(world.sent)
    assert float(result.facts["first_command_distance"]) < 0.01


def test_the_policy_sees_the_newest_frame_at_its_size_and_its_proprioception():
    world = World(Scripted())
    result = run(world)

    assert {o.image.shape for o in world.policy.seen} == {(8, 8, 3)}
    assert [o.stamp for o in world.policy.seen] == list(result.observation_stamps)
    assert (np.diff(result.observation_stamps) > 0).all()
    first = world.policy.seen[0].proprio
    assert first.shape == (9,)
    np.testing.assert_allclose(
        first[:3], [-0.144, 0.0, 1.0], atol=0.15
    )  # above robosuite's table, in its world
    assert result.first_stamp <= result.observation_stamps[0] <= result.last_stamp


def test_the_gripper_is_told_when_it_is_to_change():
    signs = [-1, -1, 0, 1, 0.4, 0, -0.2, 0, 0, 0]
    world = World(Scripted(lambda k: np.array([0, 0, 0, 0, 0, 0, signs[k]], np.float32)))
    run(world)

    assert np.sign(world.grips).tolist() == [1.0, -1.0]


def test_zero_action_asks_nobody_and_stands_still():
    world = World(Scripted())
    result = run(world, control=Control.ZERO_ACTION)

    assert result.outcome is Outcome.UNKNOWN
    assert result.steps == 10
    assert not result.actions.any()
    assert not world.policy.seen
    np.testing.assert_allclose(world.q, HOME, atol=1e-9)
    assert not world.grips


def test_zero_action_needs_no_policy_but_the_others_do():
    assert run(World(), control=Control.ZERO_ACTION, config=RolloutConfig(horizon=3)).steps == 3
    with pytest.raises(NotReadyError, match="no policy"):
        run(World())


def test_a_rollout_without_policy_lasts_as_long_as_its_config_says():
    result = run(World(), control=Control.ZERO_ACTION, config=RolloutConfig(horizon=5))

    assert result.horizon == 5


FAULTS = {
    "protective stop": ({"arm": replace(READY, safety_mode=3)}, Outcome.SAFETY_STOP, "PROTECTIVE_STOP"),
    "e-stop": ({"arm": replace(READY, safety_mode=7, robot_mode=3)}, Outcome.SAFETY_STOP, "EMERGENCY"),
    "power off": ({"arm": replace(READY, robot_mode=3)}, Outcome.SAFETY_STOP, "POWER_OFF"),
    "program stop": ({"arm": replace(READY, program_running=False)}, Outcome.SAFETY_STOP, "program"),
    "40 % speed": ({"arm": replace(READY, speed_scaling=40.0)}, Outcome.SAFETY_STOP, "40 %"),
    "operator": ({"stop": "the operator pressed stop."}, Outcome.SAFETY_STOP, "operator"),
    "camera dies": ({"camera_period": np.inf}, Outcome.TIMEOUT, "camera frame"),
    "camera freezes": ({"frozen_picture": 3}, Outcome.TIMEOUT, "frozen"),
    "late camera": ({"frame_delay": 0.4}, Outcome.TIMEOUT, "late"),
    "camera clock jumps": ({"clock_step": 3.0}, Outcome.TIMEOUT, "jumped by 3.0"),
    "camera clock goes back": ({"clock_step": -3.0}, Outcome.TIMEOUT, "jumped by -3.0"),
    "joint clock jumps": ({"joint_clock_step": -2.0}, Outcome.TIMEOUT, "joint state stamps"),
    "no joint states": ({"joints_on": False}, Outcome.TIMEOUT, "joint state"),
    "arm does not follow": ({"stuck": True, "q": HOME + 0.5}, Outcome.SAFETY_STOP, "rad from the measured"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_ends_the_rollout_with_its_outcome_and_nothing_is_sent_afterwards(name):
    values, outcome, words = FAULTS[name]
    world = World(Scripted(horizon=40))
    world.set(1.0, **values)
    result = run(world)

    assert result.outcome is outcome, result.reason
    assert words in result.reason
    assert result.facts["stop_reason"] == result.reason
    assert 5 < result.steps < 40
    assert len(world.held) == 1
    assert world.sent[-1][0] < world.held[0]
    if outcome is Outcome.SAFETY_STOP:
        assert world.held[0] - (world.begin + 1.0) <= 0.02  # two commands


def test_cancelled_is_invalid():
    world = World(Scripted(horizon=40))
    result = run(world, cancelled=lambda: world.t > world.begin + 1.0)

    assert result.outcome is Outcome.INVALID
    assert len(world.held) == 1


def test_a_rollout_takes_no_longer_than_its_time():
    result = run(World(Scripted(horizon=400)), config=RolloutConfig(timeout=2.0))

    assert result.outcome is Outcome.TIMEOUT
    assert 18 <= result.steps <= 21


@pytest.mark.parametrize(
    "answer", [np.full(7, np.nan), np.zeros(3), "left a bit", np.full(7, np.inf)]
)
def test_nonsense_is_a_policy_error(answer):
    world = World(Scripted(lambda k: np.full(7, 0.2) if k < 5 else answer))
    result = run(world)

    assert (result.outcome, result.steps) == (Outcome.POLICY_ERROR, 5)
    assert "policy p-1" in result.reason
    assert world.sent[-1][0] < world.held[0]


def test_a_policy_that_raises_is_a_policy_error():
    def act(k: int):
        raise KeyError("weights")

    world = World(Scripted(act))
    result = run(world)

    assert result.outcome is Outcome.POLICY_ERROR
    assert "KeyError" in result.reason
    assert not world.sent


@pytest.mark.parametrize("question", [0, 5])
def test_a_policy_that_hangs_ends_the_rollout_and_its_late_answer_is_never_played(question):
    policy = Scripted(horizon=40)
    policy._act = lambda k: (policy.gate.clear() if k == question else None, np.full(7, 0.5))[1]
    world = World(policy)
    result = run(world)

    assert result.outcome is Outcome.POLICY_ERROR
    assert result.steps == question
    assert world.thread.busy  # nobody waited for the thread
    sent = len(world.sent)
    with pytest.raises(PolicyError, match="still hangs"):
        run(world)
    policy.gate.set()
    assert world.thread._open.wait(10.0)
    assert len(world.sent) == sent
    assert len(world.held) == 1
    policy._act = lambda k: np.zeros(7)
    assert run(world).outcome is Outcome.UNKNOWN  # it came back: the next rollout is a good one


def test_a_reset_that_hangs_ends_the_rollout():
    policy = Scripted()
    policy.reset = lambda seed: policy.gate.wait(60.0)
    policy.gate.clear()
    world = World(policy)
    result = run(world, config=RolloutConfig(reset_timeout=3.0))
    policy.gate.set()

    assert result.outcome is Outcome.POLICY_ERROR
    assert "reset" in result.reason
    assert not world.sent


def test_commands_go_on_while_the_policy_thinks():
    """Six tenths of the time between two actions pass without an answer: the stream has no gap."""
    policy = Scripted(horizon=40)
    world = World(policy)

    def slow(k: int):
        if k == 5:
            policy.gate.clear()
            world.at(world.t - world.begin + 0.3, policy.gate.set)
        return np.full(7, 0.2, np.float32)

    policy._act = slow
    result = run(world)

    assert result.outcome is Outcome.UNKNOWN
    assert np.diff(result.action_times).max() > 0.29
    assert np.diff([t for t, _ in world.sent]).max() < 0.011


def test_duplicates_and_frames_out_of_order_are_dropped_and_counted():
    world = World(Scripted(horizon=20))

    def again(back: float):
        frame = world.newest
        world._frames.insert(0, replace(frame, stamp=frame.stamp - back, received=world.t))

    for after in (0.505, 0.605, 0.705):
        world.at(after, lambda: again(0.0))
    for after in (0.555, 0.655):
        world.at(after, lambda: again(0.1))
    result = run(world)

    assert result.outcome is Outcome.UNKNOWN
    assert result.facts["duplicate_frames"] == "3"
    assert result.facts["out_of_order_frames"] == "2"
    assert (np.diff(result.observation_stamps) > 0).all()


def test_a_jump_between_reading_and_first_command_sends_nothing():
    world = World(Scripted())
    policy = world.policy

    def act(k: int):
        world.q = HOME + 0.3  # the arm has moved while the policy thought
        return np.zeros(7, np.float32)

    policy._act = act
    result = run(world)

    assert result.outcome is Outcome.SAFETY_STOP
    assert "first command" in result.reason
    assert not world.sent
    assert len(world.held) == 1


@pytest.mark.parametrize(
    "state",
    [
        ArmState(None, 1, True, 100.0),
        ArmState(7, None, True, 100.0),
        ArmState(7, 1, None, 100.0),
        ArmState(7, 1, True, None),
        ArmState(7, 3, True, 100.0),
        ArmState(7, 1, True, 93.0),
    ],
)
def test_an_arm_that_is_not_ready_is_not_touched(state):
    world = World(Scripted())
    world.arm = state

    with pytest.raises(SafetyError, match="not ready"):
        run(world)
    assert not world.sent
    assert not world.held
    assert not world.policy.resets


def test_no_frame_or_no_joint_state_is_not_ready():
    for name in ("newest", "reading"):
        world = World(Scripted())
        setattr(world, name, None)
        with pytest.raises(NotReadyError):
            run(world)


def test_a_policy_that_does_not_fit_the_servo_is_refused():
    with pytest.raises(InvalidArgumentError, match="osc_pose of 4 numbers"):
        run(World(Scripted(dim=4)))
    with pytest.raises(InvalidArgumentError, match="20 Hz"):
        run(World(Scripted(rate=20.0)))
    from robomd_ros.arm.kinematics import Kinematics
    from robomd_ros.arm.servo import Servo

    with pytest.raises(InvalidArgumentError, match=r"0\.5 s old"):
        run(World(Scripted(rate=2.0)), servo=Servo(ServoConfig(rate=2.0), Kinematics()))


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_no_command_leaves_the_limits_and_none_follows_the_end(seed):
    """Wild actions, tight limits and up to three faults at random times."""
    rng = np.random.default_rng(seed)
    world = World(Scripted(lambda k: rng.uniform(-3, 3, 7), horizon=30))
    names = rng.choice(list(FAULTS), size=rng.integers(0, 4), replace=False)
    for name in names:
        world.set(float(rng.uniform(0.1, 3.0)), **FAULTS[name][0])
    limits = Limits(joint_step=0.004, joint_velocity=0.3)
    result = run(world, limits=limits)

    assert names.size or result.outcome in (Outcome.UNKNOWN, Outcome.SAFETY_STOP), result.reason
    assert len(world.held) == 1
    assert all(t <= world.held[0] for t, _ in world.sent)
    positions = np.array([HOME, *(c.positions for _, c in world.sent)])
    velocities = np.array([np.zeros(6), *(c.velocities for _, c in world.sent)])
    assert np.abs(np.diff(positions, axis=0)).max() <= 0.004 + 1e-9
    assert np.abs(velocities).max() <= 0.3 + 1e-9
    assert (np.diff(result.observation_stamps) > 0).all()
    answered = dict.fromkeys(result.observation_stamps)
    assert len(answered) == result.steps  # no frame is answered twice
