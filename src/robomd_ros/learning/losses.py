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
        failed: (N,) bool or 0/1. A value between is a probability; the loss is then the expectation of Eq. (1).
        margin: distance from which on a success and a failure no longer repel each other.
        balance: weigh success pairs, failure pairs and mixed pairs alike, however rare a class is.

    Returns:
        Scalar; 0 for fewer than two embeddings.
    """
    if len(embeddings) < 2:
        return embeddings.sum() * 0.0
    first, second = torch.triu_indices(len(embeddings), len(embeddings), offset=1)
    distance = functional.pdist(embeddings)  # in the order of triu_indices
    y = failed.float()
    both_failed = y[first] * y[second]
    both_succeeded = (1 - y[first]) * (1 - y[second])
    differ = 1 - both_failed - both_succeeded
    apart = functional.relu(margin - distance)
    if not balance:
        return ((1 - differ) * distance + differ * apart).mean()
    kinds = ((both_failed, distance), (both_succeeded, distance), (differ, apart))
    means = [(w * d).sum() / w.sum() for w, d in kinds if w.sum() > 1e-6]
    return torch.stack(means).mean()


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
