"""Everything that must stay fresh while a policy moves the arm. Time is passed in: it has no clock of its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.state import ArmState
from robomd_ros.core.outcome import Outcome

_REMEMBERED = 64


@dataclass(frozen=True)
class WatchdogConfig:
    """Deadlines.

    Attributes:
        camera_silence: no new frame for this long [s] ends the rollout.
        observation_age: a frame that took this much longer than the fastest one, or is this old, ends it [s].
        joint_silence: likewise for joint states [s].
        action_age: the newest action may answer a frame that came this long ago [s].
        clock_jump: stamps may move against the steady clock by this much [s].
        frozen_after: the same picture for this long [s] ...
        frozen_motion: ... while a joint has moved by more than this [rad] is a frozen camera.
        speed_scaling_low: below it the rollout is stopped, 0..1.
    """

    camera_silence: float = 0.5
    observation_age: float = 0.3
    joint_silence: float = 0.2
    action_age: float = 0.5
    clock_jump: float = 1.0
    frozen_after: float = 0.7
    frozen_motion: float = 0.03
    speed_scaling_low: float = 0.9


@dataclass(frozen=True)
class Verdict:
    """Why the rollout must end now.

    Attributes:
        outcome: SAFETY_STOP, TIMEOUT or POLICY_ERROR.
        reason: a sentence.
    """

    outcome: Outcome
    reason: str


class _Stream:
    """Stamps of one source against the steady clock."""

    def __init__(self) -> None:
        self.last_stamp = -np.inf
        self.received = -np.inf
        self.offset = 0.0  # steady minus stamp of the newest message
        self.reference: float | None = None  # the same of the first message after the start
        self.fastest = np.inf
        self.duplicates = self.out_of_order = 0

    def start(self, now: float) -> None:
        self.received, self.reference, self.fastest = now, None, np.inf

    def take(self, now: float, stamp: float, clock_jump: float) -> bool:
        """False = to be dropped."""
        if stamp == self.last_stamp:
            self.duplicates += 1
            return False
        if self.last_stamp - clock_jump <= stamp < self.last_stamp:
            self.out_of_order += 1
            return False
        self.last_stamp, self.received, self.offset = stamp, now, now - stamp
        self.reference = self.offset if self.reference is None else self.reference
        self.fastest = min(self.fastest, self.offset)
        return True

    @property
    def jump(self) -> float:
        return 0.0 if self.reference is None else self.offset - self.reference

    @property
    def latency(self) -> float:
        """How much later than the fastest one the newest message came [s]."""
        return self.offset - self.fastest if np.isfinite(self.fastest) else 0.0


class Watchdog:
    """Is told of everything that arrives, and says when the rollout must end. The first verdict stays."""

    def __init__(self, config: WatchdogConfig) -> None:
        self.config = config
        self._camera, self._joints = _Stream(), _Stream()
        self._arrivals: OrderedDict[float, float] = OrderedDict()  # stamp of a frame: when it came
        self._age: float | None = None
        self._q: NDArray[np.float64] | None = None
        self._digest: int | None = None
        self._state = ArmState(required=frozenset())
        self._verdict: Verdict | None = None
        self._answered: float | None = None  # when the frame came that the newest action answers
        self._started = -np.inf
        self._picture_q: NDArray[np.float64] | None = None
        self._picture_since = -np.inf

    @property
    def duplicates(self) -> int:
        """Frames dropped because their stamp had come before."""
        return self._camera.duplicates

    @property
    def out_of_order(self) -> int:
        """Frames dropped because a newer one had come before."""
        return self._camera.out_of_order

    def start(self, now: float) -> None:
        """A rollout begins: deadlines count from now [s], the verdict of the one before is forgotten."""
        self._camera.start(now)
        self._joints.start(now)
        self._started, self._answered, self._verdict, self._age = now, None, None, None
        self._set_picture(self._digest, now)

    def frame(self, now: float, stamp: float, digest: int, age: float | None = None) -> bool:
        """A camera frame came.

        Args:
            now: when, steady clock [s].
            stamp: its own, in the camera's clock [s].
            digest: equal for equal pictures.
            age: how old it was when it came [s], where the clocks allow to tell; None = compared with the fastest one.

        Returns:
            False for a duplicate or one out of order: to be dropped.
        """
        if not self._camera.take(now, stamp, self.config.clock_jump):
            return False
        self._age = age
        self._arrivals[stamp] = now - max(
            0.0, age or 0.0
        )  # an action answers what was seen, not what came
        while len(self._arrivals) > _REMEMBERED:
            self._arrivals.popitem(last=False)
        if digest != self._digest:
            self._set_picture(digest, now)
        return True

    def joints(self, now: float, stamp: float, q: NDArray[np.float64]) -> bool:
        """A joint state came: when (steady) and its stamp [s], joints (6,) [rad]. False = to be dropped."""
        if not self._joints.take(now, stamp, self.config.clock_jump):
            return False
        self._q = np.array(q, np.float64)
        if self._picture_q is None:
            self._picture_q = self._q
        return True

    def action(self, now: float, observation_stamp: float) -> bool:
        """An action came that answers the frame of that stamp [s]. False = a stale one: to be dropped."""
        came = self._arrivals.get(observation_stamp)
        if came is None or (self._answered is not None and came <= self._answered):
            return False
        self._answered = came
        return True

    def arm(self, state: ArmState) -> None:
        """The newest state of the arm."""
        self._state = state

    def check(self, now: float) -> Verdict | None:
        """Why the rollout must end now [s, steady]; None = it may go on."""
        if self._verdict is None:
            self._verdict = self._find(now)
        return self._verdict

    def _find(self, now: float) -> Verdict | None:
        config = self.config
        stopped = self._state.stopped(config.speed_scaling_low)
        if stopped:
            return Verdict(Outcome.SAFETY_STOP, stopped)
        for name, stream in (("camera", self._camera), ("joint state", self._joints)):
            if abs(stream.jump) > config.clock_jump:
                return _timeout(f"the {name} stamps jumped by {-stream.jump:.2f} s.")
        silences = (
            ("joint state", now - self._joints.received, config.joint_silence),
            ("camera frame", now - self._camera.received, config.camera_silence),
        )
        for name, silence, most in silences:
            if silence > most:
                return _timeout(f"no new {name} for {silence:.2f} s; at most {most:g} s.")
        age = self._camera.latency if self._age is None else self._age
        if age > config.observation_age:
            return _timeout(
                f"the newest frame came {age:.2f} s late; at most {config.observation_age:g} s."
            )
        if self._frozen(now):
            return _timeout(
                f"the camera is frozen: the joints move, the picture has not changed for {now - self._picture_since:.2f} s."
            )
        answered = now - (self._started if self._answered is None else self._answered)
        if answered > config.action_age:
            silence = now - self._camera.received
            if silence > config.action_age / 2:  # the policy had nothing newer to answer
                return _timeout(
                    f"no new camera frame for {silence:.2f} s, so the newest action is {answered:.2f} s old; "
                    f"at most {config.action_age:g} s."
                )
            return Verdict(
                Outcome.POLICY_ERROR,
                f"the newest action is {answered:.2f} s old; at most {config.action_age:g} s.",
            )
        return None

    def _frozen(self, now: float) -> bool:
        if self._q is None or self._picture_q is None:
            return False
        moved = float(np.abs(self._q - self._picture_q).max())
        return (
            now - self._picture_since > self.config.frozen_after
            and moved > self.config.frozen_motion
        )

    def _set_picture(self, digest: int | None, now: float) -> None:
        self._digest, self._picture_since, self._picture_q = digest, now, self._q


def _timeout(reason: str) -> Verdict:
    return Verdict(Outcome.TIMEOUT, reason)
