"""The tables of `rollouts.sqlite`, and how a connection to them is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from robomd_ros.core.errors import BusyError, NotReadyError, StorageError


class DamagedStoreError(StorageError):
    """The file is no whole rollout store; a repair sets it aside and reads out what it can."""


SCHEMA_VERSION = 2
APPLICATION_ID = 0x726D6431  # "rmd1"
BUSY_TIMEOUT_MS = 10_000

_NOT_UNDONE = "l.undoes IS NULL AND NOT EXISTS (SELECT 1 FROM labels AS u WHERE u.undoes = l.seq)"
_VIEWS = (
    f"CREATE VIEW standing AS SELECT * FROM labels AS l WHERE NOT l.second_look AND {_NOT_UNDONE}",
    f"CREATE VIEW second_looks AS SELECT * FROM labels AS l WHERE l.second_look AND {_NOT_UNDONE}",
)
_FROM_1_TO_2 = (
    "ALTER TABLE labels ADD COLUMN second_look INTEGER NOT NULL DEFAULT 0",
    "DROP VIEW standing",
    *_VIEWS,
)
"""Schema 2 added second looks."""
_READ_1_AS_2 = (
    "PRAGMA temp_store=MEMORY",
    "CREATE TEMP VIEW second_looks AS SELECT * FROM labels WHERE 0",
)
"""A reader cannot migrate: in a store of schema 1 it finds a temporary, empty view of second looks."""

_TABLES = (
    """CREATE TABLE rollouts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival
        id TEXT NOT NULL UNIQUE,
        perturbation_id TEXT NOT NULL,
        variations TEXT NOT NULL,               -- JSON [{factor, id, value, sentence}]
        sentence TEXT NOT NULL,
        task TEXT NOT NULL, robot TEXT NOT NULL, policy_id TEXT NOT NULL,
        purpose TEXT NOT NULL, control INTEGER NOT NULL, seed INTEGER NOT NULL,
        started REAL NOT NULL, duration REAL NOT NULL, steps INTEGER NOT NULL,
        frames INTEGER NOT NULL, frames_expected INTEGER NOT NULL,
        recording TEXT NOT NULL,                -- file in recordings/, '' = none
        facts TEXT NOT NULL,                    -- JSON object of strings
        pixels_sha256 TEXT NOT NULL,            -- of the first frame, '' = none
        digest TEXT NOT NULL)""",
    "CREATE INDEX rollouts_by_perturbation ON rollouts(perturbation_id)",
    """CREATE TABLE frames (
        rollout_id TEXT PRIMARY KEY REFERENCES rollouts(id),
        codec TEXT NOT NULL, data BLOB NOT NULL)""",
    """CREATE TABLE labels (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        rollout_id TEXT NOT NULL REFERENCES rollouts(id),
        outcome INTEGER NOT NULL,               -- 0 in an undo entry
        labeler TEXT NOT NULL, stamp REAL NOT NULL, reason TEXT NOT NULL, phase TEXT NOT NULL,
        undoes INTEGER UNIQUE REFERENCES labels(seq),
        digest TEXT NOT NULL,
        second_look INTEGER NOT NULL DEFAULT 0) -- 1 = blind, never in force""",
    "CREATE INDEX labels_by_rollout ON labels(rollout_id, seq)",
    """CREATE TRIGGER labels_are_kept BEFORE DELETE ON labels
        BEGIN SELECT RAISE(ABORT, 'labels are appended, never removed'); END""",
    """CREATE TRIGGER labels_are_final BEFORE UPDATE ON labels
        BEGIN SELECT RAISE(ABORT, 'labels are appended, never overwritten'); END""",
    """CREATE TRIGGER rollouts_are_kept BEFORE DELETE ON rollouts
        BEGIN SELECT RAISE(ABORT, 'rollouts are never removed'); END""",
    *_VIEWS,
    """CREATE VIEW judged AS SELECT r.*, coalesce((SELECT s.outcome FROM standing AS s
        WHERE s.rollout_id = r.id ORDER BY s.seq DESC LIMIT 1), 0) AS outcome FROM rollouts AS r""",
)


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open the database in WAL mode with every commit on disk; create the tables in a new one, migrate those of an old one.

    Raises:
        NotReadyError: read_only and there is no database yet.
        StorageError: no store of ours, made by a newer version, or damaged.
    """
    if read_only and not path.is_file():
        raise NotReadyError(f"no rollout store at {path} yet: nothing was recorded there.")
    mode = "ro" if read_only else "rwc"
    with storage_errors(path):
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _configure(db, path, read_only)
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise BusyError(f"{path} is being written by another process: try again.") from error
        if "full" in text or "disk I/O" in text:
            raise StorageError(
                f"{path} could not be written ({text}): free disk space and try again; "
                "everything acknowledged before is kept."
            ) from error
        if "malformed" in text or "not a database" in text:
            raise DamagedStoreError(
                f"{path} is damaged ({text}): run `robomd study check {path.parent} --repair`."
            ) from error
        raise StorageError(f"{path}: {text}.") from error
    except UnicodeDecodeError as error:  # SQLite's own message quotes the damaged bytes
        raise DamagedStoreError(
            f"{path} is damaged (text that is no text): run `robomd study check {path.parent} --repair`."
        ) from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on disk when it returns."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _configure(db: sqlite3.Connection, path: Path, read_only: bool) -> None:
    db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    db.execute("PRAGMA foreign_keys=ON")
    version = _pragma(db, "user_version")
    if version == 0 and not read_only and not _pragma(db, "schema_version"):
        db.execute("PRAGMA journal_mode=WAL")
        with transaction(db):
            for statement in _TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    elif _pragma(db, "application_id") != APPLICATION_ID:
        raise DamagedStoreError(f"{path} is an SQLite file, but no rollout store.")
    elif version > SCHEMA_VERSION:
        raise StorageError(
            f"{path} has schema {version}, this robomd_ros reads {SCHEMA_VERSION}: update it."
        )
    if not read_only:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
    if version == 1:
        _modernize(db, read_only)


def _modernize(db: sqlite3.Connection, read_only: bool) -> None:
    if read_only:
        for statement in _READ_1_AS_2:
            db.execute(statement)
        return
    with transaction(db):
        for statement in _FROM_1_TO_2:
            db.execute(statement)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
