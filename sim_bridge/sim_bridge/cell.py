"""One rollout: a scene, what it looks like, and the policy that acts in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, PolicyError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.records import Trace
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.policies.base import Observation, Policy, check_action
from robomd_ros.policies.resize import resize
from sim_bridge.scene import ACTION_DIM, Scene

CAMERA_FRAME = "camera_color_optical_frame"
LABELER = "sim"
"""Who labels in simulation: the success checker."""

OnFrame = Callable[[Observation, int], None]
OnAction = Callable[[NDArray[np.float32], float], None]

_SPACES = {"osc_pose": 7, "osc_position": 4}


@dataclass(frozen=True)
class RolloutResult:
    """What came of a rollout.

    Attributes:
        trace: frames, joints and actions until the end, however it ended; frame 0 is before the policy moves.
        success: the task was done (Scene.success).
        steps: control steps done.
        horizon: control steps at most.
        duration: simulated seconds.
        stopped: `should_stop` ended it.
        error: the policy's, where that ended it.
    """

    trace: Trace
    success: bool
    steps: int
    horizon: int
    duration: float
    stopped: bool = False
    error: PolicyError | None = None

    @property
    def outcome(self) -> Outcome:
        """SUCCESS or FAILURE where the policy was let run; else POLICY_ERROR, or INVALID for a stopped one."""
        if self.error is not None:
            return Outcome.POLICY_ERROR
        if self.stopped:
            return Outcome.INVALID
        return Outcome.SUCCESS if self.success else Outcome.FAILURE


class _Recorder:
    """Gathers a Trace step by step, and passes each observation on."""

    observation: Observation

    def __init__(
        self, scene: Scene, on_frame: OnFrame | None = None, on_action: OnAction | None = None
    ) -> None:
        self._scene, self._on_frame, self._on_action = scene, on_frame, on_action
        self.stamps: list[float] = []
        self.frames: list[NDArray[np.uint8]] = []
        self.positions: list[NDArray[np.float64]] = []
        self.velocities: list[NDArray[np.float64]] = []
        self.actions: list[NDArray[np.float32]] = []

    def add(self, observation: Observation) -> None:
        self.stamps.append(observation.stamp)
        self.frames.append(observation.image)
        self.positions.append(self._scene.joint_positions)
        self.velocities.append(self._scene.joint_velocities)
        self.observation = observation
        if self._on_frame is not None:
            self._on_frame(observation, len(self.frames) - 1)

    def answer(self, action: NDArray[np.float32]) -> None:
        """To the newest observation."""
        self.actions.append(action)
        if self._on_action is not None:
            self._on_action(action, self.observation.stamp)

    def trace(self) -> Trace:
        stamps = np.array(self.stamps)
        return Trace(
            stamps=stamps,
            frames=np.stack(self.frames),
            joint_names=self._scene.joint_names,
            joint_stamps=stamps,
            joint_positions=np.stack(self.positions),
            joint_velocities=np.stack(self.velocities),
            actions=np.stack(self.actions) if self.actions else np.zeros((0, ACTION_DIM), "f4"),
            frame_id=CAMERA_FRAME,
        )


class SimCell:
    """A robot cell in simulation. Its clock never goes back: resets and idling only move it on.

    Attributes:
        scene: one thread makes it and uses it.
        policy: under test; None where only pictures are wanted.
        perturbation: what is applied now.
    """

    def __init__(self, scene: Scene, policy: Policy | None = None) -> None:
        self.scene, self.policy = scene, policy
        self.perturbation = Perturbation()
        self._clock_base = 0.0
        if policy is not None:
            check_fits(scene, policy)

    @property
    def now(self) -> float:
        """The camera's clock [s]: simulated time summed over all resets."""
        return self._clock_base + self.scene.time

    @property
    def horizon(self) -> int:
        """Control steps of a rollout."""
        return self.policy.info.horizon if self.policy is not None else self.scene.horizon

    def apply(self, perturbation: Perturbation) -> float:
        """Show exactly this perturbation; returns the wall-clock seconds it took."""
        elapsed = self.scene.appearance.apply(perturbation)
        self.perturbation = perturbation
        return elapsed

    def idle(self, seconds: float) -> Observation:
        """Let the clock run without the robot; what the camera sees then."""
        self._clock_base += seconds
        return self._stamped(self.scene.observe())

    def reset(self, seed: int) -> Observation:
        """Reset the scene; the clock moves on by one control period."""
        self._place(seed, self.now + 1.0 / self.scene.rate)
        return self._stamped(self.scene.observe())

    def _place(self, seed: int, now: float) -> None:
        self.scene.place(seed)
        self._clock_base = now - self.scene.time

    def rollout(
        self,
        seed: int,
        control: Control = Control.NONE,
        on_frame: OnFrame | None = None,
        should_stop: Callable[[], bool] | None = None,
        on_action: OnAction | None = None,
    ) -> RolloutResult:
        """Reset to the seed and let the policy run to success, horizon, its own error, or a stop.

        Args:
            seed: of the scene and of the policy.
            control: ZERO_ACTION sends zeros instead of asking the policy: success would be a false alarm.
            on_frame: called with each observation and its index; 0 is before the policy moves.
            should_stop: asked before each step.
            on_action: called with each action and the stamp of the observation that it answers.

        Raises:
            NotReadyError: no policy to run.
        """
        if self.policy is None and control is Control.NONE:
            raise NotReadyError("no policy is loaded: only zero-action rollouts can be run.")
        recorder = _Recorder(self.scene, on_frame, on_action)
        stopped, error = False, None
        recorder.add(self.reset(seed))
        try:
            stopped = self._drive(self._actor(seed, control), recorder, should_stop)
        except PolicyError as raised:
            error = raised
        trace = recorder.trace()
        return RolloutResult(
            trace=trace,
            success=self.scene.success() and not stopped and error is None,
            steps=len(recorder.actions),
            horizon=self.horizon,
            duration=round(float(trace.stamps[-1] - trace.stamps[0]), 6),
            stopped=stopped,
            error=error,
        )

    def answer(self, seed: int) -> NDArray[np.float32]:
        """What the policy would do now at the start of a rollout, (ACTION_DIM,) in -1..1; nothing moves.

        Raises:
            NotReadyError: no policy to ask.
            PolicyError: it raises, or answers what is no action.
        """
        if self.policy is None:
            raise NotReadyError("no policy is loaded: nobody answers.")
        return self._actor(seed, Control.NONE)(self._stamped(self.scene.observe()))

    def render_perturbation(
        self, perturbation: Perturbation, seed: int, size: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """The frame before the policy would move, (H, W, 3) uint8; what is applied afterwards stays as it was."""
        self.scene.appearance.apply(perturbation)
        try:
            self._place(seed, self.now)
            return self.scene.render(*(size or (None, None)))
        finally:
            self.scene.appearance.apply(self.perturbation)

    def nominal_render(self, seed: int) -> NDArray[np.uint8]:
        """The unchanged scene before the policy would move, (H, W, 3) uint8."""
        return self.render_perturbation(Perturbation(), seed)

    def render_pool(
        self, n: int, rng: np.random.Generator, catalogue: Catalogue
    ) -> tuple[tuple[Perturbation, ...], NDArray[np.uint8]]:
        """Outcome-free renders: n random perturbations (half continuous, half named) on random scenes.

        Returns:
            The perturbations and (n, H, W, 3) uint8 images.
        """
        perturbations, images = [], []
        for _ in range(n):
            named = rng.random() < 0.5
            drawn = (
                catalogue.singles[rng.integers(len(catalogue.singles))]
                if named
                else catalogue.sample(rng)
            )
            perturbations.append(drawn)
            images.append(self.render_perturbation(drawn, int(rng.integers(2**31))))
        return tuple(perturbations), np.stack(images)

    def close(self) -> None:
        """Free the renderer and the policy."""
        self.scene.close()
        if self.policy is not None:
            self.policy.close()

    def _drive(
        self,
        act: Callable[[Observation], NDArray[np.float32]],
        recorder: _Recorder,
        should_stop: Callable[[], bool] | None,
    ) -> bool:
        """Steps until success or horizon; True when `should_stop` ended it."""
        for _ in range(self.horizon):
            if should_stop is not None and should_stop():
                return True
            action = act(recorder.observation)
            recorder.answer(action)
            recorder.add(self._stamped(self.scene.step(action)))
            if self.scene.success():
                break
        return False

    def _stamped(self, observation: Observation) -> Observation:
        return replace(observation, stamp=self.now)

    def _actor(self, seed: int, control: Control) -> Callable[[Observation], NDArray[np.float32]]:
        policy = self.policy
        if policy is None or control is Control.ZERO_ACTION:
            return lambda _: np.zeros(ACTION_DIM, np.float32)
        info = policy.info
        _guarded(info.id, lambda: policy.reset(seed))

        def act(observation: Observation) -> NDArray[np.float32]:
            image = resize(observation.image, info.image_height, info.image_width)
            seen = replace(observation, image=image, proprio=self.scene.proprio(info.proprio))
            action = _guarded(info.id, lambda: policy.act(seen))
            return to_osc_pose(check_action(info, action), info.action_space)

        return act


def _guarded(policy_id: str, call: Callable[[], Any]) -> Any:
    """Call the policy under test, which is other people's code: whatever it raises is a PolicyError."""
    try:
        return call()
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(f"policy {policy_id} failed: {type(error).__name__}: {error}") from error


def check_fits(scene: Scene, policy: Policy) -> None:
    """Raise InvalidArgumentError unless the policy was made for this scene."""
    info = policy.info
    wanted = {"task": scene.task, "robot": scene.robot, "rate": scene.rate}
    wrong = {k: getattr(info, k) for k, v in wanted.items() if getattr(info, k) != v}
    if wrong:
        raise InvalidArgumentError(
            f"policy {info.id} was made for {wrong}; this scene has { {k: wanted[k] for k in wrong} }."
        )
    if _SPACES.get(info.action_space) != info.action_dim:
        raise InvalidArgumentError(
            f"policy {info.id}: {info.action_space} of {info.action_dim} numbers; the simulator takes {_SPACES}."
        )
    scene.proprio(info.proprio)


def to_osc_pose(action: NDArray[np.float32], space: str) -> NDArray[np.float32]:
    """(7,) clipped to -1..1; an osc_position action keeps the hand's orientation."""
    out = np.zeros(ACTION_DIM, np.float32)
    if space == "osc_position":
        out[:3], out[6] = action[:3], action[3]
    else:
        out[:] = action
    return np.clip(out, -1.0, 1.0)
