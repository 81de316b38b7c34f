"""Training of the compact profile: the image encoder first, then the fusion on its features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robomd_ros.core.variations import Catalogue
from robomd_ros.learning.compact import IMAGE_FEATURES, CompactModel, Encoded
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, Renders, TrainingSet, resize_by_area
from robomd_ros.learning.losses import classification_loss, contrastive_loss
from robomd_ros.learning.progress import Progress
from robomd_ros.learning.teacher import FactorTeacher


def train_compact(
    model: CompactModel,
    data: TrainingSet,
    catalogue: Catalogue,
    renders: Renders | None,
    seed: int,
    progress: Progress,
) -> None:
    """Fit `model` in place."""
    progress("data", 0.0)
    generator = torch.Generator().manual_seed(seed)
    extra = renders.inputs(catalogue) if renders is not None else None
    teacher = FactorTeacher(model.factor_features(data.inputs).numpy(), data.failed, seed)
    if data.inputs.image_mask.any():
        pretrain_images(model, data.inputs, extra, generator, progress)
    model.eval()
    with torch.no_grad():
        real = model.encode(data.inputs)
        pools = [(real, torch.from_numpy(data.failed).float())]
        if extra is not None:
            soft = torch.from_numpy(teacher(model.factor_features(extra).numpy()))
            pools.append((model.encode(extra), soft))
    train_fusion(model, pools, model.config, generator, progress)


def pretrain_images(
    model: CompactModel,
    inputs: Inputs,
    extra: Inputs | None,
    generator: torch.Generator,
    progress: Progress,
    epochs: int = 12,
) -> None:
    """Teach the image encoder to read the factors from the frame, without any outcome."""
    size = model.config.image_size
    sets = [inputs] if extra is None else [inputs, extra]
    images = torch.cat([resize_by_area(i.images, size, size)[i.image_mask] for i in sets])
    targets = torch.cat([model.factor_features(i)[i.image_mask] for i in sets])
    head = nn.Linear(IMAGE_FEATURES, targets.shape[1])
    optimizer = torch.optim.AdamW([*model.images.parameters(), *head.parameters()], 2e-3)
    model.train()
    for epoch in range(epochs):
        losses = []
        for rows in torch.randperm(len(images), generator=generator).split(64):
            if len(rows) < 2:
                continue
            out = head(functional.relu(model.images(images[rows])))
            loss = functional.mse_loss(out, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        progress.loss("pretrain", (epoch + 1) / epochs, float(np.mean(losses)))


def train_fusion(
    model: CompactModel,
    pools: list[tuple[Encoded, Tensor]],
    config: EmbeddingConfig,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """Fit the members: cross entropy a block, Eq. (1) over the whole embedding, inputs hidden at random.

    Args:
        model: trained in place; its image encoder stays.
        pools: encoded scenes and their targets; the first pool's are outcomes of rollouts, the others' soft labels.
        config: of the model.
        generator: order of the rollouts and dropout.
        progress: told an epoch's loss.
    """
    optimizer = torch.optim.AdamW(
        model.members.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    steps = max(len(pools[0][0]) // config.batch_size, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps * config.epochs
    )
    model.members.train()
    for epoch in range(config.epochs):
        total = 0.0
        for _ in range(steps):
            loss = torch.zeros(())
            for k, (encoded, target) in enumerate(pools):
                rows = torch.randint(len(encoded), (config.batch_size,), generator=generator)
                batch = drop_modalities(encoded[rows], config.modality_dropout, generator)
                points = model.fuse(batch)
                logits = model.member_logits(points)
                loss = loss + classification_loss(
                    logits.flatten(), target[rows].repeat_interleave(logits.shape[1])
                )
                if k == 0 and config.contrastive_weight:
                    loss = loss + config.contrastive_weight * contrastive_loss(
                        points, target[rows], config.margin, balance=config.balance_classes
                    )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.members.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item() / steps
        progress.loss("train", (epoch + 1) / config.epochs, total)
    model.eval()


def drop_modalities(encoded: Encoded, probability: float, generator: torch.Generator) -> Encoded:
    """Hide each input of each scene with a probability, never all that it has."""
    has = torch.stack([encoded.has_image, encoded.has_text, encoded.has_factors], 1) > 0
    hide = torch.rand(has.shape, generator=generator) < probability
    blind = (has & ~hide).sum(1) == 0
    hide[blind] = False
    return encoded.hide(*hide.unbind(1))
