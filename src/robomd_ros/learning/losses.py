"""The losses of the embedding (RoboMD, Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    embeddings: Tensor, failed: Tensor, margin: float = 1.0, *, balance: bool = False
) -> Tensor:
    """Eq. (1) of the paper, as a mean over the pairs instead of a sum, so that it does not grow with the batch.

    L_con = Σ_ij [ 1(y_i = y_j)·d_ij + 1(y_i ≠ y_j)·max(0, margin − d_ij) ],  d_ij = ‖e_i − e_j‖₂, i ≠ j.

    Args:
        embeddings: (N, D).
        failed: (N,) bool or 0/1.
        margin: distance from which on a success and a failure no longer repel each other.
        balance: weigh success pairs, failure pairs and mixed pairs alike, however rare a class is.

    Returns:
        Scalar; 0 for fewer than two embeddings.
    """
    first, second = torch.triu_indices(len(embeddings), len(embeddings), offset=1)
    if not len(first):
        return embeddings.sum() * 0.0
    # The epsilon keeps the gradient of the root finite where two embeddings coincide.
    distance = (embeddings[first] - embeddings[second]).square().sum(1).add(1e-12).sqrt()
    y = failed.bool()
    same = y[first] == y[second]
    pairs = torch.where(same, distance, functional.relu(margin - distance))
    if not balance:
        return pairs.mean()
    kinds = (~same, same & y[first], same & ~y[first])
    return torch.stack([pairs[k].mean() for k in kinds if k.any()]).mean()


def classification_loss(logits: Tensor, failed: Tensor, *, balance: bool = False) -> Tensor:
    """Binary cross entropy of logit(failure), optionally with both classes of the batch weighted alike.

    Args:
        logits: (N,).
        failed: (N,) targets in 0..1; soft ones are allowed.
        balance: weigh successes and failures alike. It shifts the logits: calibrate after it.
    """
    target = failed.float()
    if not balance:
        return functional.binary_cross_entropy_with_logits(logits, target)
    rate = target.mean().clamp(1e-3, 1 - 1e-3)
    weight = 0.5 * (target / rate + (1 - target) / (1 - rate))
    return functional.binary_cross_entropy_with_logits(logits, target, weight=weight)
