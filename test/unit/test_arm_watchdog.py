"""What has to stay fresh, with a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.arm.state import ArmState, SpeedScaling
from robomd_ros.arm.watchdog import Watchdog, WatchdogConfig
from robomd_ros.core.outcome import Outcome

READY = ArmState(7, 1, True, 1.0)
CLOCK = 5000.0  # camera clock minus steady clock


class Feed:
    """A watchdog that is fed well until told otherwise: frames 30 Hz, joints 100 Hz, actions 10 Hz."""

    def __init__(self, **config) -> None:
        self.dog = Watchdog(WatchdogConfig(**config))
        self.t, self.q, self.digest, self.stamp = 10.0, np.zeros(6), 0, 10.0 + CLOCK
        self.dog.arm(READY)
        self.dog.start(self.t)
        self.run(0.3)

    def run(self, seconds, camera=True, joints=True, actions=True, moving=0.0, frozen=False, late=0.0):  # fmt: skip
        """Let time pass; the first verdict, if one comes."""
        for _ in range(round(seconds * 100)):
            self.t = round(self.t + 0.01, 6)
            self.q = self.q + 0.01 * moving
            k = round(self.t * 100)
            if joints:
                self.dog.joints(self.t, self.t + CLOCK, self.q)
            if camera and k % 3 == 0:
                self.digest += not frozen
                self.stamp = self.t + CLOCK - late
                self.dog.frame(self.t, self.stamp, self.digest)
            if actions and k % 10 == 0:
                self.dog.action(self.t, self.stamp)
            verdict = self.dog.check(self.t)
            if verdict is not None:
                return verdict
        return None


def test_a_good_rollout_has_no_verdict():
    assert Feed().run(20.0, moving=0.3) is None


@pytest.mark.parametrize(
    ("fault", "outcome", "after", "words"),
    [
        ({"camera": False, "actions": False}, Outcome.TIMEOUT, 0.5, "camera frame"),
        ({"joints": False}, Outcome.TIMEOUT, 0.2, "joint state"),
        ({"actions": False}, Outcome.POLICY_ERROR, 0.5, "action"),
        ({"frozen": True, "moving": 0.2}, Outcome.TIMEOUT, 0.7, "frozen"),
        ({"late": 0.35}, Outcome.TIMEOUT, 0.35, "late"),
    ],
)
def test_each_deadline(fault, outcome, after, words):
    feed = Feed()
    began = feed.t
    verdict = feed.run(3.0, **fault)

    assert verdict.outcome is outcome
    assert words in verdict.reason
    assert feed.t - began == pytest.approx(after, abs=0.12)


def test_a_still_picture_of_a_still_arm_is_fine():
    assert Feed().run(5.0, frozen=True, moving=0.0) is None
    assert Feed(frozen_motion=0.03).run(5.0, frozen=True, moving=0.005) is None  # 0.025 rad


def test_a_picture_that_changes_again_counts_anew():
    feed = Feed()
    for _ in range(6):
        assert feed.run(0.6, frozen=True, moving=0.2) is None
        assert feed.run(0.06, moving=0.2) is None


@pytest.mark.parametrize("jump", [1.5, -1.5, 3600.0, -3600.0])
def test_clock_jumps(jump):
    feed = Feed()
    assert feed.dog.frame(feed.t, feed.t + CLOCK + jump, 999)
    assert "camera stamps jumped" in feed.dog.check(feed.t).reason
    feed = Feed()
    assert feed.dog.joints(feed.t, feed.t + CLOCK + jump, feed.q)
    assert "joint state stamps jumped" in feed.dog.check(feed.t).reason


def test_the_verdict_stays_until_the_next_start():
    feed = Feed()
    first = feed.run(1.0, joints=False)
    assert feed.run(1.0) is first
    feed.dog.start(feed.t)
    assert feed.run(1.0) is None


def test_what_was_before_the_start_is_forgiven():
    feed = Feed()
    feed.t += 100.0
    feed.dog.start(feed.t)

    assert feed.dog.check(feed.t + 0.1) is None
    assert feed.run(1.0) is None


def test_after_the_start_somebody_has_to_speak():
    dog = Watchdog(WatchdogConfig())
    dog.start(0.0)
    assert dog.check(0.1) is None
    assert dog.check(0.3).outcome is Outcome.TIMEOUT


def test_duplicates_and_frames_out_of_order_are_dropped_and_are_no_sign_of_life():
    feed = Feed()
    stamp = feed.stamp
    for k in range(12):
        assert not feed.dog.frame(feed.t, stamp - 0.1 * (k % 2), k)
        feed.run(0.05, camera=False)
    assert (feed.dog.duplicates, feed.dog.out_of_order) == (6, 6)
    assert "camera frame" in feed.dog.check(feed.t).reason


def test_a_stale_action_does_not_count():
    feed = Feed()
    old = feed.stamp
    feed.run(0.2, actions=False)
    new = feed.stamp
    assert feed.dog.action(feed.t, new)
    assert not feed.dog.action(feed.t, new)
    assert not feed.dog.action(feed.t, old)
    assert not feed.dog.action(feed.t, 123.0)  # answers a frame nobody has seen


def test_an_old_action_is_the_cameras_fault_when_nothing_newer_came():
    feed = Feed(camera_silence=2.0, action_age=0.5)
    verdict = feed.run(1.5, camera=False)
    assert verdict.outcome is Outcome.TIMEOUT
    assert "no new camera frame" in verdict.reason
    slow = Feed(camera_silence=2.0, action_age=0.5)
    assert slow.run(1.5, actions=False).outcome is Outcome.POLICY_ERROR


def test_a_known_age_is_taken_at_its_word():
    feed = Feed()
    feed.dog.frame(feed.t, feed.stamp + 0.01, 1, age=0.29)
    assert feed.dog.check(feed.t) is None
    feed.dog.frame(feed.t, feed.stamp + 0.02, 2, age=0.31)
    assert "0.31 s late" in feed.dog.check(feed.t).reason


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["frame", "joints", "action", "arm", "check"]),
            st.floats(0.0, 0.4),
            st.floats(-2.0, 2.0),
        ),
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_nothing_fresh_is_missed_and_no_verdict_is_taken_back(events):
    """A verdict once given stays, and without one everything is younger than its deadline."""
    dog = Watchdog(WatchdogConfig())
    now, stamps, verdict = 0.0, [CLOCK], None
    dog.start(now)
    came = {"frame": 0.0, "joints": 0.0}
    for kind, wait, skew in events:
        now += wait
        if kind == "frame" and dog.frame(now, now + CLOCK + skew, len(stamps)):
            stamps.append(now + CLOCK + skew)
            came["frame"] = now
        elif kind == "joints" and dog.joints(now, now + CLOCK + skew, np.zeros(6)):
            came["joints"] = now
        elif kind == "action":
            dog.action(now, stamps[-1])
        elif kind == "arm":
            dog.arm(replace(READY, program_running=skew > -1.0))
        got = dog.check(now)
        assert verdict is None or got is verdict
        verdict = got
        if verdict is None:
            assert now - came["frame"] <= 0.5
            assert now - came["joints"] <= 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"robot_mode": 5}, "5 (IDLE)"),
        ({"robot_mode": 42}, "42 (unknown)"),
        ({"safety_mode": 3}, "PROTECTIVE_STOP"),
        ({"safety_mode": 9}, "FAULT"),
        ({"program_running": False}, "press play"),
        ({"speed_scaling": 0.4}, "40 %"),
        ({"speed_scaling": 40.0}, "40 %"),
        ({"speed_scaling": float("nan")}, "speed"),
        ({"robot_mode": None}, "robot_mode was never published"),
        ({"speed_scaling": None}, "speed_scaling was never published"),
    ],
)
def test_what_makes_the_arm_not_ready_stops_a_rollout_too(change, words):
    state = replace(READY, **change)

    assert words in " ".join(state.not_ready())
    assert words in state.stopped()
    dog = Watchdog(WatchdogConfig())
    dog.arm(state)
    dog.start(0.0)
    assert dog.check(0.0).outcome is Outcome.SAFETY_STOP


def test_ready():
    for state in (READY, replace(READY, safety_mode=2), replace(READY, speed_scaling=100.0)):
        assert state.not_ready() == ()
        assert state.stopped() == ""
    assert ArmState(None, None, True, 1.0, frozenset({"program_running"})).not_ready() == ()
    assert replace(READY, speed_scaling=92.0).not_ready()
    assert replace(READY, speed_scaling=92.0).stopped() == ""


def test_all_that_is_wrong_is_said():
    assert len(ArmState(3, 3, False, 0.1).not_ready()) == 4
    assert len(ArmState().not_ready()) == 4


def test_a_reader_of_speed_scaling_remembers_the_unit():
    fraction, percent = SpeedScaling(), SpeedScaling()

    assert [fraction.fraction(v) for v in (0.2, 1.0, 0.5)] == [0.2, 1.0, 0.5]
    assert [percent.fraction(v) for v in (100.0, 40.0, 1.0, 0.0)] == [1.0, 0.4, 0.01, 0.0]
