"""How good an embedding is: figures reported with each training, as a flat dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, pearsonr
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.neighbors import NearestNeighbors

from robomd_ros.core.metrics import auc
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.learning.inputs import Inputs, TrainingSet

if TYPE_CHECKING:
    from robomd_ros.learning.embedding import Embedding

NEIGHBOURS = (1, 3, 5, 10, 20)
SWEPT = "light_intensity"
SWEEP_STEPS = 20

INPUTS = {
    "all": {"image": True, "text": True, "factors": True},
    "image_text": {"image": True, "text": True},
    "image": {"image": True},
    "text": {"text": True},
    "factors": {"factors": True},
}
"""The ways to ask that are measured: what is shown of a rollout."""


def measure(
    embedding: Embedding, known: TrainingSet, heldout: TrainingSet, catalogue: Catalogue
) -> dict[str, float]:
    """All figures of one training.

    Args:
        embedding: freshly trained.
        known: what it learnt from.
        heldout: what it did not; figures that need both outcomes are left out where it has only one.
        catalogue: for the light sweep.

    Returns:
        silhouette, davies_bouldin, separation and knn_accuracy_<k> of the known rollouts, and of the held-out ones with
        the ending _heldout; similarity_mse, similarity_frobenius; auc_<inputs> on the held-out ones;
        light_<inputs>_kendall, ..._kendall_from_start, ..._pearson.
    """
    points = embedding.embed(known.inputs)
    out = cluster_quality(points, known.failed)
    out |= similarity_to_identity(points, known.perturbation_ids)
    if len(set(heldout.failed.tolist())) == 2:
        unseen = embedding.embed(heldout.inputs)
        out |= {f"{k}_heldout": v for k, v in cluster_quality(unseen, heldout.failed).items()}
        out |= heldout_auc(embedding, heldout)
    if SWEPT in catalogue.factors:
        sweep = light_sweep(catalogue)
        for name in ("text", "factors"):
            points = embedding.embed(sweep.only(**INPUTS[name]))
            out |= {f"light_{name}_{k}": v for k, v in continuity(points).items()}
    return out


def cluster_quality(points: NDArray[np.float32], failed: NDArray[np.bool_]) -> dict[str, float]:
    """Silhouette, Davies-Bouldin, separation and leave-one-out kNN accuracy of the two outcomes.

    Separation is the distance between the two classes' centroids over the mean distance of a point to its own centroid.

    Args:
        points: (N, D).
        failed: (N,); both outcomes occur.
    """
    if min(failed.sum(), (~failed).sum()) < 2 or np.ptp(points, axis=0).max() < 1e-9:
        return {}
    centroids = {y: points[failed == y].mean(0) for y in (True, False)}
    own = np.stack([centroids[bool(y)] for y in failed])
    within = float(np.linalg.norm(points - own, axis=1).mean())
    between = float(np.linalg.norm(centroids[True] - centroids[False]))
    return {
        "silhouette": float(silhouette_score(points, failed)),
        "davies_bouldin": float(davies_bouldin_score(points, failed)),
        "separation": between / max(within, 1e-12),
        **knn_accuracy(points, failed),
    }


def knn_accuracy(points: NDArray[np.float32], failed: NDArray[np.bool_]) -> dict[str, float]:
    """Share of points whose outcome the majority of the k others nearest to them tells; ties count as success."""
    ks = [k for k in NEIGHBOURS if k < len(points)]
    if not ks:
        return {}
    index = NearestNeighbors(n_neighbors=max(ks)).fit(points)
    nearest = index.kneighbors(
        return_distance=False
    )  # without an argument a point is not its own neighbour
    votes = failed[nearest]
    return {f"knn_accuracy_{k}": float(((votes[:, :k].mean(1) > 0.5) == failed).mean()) for k in ks}


def similarity_to_identity(
    points: NDArray[np.float32], perturbation_ids: Sequence[str]
) -> dict[str, float]:
    """Cosine similarity of the conditions' mean embeddings, compared with the identity (the paper's Table of Sec. 4.5).

    Args:
        points: (N, D).
        perturbation_ids: N; conditions run only once are left out.

    Returns:
        similarity_mse and similarity_frobenius of the difference to the identity; {} for fewer than two conditions.
    """
    ids, counts = np.unique(np.asarray(perturbation_ids), return_counts=True)
    repeated = ids[counts > 1]
    if len(repeated) < 2:
        return {}
    rows = np.asarray(perturbation_ids)
    means = np.stack([points[rows == i].mean(0) for i in repeated])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    difference = means @ means.T - np.eye(len(means))
    return {
        "similarity_mse": float(np.square(difference).mean()),
        "similarity_frobenius": float(np.linalg.norm(difference)),
    }


def heldout_auc(embedding: Embedding, heldout: TrainingSet) -> dict[str, float]:
    """AUC of the head on rollouts it never saw, for each way to ask of which they have all inputs."""
    x = heldout.inputs
    there = {
        "image": bool(x.image_mask.all()),
        "text": all(x.texts),
        "factors": bool(x.factors_known.all()) and x.factors.shape[1] > 0,
    }
    out = {}
    for name, shown in INPUTS.items():
        if all(there[k] for k in shown):
            logits = embedding.failure_logits(embedding.embed(x.only(**shown)))
            out[f"auc_{name}"] = auc(logits, heldout.failed)
    return out


def light_sweep(catalogue: Catalogue, steps: int = SWEEP_STEPS) -> Inputs:
    """Questions from the nominal light down to the darkest one, as texts and factor values."""
    factor = catalogue.factors[SWEPT]
    start = factor.nominal[0] if factor.nominal else factor.high[0]
    scenes = [
        Perturbation((catalogue.make(SWEPT, [float(v)]),))
        for v in np.linspace(start, factor.low[0], steps)
    ]
    return Inputs.build([None] * steps, [s.sentence for s in scenes], scenes, catalogue)


def continuity(points: NDArray[np.float32]) -> dict[str, float]:
    """Whether an even sweep moves the embedding evenly and one way (the paper's light sweep).

    Args:
        points: (N, D) embeddings in the order of the sweep, from pictures, texts or factor values.

    Returns:
        pearson and kendall: of the cumulative distance walked with the position in the sweep. A cumulative distance
        cannot shrink, so its kendall falls below 1 only where the embedding stands still; hence also
        kendall_from_start, of the straight distance to the first point. NaN where nothing moves.
    """
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    position = np.arange(len(points))
    walked = np.concatenate([[0.0], np.cumsum(steps)])
    straight = np.linalg.norm(points - points[0], axis=1)
    if not walked[-1] > 0:
        return dict.fromkeys(("kendall", "kendall_from_start", "pearson"), float("nan"))
    return {
        "kendall": float(kendalltau(position, walked).statistic),
        "kendall_from_start": float(kendalltau(position, straight).statistic),
        "pearson": float(pearsonr(position, walked).statistic),
    }
