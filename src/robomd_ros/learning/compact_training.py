"""Training of the compact profile: the image encoder first, then the fusion on its features."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robomd_ros.core.variations import Catalogue, Perturbation, Variation
from robomd_ros.learning.compact import IMAGE_FEATURES, CompactModel, Encoded
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, Renders, TrainingSet, resize_by_area
from robomd_ros.learning.losses import classification_loss, contrastive_loss
from robomd_ros.learning.progress import Progress
from robomd_ros.learning.risk import FactorRisk, RiskPrior
from robomd_ros.learning.sentences import sentence_encoder

TAUGHT = 0.5
"""The teacher's part in a rollout's own label: what is left is the chance of one outcome."""
IMAGINED = 3000
"""Scenes without an image that the teacher labels."""
MIN_STEPS = 4
"""Steps an epoch, however few the rollouts: a young study needs the same walk to leave the start."""


def train_compact(
    model: CompactModel,
    data: TrainingSet,
    catalogue: Catalogue,
    renders: Renders | None,
    seed: int,
    progress: Progress,
    risk: RiskPrior | None = None,
    image_encoder: nn.Module | None = None,
) -> None:
    """Fit `model` in place.

    Args:
        model: to be fitted.
        data: rollouts.
        catalogue: whose factor vector `data` holds.
        renders: outcome-free frames.
        seed: of everything.
        progress: told losses.
        risk: learnt from these rollouts: labels scenes in which no policy ran; None = no such scenes.
        image_encoder: trained before; saves that half of the work.
    """
    progress("data", 0.0)
    generator = torch.Generator().manual_seed(seed)
    extra = renders.inputs(catalogue) if renders is not None else None
    if image_encoder is not None:
        model.images.load_state_dict(image_encoder.state_dict())
    elif data.inputs.image_mask.any():
        pretrain_images(model, data.inputs, extra, generator, progress)
    model.eval()
    pools = [(data.inputs, torch.from_numpy(data.failed).float())]
    if risk is not None:
        known = data[data.inputs.factors_known]
        teacher = risk.given(known.inputs.factors, known.inputs.factor_mask, known.failed)
        target = pools[0][1]
        seen = torch.from_numpy(data.inputs.factors_known)
        target[seen] = torch.lerp(target[seen], taught(teacher, known.inputs), TAUGHT)
        pools += taught_pools(teacher, catalogue, extra, seed)
    with torch.no_grad():
        encoded = [(model.encode(inputs), target) for inputs, target in pools]
    train_fusion(model, encoded, model.config, generator, progress)


def taught_pools(
    teacher: FactorRisk, catalogue: Catalogue, extra: Inputs | None, seed: int
) -> list[tuple[Inputs, Tensor]]:
    """Scenes in which no policy ran, with a teacher's soft labels: the renders, and imagined ones without an image.

    The teacher knows the rollouts and nothing else: the scenes carry what outcomes say about factors over to image and
    text.
    """
    scenes = imagine(catalogue, IMAGINED, np.random.default_rng(seed))
    texts = [p.sentence for p in scenes]
    imagined = Inputs.build([None] * len(scenes), texts, scenes, catalogue)
    scenes_of = [imagined] if extra is None else [imagined, extra]
    return [(inputs, taught(teacher, inputs)) for inputs in scenes_of]


def taught(teacher: FactorRisk, inputs: Inputs) -> Tensor:
    """P(failure) of scenes whose factors are known, (N,)."""
    return torch.from_numpy(teacher.logits(inputs.factors, inputs.factor_mask)).float().sigmoid()


def imagine(catalogue: Catalogue, n: int, rng: np.random.Generator) -> list[Perturbation]:
    """Random scenes: named variations alone or composed, and continuous ones with few and many factors."""
    named: dict[str, list[Variation]] = {}
    for variation in catalogue.variations.values():
        named.setdefault(variation.factor, []).append(variation)
    factors = list(named)
    out = []
    for i in range(n):
        if i % 3 == 0 and factors:
            count = int(rng.integers(1, min(3, len(factors)) + 1))
            chosen = rng.permutation(len(factors))[:count]
            picks = [named[factors[k]] for k in chosen]
            out.append(Perturbation(tuple(p[int(rng.integers(len(p)))] for p in picks)))
        else:
            out.append(catalogue.sample(rng, active=(0.15, 0.4)[i % 3 - 1]))
    return out


def pretrain_images(
    model: CompactModel,
    inputs: Inputs,
    extra: Inputs | None,
    generator: torch.Generator,
    progress: Progress,
    epochs: int = 10,
) -> None:
    """Teach the image encoder to read from the frame what was applied, without any outcome."""
    size = model.config.image_size
    sets = [inputs] if extra is None else [inputs, extra]
    images = torch.cat([resize_by_area(i.images[i.image_mask], size, size) for i in sets])
    targets = torch.cat([what_is_seen(model, i)[i.image_mask] for i in sets])
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


def what_is_seen(model: CompactModel, inputs: Inputs) -> Tensor:
    """What the image encoder learns to read, (N, K): the factors, or the sentences where nothing has a number."""
    if inputs.factors.shape[1]:
        return model.factor_features(inputs)
    vectors, mask = sentence_encoder().encode(inputs.texts)
    return vectors.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


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
        pools: encoded scenes and their targets; a batch takes as many of each. The first pool's are rollouts.
        config: of the model.
        generator: order of the rollouts and dropout.
        progress: told an epoch's loss.
    """
    parameters = [
        *model.text.parameters(),
        *model.members.parameters(),
        *model.heads.parameters(),
    ]
    optimizer = torch.optim.AdamW(
        parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    scenes, targets = Encoded.join([e for e, _ in pools]), torch.cat([t for _, t in pools])
    starts = np.cumsum([0, *(len(t) for _, t in pools)])
    steps = max(len(pools[0][0]) // config.batch_size, MIN_STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps * config.epochs
    )
    for epoch in range(config.epochs):
        total = 0.0
        for _ in range(steps):
            rows = torch.cat(
                [
                    torch.randint(int(a), int(b), (config.batch_size,), generator=generator)
                    for a, b in pairwise(starts)
                ]
            )
            batch = drop_modalities(scenes[rows], config.modality_dropout, generator)
            loss = compact_loss(model, batch, targets[rows], config)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item() / steps
        progress.loss("train", (epoch + 1) / config.epochs, total)
    model.eval()


def compact_loss(
    model: CompactModel, batch: Encoded, target: Tensor, config: EmbeddingConfig
) -> Tensor:
    """Cross entropy of each block's own logit, and Eq. (1) with its weight."""
    points = model.fuse(batch)
    logits = model.member_logits(points)
    loss = classification_loss(logits.flatten(), target.repeat_interleave(logits.shape[1]))
    if config.contrastive_weight:
        loss = loss + config.contrastive_weight * contrastive_loss(
            points, target, config.margin, balance=config.balance_classes
        )
    return loss


def drop_modalities(encoded: Encoded, probability: float, generator: torch.Generator) -> Encoded:
    """Of some scenes, chosen with a probability, keep one input alone (two of three times) or hide one."""
    n = len(encoded)
    has = torch.stack([encoded.has_image, encoded.has_text, encoded.has_factors], 1) > 0
    lucky = torch.where(has, torch.rand(n, 3, generator=generator), -1.0)
    alone = torch.rand(n, 1, generator=generator) < 2 / 3
    best, worst = (
        lucky.argmax(1, keepdim=True),
        lucky.where(has, torch.tensor(2.0)).argmin(1, keepdim=True),
    )
    index = torch.arange(3)
    hide = torch.where(alone, index != best, (index == worst) & (index != best))
    hide &= torch.rand(n, 1, generator=generator) < probability
    return encoded.hide(*hide.unbind(1))
