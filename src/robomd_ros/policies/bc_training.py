"""Behaviour cloning: demonstrations to a BcPolicy, on a CPU in minutes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import atomic_file
from robomd_ros.policies.base import PolicyInfo
from robomd_ros.policies.bc import BcConfig, BcNetwork, prepare_image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoSet:
    """Demonstrations, all steps of all demos one after the other (N steps, M demos).

    Attributes:
        images: (N, H, W, 3) uint8 RGB.
        proprio: (N, P) float32.
        actions: (N, A) float32, the expert's own (not the noisy one that was executed).
        demo: (N,) int64, which demo a step belongs to.
        grasp: (M, 3 K) float32, where the hand of each demo was when it grasped, then when it placed [m]: hindsight
            labels, no object state.
        seeds: (M,) int64 of the scenes.
    """

    images: NDArray[np.uint8]
    proprio: NDArray[np.float32]
    actions: NDArray[np.float32]
    demo: NDArray[np.int64]
    grasp: NDArray[np.float32]
    seeds: NDArray[np.int64]

    def __post_init__(self) -> None:
        steps = {len(self.images), len(self.proprio), len(self.actions), len(self.demo)}
        if len(steps) != 1 or not len(self.images):
            raise InvalidArgumentError(f"demos: arrays of {sorted(steps)} steps; want one length.")
        if self.demo.max() >= len(self.grasp) or len(self.grasp) != len(self.seeds):
            raise InvalidArgumentError(
                f"demos: {self.demo.max() + 1} demos, {len(self.grasp)} grasp points, {len(self.seeds)} seeds."
            )

    @classmethod
    def join(cls, parts: Sequence[DemoSet]) -> DemoSet:
        """All demonstrations of several sets, one set after the other. Raises InvalidArgumentError where they do not fit."""
        if not parts:
            raise InvalidArgumentError("no demonstrations to join: give at least one set.")
        first = np.cumsum([0, *(len(p.grasp) for p in parts)])
        arrays = {k: [getattr(p, k) for p in parts] for k in cls.__dataclass_fields__}
        arrays["demo"] = [d + n for d, n in zip(arrays["demo"], first, strict=False)]
        try:
            return cls(**{k: np.concatenate(v) for k, v in arrays.items()})
        except ValueError as error:
            raise InvalidArgumentError(f"demonstrations of different shapes: {error}") from error

    def save(self, path: Path) -> None:
        """Write one compressed npz file, whole or not at all."""
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{k: getattr(self, k) for k in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> DemoSet:
        """Read what `save` wrote. Raises StorageError."""
        try:
            with np.load(path, allow_pickle=False) as data:
                return cls(**{k: data[k] for k in cls.__dataclass_fields__})
        except (OSError, KeyError, ValueError) as error:
            raise StorageError(f"{path} is no file of demonstrations: {error}") from error


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        steps: gradient steps.
        learning_rate: at its start; falls to a twentieth along a cosine.
        brightness: gain of all channels is drawn from 1 - brightness .. 1 + brightness.
        channel_jitter: gain of each channel alone, likewise.
        swap: part of the images whose channels are put into a random order: what is red becomes green or blue.
        fade: colours lose a part, drawn from 0 .. fade, towards grey.
    """

    steps: int
    learning_rate: float
    brightness: float
    channel_jitter: float = 0.0
    swap: float = 0.0
    fade: float = 0.0


@dataclass(frozen=True)
class BcTrainingConfig:
    """How to clone.

    Attributes:
        stages: first brightness only, then channel jitter at half the rate: colours fail in a graded way, not at all or nothing.
        batch: samples a step.
        weight_decay: of AdamW.
        grasp_weight: of the auxiliary loss.
        seed: of initialisation, batches and augmentation.
    """

    stages: tuple[Stage, ...] = (Stage(2600, 1e-3, 0.3), Stage(1500, 5e-4, 0.3, 0.25))
    batch: int = 64
    weight_decay: float = 1e-4
    grasp_weight: float = 1.0
    seed: int = 0


@dataclass
class BcTrainer:
    """Trains one network on one set of demonstrations. Same seed and threads, same weights.

    Attributes:
        demos, info, network_config, config: what, for what, how large, how.
        start: weights and scales to go on from; None = fresh ones.
        weights: (N,) how often a step is drawn, relative to the others; None = all alike.
        told: called with the fraction done in 0..1 and the loss, now and then.
    """

    demos: DemoSet
    info: PolicyInfo
    network_config: BcConfig = field(default_factory=BcConfig)
    config: BcTrainingConfig = field(default_factory=BcTrainingConfig)
    start: BcNetwork | None = None
    weights: NDArray[np.float64] | None = None
    told: Callable[[float, float], None] = lambda fraction, loss: None

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            self.network = BcNetwork(
                self.network_config, self.demos.proprio.shape[1], self.info.action_dim
            )
        self.network.to(memory_format=torch.channels_last)  # three times as fast on one core
        prepare = (prepare_image(i, self.info, self.network_config) for i in self.demos.images)
        self.images = torch.stack(list(prepare))
        self.proprio = torch.from_numpy(self.demos.proprio)
        self.actions = torch.from_numpy(self.demos.actions)
        grasp = torch.from_numpy(self.demos.grasp)
        if grasp.shape[1] != 3 * self.network_config.points:
            raise InvalidArgumentError(
                f"demos: {grasp.shape[1]} numbers a grasp; {self.network_config.points} points want three each."
            )
        if self.start is not None:
            self.network.load_state_dict(self.start.state_dict())
        else:
            _set_scale(self.network, "proprio", self.proprio)
            _set_scale(self.network, "grasp", grasp)
        self.grasp = ((grasp - self.network.grasp_mean) / self.network.grasp_std)[
            torch.from_numpy(self.demos.demo)
        ]
        ahead = _ahead(self.demos, self.network_config.points)
        self.ahead = torch.from_numpy(ahead.repeat(3, axis=1).astype(np.float32))

    def run(self) -> BcNetwork:
        """All stages; returns the network in evaluation mode."""
        self._done, self._steps = 0, sum(stage.steps for stage in self.config.stages)
        for stage in self.config.stages:
            self._run_stage(stage)
        return self.network.eval()

    def _run_stage(self, stage: Stage) -> None:
        started = time.monotonic()
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=stage.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, stage.steps, eta_min=stage.learning_rate / 20
        )
        self.network.train()
        for step in range(stage.steps):
            loss, action_loss = self._loss(stage)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            self._done += 1
            if self._done % 20 == 0:
                self.told(self._done / self._steps, loss.item())
            if step % 200 == 0 or step == stage.steps - 1:
                seconds = time.monotonic() - started
                log.info(
                    "step %d loss %.4f action %.4f %.0f s",
                    step,
                    loss.item(),
                    action_loss.item(),
                    seconds,
                )

    def _loss(self, stage: Stage) -> tuple[Tensor, Tensor]:
        rows = self._draw()
        image = augment(self.images[rows].float() / 255.0, stage, self.generator)
        action, grasp = self.network(image, self.proprio[rows])
        action_loss = nn.functional.smooth_l1_loss(action, self.actions[rows], beta=0.1)
        miss = nn.functional.mse_loss(grasp, self.grasp[rows], reduction="none")
        grasp_loss = (miss * self.ahead[rows]).sum() / self.ahead[rows].sum()
        return action_loss + self.config.grasp_weight * grasp_loss, action_loss

    def _draw(self) -> Tensor:
        batch = self.config.batch
        if self.weights is None:
            return torch.randint(len(self.images), (batch,), generator=self.generator)
        weights = torch.from_numpy(self.weights)
        return torch.multinomial(weights, batch, replacement=True, generator=self.generator)


def _ahead(demos: DemoSet, points: int) -> NDArray[np.bool_]:
    """(N, points): whether a step has the point still before it. The last one always counts: nothing comes after it.

    A point is where the gripper's command changes; what was there is no longer to be seen afterwards.
    """
    closing = demos.actions[:, -1] > 0
    changed = np.concatenate([[False], (closing[1:] != closing[:-1]) & (np.diff(demos.demo) == 0)])
    total = np.cumsum(changed)
    first = np.searchsorted(demos.demo, demos.demo)  # step at which a step's demo begins
    ahead = (total - total[first])[:, None] <= np.arange(points)
    ahead[:, -1] = True
    return ahead


def augment(image: Tensor, stage: Stage, generator: torch.Generator) -> Tensor:
    """Random gain of the brightness and of each channel, and a little noise; (B, 3, H, W) in 0..1, clipped."""

    def gain(width: float, channels: int) -> Tensor:
        draw = torch.rand((len(image), channels, 1, 1), generator=generator)
        return 1.0 + width * (2.0 * draw - 1.0)

    if stage.swap:  # nothing is drawn where there is none: the shipped policies' seeds stay theirs
        image = _swap_channels(image, stage.swap, generator)
    if stage.fade:
        lost = stage.fade * torch.rand((len(image), 1, 1, 1), generator=generator)
        image = torch.lerp(image, image.mean(dim=1, keepdim=True), lost)
    image = image * gain(stage.brightness, 1) * gain(stage.channel_jitter, 3)
    noise = 0.01 * torch.randn(image.shape, generator=generator)
    return (image + noise).clamp(0.0, 1.0)


def _swap_channels(image: Tensor, share: float, generator: torch.Generator) -> Tensor:
    order = torch.rand((len(image), 3), generator=generator).argsort(dim=1)
    kept = torch.rand(len(image), generator=generator) >= share
    order[kept] = torch.arange(3)
    return image[torch.arange(len(image))[:, None], order]


def _set_scale(network: BcNetwork, name: str, values: Tensor) -> None:
    """Mean and standard deviation into the network's buffers; a constant component keeps a scale of 1 cm / 0.01."""
    getattr(network, f"{name}_mean").copy_(values.mean(0))
    getattr(network, f"{name}_std").copy_(values.std(0).clamp(min=1e-2))
