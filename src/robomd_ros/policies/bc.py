"""The shipped kind of policy: a small visuomotor network, cloned from a scripted expert.

A policy is a folder with `policy.json` (PolicyInfo, network sizes, how it was made) and `weights.safetensors`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robomd_ros.core.errors import StorageError
from robomd_ros.policies.base import (
    Observation,
    PolicyInfo,
    check_action,
    check_observation,
    info_from_dict,
)
from robomd_ros.policies.images import resize_area

CONFIG_NAME = "policy.json"
WEIGHTS_NAME = "weights.safetensors"
SCHEMA = 1


@dataclass(frozen=True)
class BcConfig:
    """Sizes of the network.

    Attributes:
        crop: side of the square cut out of the image [pixel]; the network sees crop x crop.
        crop_top, crop_left: where the square starts [pixel].
        channels: of the four convolutions; the last one is the number of keypoints.
        temperature: of the spatial softmax; smaller = sharper.
        hidden: units of each of the two hidden layers.
        points: hindsight points that the keypoints have to predict: the grasp, or the grasp and the place.
    """

    crop: int = 64
    crop_top: int = 12
    crop_left: int = 16
    channels: tuple[int, int, int, int] = (16, 24, 24, 20)
    temperature: float = 0.4
    hidden: int = 256
    points: int = 1


class SpatialSoftmax(nn.Module):
    """Expected image coordinates of each channel (Levine et al. 2016, Sec. 4.3): (B, C, H, W) -> (B, 2C) in -1..1."""

    x: Tensor
    y: Tensor

    def __init__(self, side: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        axis = torch.linspace(-1.0, 1.0, side)
        self.register_buffer("x", axis.repeat(side), persistent=False)
        self.register_buffer("y", axis.repeat_interleave(side), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Coordinates x of all channels, then y."""
        weights = (features.flatten(2) / self.temperature).softmax(dim=2)
        return torch.cat([(weights * self.x).sum(2), (weights * self.y).sum(2)], dim=1)


class BcNetwork(nn.Module):
    """Image and proprioception to action and hindsight points; the buffers hold the training data's scale."""

    proprio_mean: Tensor
    proprio_std: Tensor
    grasp_mean: Tensor
    grasp_std: Tensor

    def __init__(self, config: BcConfig, proprio_dim: int, action_dim: int) -> None:
        super().__init__()
        c1, c2, c3, c4 = config.channels
        self.trunk = nn.Sequential(
            *_convolution(3, c1, stride=2),
            *_convolution(c1, c2),
            *_convolution(c2, c3),
            *_convolution(c3, c4),
            SpatialSoftmax((config.crop + 1) // 2, config.temperature),
        )
        self.grasp_head = nn.Linear(2 * c4, 3 * config.points)
        self.head = nn.Sequential(
            nn.Linear(2 * c4 + proprio_dim, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, action_dim),
        )
        for name, size in (("proprio", proprio_dim), ("grasp", 3 * config.points)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def forward(self, image: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """Act.

        Args:
            image: (B, 3, crop, crop) in 0..1.
            proprio: (B, P) in its own units.

        Returns:
            Action (B, A), not clipped, and the points in their standard deviations (B, 3 K); the latter are only there
            to be trained: they make the keypoints look at the objects.
        """
        keypoints = self.trunk(image - 0.5)
        state = (proprio - self.proprio_mean) / self.proprio_std
        return self.head(torch.cat([keypoints, state], dim=1)), self.grasp_head(keypoints)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


def prepare_image(image: NDArray[np.uint8], info: PolicyInfo, config: BcConfig) -> Tensor:
    """Resize by area to the policy's image size, cut the square out: (H, W, 3) uint8 -> (3, crop, crop) uint8."""
    pixels = resize_area(image, info.image_height, info.image_width)
    top, left = config.crop_top, config.crop_left
    return pixels[:, top : top + config.crop, left : left + config.crop]


@dataclass
class BcPolicy:
    """A policy that runs a BcNetwork.

    Attributes:
        info, config: what it needs and gives; sizes of the network.
        network: in evaluation mode.
        made: how it was made (command, seeds, revisions); kept in policy.json.
    """

    info: PolicyInfo
    config: BcConfig
    network: BcNetwork
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.eval()

    def reset(self, seed: int) -> None:
        """Nothing to do: the network has no memory and draws nothing."""

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action in -1..1. Raises PolicyError on an observation that does not fit or an action that is not finite."""
        check_observation(self.info, observation, self.network.proprio_mean.numel())
        image = prepare_image(observation.image, self.info, self.config)[None].float() / 255.0
        proprio = torch.from_numpy(np.asarray(observation.proprio, np.float32))[None]
        with torch.inference_mode(), _one_thread():
            action = self.network(image, proprio)[0][0].clamp(-1.0, 1.0).numpy()
        return check_action(self.info, action)

    def close(self) -> None:
        """Nothing to free."""

    def save(self, folder: Path) -> None:
        """Write policy.json and weights.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: v.contiguous() for k, v in self.network.state_dict().items()}
        save_file(weights, folder / WEIGHTS_NAME)
        data = {
            "schema": SCHEMA,
            "kind": "bc",
            "info": asdict(self.info),
            "config": asdict(self.config),
            "proprio_dim": self.network.proprio_mean.numel(),
            "made": dict(self.made),
        }
        (folder / CONFIG_NAME).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread is fastest for a single small image, and its sums do not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_bc(folder: Path) -> BcPolicy:
    """Read a policy folder.

    Raises:
        StorageError: a file is missing, is not what its name says, or does not fit the other.
    """
    try:
        data = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA or data["kind"] != "bc":
            raise StorageError(
                f"{folder / CONFIG_NAME}: schema {data['schema']!r} kind {data['kind']!r}; "
                f"this version reads schema {SCHEMA} kind 'bc'."
            )
        info = info_from_dict(data["info"])
        config = BcConfig(**{**data["config"], "channels": tuple(data["config"]["channels"])})
        network = BcNetwork(config, int(data["proprio_dim"]), info.action_dim)
        network.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except StorageError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise StorageError(
            f"{folder} is not a policy folder (want {CONFIG_NAME} and {WEIGHTS_NAME}): {error}"
        ) from error
    return BcPolicy(info, config, network, data.get("made", {}))
