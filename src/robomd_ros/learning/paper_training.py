"""Training of the paper profile: both towers together, binary cross entropy plus Eq. (1), Adam, mixed precision on a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, TrainingSet
from robomd_ros.learning.losses import classification_loss, contrastive_loss
from robomd_ros.learning.paper import PaperModel
from robomd_ros.learning.progress import Progress


def train_paper(model: PaperModel, data: TrainingSet, seed: int, progress: Progress) -> None:
    """Fit `model` in place on `config.device`."""
    config, rng = model.config, np.random.default_rng(seed)
    model.to(config.device).train()
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    steps = max(1, len(data) // config.batch_size)
    for epoch in range(config.epochs):
        for step, rows in enumerate(np.array_split(rng.permutation(len(data)), steps)):
            loss = training_step(model, optimizer, data[rows], rng)
            progress.loss("train", (epoch + (step + 1) / steps) / config.epochs, loss)
    model.eval()


def training_step(
    model: PaperModel,
    optimizer: torch.optim.Optimizer,
    batch: TrainingSet,
    rng: np.random.Generator,
) -> float:
    """One step on one batch; returns its loss before the step."""
    config = model.config
    inputs = hide(batch.inputs, config.modality_dropout, rng)
    with torch.autocast(
        torch.device(config.device).type,
        torch.bfloat16,
        enabled=config.amp and not config.device.startswith("cpu"),
    ):
        points = model(inputs)
    # Distances and logits in full precision: bfloat16 has three digits.
    failed = torch.from_numpy(batch.failed).to(points.device)
    loss = paper_loss(points, model.failure_logits(points), failed, config)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.item())


def paper_loss(
    points: torch.Tensor, logits: torch.Tensor, failed: torch.Tensor, config: EmbeddingConfig
) -> torch.Tensor:
    """BCE(logit, y) + weight * Eq. (1)."""
    loss = classification_loss(logits, failed)
    if config.contrastive_weight:
        loss = loss + config.contrastive_weight * contrastive_loss(
            points, failed, config.margin, balance=config.balance_classes
        )
    return loss


def hide(inputs: Inputs, probability: float, rng: np.random.Generator) -> Inputs:
    """Of each scene that has both, hide the image or the text with the given probability."""
    both = inputs.image_mask & np.array([bool(t) for t in inputs.texts])
    hidden = both & (rng.random(len(inputs)) < probability)
    image = hidden & (rng.random(len(inputs)) < 0.5)
    texts = ("" if h else t for t, h in zip(inputs.texts, hidden & ~image, strict=True))
    return replace(inputs, image_mask=inputs.image_mask & ~image, texts=tuple(texts))
