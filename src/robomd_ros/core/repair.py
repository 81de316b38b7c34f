"""Look a study over, and set right what a crash, a full disk or a careless hand left behind.

Nothing is thrown away but temporary files: what cannot be used goes to quarantine/ with a reason file beside it.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from robomd_ros.core.files import TEMPORARY, WriterLock, atomic_file, sync, write_atomic
from robomd_ros.core.journal import journal_path, read_journal
from robomd_ros.core.salvage import Saved, damaged_rollouts, lenient_text, salvage
from robomd_ros.core.store_schema import DamagedStoreError, connect, storage_errors

MCAP_MAGIC = b"\x89MCAP0\r\n"
"""First and last bytes of a whole MCAP file (mcap.dev/spec)."""


@dataclass(frozen=True)
class Finding:
    """One thing that is, or was, wrong in a study.

    Attributes:
        path: the file, relative to the study.
        problem: what is wrong with it.
        action: what was done ("" = nothing yet, `--repair` does it).
    """

    path: str
    problem: str
    action: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" + (f"; {self.action}" if self.action else "")


def check_study(folder: Path, repair: bool, deep: bool = False) -> list[Finding]:
    """What is wrong in a study's folder; see `Study.check`.

    Args:
        folder: of the study.
        repair: set it right; BusyError when a writer has the study open.
        deep: also decode every row and first frame and compare it with its hash.
    """
    database = folder / "rollouts.sqlite"
    if not repair:
        return _Checker(folder, database, False, deep).run()
    lock = WriterLock(database)
    try:
        return _Checker(folder, database, True, deep).run()
    finally:
        lock.release()


@dataclass(frozen=True)
class _Checker:
    folder: Path
    database: Path
    repair: bool
    deep: bool

    def run(self) -> list[Finding]:
        findings = self._leftovers() + self._database()
        if any(f.path == self.database.name and not f.action for f in findings):
            return findings  # without rows nothing can be said about recordings
        return findings + self._recordings()

    def _leftovers(self) -> list[Finding]:
        found = []
        for path in sorted(self.folder.glob(f"**/.*{TEMPORARY}")):
            if path.parent not in (self.folder, self.folder / "recordings") or not path.is_file():
                continue  # models/ and report/ have writers of their own
            if self.repair:
                path.unlink()
            found.append(self._finding(path, "unfinished file of an interrupted write", "removed"))
        return found

    def _database(self) -> list[Finding]:
        if not self.database.is_file():
            if not self.repair:
                return [self._finding(self.database, "missing", "")]
            saved = self._replace(None)
            return [self._finding(self.database, "missing", f"made anew from the journal: {saved}")]
        problem = self._damage()
        if not problem:
            return []
        if not self.repair:
            return [self._finding(self.database, problem, "")]
        aside, saved = self._rebuild(problem)
        action = f"set aside as {aside.name}, {saved} read back into a new store"
        return [self._finding(self.database, problem, action)]

    def _rebuild(self, problem: str) -> tuple[Path, Saved]:
        """Copy the damaged store to quarantine, read it out, and replace it last: a crash in between loses nothing."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self.folder / "quarantine" / f"rollouts.{stamp}.sqlite"
        aside.parent.mkdir(exist_ok=True)
        for suffix in ("", "-wal"):
            part = self.database.with_name(self.database.name + suffix)
            if part.exists():
                shutil.copyfile(part, aside.with_name(aside.name + suffix))
                sync(aside.with_name(aside.name + suffix))
        self._reason(aside, problem)
        return aside, self._replace(aside)

    def _replace(self, damaged: Path | None) -> Saved:
        with atomic_file(self.database) as temporary:
            saved = salvage(damaged, read_journal(journal_path(self.database)), temporary)
            for suffix in ("-wal", "-shm"):  # SQLite would replay them onto the new file
                self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)
        return saved

    def _damage(self) -> str:
        try:
            with (
                storage_errors(self.database),
                closing(connect(self.database, read_only=True)) as db,
            ):
                db.text_factory = lenient_text
                verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
                if verdict != "ok":
                    return f"damaged: {verdict}"
                bad = damaged_rollouts(db) if self.deep else []
        except DamagedStoreError as error:
            return str(error)
        return f"damaged rollouts: {', '.join(bad[:10])}" if bad else ""

    def _recordings(self) -> list[Finding]:
        with closing(connect(self.database, read_only=not self.repair)) as db:
            named = dict(db.execute("SELECT recording, id FROM rollouts WHERE recording != ''"))
            found = []
            for name, rollout_id in named.items():
                path = self.folder / "recordings" / name
                problem = "missing" if not path.is_file() else _mcap_problem(path)
                if problem:
                    found.append(self._lost(db, path, rollout_id, problem))
        for path in sorted((self.folder / "recordings").glob("[!.]*")):
            if path.name not in named:
                found.append(self._stray(path))
        return found

    def _lost(self, db: sqlite3.Connection, path: Path, rollout_id: str, problem: str) -> Finding:
        if self.repair:
            with storage_errors(self.database):
                db.execute("UPDATE rollouts SET recording = '' WHERE id = ?", (rollout_id,))
            if path.is_file():
                self._set_aside(path, problem)
        return self._finding(
            path,
            f"recording of rollout {rollout_id}: {problem}",
            "the rollout and its labels stay, without recording",
        )

    def _stray(self, path: Path) -> Finding:
        if path.suffix != ".mcap" or not path.is_file():
            return self._finding(path, "not a recording of this study", "left alone")
        problem = "recording that no rollout of the store names (the process died before its row was written?)"
        if self.repair:
            self._set_aside(path, problem)
        return self._finding(path, problem, "moved to quarantine")

    def _set_aside(self, path: Path, reason: str) -> None:
        target = self.folder / "quarantine" / path.name
        target.parent.mkdir(exist_ok=True)
        number = 1
        while target.exists():
            target = target.with_name(f"{path.stem}.{number}{path.suffix}")
            number += 1
        path.rename(target)
        self._reason(target, reason)

    def _reason(self, target: Path, reason: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomic(target.with_name(target.name + ".reason.txt"), f"{now} {reason}\n".encode())

    def _finding(self, path: Path, problem: str, action: str) -> Finding:
        return Finding(str(path.relative_to(self.folder)), problem, action if self.repair else "")


def _mcap_problem(path: Path) -> str:
    """A torn or overwritten file; a cheap look at both ends, `recording.verify_recording` reads all of it."""
    with path.open("rb") as file:
        head = file.read(len(MCAP_MAGIC))
        file.seek(max(0, path.stat().st_size - len(MCAP_MAGIC)))
        whole = head == MCAP_MAGIC and file.read() == MCAP_MAGIC
    return "" if whole else "not a whole MCAP file"
