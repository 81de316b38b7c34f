"""Learn an embedding from labelled rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import nn

from robomd_ros.core.errors import NotReadyError
from robomd_ros.core.variations import Catalogue
from robomd_ros.learning.compact import CompactModel, nominal_vector
from robomd_ros.learning.compact_training import train_compact
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.embedding import Embedding, Facts
from robomd_ros.learning.inputs import Renders, TrainingSet
from robomd_ros.learning.progress import Progress
from robomd_ros.learning.quality import measure
from robomd_ros.learning.risk import Layout, RiskPrior


def train_embedding(
    data: TrainingSet,
    config: EmbeddingConfig,
    *,
    seed: int,
    catalogue: Catalogue,
    renders: Renders | None = None,
    heldout_ids: Set[str] = frozenset(),
    progress: Callable[[str, float, float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    warm_start: Embedding | None = None,
) -> Embedding:
    """Train; the same seed, data and threads give the same embedding on a CPU.

    Args:
        data: labelled rollouts.
        config: profile and settings.
        seed: of initial weights, order and dropout.
        catalogue: whose factor vector `data` holds.
        renders: outcome-free frames of perturbed scenes, as extra training data.
        heldout_ids: rollouts of `data` that are kept apart: never learnt from, used to measure.
        progress: called with phase ("data", "pretrain", "train", "metrics"), fraction 0..1, loss (NaN = none).
        cancelled: asked between steps.
        warm_start: an earlier compact embedding of the same scenes: its image encoder, which has learnt to read factors
            from frames and has seen no outcome, is kept. Saves about half of the time. Ignored where it does not fit.

    Raises:
        NotReadyError: too few successes or failures, or the loss became NaN. Nothing old is touched.
        CancelledByUserError: `cancelled` said so.
    """
    held = np.array([i in heldout_ids for i in data.ids], np.bool_)
    kept = data[~held]
    _check_enough(kept, config)
    told = Progress(progress, cancelled)
    model: nn.Module
    risk = None
    with _isolated(seed, config.threads):
        if config.profile == "paper":
            model = _train_paper(kept, config, seed, told)
        else:
            model = CompactModel(config, nominal_vector(catalogue))
            kept_encoder = _image_encoder(warm_start, config, catalogue)
            risk = learn_risk(kept, catalogue, seed)
            train_compact(model, kept, catalogue, renders, seed, told, risk, kept_encoder)
        facts = Facts(
            seed=seed,
            data_hash=kept.hash,
            training_ids=kept.ids,
            heldout_ids=data[held].ids,
            factors=_factors(catalogue),
            versions=_versions(),
        )
        told("metrics", 0.0)
        embedding = Embedding(model, config, facts=facts, risk=risk)
        embedding.quality = {f"loss_{phase}": loss for phase, loss in told.losses.items()}
        embedding.quality |= measure(embedding, kept, data[held], catalogue)
    return embedding


def learn_risk(data: TrainingSet, catalogue: Catalogue, seed: int) -> RiskPrior | None:
    """How factor values tell the outcome; None where nothing was applied that has a number, or all ended alike."""
    known = data[data.inputs.factors_known]
    if not known.inputs.factor_mask.any() or len(set(known.failed.tolist())) < 2:
        return None
    x = known.inputs
    return RiskPrior.learn(Layout.of(catalogue), x.factors, x.factor_mask, known.failed, seed)


def _factors(catalogue: Catalogue) -> tuple[tuple[str, int], ...]:
    return tuple((f.name, f.dim) for f in catalogue.numeric_factors)


def _image_encoder(
    start: Embedding | None, config: EmbeddingConfig, catalogue: Catalogue
) -> nn.Module | None:
    """The image encoder of an earlier embedding, where it looks at the same factors at the same size."""
    if start is None or not isinstance(start.model, CompactModel):
        return None
    same = start.config.image_size == config.image_size
    return start.model.images if same and start.facts.factors == _factors(catalogue) else None


def _train_paper(
    data: TrainingSet, config: EmbeddingConfig, seed: int, progress: Progress
) -> nn.Module:
    # Imported here: the towers' libraries take seconds, and the compact profile needs none of them.
    from robomd_ros.learning.paper import PaperModel
    from robomd_ros.learning.paper_training import train_paper

    progress("data", 0.0)
    model = PaperModel.pretrained(config)
    train_paper(model, data, seed, progress)
    return model


@contextmanager
def _isolated(seed: int, threads: int) -> Iterator[None]:
    """Seed and threads of this training only: the rest of the process keeps its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _check_enough(data: TrainingSet, config: EmbeddingConfig) -> None:
    failures = int(data.failed.sum())
    successes = len(data) - failures
    if min(failures, successes) < config.min_per_class:
        raise NotReadyError(
            f"{successes} successes and {failures} failures to learn from; want at least "
            f"{config.min_per_class} of each: run more rollouts, under harsher or milder variations."
        )


def _versions() -> dict[str, str]:
    out = {}
    for name in (
        "robomd_ros",
        "torch",
        "torchvision",
        "open_clip_torch",
        "sentence_transformers",
        "numpy",
    ):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
