"""Reading the rollout store: what every process may do at any time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from robomd_ros.core.agreement import Look
from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError
from robomd_ros.core.frame_codec import decode_frame
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.store_rows import Row, read_label, read_record
from robomd_ros.core.store_schema import connect, storage_errors

MAX_PAGE = 500


@dataclass(frozen=True)
class HistoryEntry:
    """One line of a rollout's history.

    Attributes:
        label: what was said; None in an undo entry.
        undone: this label was taken back later.
        labeler, stamp: who wrote the entry and when [s since the epoch].
    """

    label: Label | None
    undone: bool
    labeler: str
    stamp: float


@dataclass(frozen=True)
class Counts:
    """Rollouts by what they came to. Negative controls are counted apart whatever their outcome."""

    successes: int = 0
    failures: int = 0
    unlabeled: int = 0
    not_evidence: int = 0
    controls: int = 0

    @property
    def evidence(self) -> int:
        """Rollouts that say something about the policy."""
        return self.successes + self.failures

    @property
    def total(self) -> int:
        """All of them."""
        return self.evidence + self.unlabeled + self.not_evidence + self.controls


class StoreReader:
    """The rows of one study, to be read. Use it as a context manager, or call `close`; safe in several threads."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._db = connect(path, read_only)
        self._db.row_factory = _as_dict

    def get(self, rollout_id: str, with_frame: bool = True) -> RolloutRecord:
        """One rollout. Raises UnknownIdError."""
        found = self._select("WHERE id = ?", (rollout_id,), with_frame)
        if not found:
            raise UnknownIdError(f"no rollout {rollout_id[:80]!r} in {self.path}.")
        return found[0]

    def holds(self, rollout_id: str) -> bool:
        """Whether there is a rollout of this id."""
        with self._reading():
            return self._find(rollout_id) is not None

    def history(self, rollout_id: str) -> list[HistoryEntry]:
        """Everything that was ever said about a rollout, oldest first, undone labels and undos included."""
        with self._reading():
            self._require(rollout_id)
            rows = self._db.execute(
                "SELECT * FROM labels WHERE rollout_id = ? ORDER BY seq", (rollout_id,)
            ).fetchall()
        undone = {row["undoes"] for row in rows}
        return [
            HistoryEntry(
                read_label(row) if row["undoes"] is None else None,
                row["seq"] in undone,
                row["labeler"],
                row["stamp"],
            )
            for row in rows
        ]

    def records(
        self,
        evidence_only: bool = False,
        with_frames: bool = True,
        perturbation_id: str = "",
        policy_id: str = "",
    ) -> list[RolloutRecord]:
        """All rollouts that match, in the order of arrival; "" matches all."""
        clauses, values = _matching(perturbation_id, policy_id, None)
        if evidence_only:
            clauses.append("outcome IN (1, 2) AND control = 0")
        return self._select(_where(clauses) + " ORDER BY seq", values, with_frames)

    def page(
        self,
        offset: int = 0,
        limit: int = 50,
        perturbation_id: str = "",
        outcome: Outcome | None = None,
        with_frames: bool = False,
        cell: str = "",
    ) -> tuple[int, list[RolloutRecord]]:
        """How many rollouts match, and `limit` of them from `offset`, newest first; of one cell where it is named."""
        if offset < 0 or not 1 <= limit <= MAX_PAGE:
            raise InvalidArgumentError(
                f"page of {limit} from {offset}: want 1 to {MAX_PAGE} rollouts from 0 or later."
            )
        clauses, values = _matching(perturbation_id, "", outcome)
        if cell:
            clauses.append("json_extract(facts, '$.cell') = ?")
            values = (*values, cell)
        where = _where(clauses)
        with self._reading():
            total = self._db.execute(f"SELECT count(*) AS n FROM judged {where}", values).fetchone()
            tail = f"{where} ORDER BY seq DESC LIMIT {int(limit)} OFFSET {int(offset)}"
            return total["n"], self._select(tail, values, with_frames)

    def counts(self) -> dict[str, Counts]:
        """Rollouts of each perturbation id, in the order of their first appearance."""
        with self._reading():
            rows = self._db.execute(
                "SELECT perturbation_id AS id, control, outcome, count(*) AS n, min(seq) AS first "
                "FROM judged GROUP BY perturbation_id, control, outcome ORDER BY first"
            ).fetchall()
        found: dict[str, Counts] = {}
        for row in rows:
            kind = "controls" if row["control"] else _kind(row["outcome"])
            so_far = found.get(row["id"], Counts())
            found[row["id"]] = replace(so_far, **{kind: getattr(so_far, kind) + row["n"]})
        return found

    def summary(self) -> Counts:
        """The whole store in five numbers."""
        counts = self.counts().values()
        names = Counts.__dataclass_fields__
        return Counts(**{name: sum(getattr(c, name) for c in counts) for name in names})

    def revision(self) -> tuple[int, int]:
        """Rollouts and label entries so far; it grows with every write, so a reader can poll it."""
        with self._reading():
            row = self._db.execute(
                "SELECT (SELECT count(*) FROM rollouts) AS r, (SELECT count(*) FROM labels) AS l"
            ).fetchone()
            return row["r"], row["l"]

    def looks(self) -> list[Look]:
        """The newest second look at each rollout that has one, beside the label in force when it was given.

        Where the two disagreed and the rollout was labelled anew because of that, they still disagree here.
        """
        with self._reading():
            rows = self._db.execute(
                "SELECT l.*, r.perturbation_id FROM labels AS l JOIN rollouts AS r ON r.id = l.rollout_id "
                "WHERE l.rollout_id IN (SELECT rollout_id FROM second_looks) ORDER BY l.seq"
            ).fetchall()
        return pair_looks(rows)

    def data_hash(self) -> str:
        """SHA-256 of the evidence: perturbations, first frames, outcomes and policy, whatever the order and the ids."""
        with self._reading():
            rows = self._db.execute(
                "SELECT task, robot, policy_id, variations, outcome, pixels_sha256 "
                "FROM judged WHERE outcome IN (1, 2) AND control = 0"
            ).fetchall()
        lines = sorted("\x1f".join(map(str, row.values())) for row in rows)
        return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _select(self, tail: str, values: tuple[Any, ...], with_frames: bool) -> list[RolloutRecord]:
        with self._reading():
            rows = self._db.execute(f"SELECT * FROM judged {tail}", values).fetchall()
            ids = [row["id"] for row in rows]
            labels = self._labels(ids)
            frames = self._frames(ids) if with_frames else {}
        return [
            read_record(
                row,
                labels.get(row["id"], ()),
                decode_frame(frames[row["id"]]) if row["id"] in frames else None,
            )
            for row in rows
        ]

    def _labels(self, ids: list[str]) -> dict[str, list[Label]]:
        found: dict[str, list[Label]] = {}
        for view in ("standing", "second_looks"):
            for row in self._of(view, ids, "ORDER BY seq"):
                found.setdefault(row["rollout_id"], []).append(read_label(row))
        return found

    def _frames(self, ids: list[str]) -> dict[str, bytes]:
        return {row["rollout_id"]: row["data"] for row in self._of("frames", ids)}

    def _of(self, table: str, ids: list[str], tail: str = "") -> Iterable[Row]:
        for at in range(0, len(ids), MAX_PAGE):
            some = ids[at : at + MAX_PAGE]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(
                f"SELECT * FROM {table} WHERE rollout_id IN ({marks}) {tail}", some
            ).fetchall()

    def _find(self, rollout_id: str) -> Row | None:
        found: Row | None = self._db.execute(
            "SELECT digest FROM rollouts WHERE id = ?", (rollout_id,)
        ).fetchone()
        return found

    def _require(self, rollout_id: str) -> None:
        if self._find(rollout_id) is None:
            raise UnknownIdError(f"no rollout {rollout_id[:80]!r} in {self.path}.")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, storage_errors(self.path):
            yield


def pair_looks(rows: Iterable[Row]) -> list[Look]:
    """From entries of table `labels` in their order, with `perturbation_id`, to pairs; see `StoreReader.looks`."""
    entries = list(rows)
    undone = {row["undoes"] for row in entries}
    in_force: dict[str, dict[int, Row]] = {}
    found: dict[str, Look] = {}
    for row in entries:
        rollout_id, before = row["rollout_id"], in_force.setdefault(row["rollout_id"], {})
        if row["undoes"] is not None:
            before.pop(row["undoes"], None)
        elif not row["second_look"]:
            before[row["seq"]] = row
        elif row["seq"] not in undone and before:
            first = read_label(before[max(before)])
            found[rollout_id] = Look(rollout_id, row["perturbation_id"], first, read_label(row))
    return list(found.values())


def _as_dict(cursor: Any, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _matching(
    perturbation_id: str, policy_id: str, outcome: Outcome | None
) -> tuple[list[str], tuple[Any, ...]]:
    wanted = {"perturbation_id": perturbation_id, "policy_id": policy_id, "outcome": outcome}
    given = {k: v for k, v in wanted.items() if v is not None and v != ""}
    values = tuple(int(v) if isinstance(v, Outcome) else v for v in given.values())
    return [f"{name} = ?" for name in given], values


def _where(clauses: list[str]) -> str:
    return f"WHERE {' AND '.join(clauses)}" if clauses else ""


def _kind(outcome: int) -> str:
    known = {0: "unlabeled", 1: "successes", 2: "failures"}
    return known.get(outcome, "not_evidence")
