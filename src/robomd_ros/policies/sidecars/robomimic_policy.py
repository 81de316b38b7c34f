"""A robomimic checkpoint as the policy under test. Runs in the sidecar's environment, where robomimic is.

robomimic's own FileUtils reads the checkpoint, its RolloutPolicy acts. A checkpoint of scripts/train_robomimic.py says in its
environment metadata, under "robomd", what it was made for; for any other one that follows from robomimic's own metadata.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError
from robomd_ros.policies.base import (
    Observation,
    PolicyInfo,
    check_action,
    check_observation,
    info_from_dict,
)

METADATA_KEY = "robomd"
PROPRIO = {
    "robot0_eef_pos": "eef_pos",
    "robot0_eef_quat": "eef_quat",
    "robot0_gripper_qpos": "gripper_qpos",
    "robot0_joint_pos": "joint_pos",
    "robot0_joint_vel": "joint_vel",
}
"""Names of robosuite, and ours. eef_quat has w >= 0 here; robosuite's own sign may differ."""
TASKS = {"Lift": "lift", "Stack": "stack", "PickPlaceCan": "can", "NutAssemblySquare": "square"}
_SPACES = {7: "osc_pose", 4: "osc_position"}


@dataclass(frozen=True)
class Inputs:
    """What a checkpoint's networks are fed with.

    Attributes:
        image: observation key of the camera.
        parts: (observation key, its length) of each part of the proprioception, in the order of PolicyInfo.proprio.
        frames: how many past observations are stacked, the newest one included; 1 = none.
        window: top, left, height, width of the part of the image that the network sees [pixel]; None = all of it.
    """

    image: str
    parts: tuple[tuple[str, int], ...]
    frames: int = 1
    window: tuple[int, int, int, int] | None = None

    @property
    def proprio_dim(self) -> int:
        """Length of the proprioception."""
        return sum(size for _, size in self.parts)

    def read(self, observation: Observation) -> dict[str, NDArray[Any]]:
        """One observation under robomimic's names: (H, W, 3) uint8 and (P,) float32 arrays."""
        image = observation.image
        if self.window is not None:
            top, left, height, width = self.window
            image = image[top : top + height, left : left + width]
        ends = np.cumsum([size for _, size in self.parts])
        values = np.split(np.asarray(observation.proprio, np.float32), ends[:-1])
        named = {key: value for (key, _), value in zip(self.parts, values, strict=True)}
        return {self.image: image} | named


@dataclass
class RobomimicPolicy:
    """Runs robomimic's RolloutPolicy.

    Attributes:
        info, inputs: what it needs and gives.
        rollout: robomimic's; keeps the state of an RNN or the subgoal of a hierarchy between actions.
    """

    info: PolicyInfo
    inputs: Inputs
    rollout: Any
    _past: deque[dict[str, NDArray[Any]]] = field(default_factory=deque, init=False, repr=False)

    def reset(self, seed: int) -> None:
        """Forget the last rollout; the seed is of the policies that sample."""
        import torch

        torch.manual_seed(seed)
        self._past = deque(maxlen=self.inputs.frames)
        self.rollout.start_episode()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action. Raises PolicyError."""
        import robomimic.utils.obs_utils as obs_utils
        import torch

        check_observation(self.info, observation, self.inputs.proprio_dim)
        seen = self.inputs.read(observation)
        # as robomimic's FrameStackWrapper: before the first frame it was always as in the first frame
        self._past.extend([seen] * (1 if self._past else self.inputs.frames))
        if self.inputs.frames > 1:
            seen = {key: np.stack([past[key] for past in self._past]) for key in seen}
        ready = {key: obs_utils.process_obs(value, obs_key=key) for key, value in seen.items()}
        with torch.no_grad():
            return check_action(self.info, self.rollout(ob=ready))

    def close(self) -> None:
        """Nothing to free."""


def load(path: str) -> RobomimicPolicy:
    """Read a checkpoint and act once, so that what does not fit is said now.

    Raises:
        PolicyError: it is no checkpoint of robomimic, or its networks do not take what it says about itself.
        InvalidArgumentError: it needs an observation that no camera-driven policy gets here.
    """
    import robomimic.utils.file_utils as file_utils
    import torch

    torch.set_num_threads(1)
    try:
        rollout, checkpoint = file_utils.policy_from_checkpoint(ckpt_path=path)
        config, _ = file_utils.config_from_checkpoint(ckpt_dict=checkpoint)
    except Exception as error:  # whatever lies in the file
        reason = str(error).strip().splitlines()
        raise PolicyError(
            f"{path} is no checkpoint that robomimic can load: {type(error).__name__}: {reason[0] if reason else ''}"
        ) from error
    shapes = checkpoint["shape_metadata"]
    inputs, size = _inputs(config, shapes["all_shapes"], checkpoint["env_metadata"])
    digest = sha256(Path(path).read_bytes()).hexdigest()[:8]
    info = _info(config, checkpoint, inputs, size, digest)
    policy = RobomimicPolicy(info, inputs, rollout)
    _try(policy)
    return policy


def _try(policy: RobomimicPolicy) -> None:
    info = policy.info
    image = np.zeros((info.image_height, info.image_width, 3), np.uint8)
    policy.reset(0)
    try:
        policy.act(Observation(image, np.zeros(policy.inputs.proprio_dim, np.float32), 0.0))
    except (RuntimeError, AssertionError, KeyError, ValueError) as error:
        raise PolicyError(f"{info.id} does not act: {type(error).__name__}: {error}") from error


def _inputs(
    config: Any, shapes: Mapping[str, Sequence[int]], environment: Mapping[str, Any]
) -> tuple[Inputs, tuple[int, int]]:
    """What the networks take, and height and width of the camera's image."""
    cameras = _observed(config, "rgb")
    states = _observed(config, "low_dim")
    others = [*_observed(config, "depth"), *_observed(config, "scan")]
    foreign = [key for key in states if key not in PROPRIO] + others
    if len(cameras) != 1 or foreign:
        raise InvalidArgumentError(
            f"the checkpoint sees cameras {cameras or 'none'} and reads {states + others or 'nothing'}; want one camera, "
            f"and of the robot only {', '.join(PROPRIO)}."
        )
    said = environment.get(METADATA_KEY, {})
    window = tuple(said["window"]) if said.get("window") else None
    parts = tuple((key, int(shapes[key][0])) for key in PROPRIO if key in states)
    size = said.get("image_size") or shapes[cameras[0]][-2:]
    frames = int(config.train.frame_stack)
    return Inputs(cameras[0], parts, frames, window), (int(size[0]), int(size[1]))


def _observed(config: Any, modality: str) -> list[str]:
    """Observation keys of a modality, of the planner and the actor of a hierarchy together."""
    observation = config.observation
    groups = [observation] if "modalities" in observation else list(observation.values())
    keys = [key for group in groups for key in group.modalities.obs.get(modality, [])]
    return sorted(set(keys))


def _info(
    config: Any, checkpoint: Mapping[str, Any], inputs: Inputs, size: tuple[int, int], digest: str
) -> PolicyInfo:
    environment = checkpoint["env_metadata"]
    settings = environment.get("env_kwargs", {})
    name = str(environment.get("env_name", ""))
    robots = settings.get("robots", "Panda")
    found = {
        "task": TASKS.get(name, name.lower() or "unknown"),
        "robot": robots if isinstance(robots, str) else str(robots[0]),
        "rate": float(settings.get("control_freq", 20)),
        "horizon": int(config.experiment.rollout.horizon),
    }
    said = environment.get(METADATA_KEY, {})
    found |= {key: said[key] for key in found if key in said}
    actions = int(checkpoint["shape_metadata"]["ac_dim"])
    label = (
        f"{found['task']}_{found['robot']}_robomimic_{said.get('algo') or config.algo_name}".lower()
    )
    return info_from_dict(
        found
        | {
            "id": f"{label}-{digest}",
            "image_height": size[0],
            "image_width": size[1],
            "proprio": [PROPRIO[key] for key, _ in inputs.parts],
            "action_dim": actions,
            "action_space": said.get("action_space") or _SPACES.get(actions, "unknown"),
        }
    )
