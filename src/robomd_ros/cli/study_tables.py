"""Studies as tables for people and as CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO

from rich.table import Table

from robomd_ros.core.agreement import Agreement
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import wilson
from robomd_ros.core.store import Counts

CONFIDENCE = 0.9

CSV_COLUMNS = (
    "id", "perturbation_id", "sentence", "outcome", "labeler", "reason", "phase", "labels", "purpose", "control",
    "seed", "task", "robot", "policy_id", "started", "duration", "steps", "frames", "frames_expected", "recording",
    "second_look", "second_labeler",
)  # fmt: skip


def failure_table(title: str, counts: dict[str, Counts], every: bool = False) -> Table:
    """Failures of each condition, worst first; continuous ones as one row unless `every`.

    Column "other" counts unlabelled, invalid and negative control rollouts.
    """
    table = Table(title=title, title_justify="left")
    _columns(table, "condition", "failed", "of", "rate", "90 % interval", "other")
    for name, found in sorted(_rows(counts, every), key=lambda row: -_rate(row[1])):
        table.add_row(name, *_cells(found))
    return table


def factor_table(records: Iterable[RolloutRecord]) -> Table:
    """Failures of the continuous rollouts in which a factor was changed, whatever else was."""
    found: dict[str, list[int]] = {}
    for record in records:
        if record.is_evidence and "=" in record.perturbation.id:
            for variation in record.perturbation.variations:
                tally = found.setdefault(variation.factor, [0, 0])
                tally[0] += record.outcome.name == "FAILURE"
                tally[1] += 1
    table = Table(title="continuous variations, by what was changed", title_justify="left")
    _columns(table, "factor", "failed", "of", "rate", "90 % interval")
    for factor, (failed, n) in sorted(found.items(), key=lambda item: -item[1][0] / item[1][1]):
        table.add_row(factor, str(failed), str(n), *_interval(failed, n))
    return table


def agreement_table(found: Agreement) -> Table:
    """Who said what twice: first looks down, second looks across."""
    table = Table(title="second looks", title_justify="left")
    names = [outcome.name.lower() for outcome in found.outcomes]
    _columns(table, "first look", *names)
    for name, row in zip(names, found.table, strict=True):
        table.add_row(name, *map(str, row))
    return table


def _columns(table: Table, first: str, *numbers: str) -> None:
    """Where the terminal is narrow the first column wraps, the numbers do not."""
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)


def write_csv(records: Iterable[RolloutRecord], file: IO[str]) -> int:
    """One line a rollout; returns how many."""
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    lines = 0
    for lines, record in enumerate(records, start=1):  # noqa: B007
        writer.writerow(_csv_row(record))
    return lines


def _rows(counts: dict[str, Counts], every: bool) -> list[tuple[str, Counts]]:
    named = [(name, found) for name, found in counts.items() if every or "=" not in name]
    pooled = [found for name, found in counts.items() if "=" in name]
    if every or not pooled:
        return named
    return [*named, (f"continuous ({len(pooled)} conditions)", sum_counts(pooled))]


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """All of them together."""
    found = list(counts)
    names = Counts.__dataclass_fields__
    return Counts(**{name: sum(getattr(c, name) for c in found) for name in names})


def _rate(counts: Counts) -> float:
    return counts.failures / counts.evidence if counts.evidence else -1.0


def _cells(counts: Counts) -> tuple[str, ...]:
    others = counts.total - counts.evidence
    rate = _interval(counts.failures, counts.evidence)
    return str(counts.failures), str(counts.evidence), *rate, str(others) if others else ""


def _interval(failed: int, n: int) -> tuple[str, str]:
    if not n:
        return "–", "–"
    low, high = wilson(failed, n, CONFIDENCE)
    return f"{failed / n:.2f}", f"{low:.2f} – {high:.2f}"


def _csv_row(record: RolloutRecord) -> list[object]:
    label = record.labels[-1] if record.labels else None
    said = (label.labeler, label.reason, label.phase) if label else ("", "", "")
    second = record.second_looks[-1] if record.second_looks else None
    perturbation = record.perturbation
    return [
        record.id, perturbation.id, perturbation.sentence, record.outcome.name, *said, len(record.labels),
        record.purpose, record.control.name, record.seed, record.task, record.robot, record.policy_id,
        record.started, record.duration, record.steps, record.frames, record.frames_expected, record.recording,
        second.outcome.name if second else "", second.labeler if second else "",
    ]  # fmt: skip
