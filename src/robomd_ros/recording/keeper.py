"""The writer of a live study: what has finished is kept in memory until it is on the disk, however long that takes."""

from __future__ import annotations

import threading
from pathlib import Path

from robomd_ros.core.errors import BusyError, NotReadyError, RobomdError, StorageError
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.repair import Finding
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.recording.commit import commit_rollout


class StudyKeeper:
    """Opens the study when there is one, makes it when the first rollout says what it is, and commits in order.

    Safe to call from several threads.

    Args:
        folder: of the study.
        keep_recordings: False = rows and first frames only.

    Attributes:
        trouble: why nothing can be stored now; "" = it can.
        findings: what an earlier crash had left, repaired when the study was opened.
        other_policies: ids of policies that rollouts were stored of, though the study is about another one.
    """

    def __init__(self, folder: Path, keep_recordings: bool = True) -> None:
        self.folder = folder
        self.keep_recordings = keep_recordings
        self.trouble = ""
        self.findings: list[Finding] = []
        self.other_policies: list[str] = []
        self._changed = threading.Condition()  # guards the list of those that wait
        self._disk = threading.RLock()  # held while something is written
        self._waiting: list[tuple[RolloutRecord, Trace | None]] = []
        self._open: tuple[Study, RolloutStore] | None = None

    @property
    def waiting(self) -> int:
        """Rollouts that are not on the disk yet."""
        return len(self._waiting)

    def open(self) -> bool:
        """Open the study if its folder has one; what an earlier crash left is repaired. False = not there, or trouble."""
        with self._disk:
            if self._open is None and (self.folder / "study.json").is_file():
                try:
                    study = Study.open(self.folder)
                    store, self.findings = study.open_store()
                    self._open = study, store
                    self.trouble = ""
                except (StorageError, BusyError) as error:
                    self.trouble = str(error)
            return self._open is not None

    def store(self) -> RolloutStore:
        """The open store.

        Raises:
            NotReadyError: there is no study yet.
            StorageError: there is one, and it cannot be opened.
        """
        if not self.open() or self._open is None:
            if self.trouble:
                raise StorageError(self.trouble)
            raise NotReadyError(f"no study in {self.folder} yet: the first rollout makes it.")
        return self._open[1]

    @property
    def study(self) -> Study | None:
        """The open study."""
        return self._open[0] if self._open else None

    def holds(self, rollout_id: str) -> bool:
        """The rollout is stored, or waits to be."""
        with self._changed:
            if any(record.id == rollout_id for record, _ in self._waiting):
                return True
        opened = self._open
        return opened is not None and opened[1].holds(rollout_id)

    def newest(self) -> str:
        """Id of the newest rollout, stored or waiting; "" = none."""
        with self._changed:
            if self._waiting:
                return self._waiting[-1][0].id
        if not self.open():
            return ""
        _, rows = self.store().page(limit=1)
        return rows[0].id if rows else ""

    def add(self, record: RolloutRecord, trace: Trace | None) -> None:
        """Take charge of a finished rollout; `flush` brings it to the disk."""
        with self._changed:
            self._waiting.append((record, trace))

    def flush(self) -> tuple[list[RolloutRecord], list[RobomdError]]:
        """Commit what waits, in order, and return it as stored.

        A full or failing disk leaves it waiting, with `trouble` saying why: call again later. A rollout that can never be
        stored (an id that is taken) is given up, and its error returned.
        """
        stored: list[RolloutRecord] = []
        refused: list[RobomdError] = []
        with self._disk:
            while self._waiting:
                try:
                    stored.append(self._commit(*self._waiting[0]))
                    self.trouble = ""
                except (StorageError, BusyError) as error:
                    self.trouble = str(error)
                    break
                except RobomdError as error:
                    refused.append(error)
                    self.trouble = ""  # the disk answered
                with self._changed:
                    self._waiting.pop(0)
                    self._changed.notify_all()
        return stored, refused

    def wait_stored(self, rollout_id: str, timeout: float) -> None:
        """Wait until a rollout that has finished is on the disk [s]; StorageError when it is not by then."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: all(record.id != rollout_id for record, _ in self._waiting), timeout
            )
        if not done:
            raise StorageError(
                f"rollout {rollout_id} is not on the disk yet: {self.trouble or 'the disk is slow'}; label it again later."
            )

    def close(self) -> None:
        """Close the store."""
        with self._disk:
            if self._open is not None:
                self._open[1].close()
                self._open = None

    def _commit(self, record: RolloutRecord, trace: Trace | None) -> RolloutRecord:
        if not self.open():
            if self.trouble:
                raise StorageError(self.trouble)
            Study.create(self.folder, StudyMeta(record.task, record.robot, record.policy_id))
            self.open()
        study, store = self._open  # type: ignore[misc]
        self._note_policy(study.meta.policy_id, record.policy_id)
        return commit_rollout(study, store, record, trace, self.keep_recordings)

    def _note_policy(self, expected: str, policy_id: str) -> None:
        if expected and policy_id not in ("", expected, *self.other_policies):
            self.other_policies.append(policy_id)
