"""Probes of a study's policy in simulation: asked about what is missing, kept in the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.probes import ProbeTable
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Perturbation
from robomd_ros.recording.collection import simulator

SAVE_EVERY = 50


def known_probes(study: Study) -> ProbeTable:
    """The study's table; an empty one where there is none, or where it is another policy's."""
    table = ProbeTable.load(study.probes)
    return (
        table
        if table and table.policy_id == study.meta.policy_id
        else ProbeTable(study.meta.policy_id, {})
    )


def missing_probes(study: Study, perturbations: Sequence[Perturbation]) -> list[Perturbation]:
    """Those about which the policy was not asked yet, each once."""
    table = known_probes(study)
    return list({p.id: p for p in perturbations if p not in table}.values())


def run_probes(
    study: Study, perturbations: Sequence[Perturbation], policy: str, workers: int = 1
) -> Iterator[Perturbation]:
    """Ask the policy about what is missing and yield each as it is answered; what was answered is kept, however this ends.

    Args:
        study: of the same policy.
        perturbations: to ask about.
        policy: for policies.loader.
        workers: processes.

    Raises:
        InvalidArgumentError: the study is about another policy.
        UnavailableError: there is no simulator here.
    """
    spec = simulator().collect.CellSpec(policy, study.meta.task, study.meta.robot)
    left, wanted = missing_probes(study, perturbations), study.meta.policy_id
    table, unsaved = known_probes(study), {}
    try:
        for perturbation, asked, numbers in import_module("sim_bridge.prober").probe(
            left, spec, workers
        ):
            if asked != wanted:
                raise InvalidArgumentError(
                    f"{study.folder} is about policy {wanted}, not {asked}: its answers would say nothing."
                )
            unsaved[perturbation.id] = numbers
            if len(unsaved) == SAVE_EVERY:
                table, unsaved = table.with_rows(unsaved), {}
                table.save(study.probes)
            yield perturbation
    finally:
        if unsaved:
            table.with_rows(unsaved).save(study.probes)
