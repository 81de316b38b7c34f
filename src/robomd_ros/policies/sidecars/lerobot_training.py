"""Trains a policy with LeRobot's own classes: `python lerobot_training.py REQUEST.json`, in the sidecar's environment.

LeRobot's Diffusion or ACT, its loss and its processors, sized for one core of a CPU, on demonstrations in one .npz file. What
is not LeRobot's: a plain loop instead of its trainer, which wants its datasets on disk; and random gains of the colour channels,
as for the other policies here. Says one line of JSON every hundred steps on standard output.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGE, STATE = "observation.images.front", "observation.state"
SAY_EVERY = 100
WARM_UP = 50
BATCH = 64
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "diffusion": {
        "n_obs_steps": 1, "horizon": 8, "n_action_steps": 4, "down_dims": (128, 256), "n_groups": 8, "kernel_size": 3,
        "resize_shape": (96, 96), "spatial_softmax_num_keypoints": 32, "noise_scheduler_type": "DDIM",
        "num_train_timesteps": 50, "num_inference_steps": 10, "prediction_type": "sample",
    },
    "act": {
        "chunk_size": 8, "n_action_steps": 4, "dim_model": 128, "n_heads": 4, "dim_feedforward": 256, "n_encoder_layers": 2,
        "n_vae_encoder_layers": 1, "latent_dim": 8, "pretrained_backbone_weights": None,
    },
}  # fmt: skip
LEARNING_RATE = {"diffusion": 5e-4, "act": 2e-4}


@dataclass(frozen=True)
class Steps:
    """Demonstrations one after the other, as the policy is given them.

    Attributes:
        images: (N, H, W, 3) uint8.
        states, actions: (N, S) and (N, A) float32.
        first, last: (N,) row at which the demonstration of each row begins, and its last one.
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def read_steps(path: str, mapping: Any) -> Steps:
    """Read a DemoSet through the mapping that the policy will run with."""
    from robomd_ros.policies.base import Observation

    with np.load(path, allow_pickle=False) as data:
        images, proprio, actions, demo = (data[k] for k in ("images", "proprio", "actions", "demo"))
    seen = [
        mapping.message(Observation(image, row, 0.0), mapping.parts(row))
        for image, row in zip(images, proprio, strict=True)
    ]
    first = np.searchsorted(demo, demo, "left")
    last = np.searchsorted(demo, demo, "right") - 1
    return Steps(
        np.stack([s[IMAGE] for s in seen]), np.stack([s[STATE] for s in seen]), actions, first, last
    )


def statistics(steps: Steps) -> dict[str, dict[str, Any]]:
    """What LeRobot's processors normalise with."""
    import torch

    def of(values: NDArray[Any], axes: Any) -> dict[str, Any]:
        found = {"mean": values.mean(axes), "std": values.std(axes) + 1e-3}
        found |= {"min": values.min(axes) - 1e-3, "max": values.max(axes) + 1e-3}
        return {name: torch.as_tensor(value, dtype=torch.float32) for name, value in found.items()}

    pixels = of(steps.images[::10].astype(np.float32) / 255.0, (0, 1, 2))
    image = {name: value[:, None, None] for name, value in pixels.items()}
    return {IMAGE: image, STATE: of(steps.states, 0), "action": of(steps.actions, 0)}


def draw(steps: Steps, config: Any, rng: np.random.Generator) -> dict[str, Any]:
    """One batch: observations, and the actions that follow; after the end of a demonstration its last one."""
    import torch

    at = rng.integers(len(steps.actions), size=BATCH)
    length = len(config.action_delta_indices)
    rows = at[:, None] + np.arange(length)
    past = rows > steps.last[at, None]
    gains = (1 + 0.3 * rng.uniform(-1, 1, (BATCH, 1))) * (1 + 0.2 * rng.uniform(-1, 1, (BATCH, 3)))
    images = np.minimum(steps.images[at] / 255.0 * gains[:, None, None, :], 1.0)
    return {
        IMAGE: torch.as_tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32),
        STATE: torch.as_tensor(steps.states[at]),
        "action": torch.as_tensor(steps.actions[np.minimum(rows, steps.last[at, None])]),
        "action_is_pad": torch.as_tensor(past),
    }


def train(request: Mapping[str, Any], say: Any) -> None:
    """Train and save.

    Args:
        request: data (.npz), out (a folder), policy ("diffusion" or "act"), seed, steps, minutes (at most; 0 = any), mapping (see
            policies/mapping.py).
        say: told a dict every SAY_EVERY steps.
    """
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import (
        get_policy_class,
        make_policy_config,
        make_pre_post_processors,
    )

    from robomd_ros.policies.mapping import build_mapping

    torch.set_num_threads(1)
    torch.manual_seed(request["seed"])
    kind, rng = request["policy"], np.random.default_rng(request["seed"])
    steps = read_steps(request["data"], build_mapping(dict(request["mapping"])))
    shape = steps.images.shape[1:]
    config = make_policy_config(
        kind,
        input_features={
            IMAGE: PolicyFeature(FeatureType.VISUAL, (3, *shape[:2])),
            STATE: PolicyFeature(FeatureType.STATE, steps.states.shape[1:]),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, steps.actions.shape[1:])},
        device="cpu",
        push_to_hub=False,
        **SETTINGS[kind],
    )
    policy = get_policy_class(kind)(config)
    before, after = make_pre_post_processors(config, dataset_stats=statistics(steps))
    policy.to(memory_format=torch.channels_last)
    _fit(policy, lambda: _ready(before, draw(steps, config, rng), kind), request, say)
    folder = Path(request["out"])
    policy.save_pretrained(folder)
    for processor in (before, after):
        processor.save_pretrained(folder)
    (folder / "robomd.json").write_text(json.dumps(request["mapping"], indent=1))


def _ready(before: Any, batch: dict[str, Any], kind: str) -> dict[str, Any]:
    """Normalised; Diffusion wants an axis for the observations of the past, of which there is one."""
    ready = dict(before(batch))
    if kind == "diffusion":
        for key in (IMAGE, STATE):
            ready[key] = ready[key].unsqueeze(1)
    ready["action_is_pad"] = batch["action_is_pad"]
    return ready


def _fit(policy: Any, batch: Any, request: Mapping[str, Any], say: Any) -> None:
    import torch

    peak, total = LEARNING_RATE[request["policy"]], request["steps"]
    limit = 60.0 * request["minutes"] or math.inf
    optimizer = torch.optim.AdamW(policy.parameters(), lr=peak, weight_decay=1e-6)
    fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    policy.train()
    losses: list[float] = []
    started, step, done = time.monotonic(), 0, 0.0
    while done < 1.0:
        step += 1
        optimizer.param_groups[0]["lr"] = (
            peak * min(1.0, step / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * done))
        )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
            loss, _ = policy.forward(batch())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()
        losses.append(loss.item())
        seconds = time.monotonic() - started
        done = max(step / total, seconds / limit)
        if step % SAY_EVERY == 0 or done >= 1.0:
            mean = float(np.mean(losses[-SAY_EVERY:]))
            say({"step": step, "loss": mean, "seconds": seconds})
    policy.eval()


def main() -> None:
    """One request."""
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print
    runpy.run_path(str(Path(__file__).with_name("child.py")))["_adopt_package"]()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    train(request, lambda said: print(json.dumps(said), file=speak, flush=True))


if __name__ == "__main__":
    main()
