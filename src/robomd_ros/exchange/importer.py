"""Bring episodes of any source into a study, one after the other, each whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from robomd_ros.core.errors import InvalidArgumentError, RobomdError, StorageError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import PURPOSES, RolloutRecord
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study
from robomd_ros.exchange.episode import Content, Episode
from robomd_ros.exchange.table import Said
from robomd_ros.recording import commit_rollout


class Result(Enum):
    """What became of an episode."""

    IMPORTED = "imported"
    LABELLED = "labelled"  # it was there without a label, and the table has one now
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True)
class Step:
    """One episode that was dealt with; `detail` says why it was refused, and `outcome` what is in force now."""

    name: str
    result: Result
    detail: str = ""
    outcome: Outcome = Outcome.UNKNOWN


@dataclass(frozen=True)
class ImportOptions:
    """What is said about the episodes from outside.

    Attributes:
        variation: of those that neither the table nor the source says it of; None = such an episode is refused.
        table: by episode name.
        labeler: stands behind the labels of table and flags.
        source: for the rollouts' facts.
    """

    variation: str | None = None
    table: Mapping[str, Said] = field(default_factory=dict)
    labeler: str = "import"
    source: str = ""


def import_episodes(
    study: Study, store: RolloutStore, episodes: Iterable[Episode], options: ImportOptions
) -> Iterator[Step]:
    """Store what is not there yet; what cannot be read is refused with a sentence, and the next one follows.

    Args:
        study: where the recordings go.
        store: its open writer.
        episodes: of one source.
        options: variations, labels.

    Yields:
        One step an episode, when it is on the disk.

    Raises:
        StorageError: the study itself cannot be written (disk full); what was yielded is there, run it again.
    """
    for episode in episodes:
        said = options.table.get(episode.name, Said())
        try:
            rollout_id = episode.identity()
            if store.holds(rollout_id):
                yield _known(store, rollout_id, episode.name, said, options)
                continue
            content = episode.load()
            record = _record(study, rollout_id, episode.name, content, said, options)
        except RobomdError as error:
            yield Step(episode.name, Result.REFUSED, str(error))
            continue
        yield _commit(study, store, record, content)


def check_names(names: Iterable[str], table: Mapping[str, Said]) -> None:
    """Raise InvalidArgumentError for lines of the table about episodes that the source does not have."""
    missing = sorted(set(table) - set(names))
    if missing:
        raise InvalidArgumentError(
            f"the table names {len(missing)} episodes that are not in the source: {', '.join(missing)[:200]}."
        )


def _commit(study: Study, store: RolloutStore, record: RolloutRecord, content: Content) -> Step:
    name = record.facts["imported_episode"]
    try:
        stored = commit_rollout(study, store, record, content.trace)
    except StorageError:
        raise
    except RobomdError as error:
        return Step(name, Result.REFUSED, str(error))
    return Step(name, Result.IMPORTED, outcome=stored.outcome)


def _known(
    store: RolloutStore, rollout_id: str, name: str, said: Said, options: ImportOptions
) -> Step:
    stored = store.get(rollout_id)
    if not stored.labels and said.outcome is not Outcome.UNKNOWN:
        store.label(rollout_id, _label(said.outcome, said.reason, options))
        return Step(name, Result.LABELLED, outcome=said.outcome)
    if said.outcome not in (Outcome.UNKNOWN, stored.outcome):
        detail = f"stored as {stored.outcome.name}, the table says {said.outcome.name}: `robomd label` changes it"
        return Step(name, Result.SKIPPED, detail, stored.outcome)
    return Step(name, Result.SKIPPED, outcome=stored.outcome)


def _record(
    study: Study,
    rollout_id: str,
    name: str,
    content: Content,
    said: Said,
    options: ImportOptions,
) -> RolloutRecord:
    meta, trace = study.meta, content.trace
    for what, theirs, ours in (
        ("policy", content.policy_id, meta.policy_id),
        ("task", content.task, meta.task),
    ):
        if theirs and ours and theirs != ours:
            raise InvalidArgumentError(
                f"it is of {what} {theirs[:80]}, the study is about {ours}: import it into a study of its own."
            )
    variations = said.variations or content.variations or options.variation
    if variations is None:
        raise InvalidArgumentError(
            "nobody says what was varied: give --variation (nominal, if nothing was) or a --table."
        )
    outcome, reason = said.outcome, said.reason
    if outcome is Outcome.UNKNOWN:
        outcome, reason = content.outcome, ""
    return RolloutRecord(
        rollout_id,
        study.catalogue().perturbation(variations),
        meta.task,
        meta.robot,
        meta.policy_id,
        purpose=content.purpose if content.purpose in PURPOSES else "manual",
        # A recording does not say who moved the robot, but no other purpose has a negative control.
        control=Control.ZERO_ACTION if content.purpose == "control" else Control.NONE,
        seed=content.seed,
        started=content.started,
        duration=float(trace.stamps[-1] - trace.stamps[0]) if len(trace.stamps) else 0.0,
        steps=len(trace.actions) or max(0, len(trace.stamps) - 1),
        frames_expected=len(trace.stamps),
        labels=() if outcome is Outcome.UNKNOWN else (_label(outcome, reason, options),),
        facts={**content.facts, "imported_from": options.source, "imported_episode": name},
    )


def _label(outcome: Outcome, reason: str, options: ImportOptions) -> Label:
    return Label(outcome, options.labeler, time.time(), reason)
