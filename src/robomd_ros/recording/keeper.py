"""The writer of a live study: what has finished is kept in memory until it is on the disk, however long that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from robomd_ros.core.errors import BusyError, NotReadyError, RobomdError, StorageError
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.repair import Finding
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.recording.commit import commit_rollout, set_aside

CELL = "cell"
"""Fact of a record: name of the cell it was run in, where several feed one study."""


class LiveStudy:
    """Opens the study when there is one, and makes it when the first rollout says what it is. Its one writer.

    Safe to call from several threads.

    Args:
        folder: of the study.
        keep_recordings: False = rows and first frames only.

    Attributes:
        trouble: why nothing can be stored now; "" = it can.
        findings: what an earlier crash had left, repaired when the study was opened.
        other_policies: ids of policies that rollouts were stored of, though the study is about another one.
        listeners: called with each rollout that was stored, labelled or undone, as it stands then.
    """

    def __init__(self, folder: Path, keep_recordings: bool = True) -> None:
        self.folder = folder
        self.keep_recordings = keep_recordings
        self.trouble = ""
        self.findings: list[Finding] = []
        self.other_policies: list[str] = []
        self.listeners: list[Callable[[RolloutRecord], None]] = []
        self._disk = threading.RLock()  # held while something is written
        self._open: tuple[Study, RolloutStore] | None = None

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

    def commit(self, record: RolloutRecord, trace: Trace | None) -> RolloutRecord:
        """Bring a rollout to the disk. A full or failing disk is remembered as `trouble`.

        One that can never be stored (an id that is taken) is refused; its recording goes to quarantine/.

        Raises:
            StorageError, BusyError: it can be tried again.
            RobomdError: it is refused.
        """
        with self._disk:
            try:
                stored = self._commit(record, trace)
            except (StorageError, BusyError) as error:
                self.trouble = str(error)
                raise
            except RobomdError:
                self.trouble = ""  # the disk answered
                raise
            self.trouble = ""
        return stored

    def tell(self, record: RolloutRecord) -> None:
        """Tell all who listen how a rollout stands now."""
        for listener in list(self.listeners):
            listener(record)

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
        try:
            stored = commit_rollout(study, store, record, trace, self.keep_recordings)
        except (StorageError, BusyError):
            raise
        except RobomdError as error:
            if trace is not None and self.keep_recordings and store.holds(record.id):
                set_aside(study, record, trace, str(error))
            raise
        self._note_policy(study.meta.policy_id, record.policy_id)
        return stored

    def _note_policy(self, expected: str, policy_id: str) -> None:
        if expected and policy_id not in ("", expected, *self.other_policies):
            self.other_policies.append(policy_id)


class StudyKeeper:
    """The rollouts of one cell on their way to the study, in order.

    Safe to call from several threads.

    Args:
        live: the study; other cells may feed it, too.
        cell: name of this one, kept with each rollout; "" = the study has one cell.
    """

    def __init__(self, live: LiveStudy, cell: str = "") -> None:
        self.live, self.cell = live, cell
        self._changed = threading.Condition()  # guards the list of those that wait
        self._flushing = threading.Lock()
        self._waiting: list[tuple[RolloutRecord, Trace | None]] = []
        self._last = ""
        self._refused: dict[str, RobomdError] = {}
        self._ours: dict[str, bool] = {}

    @property
    def waiting(self) -> int:
        """Rollouts that are not on the disk yet."""
        return len(self._waiting)

    def holds(self, rollout_id: str) -> bool:
        """The rollout is stored, waits to be, or was refused, as one of this cell."""
        with self._changed:
            if any(record.id == rollout_id for record, _ in self._waiting):
                return True
        if rollout_id in self._refused:
            return True
        study = self.live.study
        return study is not None and self.live.store().holds(rollout_id) and self._owns(rollout_id)

    def newest(self) -> str:
        """Id of this cell's newest rollout, stored or waiting; "" = none."""
        if self._last or not self.live.open():
            return self._last
        _, rows = self.live.store().page(limit=1, cell=self.cell)
        return rows[0].id if rows else ""

    def check_not_refused(self, rollout_id: str) -> None:
        """Raise what it was refused with, if it was: the study has another rollout of this id."""
        error = self._refused.get(rollout_id)
        if error is not None:
            raise error

    def add(self, record: RolloutRecord, trace: Trace | None) -> None:
        """Take charge of a finished rollout; `flush` brings it to the disk."""
        if self.cell:
            record = replace(record, facts={**record.facts, CELL: self.cell})
        with self._changed:
            self._waiting.append((record, trace))
            self._last = record.id
            self._refused.pop(record.id, None)

    def flush(self) -> tuple[list[RolloutRecord], list[RobomdError]]:
        """Commit what waits, in order, tell the study's listeners, and return it as stored.

        A full or failing disk leaves it waiting, with `live.trouble` saying why: call again later. A rollout that can
        never be stored (an id that is taken) is given up, and its error returned.
        """
        stored: list[RolloutRecord] = []
        refused: list[RobomdError] = []
        with self._flushing:
            while self._waiting:
                record = self._waiting[0][0]
                try:
                    stored.append(self.live.commit(*self._waiting[0]))
                except (StorageError, BusyError):
                    break
                except RobomdError as error:
                    refused.append(error)
                    self._refused[record.id] = error
                with self._changed:
                    self._waiting.pop(0)
                    self._changed.notify_all()
        for record in stored:
            self.live.tell(record)
        return stored, refused

    def wait_stored(self, rollout_id: str, timeout: float) -> None:
        """Wait until a rollout that has finished is on the disk [s]; StorageError when it is not by then."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: all(record.id != rollout_id for record, _ in self._waiting), timeout
            )
        if not done:
            raise StorageError(
                f"rollout {rollout_id} is not on the disk yet: {self.live.trouble or 'the disk is slow'}; label it again later."
            )

    def _owns(self, rollout_id: str) -> bool:
        """A stored rollout was run in this cell; one from before there were several may have been."""
        if not self.cell:
            return True
        if rollout_id not in self._ours:
            record = self.live.store().get(rollout_id, with_frame=False)
            self._ours[rollout_id] = record.facts.get(CELL, "") in ("", self.cell)
        return self._ours[rollout_id]
