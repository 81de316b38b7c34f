"""Everything that a study's training makes, trained without some of its rollouts, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Renders, TrainingSet
from robomd_ros.learning.train import train_embedding
from robomd_ros.search.asking import Asker, embed_rollouts
from robomd_ros.search.config import ALGORITHMS, SearchConfig
from robomd_ros.search.known import KnownSet
from robomd_ros.search.policy import SearchPolicy
from robomd_ros.search.train import train_search


@dataclass(frozen=True)
class Fitted:
    """What was trained without the held-out rollouts.

    Attributes:
        embedding: of all inputs.
        known: every rollout embedded, in the order of the records.
        records, catalogue: behind it.
        asker: answers; its calibration is cross-fitted on the held-out rollouts.
    """

    embedding: Embedding
    known: KnownSet
    records: Sequence[RolloutRecord]
    catalogue: Catalogue
    asker: Asker

    def answers(self, held: NDArray[np.bool_]) -> NDArray[np.float64]:
        """P(failure) of the held-out rollouts, in their order.

        Raises:
            UnavailableError: too few were held out to calibrate.
        """
        if self.asker.heldout is None:
            raise UnavailableError(f"{int(held.sum())} held-out rollouts are too few to calibrate.")
        answered = dict(zip(self.asker.heldout.ids, self.asker.heldout.p_failure, strict=True))
        ids = (i for i, wanted in zip(self.known.ids, held, strict=True) if wanted)
        return np.array([answered[i] for i in ids])


def fit_without(
    records: Sequence[RolloutRecord],
    catalogue: Catalogue,
    held: NDArray[np.bool_],
    seed: int,
    config: EmbeddingConfig | None = None,
    renders: Renders | None = None,
) -> Fitted:
    """As `search.fit.fit_study` but for the search: nothing held out reaches the embedding."""
    ids = frozenset(r.id for r, wanted in zip(records, held, strict=True) if wanted)
    embedding = train_embedding(
        TrainingSet.from_records(records, catalogue),
        config or EmbeddingConfig(),
        seed=seed,
        catalogue=catalogue,
        renders=renders,
        heldout_ids=ids,
    )
    known = embed_rollouts(embedding, records, catalogue)
    asker = Asker(embedding, records, catalogue, known=known)
    return Fitted(embedding, known, records, catalogue, asker)


def search_without(
    fitted: Fitted, held: NDArray[np.bool_], seed: int, steps: int = 0, algorithm: str = "ppo"
) -> SearchPolicy:
    """The search in the fitted embedding, on all but the held-out rollouts; `steps` 0 = the default."""
    known = fitted.known.subset(~held)
    config = SearchConfig(algorithm=algorithm)
    return train_search(
        known,
        replace(config, steps=steps) if steps else config,
        seed=seed,
        catalogue=fitted.catalogue,
        logits=fitted.embedding.failure_logits(known.embeddings),
    )


def search_scores(
    fitted: Fitted,
    held: NDArray[np.bool_],
    seed: int,
    steps: int = 0,
    algorithms: Sequence[str] = ALGORITHMS,
) -> dict[str, NDArray[np.float64]]:
    """Log-density of the held-out rollouts under each search and its untrained control; mass where it is discrete."""
    points = fitted.known.embeddings[held]
    found: dict[str, NDArray[np.float64]] = {}
    for algorithm in algorithms:
        search = search_without(fitted, held, seed, steps, algorithm)
        found[algorithm] = search.log_density(points)
        if algorithm == "ppo":
            found["untrained"] = search.log_density_untrained(points)
    return found
