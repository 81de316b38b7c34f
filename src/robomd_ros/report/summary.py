"""From rollouts and models to the numbers of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from robomd_ros.core import metrics
from robomd_ros.core.agreement import Look, agreement
from robomd_ros.core.answers import Quality
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import StudyMeta
from robomd_ros.core.variations import NOMINAL, Catalogue, Perturbation
from robomd_ros.report import conditions, factors
from robomd_ros.report.data import (
    Condition,
    EmbeddingFigures,
    FailureDistribution,
    Identity,
    PurposeRow,
    Rate,
    ReportData,
    Scorer,
    Tally,
    Verdict,
)
from robomd_ros.report.sentences import answer, missing
from robomd_ros.report.telling import galleries
from robomd_ros.report.view import ModelView, reliability

MAX_CONFIRMED = 20


def summarize(
    meta: StudyMeta,
    records: Sequence[RolloutRecord],
    catalogue: Catalogue,
    view: ModelView | None = None,
    provenance: Sequence[tuple[str, str]] = (),
    commands: Sequence[str] = (),
    looks: Sequence[Look] = (),
) -> ReportData:
    """Compute everything the report shows; deterministic.

    Args:
        meta: of the study.
        records: all rollouts of the study, evidence or not.
        catalogue: of the task.
        view: what the trained models say; None = nothing is trained.
        provenance: (name, value) rows of "how it was made".
        commands: that make this report again.
        looks: rollouts that were judged twice.
    """
    groups = conditions.by_condition(records)
    nominal = conditions.rate_of(groups[NOMINAL][1]) if NOMINAL in groups else conditions.rate(0, 0)
    ranking = _ranking(groups, catalogue, nominal, view)
    found = _found(groups, catalogue, nominal, ranking)
    varied = factors.varied(records, catalogue)
    quality = view.risk_map.quality if view else Quality()
    data = ReportData(
        identity=_identity(meta, records),
        tally=_tally(records),
        nominal=nominal,
        trained=view is not None,
        ranking=ranking,
        confirmed=tuple(c for c in found if c.verdict is Verdict.FAILS)[:MAX_CONFIRMED],
        failed_once=sum(c.rate.n == c.rate.failures == 1 for c in found),
        catalogue_tiles=factors.catalogue_tiles(records, catalogue),
        value_tiles=factors.value_tiles(varied, catalogue),
        value_rollouts=len(varied),
        distribution=_distribution(ranking, view),
        quality=quality,
        scorers=scorers(quality) if view else (),
        reliability=reliability(view.held_out) if view else (),
        embedding_map=view.embedding_map if view else None,
        embedding_figures=view.embedding_figures if view else EmbeddingFigures(),
        galleries=galleries(records, view.held_out.by_id if view else {}, found),
        next_tries=view.next_tries if view else (),
        demands=conditions.demands(found),
        purposes=_purposes(records),
        provenance=(*provenance, *_facts(records, view.facts if view else {})),
        commands=tuple(commands),
        agreement=agreement(looks) if looks else None,
    )
    return replace(data, answer=answer(data), missing=missing(data))


Groups = Mapping[str, tuple[Perturbation, list[RolloutRecord]]]


def _ranking(
    groups: Groups, catalogue: Catalogue, nominal: Rate, view: ModelView | None
) -> tuple[Condition, ...]:
    """The catalogue, the unchanged scene and what the risk map adds: by P(failure) where it is known, else by what was seen."""
    answers, asked = {}, {}
    for a in view.risk_map.answers if view else ():
        if a.question.perturbation is not None:
            answers[a.question.perturbation.id] = a
            asked[a.question.perturbation.id] = a.question.perturbation
    wanted = asked | {p.id: p for p in (*catalogue.singles, Perturbation())}
    rows = []
    for pid, perturbation in wanted.items():
        seen = conditions.rate_of(groups[pid][1]) if pid in groups else conditions.rate(0, 0)
        known_to_all = pid == NOMINAL or pid in catalogue.variations
        row = conditions.condition(perturbation, seen, nominal, known_to_all)
        rows.append(conditions.with_answer(row, answers[pid]) if pid in answers else row)
    known = any(math.isfinite(r.p) for r in rows)
    return tuple(sorted(rows, key=_by_risk if known else conditions.badness))


def _by_risk(row: Condition) -> tuple[float, float]:
    return (-row.p if math.isfinite(row.p) else 1.0), (-row.rate.low if row.rate.n else 1.0)


def _found(
    groups: Groups, catalogue: Catalogue, nominal: Rate, ranking: Sequence[Condition]
) -> list[Condition]:
    """Every condition of the study, worst first."""
    rows = {c.id: c for c in ranking}
    for pid, (perturbation, records) in groups.items():
        if pid not in rows:
            seen = conditions.rate_of(records)
            rows[pid] = conditions.condition(perturbation, seen, nominal, in_catalogue=False)
    return sorted(rows.values(), key=conditions.badness)


def _identity(meta: StudyMeta, records: Sequence[RolloutRecord]) -> Identity:
    started = [r.started for r in records if r.started > 0]
    return Identity(
        study=meta.name,
        policies=tuple(sorted({r.policy_id for r in records} or {meta.policy_id})),
        robots=tuple(sorted({r.robot for r in records} or {meta.robot})),
        tasks=tuple(sorted({r.task for r in records} or {meta.task})),
        first=min(started, default=math.nan),
        last=max(started, default=math.nan),
    )


def _tally(records: Sequence[RolloutRecord]) -> Tally:
    controls = [r for r in records if r.control is not Control.NONE]
    of_policy = [r for r in records if r.control is Control.NONE]

    def count(outcome: Outcome) -> int:
        return sum(r.outcome is outcome for r in of_policy)

    return Tally(
        rollouts=len(records),
        evidence=conditions.rate_of(of_policy),
        invalid=count(Outcome.INVALID),
        safety=count(Outcome.SAFETY_STOP),
        timeouts=count(Outcome.TIMEOUT),
        policy_errors=count(Outcome.POLICY_ERROR),
        unlabelled=count(Outcome.UNKNOWN),
        controls=len(controls),
        controls_succeeded=sum(r.outcome is Outcome.SUCCESS for r in controls),
        without_frame=sum(r.first_frame is None for r in of_policy),
    )


def _distribution(ranking: Sequence[Condition], view: ModelView | None) -> FailureDistribution:
    """The risk map's own figures; without one, the same definitions over the raw rates."""
    rows = [c for c in ranking if c.id != NOMINAL]
    if view and math.isfinite(view.risk_map.entropy):
        risk_map, count = view.risk_map, len(view.risk_map.answers)
        return FailureDistribution(
            risk_map.entropy,
            math.log(max(count, 1)),
            risk_map.failure_modes,
            risk_map.severity_index,
            True,
        )
    tried = [c.rate for c in rows if c.rate.n]
    p = [r.value for r in tried]
    most = math.log(len(p)) if p else math.nan
    return FailureDistribution(
        metrics.entropy(p), most, metrics.nfm([r.low for r in tried]), metrics.fsi(p), False
    )


def scorers(quality: Quality) -> tuple[Scorer, ...]:
    """Ways to score beside each other, best first; those that were not measured last."""
    rows = [
        Scorer(
            "P(failure), calibrated (ours)", quality.auc, quality.auc_low, quality.auc_high, True
        ),
        Scorer("search policy's density (ours)", quality.auc_search, ours=True),
        Scorer(
            "untrained search policy (control)",
            quality.auc_untrained,
            note="a Gaussian that learnt nothing",
        ),
        Scorer(
            "success table", quality.auc_success_table, note="past failure rate of each variation"
        ),
        Scorer(
            "nearest neighbours", quality.auc_nearest, note="outcomes of the nearest embeddings"
        ),
        Scorer(
            "plain classifier",
            quality.auc_classifier,
            note="logistic regression on the factor values",
        ),
    ]
    return tuple(sorted(rows, key=lambda s: -s.auc if math.isfinite(s.auc) else 1.0))


def _purposes(records: Sequence[RolloutRecord]) -> tuple[PurposeRow, ...]:
    rows = []
    for purpose in sorted({r.purpose for r in records if r.is_evidence}):
        mine = [r for r in records if r.is_evidence and r.purpose == purpose]
        failing = {r.perturbation.id for r in mine if r.outcome is Outcome.FAILURE}
        rows.append(PurposeRow(purpose, conditions.rate_of(mine), len(failing)))
    return tuple(sorted(rows, key=lambda row: -row.rate.n))


def _facts(records: Sequence[RolloutRecord], facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Facts of the models, then those of the rollouts, with every value that occurred."""
    seen: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.facts.items():
            values = seen.setdefault(name, [])
            if value not in values:
                values.append(value)
    of_rollouts = [
        (
            f"rollouts: {name}",
            ", ".join(values) if len(values) <= 4 else f"{len(values)} different values",
        )
        for name, values in sorted(seen.items())
    ]
    return [*facts.items(), *of_rollouts]
