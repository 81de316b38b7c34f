"""The rollout's loop on the arm: ask the policy, stream commands, stop when anything is not fresh."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.limiter import Limiter
from robomd_ros.arm.policy_thread import PolicyThread, Question
from robomd_ros.arm.ports import ArmPorts, Frame, JointReading
from robomd_ros.arm.proprioception import proprioception
from robomd_ros.arm.result import ArmResult, RolloutConfig
from robomd_ros.arm.servo import Command, Servo
from robomd_ros.arm.watchdog import Verdict, Watchdog
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, PolicyError, SafetyError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.resize import resize

OnStep = Callable[[int, int, NDArray[np.float32], float], None]
"""Called with steps done, horizon and the newest action."""

_LONGEST_TICK = 0.05  # [s] a loop that was held up for longer does not catch up


def run_policy(
    policy: PolicyThread | None,
    ports: ArmPorts,
    servo: Servo,
    limiter: Limiter,
    watchdog: Watchdog,
    config: RolloutConfig | None = None,
    seed: int = 0,
    control: Control = Control.NONE,
    on_step: OnStep | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ArmResult:
    """Let the policy move the arm until its horizon or until something is wrong; then hold.

    Args:
        policy: under test; may be None for ZERO_ACTION.
        ports: the world.
        servo: made for this policy; started here.
        limiter: made for this arm.
        watchdog: started here.
        config: lengths.
        seed: of the policy.
        control: ZERO_ACTION sends zeros instead of asking the policy.
        on_step: called after each action with steps, horizon, action, and the stamp of the frame it answers [s].
        cancelled: asked at every command.

    Raises:
        NotReadyError: no policy to run, no frame or no joint state yet.
        InvalidArgumentError: the policy's action or rate does not fit the servo.
        SafetyError: the arm is not ready; nothing was sent.
        PolicyError: it still hangs in an earlier rollout; nothing was sent.
    """
    run = _Run(policy, ports, servo, limiter, watchdog, config or RolloutConfig(), control)
    run.on_step, run.cancelled = on_step, cancelled
    run.check()
    try:
        verdict = run.reset(seed) or run.drive()
    except SafetyError as error:
        verdict = Verdict(Outcome.SAFETY_STOP, str(error))
    except PolicyError as error:
        verdict = Verdict(Outcome.POLICY_ERROR, str(error))
    finally:
        ports.hold()
    return run.result(verdict)


class _Run:
    """State of one rollout."""

    on_step: OnStep | None = None
    cancelled: Callable[[], bool] | None = None

    def __init__(
        self,
        policy: PolicyThread | None,
        ports: ArmPorts,
        servo: Servo,
        limiter: Limiter,
        watchdog: Watchdog,
        config: RolloutConfig,
        control: Control,
    ) -> None:
        self.policy, self.ports, self.servo = policy, ports, servo
        self.limiter, self.watchdog, self.config, self.control = limiter, watchdog, config, control
        self.horizon = policy.info.horizon if policy is not None else config.horizon
        self.actions: list[NDArray[np.float32]] = []
        self.times: list[float] = []
        self.stamps: list[float] = []
        self.frames = self.commands = 0
        self.first_stamp = np.nan
        self.distance = np.nan
        self.frame: Frame | None = None
        self.reading: JointReading | None = None
        self.previous: Command | None = None
        self.question: Question | None = None
        self.asked: float = -np.inf
        self.latencies: list[float] = []
        self._asked_at, self._asked_stamp = -np.inf, -np.inf
        self._last_frame: Frame | None = None
        self._last_reading: JointReading | None = None
        self._closed = False
        self._clamped = limiter.clamped
        self._dropped = (watchdog.duplicates, watchdog.out_of_order)

    @property
    def asks(self) -> bool:
        """The policy moves the arm."""
        return self.control is Control.NONE

    def check(self) -> None:
        """Everything that would make the rollout pointless before it begins."""
        if self.policy is None and self.asks:
            raise NotReadyError("no policy is loaded: only zero-action rollouts can be run.")
        if self.policy is not None and self.asks:
            self.policy.check_free()
            info, servo = self.policy.info, self.servo.config
            if (info.action_space, info.action_dim) != (servo.action_space, servo.action_dim):
                raise InvalidArgumentError(
                    f"policy {info.id}: {info.action_space} of {info.action_dim} numbers; the servo was made for "
                    f"{servo.action_space} of {servo.action_dim}."
                )
            if info.rate != servo.rate or 1.0 / info.rate >= self.watchdog.config.action_age:
                raise InvalidArgumentError(
                    f"policy {info.id} runs at {info.rate:g} Hz; the servo was made for {servo.rate:g} Hz, and actions "
                    f"may be {self.watchdog.config.action_age:g} s old."
                )
        wrong = self.ports.state().not_ready(self.limiter.limits.min_speed_scaling)
        if wrong:
            raise SafetyError("the arm is not ready: " + " ".join(wrong))
        if self.ports.newest_frame() is None:
            raise NotReadyError("no camera frame has come; is the camera driver running?")
        if self.ports.joints() is None:
            raise NotReadyError("no joint state has come; is the arm's driver running?")

    def reset(self, seed: int) -> Verdict | None:
        """Reset the policy; a verdict where that did not work. Nothing is sent meanwhile."""
        if self.policy is None or not self.asks:
            return None
        question = self.policy.reset(seed)
        end = self.ports.now() + self.config.reset_timeout
        while not question.done:
            now = self.ports.now()
            stopped = self._asked_to_end()
            if stopped is not None:
                return stopped
            if now > end:
                raise PolicyError(f"its reset took more than {self.config.reset_timeout:g} s.")
            self.ports.wait(now + 0.02)
        question.answer()
        return None

    def drive(self) -> Verdict:
        """Ask and stream until the end; the verdict is UNKNOWN where the policy had its horizon."""
        started = last = self.ports.now()
        period = 1.0 / self.servo.config.command_rate
        self.watchdog.start(started)
        self._listen()
        self.servo.start(self._measured())
        tick = started
        while True:
            now = self.ports.now()
            self._listen()
            self._take_answer(now)
            verdict = self._verdict(now, started)
            if verdict is not None:
                return verdict
            self._ask(now)
            if self.actions:
                self._stream(min(now - last, _LONGEST_TICK) if now > last else period)
            last = now
            tick = max(tick + period, now)  # late: the ticks that were missed stay missed
            self.ports.wait(tick)

    def result(self, verdict: Verdict) -> ArmResult:
        """All that was gathered."""
        dim = self.servo.config.action_dim
        facts = {
            "stop_reason": verdict.reason,
            "first_command_distance": f"{self.distance:.4f}",
            "limited_commands": str(self.limiter.clamped - self._clamped),
            "duplicate_frames": str(self.watchdog.duplicates - self._dropped[0]),
            "out_of_order_frames": str(self.watchdog.out_of_order - self._dropped[1]),
            "policy_latency_ms": f"{1e3 * max(self.latencies, default=np.nan):.0f}",
        }
        return ArmResult(
            outcome=verdict.outcome,
            reason=verdict.reason,
            steps=len(self.actions),
            horizon=self.horizon,
            actions=np.stack(self.actions) if self.actions else np.zeros((0, dim), np.float32),
            action_times=np.array(self.times),
            observation_stamps=np.array(self.stamps),
            frames=self.frames,
            first_stamp=self.first_stamp,
            last_stamp=np.nan if self.frame is None else self.frame.stamp,
            commands=self.commands,
            facts=facts,
        )

    def _asked_to_end(self) -> Verdict | None:
        stop = self.ports.stop_asked()
        if stop:
            return Verdict(Outcome.SAFETY_STOP, stop)
        if self.cancelled is not None and self.cancelled():
            return Verdict(Outcome.INVALID, "the rollout was cancelled.")
        return None

    def _verdict(self, now: float, started: float) -> Verdict | None:
        verdict = self._asked_to_end() or self.watchdog.check(now)
        if verdict is not None:
            return verdict
        if now - started > self.config.timeout:
            return Verdict(
                Outcome.TIMEOUT, f"the rollout took more than {self.config.timeout:g} s."
            )
        period = 1.0 / self.servo.config.rate
        if len(self.actions) >= self.horizon and now - self.times[-1] >= period - 1e-6:
            return Verdict(Outcome.UNKNOWN, "")
        return None

    def _listen(self) -> None:
        """Tell the watchdog what came since the last time."""
        self.watchdog.arm(self.ports.state())
        frame, reading = self.ports.newest_frame(), self.ports.joints()
        if frame is not None and frame is not self._last_frame:
            self._last_frame = frame
            digest = zlib.crc32(frame.rgb.tobytes())
            new = self.watchdog.frame(frame.received, frame.stamp, digest, frame.age)
            if new or self.frame is None:
                self.frame = frame
                self.frames += 1
                self.first_stamp = frame.stamp if self.frames == 1 else self.first_stamp
        if reading is not None and reading is not self._last_reading:
            self._last_reading = reading
            if self.watchdog.joints(reading.received, reading.stamp, reading.positions):
                self.reading = reading
            self.reading = self.reading or reading

    def _measured(self) -> NDArray[np.float64]:
        if self.reading is None:
            raise SafetyError("the joint states went away before the first command.")
        return self.reading.positions

    def _ask(self, now: float) -> None:
        """Ask for the next action when it is due and there is a frame that was not answered yet."""
        period = 1.0 / self.servo.config.rate
        if self.question is not None or len(self.actions) >= self.horizon:
            return
        if self.frame is None or self.frame.stamp == self._asked_stamp:
            return
        if now < self.asked + period - 1e-6:
            return
        # in step with the rate; after a late answer or frame the count begins anew
        self.asked = self.asked + period if now - self.asked < 2.0 * period else now
        self._asked_at, self._asked_stamp = now, self.frame.stamp
        if self.policy is None or not self.asks:
            self.question = Question(lambda: np.zeros(self.servo.config.action_dim, np.float32))
            self.question.run()
        else:
            self.question = self.policy.ask(self._observation(self.policy.info))

    def _observation(self, info: PolicyInfo) -> Observation:
        frame, reading = self.frame, self.reading
        if frame is None or reading is None:
            raise NotReadyError("no frame or no joint state to ask the policy with.")
        image = resize(frame.rgb, info.image_height, info.image_width)
        return Observation(image, proprioception(info.proprio, reading, self.servo), frame.stamp)

    def _take_answer(self, now: float) -> None:
        """Make the answer, if one came, the goal of the servo; one to an older frame is dropped."""
        question = self.question
        if question is None or not question.done:
            return
        self.question = None
        action = question.answer()
        if not self.watchdog.action(now, self._asked_stamp):
            return
        self.servo.set_action(action)
        self.actions.append(action)
        self.times.append(now)
        self.stamps.append(self._asked_stamp)
        self.latencies.append(now - self._asked_at)
        self._grip(float(action[-1]))
        if self.on_step is not None:
            self.on_step(len(self.actions), self.horizon, action, self._asked_stamp)

    def _grip(self, value: float) -> None:
        """Only the sign counts, as in robosuite, and zero changes nothing."""
        if value and (value > 0.0) != self._closed:
            self._closed = value > 0.0
            self.ports.gripper(float(np.clip(value, -1.0, 1.0)))

    def _stream(self, dt: float) -> None:
        """One command."""
        q = self._measured()
        wanted = self.servo.advance(dt, q)
        if self.previous is None:
            self.distance = float(np.abs(wanted.positions - q).max())
            self.limiter.first(wanted, q)
            self.previous = Command(q.copy(), np.zeros(6), wanted.gripper)
        command = self.limiter.limit(wanted, self.previous, dt, q)
        if command is not wanted:
            self.servo.follow(command)
        self.ports.send(command)
        self.previous = command
        self.commands += 1
