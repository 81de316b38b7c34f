"""A second, plain-text account of the store: every rollout row and label entry as one JSON line, first frames left out.

The database is the truth. The journal follows it and is for the day the database file is damaged or gone: then judgements
that cannot be made again are still there. A line carries the row's own digest, so that a torn one is noticed.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from robomd_ros.core.files import write_atomic
from robomd_ros.core.store_rows import Row, row_digest

TABLES = ("rollouts", "labels")

Rows = dict[str, list[Row]]


def journal_path(database: Path) -> Path:
    """The journal beside a database."""
    return database.with_suffix(".journal")


def read_journal(path: Path) -> Rows:
    """All whole lines of a journal by table, oldest first; torn or changed lines are left out."""
    found: Rows = {table: [] for table in TABLES}
    if not path.is_file():
        return found
    with path.open("rb") as file:
        for line in file:
            with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
                ((table, row),) = json.loads(line).items()
                if row_digest(row) == row["digest"]:
                    found[table].append(row)
    return found


class Journal:
    """Follows a database that this process writes. The caller holds the database's lock.

    Args:
        database: path of the database.
        db: the open connection, whose rows come as dicts.
    """

    def __init__(self, database: Path, db: sqlite3.Connection) -> None:
        self._path = journal_path(database)
        self._db = db
        self._seen = dict.fromkeys(TABLES, 0)
        self._stale = True
        self._open()

    def follow(self) -> None:
        """Append what the database has got since the last call.

        A full disk is no error here: the database has it, and the journal is written anew at the next call.
        """
        if self._stale:
            self._rewrite()
            return
        lines, seen = self._news(self._seen)
        try:
            with self._path.open("ab") as file:
                file.write(lines)
            self._seen = seen
        except OSError:
            self._stale = True

    def remove(self) -> None:
        """Delete the file; the next writer makes it again."""
        self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        rows = read_journal(self._path)
        ids = {row["id"] for row in rows["rollouts"]}
        stored = {row["id"] for row in self._db.execute("SELECT id FROM rollouts")}
        if ids - stored:
            self._set_aside()
        for table in TABLES:
            known = self._db.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"]
            if known != len(rows[table]):
                self._rewrite()
                return
        self._seen = {table: max((r["seq"] for r in rows[table]), default=0) for table in TABLES}
        self._stale = False

    def _rewrite(self) -> None:
        lines, seen = self._news(dict.fromkeys(TABLES, 0))
        with suppress(OSError):
            write_atomic(self._path, lines)
            self._seen, self._stale = seen, False

    def _set_aside(self) -> None:
        """The database was exchanged: the journal of the other one is kept."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        folder = self._path.parent / "quarantine"
        folder.mkdir(exist_ok=True)
        self._path.rename(folder / f"{self._path.stem}.{stamp}.journal")

    def _news(self, seen: dict[str, int]) -> tuple[bytes, dict[str, int]]:
        lines, now = [], dict(seen)
        for table in TABLES:
            for row in self._db.execute(
                f"SELECT * FROM {table} WHERE seq > ? ORDER BY seq", (seen[table],)
            ):
                lines.append(json.dumps({table: row}) + "\n")
                now[table] = row["seq"]
        return "".join(lines).encode(), now
