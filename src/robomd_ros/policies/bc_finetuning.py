"""Going on with a BcPolicy: new demonstrations beside those it was made from, so that it does not forget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.policies.bc import WEIGHTS_NAME, BcPolicy, load_bc
from robomd_ros.policies.bc_training import BcTrainer, BcTrainingConfig, DemoSet, Stage


@dataclass(frozen=True)
class FineTuning:
    """How to go on.

    Attributes:
        steps, learning_rate, batch: gradient steps of so many samples; the rate falls along a cosine.
        brightness, channel_jitter, swap, fade: of the augmentation, see Stage.
        replay_share: part of each batch that is old demonstrations; all of it where there is nothing new.
        seed: of batches and augmentation.
    """

    steps: int = 1400
    learning_rate: float = 7e-4
    batch: int = 32
    brightness: float = 0.3
    channel_jitter: float = 0.25
    swap: float = 0.5
    fade: float = 0.6
    replay_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.learning_rate < 1 or not 0 <= self.replay_share < 1:
            raise InvalidArgumentError(
                f"{self}: want at least 1 step, a learning rate between 0 and 1 and a replay share from 0 to below 1."
            )

    def training(self) -> BcTrainingConfig:
        """As one stage of the trainer."""
        stage = Stage(
            self.steps,
            self.learning_rate,
            self.brightness,
            self.channel_jitter,
            self.swap,
            self.fade,
        )
        return BcTrainingConfig(stages=(stage,), batch=self.batch, seed=self.seed)


def finetune_bc(
    policy: BcPolicy,
    replay: DemoSet,
    new: DemoSet | None,
    config: FineTuning,
    folder: Path,
    told: Callable[[float, float], None] = lambda fraction, loss: None,
) -> BcPolicy:
    """Fine-tune and save.

    Scales stay those of the old policy. Batch normalisation goes on learning: half of each batch is old images, so that
    its statistics stay near those it had. One thread: same seed, same weights.

    Args:
        policy: stays as it is.
        replay: demonstrations it was made from.
        new: of what it shall learn; None = the same time without new data, a control.
        config: how.
        folder: of the new policy.
        told: called with the fraction done and the loss, now and then.

    Returns:
        What was saved, read back; its id is the old one with a hash of the new weights.
    """
    trainer = BcTrainer(
        DemoSet.join([replay] if new is None else [replay, new]),
        policy.info,
        policy.config,
        config.training(),
        policy.network,
        step_weights(len(replay.images), 0 if new is None else len(new.images), config),
        told,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = trainer.run()
    finally:
        torch.set_num_threads(threads)
    facts = {
        **policy.made,  # what it was made of at first is what has to be replayed
        "finetuned_from": policy.info.id,
        "finetuning": asdict(config),
        "new_demos": len(new.seeds) if new is not None else 0,
        "replayed": len(replay.seeds),
    }
    BcPolicy(policy.info, policy.config, network, facts).save(folder)
    digest = sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()[:8]
    info = replace(
        policy.info, id=f"{policy.info.id.rpartition('-')[0] or policy.info.id}-{digest}"
    )
    BcPolicy(info, policy.config, network, facts).save(folder)
    return load_bc(folder)


def step_weights(old: int, new: int, config: FineTuning) -> NDArray[np.float64]:
    """(old + new,) how often each step is drawn: the old ones together `replay_share`, the new ones the rest."""
    share = config.replay_share if new else 1.0
    return np.concatenate(
        [np.full(old, share / max(old, 1)), np.full(new, (1 - share) / max(new, 1))]
    )
