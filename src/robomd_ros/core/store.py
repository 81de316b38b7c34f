"""The rollout store: one SQLite file, one writer, any number of readers in other processes.

A rollout with its first frame and labels is one transaction, and so is every later label; when a call returns, it is on
the disk. Labels are appended: an undo is an entry too, so that the history of every judgement stays readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import WriterLock
from robomd_ros.core.frame_codec import encode_frame
from robomd_ros.core.journal import Journal
from robomd_ros.core.outcome import CELL_LABELERS, Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.store_reader import MAX_PAGE, Counts, HistoryEntry, StoreReader
from robomd_ros.core.store_rows import Row, label_row, record_row, undo_row
from robomd_ros.core.store_schema import storage_errors, transaction

__all__ = ["MAX_PAGE", "Counts", "HistoryEntry", "RolloutStore"]


class RolloutStore(StoreReader):
    """The rows of one study. Use it as a context manager, or call `close`.

    Safe to call from several threads. A second writer gets BusyError; readers never wait for the writer.

    Args:
        path: of `rollouts.sqlite`; made when missing.
        read_only: opens for reading beside a writer in another process; NotReadyError when there is no store yet.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        path = Path(path)
        self._writer = None if read_only else WriterLock(path)
        self._journal: Journal | None = None
        try:
            super().__init__(path, read_only)
            if not read_only:
                self._follow()
        except BaseException:
            if self._writer is not None:
                self._writer.release()
            raise

    def add(self, record: RolloutRecord) -> RolloutRecord:
        """Store a rollout with its labels and first frame. The same record again changes nothing.

        Raises:
            InvalidArgumentError: another rollout has this id, or a field is out of range.
            StorageError: the disk is full, or the file damaged; nothing of the rollout was stored.
        """
        row = record_row(record)
        labels = [label_row(record.id, label) for label in (*record.labels, *record.second_looks)]
        frame = None if record.first_frame is None else encode_frame(record.first_frame)
        with self._writing():
            known = self._find(record.id)
            if known is not None:
                self._check_same(record, row, known["digest"])
            else:
                self._insert("rollouts", row)
                if frame is not None:
                    blob = {"rollout_id": record.id, "codec": frame[0], "data": frame[1]}
                    self._insert("frames", blob)
                for label in labels:
                    self._insert("labels", label)
        return self.get(record.id)

    def label(self, rollout_id: str, label: Label) -> RolloutRecord:
        """Append a label; it is in force from now on, unless it is a second look. `label.stamp` is the caller's clock.

        Raises:
            InvalidArgumentError: a second look at a rollout that nobody has labelled yet, or a judgement of the policy
                where the cell stopped the robot.
        """
        row = label_row(rollout_id, label)
        with self._writing():
            self._require(rollout_id)
            if label.outcome.is_evidence:
                self._refuse_stopped(rollout_id)
            if label.second_look and self._newest("standing", rollout_id) is None:
                raise InvalidArgumentError(
                    f"rollout {rollout_id} has no label yet: a second look wants a first one."
                )
            self._insert("labels", row)
        return self.get(rollout_id)

    def undo(
        self, rollout_id: str, labeler: str = "", stamp: float = 0.0, second_look: bool = False
    ) -> RolloutRecord:
        """Take the label in force back; the one before it is in force again, the history keeps both entries.

        Args:
            rollout_id: of the rollout.
            labeler: who takes it back.
            stamp: the caller's clock, seconds since the epoch.
            second_look: take the newest second look back instead.

        Raises:
            InvalidArgumentError: the rollout has no such label.
        """
        view, what = ("second_looks", "second look") if second_look else ("standing", "label")
        with self._writing():
            self._require(rollout_id)
            newest = self._newest(view, rollout_id)
            if newest is None:
                raise InvalidArgumentError(f"rollout {rollout_id} has no {what} to take back.")
            self._insert("labels", undo_row(rollout_id, labeler, stamp, newest))
        return self.get(rollout_id)

    def set_recording(self, rollout_id: str, name: str) -> RolloutRecord:
        """Note the file name of the rollout's recording; "" = there is none."""
        with self._writing():
            self._require(rollout_id)
            self._db.execute("UPDATE rollouts SET recording = ? WHERE id = ?", (name, rollout_id))
        return self.get(rollout_id)

    def compact(self) -> None:
        """Shrink to one file without write-ahead log and journal, to be shipped; call it last before `close`."""
        journal = self._writable()
        with self._lock, storage_errors(self.path):
            journal.remove()
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Close the file; the lock of a writer is free afterwards."""
        super().close()
        if self._writer is not None:
            self._writer.release()

    def _follow(self) -> None:
        try:
            with storage_errors(self.path):
                self._journal = Journal(self.path, self._db)
        except BaseException:
            self._db.close()
            raise

    def _newest(self, view: str, rollout_id: str) -> int | None:
        found: int | None = self._db.execute(
            f"SELECT max(seq) AS seq FROM {view} WHERE rollout_id = ?", (rollout_id,)
        ).fetchone()["seq"]
        return found

    def _refuse_stopped(self, rollout_id: str) -> None:
        """A rollout that the cell ended for safety never becomes evidence, not by an undo either."""
        first = next((e.label for e in self.history(rollout_id) if e.label is not None), None)
        if first and first.outcome is Outcome.SAFETY_STOP and first.labeler in CELL_LABELERS:
            raise InvalidArgumentError(
                f"rollout {rollout_id} was ended by a safety stop ({first.reason[:120]}): it says nothing about the "
                "policy. Label it invalid, or leave it; run it again to judge it."
            )

    def _insert(self, table: str, row: Row) -> None:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))

    def _check_same(self, record: RolloutRecord, row: Row, digest: str) -> None:
        entries = [e for e in self.history(record.id) if e.label is not None]
        # Second looks come later than the rollout: who adds it again need not know them.
        judged = [e for e in entries if e.label is not None and not e.label.second_look]
        given = [e.label for e in judged][: len(record.labels)]
        standing = [e.label for e in judged if not e.undone]
        if digest != row["digest"]:
            raise InvalidArgumentError(
                f"rollout {record.id} is stored already with other content: give the new one a new id."
            )
        if list(record.labels) not in (given, standing):
            raise InvalidArgumentError(
                f"rollout {record.id} is stored already with other labels: use label() or undo()."
            )

    def _writable(self) -> Journal:
        if self._journal is None:
            raise StorageError(f"{self.path} was opened read-only: open it as the writer.")
        return self._journal

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, on the disk afterwards."""
        journal = self._writable()
        with self._lock, storage_errors(self.path):
            with transaction(self._db):
                yield
            journal.follow()
