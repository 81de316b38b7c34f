"""Train everything of a study from its rollouts: what `robomd train` and the nodes call."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robomd_ros.core.probes import ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Renders, TrainingSet
from robomd_ros.learning.train import train_embedding
from robomd_ros.search.asking import Asker, embed_rollouts
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.train import train_search

HELDOUT_SHARE = 0.2
Progress = Callable[[str, float, float], None]
"""(phase, fraction 0..1, loss or mean reward, NaN = none)."""


def fit_study(
    folder: str | Path,
    embedding_config: EmbeddingConfig | None = None,
    search_config: SearchConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    heldout_share: float = HELDOUT_SHARE,
    renders: Renders | None = None,
) -> Asker:
    """Train the embedding, then the search, save both in the study and return what answers."""
    fit_embedding(
        folder, embedding_config, seed=seed, progress=progress, cancelled=cancelled,
        heldout_share=heldout_share, renders=renders,
    )  # fmt: skip
    return fit_search(folder, search_config, seed=seed, progress=progress, cancelled=cancelled)


def fit_embedding(
    folder: str | Path,
    config: EmbeddingConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    heldout_share: float = HELDOUT_SHARE,
    renders: Renders | None = None,
) -> Embedding:
    """Train the embedding on the study's evidence but the held-out rollouts, and save it.

    Raises:
        NotReadyError: too few rollouts; nothing old is touched.
        CancelledByUserError: `cancelled` said so; nothing old is touched.
    """
    study = Study.open(folder)
    catalogue, records = study.catalogue(), _evidence(study)
    embedding = train_embedding(
        TrainingSet.from_records(records, catalogue),
        config or EmbeddingConfig(),
        seed=seed,
        catalogue=catalogue,
        renders=renders,
        heldout_ids=heldout_ids(records, heldout_share),
        progress=progress,
        cancelled=cancelled,
    )
    embedding.save(study.models)
    return embedding


def fit_search(
    folder: str | Path,
    config: SearchConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Asker:
    """Train the search in the study's embedding, on the rollouts that the embedding may know, and save it.

    Raises:
        NotReadyError: no embedding yet, or no failure known.
        CancelledByUserError: `cancelled` said so; nothing old is touched.
    """
    told = progress or (lambda *_: None)
    study = Study.open(folder)
    catalogue, records = study.catalogue(), _evidence(study)
    embedding = Embedding.load(study.models)
    told("embed", 0.0, math.nan)
    known = embed_rollouts(embedding, records, catalogue)
    held = set(embedding.facts.heldout_ids)
    trained = known.subset(np.array([i not in held for i in known.ids], np.bool_))
    search = train_search(
        trained, config, seed=seed, progress=progress, cancelled=cancelled, catalogue=catalogue,
        logits=embedding.failure_logits(trained.embeddings),
    )  # fmt: skip
    search = replace(search, facts={**search.facts, "embedding_id": embedding.id})
    told("save", 0.0, math.nan)
    search.save(study.models)
    told("calibrate", 0.0, math.nan)
    probes = ProbeTable.load(study.probes)
    return Asker(embedding, records, catalogue, search, known=known, probes=probes)


def heldout_ids(records: Sequence[RolloutRecord], share: float = HELDOUT_SHARE) -> set[str]:
    """Rollouts kept from every model: those run for it, and a share chosen by a hash of the id.

    A rollout is on the same side in every training, however many others there are.
    """
    return {r.id for r in records if r.purpose == "heldout" or _position(r.id) < share}


def _position(rollout_id: str) -> float:
    """A number in 0..1 that looks random and never changes."""
    return int.from_bytes(hashlib.sha256(rollout_id.encode()).digest()[:8], "big") / 2**64


def _evidence(study: Study) -> list[RolloutRecord]:
    with study.store(read_only=True) as store:
        return store.records(evidence_only=True)
