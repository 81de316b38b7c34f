"""A LeRobot policy (ACT, Diffusion, SmolVLA, ...) as the policy under test. Runs in the sidecar's environment, where LeRobot is.

LeRobot's own classes read the folder that its training wrote (`pretrained_model`: config.json, model.safetensors, the two
processors) and act. They do not know the robot, the rate or which camera is which: `robomd.json` in the same folder says it, a
mapping as policies/mapping.py describes, with the keys of the policy's input features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, RobomdError
from robomd_ros.policies.base import Observation, PolicyInfo, check_action
from robomd_ros.policies.mapping import PolicyMapping, build_mapping, read_object
from robomd_ros.policies.mapping_sources import ImageSource, StateSource

MAPPING_NAME = "robomd.json"
WEIGHTS_NAME = "model.safetensors"


@dataclass
class LerobotPolicy:
    """Runs a LeRobot policy between its own pre- and post-processor.

    Attributes:
        info, mapping: what it needs and gives.
        policy, before, after: LeRobot's.
    """

    info: PolicyInfo
    mapping: PolicyMapping
    policy: Any
    before: Any
    after: Any

    def reset(self, seed: int) -> None:
        """Forget the last rollout; the seed is of the policies that sample."""
        import torch

        torch.manual_seed(seed)
        for part in (self.policy, self.before, self.after):
            part.reset()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action. Raises PolicyError."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        parts = self.mapping.parts(observation.proprio)
        seen = self.mapping.message(observation, parts)
        device = torch.device(self.policy.config.device)
        with torch.inference_mode():
            ready = prepare_observation_for_inference(
                seen, device, self.mapping.prompt, self.info.robot
            )
            answer = self.after(self.policy.select_action(self.before(ready)))
        action = answer.squeeze(0).to("cpu").float().numpy()
        return check_action(
            self.info, self.mapping.actions.convert(check_action(self.info, action), parts)
        )

    def close(self) -> None:
        """Nothing to free."""


def load(path: str) -> LerobotPolicy:
    """Read a policy folder and act once, so that what does not fit is said now.

    Raises:
        PolicyError: it is no policy of this LeRobot, or does not act.
        InvalidArgumentError: robomd.json is missing, malformed, or does not fit the policy.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file() or not (folder / WEIGHTS_NAME).is_file():
        raise PolicyError(
            f"{folder} is no LeRobot policy: want its pretrained_model folder, with config.json and {WEIGHTS_NAME}."
        )
    try:
        policy, before, after = _read(folder)
    except Exception as error:  # whatever lies in the folder
        reason = str(error).strip().splitlines()
        raise PolicyError(
            f"{folder} is no policy that this LeRobot can load: {type(error).__name__}: "
            f"{' '.join(reason[:3])[:500]}"
        ) from error
    mapping = _fitted(_mapping(folder, policy.config), policy.config)
    info = replace(mapping.info, id=f"{mapping.info.id}-{_digest(folder)}")
    made = LerobotPolicy(info, mapping, policy, before, after)
    _try(made)
    return made


def _read(folder: Path) -> tuple[Any, Any, Any]:
    """LeRobot's own way: its config, its weights (every one of them), its processors."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config, strict=True)
    before, after = make_pre_post_processors(
        config,
        pretrained_path=str(folder),
        preprocessor_overrides={"device_processor": {"device": str(config.device)}},
    )
    return policy, before, after


def _mapping(folder: Path, config: Any) -> PolicyMapping:
    if not (folder / MAPPING_NAME).is_file():
        raise InvalidArgumentError(
            f"{folder} does not say what it was made for: write {MAPPING_NAME} there, with info and observation as in "
            f"docs/policies.md; this policy takes {_features(config.input_features)} and gives "
            f"{_features(config.output_features)}."
        )
    data = read_object(folder / MAPPING_NAME)
    if "chunk_steps" in data:
        raise InvalidArgumentError(
            f"{MAPPING_NAME}: chunk_steps is for servers; this policy's is n_action_steps in its config.json."
        )
    return build_mapping(data)


def _fitted(mapping: PolicyMapping, config: Any) -> PolicyMapping:
    """Images resized to what the policy was trained with. Raises InvalidArgumentError where the two do not fit."""
    wanted = config.input_features
    if set(wanted) != set(mapping.observation):
        raise InvalidArgumentError(
            f"{MAPPING_NAME} gives {sorted(mapping.observation)}; the policy takes {_features(wanted)}."
        )
    found = dict(mapping.observation)
    blank = mapping.parts(np.zeros(sum(mapping.sizes.values()), np.float32))
    for key, source in mapping.observation.items():
        shape = tuple(wanted[key].shape)
        if isinstance(source, ImageSource) and len(shape) == 3:
            found[key] = (
                source if source.height else replace(source, height=shape[1], width=shape[2])
            )
        elif not isinstance(source, StateSource) or source.read(blank).shape != shape:
            raise InvalidArgumentError(f"{MAPPING_NAME}: {key} does not give shape {shape}.")
    actions = tuple(config.action_feature.shape)
    if actions != (mapping.info.action_dim,):
        raise InvalidArgumentError(
            f"{MAPPING_NAME}: action_dim {mapping.info.action_dim}; the policy gives {actions}."
        )
    return replace(mapping, observation=found)


def _features(features: Any) -> str:
    return ", ".join(f"{key} {tuple(feature.shape)}" for key, feature in features.items())


def _digest(folder: Path) -> str:
    """Other weights, processors, settings or another mapping are another policy."""
    known = sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors") and path.is_file():
            known.update(json.dumps([path.name, path.stat().st_size]).encode())
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    known.update(part)
    return known.hexdigest()[:8]


def _try(policy: LerobotPolicy) -> None:
    """A grey image and a state of zeros."""
    info = policy.info
    image = np.full((info.image_height, info.image_width, 3), 127, np.uint8)
    policy.reset(0)
    try:
        policy.act(
            Observation(image, np.zeros(sum(policy.mapping.sizes.values()), np.float32), 0.0)
        )
    except RobomdError:
        raise
    except Exception as error:  # whatever LeRobot and torch raise
        raise PolicyError(f"{info.id} does not act: {type(error).__name__}: {error}") from error
