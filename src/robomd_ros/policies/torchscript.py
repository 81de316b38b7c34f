"""Any TorchScript module as the policy under test.

The module takes (image, proprio) = (1, 3, H, W) float32 RGB and (1, P) float32, and returns the action (1, A) or (A,), or a
tuple that starts with it. What it needs is said by a `policy.json` inside the archive (`torch.jit.save(..., _extra_files=
{"policy.json": text})`) or by `<name>.json` beside it: the fields of PolicyInfo under "info", and optionally "image_scale".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, StorageError
from robomd_ros.policies.base import (
    Observation,
    PolicyInfo,
    check_action,
    check_observation,
    info_from_dict,
)
from robomd_ros.policies.images import resize_area

CONFIG_NAME = "policy.json"


@dataclass(frozen=True)
class TorchScriptPolicy:
    """Runs a TorchScript module.

    Attributes:
        info: what it needs and gives.
        module: in evaluation mode; a `reset()` it exports is called at the start of each rollout.
        image_scale: what a white pixel is for the module: 1.0 or 255.0.
    """

    info: PolicyInfo
    module: torch.jit.ScriptModule
    image_scale: float = 1.0

    def reset(self, seed: int) -> None:
        """Forget the last rollout, where the module has a memory."""
        torch.manual_seed(seed)
        if hasattr(self.module, "reset"):
            self.module.reset()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action as the module gives it, not clipped. Raises PolicyError."""
        check_observation(self.info, observation, observation.proprio.size)
        pixels = resize_area(observation.image, self.info.image_height, self.info.image_width)
        image = pixels[None].float() * (self.image_scale / 255.0)
        proprio = torch.from_numpy(np.asarray(observation.proprio, np.float32))[None]
        try:
            with torch.no_grad():
                answer = self.module(image, proprio)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise PolicyError(f"policy {self.info.id}: its module failed: {reason}") from error
        action = answer[0] if isinstance(answer, tuple) else answer
        if not isinstance(action, torch.Tensor):
            raise PolicyError(
                f"policy {self.info.id}: its module answered {type(action).__name__}; want a tensor."
            )
        return check_action(self.info, action.numpy().reshape(-1))

    def close(self) -> None:
        """Nothing to free."""

    def alternatives(self) -> Mapping[str, TorchScriptPolicy]:
        """The same policy, read in another way; preflight tries them when it never succeeds."""
        other = 255.0 if self.image_scale == 1.0 else 1.0
        return {f"image_scale {other:g}": replace(self, image_scale=other)}


def load_torchscript(path: Path) -> TorchScriptPolicy:
    """Read a TorchScript archive. Like any program, one from a stranger should not be run.

    Raises:
        StorageError: no such file, or it is no TorchScript archive.
        InvalidArgumentError: it says nowhere what it needs, or says it wrongly.
    """
    extra = {CONFIG_NAME: ""}
    try:
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra).eval()
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"{path} is no TorchScript archive: {reason}") from error
    data = _read_config(path, extra[CONFIG_NAME])
    scale = data.get("image_scale", 1.0)
    if scale not in (1, 255):
        raise InvalidArgumentError(f"{path}: image_scale {scale!r}; want 1 or 255.")
    return TorchScriptPolicy(info_from_dict(data.get("info")), module, float(scale))


def _read_config(path: Path, embedded: str | bytes) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    text = embedded or (beside.read_text(encoding="utf-8") if beside.is_file() else "")
    if not text:
        raise InvalidArgumentError(
            f"{path} does not say what it needs: put {CONFIG_NAME} into the archive or {beside.name} beside it, "
            'as {"info": {PolicyInfo fields}, "image_scale": 1}.'
        )
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{path}: what it says about itself is not JSON: {error}"
        ) from None
    if not isinstance(data, dict):
        raise InvalidArgumentError(f"{path}: want a JSON object, got {type(data).__name__}.")
    return data
