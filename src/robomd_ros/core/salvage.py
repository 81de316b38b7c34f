"""Read what can be read of a damaged rollout store into a new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from robomd_ros.core.errors import RobomdError
from robomd_ros.core.frame_codec import decode_frame
from robomd_ros.core.store_rows import Row, pixels_sha256, read_record, record_row
from robomd_ros.core.store_schema import connect, transaction

_UNREADABLE = (sqlite3.Error, RobomdError, ValueError, TypeError, OverflowError)


@dataclass
class Saved:
    """What a salvage brought back."""

    rollouts: int = 0
    labels: int = 0
    without_frame: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = (
            f" ({len(self.without_frame)} without their first frame)" if self.without_frame else ""
        )
        return f"{self.rollouts} rollouts{lost} and {self.labels} label entries"


def damaged_rollouts(db: sqlite3.Connection) -> list[str]:
    """Ids of rollouts whose row or first frame is not what was stored."""
    return [str(row["id"]) for row in _rows(db, "rollouts", "seq") if not _intact(db, row)]


def salvage(damaged: Path, target: Path) -> Saved:
    """Copy every intact rollout and all of its labels from `damaged` into a new store at `target`."""
    saved = Saved()
    with closing(connect(target)) as new:
        with transaction(new), closing(sqlite3.connect(damaged)) as old:
            for row in _rows(old, "rollouts", "seq"):
                _copy_rollout(old, new, row, saved)
            for row in _rows(old, "labels", "seq"):
                _copy_label(new, row, saved)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, to be renamed
    return saved


def _copy_rollout(old: sqlite3.Connection, new: sqlite3.Connection, row: Row, saved: Saved) -> None:
    frame = _frame(old, str(row["id"]))
    with suppress(*_UNREADABLE):
        read_record(row, (), None)
        _insert(new, "rollouts", row)
        saved.rollouts += 1
        if frame is not None:
            _insert(new, "frames", frame)
        elif row["frames"]:
            saved.without_frame.append(row["id"])


def _copy_label(new: sqlite3.Connection, row: Row, saved: Saved) -> None:
    with suppress(sqlite3.IntegrityError):  # of a rollout, or undoing a label, that was lost
        _insert(new, "labels", row)
        saved.labels += 1


def _intact(db: sqlite3.Connection, row: Row) -> bool:
    try:
        stored = _frame_row(db, str(row["id"]))
        pixels = None if stored is None else decode_frame(stored["data"])
        return bool(record_row(read_record(row, (), pixels))["digest"] == row["digest"])
    except _UNREADABLE:
        return False


def _frame(db: sqlite3.Connection, rollout_id: str) -> Row | None:
    """The row of a first frame whose pixels are what was stored, else None."""
    try:
        row = _frame_row(db, rollout_id)
        if row is not None and pixels_sha256(decode_frame(row["data"])) == row["pixels_sha256"]:
            return row
    except _UNREADABLE:
        pass
    return None


def _frame_row(db: sqlite3.Connection, rollout_id: str) -> Row | None:
    cursor = db.execute("SELECT * FROM frames WHERE rollout_id = ?", (rollout_id,))
    found = cursor.fetchone()
    return None if found is None else _named(cursor, found)


def _rows(db: sqlite3.Connection, table: str, key: str) -> list[Row]:
    """All rows that can be read: forwards to the first damaged page, backwards to the last one, then one by one."""
    found: dict[int, Row] = {}
    for order in ("ASC", "DESC"):
        try:
            cursor = db.execute(f"SELECT * FROM {table} ORDER BY {key} {order}")
            for values in cursor:
                row = _named(cursor, values)
                found[row[key]] = row
        except sqlite3.Error:
            continue
        return [found[k] for k in sorted(found)]
    for number in set(range(1, max(found, default=0))) - set(found):
        with suppress(sqlite3.Error):
            cursor = db.execute(f"SELECT * FROM {table} WHERE {key} = ?", (number,))
            values = cursor.fetchone()
            if values is not None:
                found[number] = _named(cursor, values)
    return [found[k] for k in sorted(found)]


def _named(cursor: sqlite3.Cursor, values: tuple[object, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


def _insert(db: sqlite3.Connection, table: str, row: Row) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
