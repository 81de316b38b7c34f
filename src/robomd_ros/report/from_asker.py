"""Take what the report shows out of an `Asker`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue
from robomd_ros.report.data import EmbeddingFigures, EmbeddingMap, NextTry
from robomd_ros.report.embedding_figures import figures
from robomd_ros.report.view import PROPOSALS, HeldOut, ModelView, project
from robomd_ros.report.words import swatches, title
from robomd_ros.search.suggest import suggest

if TYPE_CHECKING:
    from robomd_ros.learning.embedding import Embedding
    from robomd_ros.search.asking import Asker

SUGGESTIONS = {"search": 4, "learn": 2}
"""How many of which strategy: most to find failures, some to learn."""


def view_of(
    asker: Asker,
    catalogue: Catalogue,
    records: Sequence[RolloutRecord],
    rng: np.random.Generator,
) -> ModelView:
    """Ask everything once; two calls with equal generators see the same."""
    return ModelView(
        risk_map=asker.risk_map(),
        held_out=_held_out(asker),
        embedding_map=_embedding_map(asker, rng),
        next_tries=_next_tries(asker, catalogue, records, rng),
        facts=_facts(asker),
        embedding_figures=figures_of(asker.embedding),
    )


def figures_of(embedding: Embedding) -> EmbeddingFigures:
    """What was measured when it was trained."""
    learnt = embedding.facts
    return figures(embedding.quality, len(learnt.training_ids), len(learnt.heldout_ids))


def _embedding_map(asker: Asker, rng: np.random.Generator) -> EmbeddingMap | None:
    known, search = asker.known, asker.search
    proposals = None if search is None else search.propose(PROPOSALS, rng)
    titles = [
        f"{pid}: {'failed' if failed else 'succeeded'}"
        for pid, failed in zip(known.perturbation_ids, known.failed, strict=True)
    ]
    return project(known.embeddings, known.failed, titles, proposals)


def _next_tries(
    asker: Asker,
    catalogue: Catalogue,
    records: Sequence[RolloutRecord],
    rng: np.random.Generator,
) -> tuple[NextTry, ...]:
    tried = [r.perturbation for r in records if r.is_evidence]
    found: dict[str, NextTry] = {}
    for strategy, count in SUGGESTIONS.items():
        for s in suggest(asker, catalogue, tried, strategy, count, rng):
            found.setdefault(
                s.perturbation.id,
                NextTry(
                    s.perturbation.id,
                    title(s.perturbation),
                    swatches(s.perturbation),
                    len(s.perturbation.variations),
                    s.p_failure,
                    s.score,
                    s.reason,
                ),
            )
    return tuple(found.values())


def _held_out(asker: Asker) -> HeldOut:
    heldout = asker.heldout
    return HeldOut() if heldout is None else HeldOut(heldout.ids, heldout.p_failure, heldout.failed)


def _facts(asker: Asker) -> dict[str, str]:
    """What the two models were made of."""
    learnt = asker.embedding.facts
    facts = {
        "embedding": asker.embedding.id,
        "embedding: seed": str(learnt.seed),
        "embedding: rollouts": f"{len(learnt.training_ids)} to learn from, {len(learnt.heldout_ids)} held out",
        "embedding: data hash": learnt.data_hash,
        "embedding: versions": _versions(learnt.versions),
    }
    if asker.search is None:
        return facts
    config, of_search = asker.search.config, asker.search.facts
    facts["search"] = asker.search.id
    facts["search: settings"] = (
        f"{config.algorithm}, {config.space} space of {len(asker.search.projection.components)} dimensions, "
        f"{config.steps} virtual steps"
    )
    facts["search: seed"] = str(of_search.get("seed", "unknown"))
    return facts


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
