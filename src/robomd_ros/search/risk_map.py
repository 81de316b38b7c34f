"""Where the policy fails, as far as is known: answers over the catalogue and three figures of their distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from robomd_ros.core import metrics
from robomd_ros.core.answers import MAX_QUESTIONS, Answer, Question, RiskMap
from robomd_ros.core.variations import Perturbation

if TYPE_CHECKING:
    from robomd_ros.search.asking import Asker

MAX_OTHERS = 16
"""Failing conditions outside the catalogue that the map shows at most."""
_REPEATS = 2


def make_risk_map(asker: Asker, perturbations: Sequence[Perturbation] | None = None) -> RiskMap:
    """Ask about each perturbation and rank the answers.

    Args:
        asker: what answers.
        perturbations: None = nominal, each named variation alone, and other conditions that failed repeatedly.
    """
    asked = list(perturbations) if perturbations is not None else map_entries(asker)
    answers: list[Answer] = []
    for start in range(0, len(asked), MAX_QUESTIONS):
        answers += asker.ask([Question(p) for p in asked[start : start + MAX_QUESTIONS]])
    ranked = rank(answers)
    p = [a.p_failure for a in ranked]
    return RiskMap(
        answers=tuple(ranked),
        quality=asker.quality,
        entropy=metrics.entropy(p),
        failure_modes=metrics.nfm([a.p_low for a in ranked]),
        severity_index=metrics.fsi(p),
        rollouts=len(asker.known),
        policy_id=asker.policy_id,
        embedding_id=asker.embedding.id,
        search_id=asker.search.id if asker.search is not None else "",
    )


def map_entries(asker: Asker) -> list[Perturbation]:
    """Nominal, the catalogue's single variations, and what else failed in most of two or more rollouts."""
    entries = [Perturbation(), *asker.catalogue.singles]
    shown = {p.id for p in entries}
    others = []
    for perturbation in asker.tried:
        rollouts, failures = asker.tally(perturbation)
        if perturbation.id not in shown and rollouts >= _REPEATS and 2 * failures > rollouts:
            others.append((failures, perturbation))
    others.sort(key=lambda item: (-item[0], item[1].id))
    return entries + [p for _, p in others[:MAX_OTHERS]]


def rank(answers: Sequence[Answer]) -> list[Answer]:
    """Riskiest first, ranked from 1; equal ones in the order of their lower ends, then as asked."""
    ordered = sorted(answers, key=lambda a: (-a.p_failure, -a.p_low, a.index))
    return [replace(a, rank=i) for i, a in enumerate(ordered, start=1)]
