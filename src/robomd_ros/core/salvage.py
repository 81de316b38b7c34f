"""Read what can be read of a damaged rollout store into a new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from robomd_ros.core.errors import StorageError
from robomd_ros.core.frame_codec import decode_frame
from robomd_ros.core.journal import Rows
from robomd_ros.core.store_rows import Row, pixels_sha256, row_digest
from robomd_ros.core.store_schema import connect, transaction

_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # SQLite's messages quote damaged bytes


@dataclass
class Saved:
    """What a salvage brought back, and what of the rows it found it could not."""

    rollouts: int = 0
    labels: int = 0
    lost_rollouts: int = 0
    lost_frames: int = 0
    lost_labels: int = 0

    def __str__(self) -> str:
        lost = {
            "rollouts": self.lost_rollouts,
            "first frames": self.lost_frames,
            "label entries": self.lost_labels,
        }
        rest = ", ".join(f"{n} {what}" for what, n in lost.items() if n)
        found = f"{self.rollouts} rollouts and {self.labels} label entries"
        return found + (f" (lost: {rest})" if rest else "")


def lenient_text(data: bytes) -> str:
    """For `text_factory`: damaged text costs its own row, not the rest of the table."""
    return data.decode(errors="replace")


def damaged_rollouts(db: sqlite3.Connection) -> list[str]:
    """Ids of rollouts whose row, first frame or labels are not what was stored."""
    found = {str(row["rollout_id"]) for row in _rows(db, "labels", "seq") if not _sound(row)}
    for row in _rows(db, "rollouts", "seq"):
        frame = _frame_row(db, str(row["id"]))
        if not _sound(row) or (frame is not None and not _same_pixels(frame, row)):
            found.add(str(row["id"]))
    return sorted(found)


def salvage(damaged: Path | None, journal: Rows, target: Path) -> Saved:
    """Bring every sound rollout and label of a database, and of the journal beside it, into a new store.

    Args:
        damaged: the database; None = it is gone.
        journal: what the journal says.
        target: of the new store, one file without a write-ahead log.
    """
    with closing(sqlite3.connect(damaged or ":memory:")) as old, closing(connect(target)) as new:
        old.text_factory = lenient_text
        saved = Saved()
        with transaction(new):
            _copy_rollouts(old, new, journal["rollouts"], saved)
            _copy_labels(old, new, journal["labels"], saved)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, to be renamed
    return saved


def _copy_rollouts(
    old: sqlite3.Connection, new: sqlite3.Connection, journal: list[Row], saved: Saved
) -> None:
    found = _rows(old, "rollouts", "seq")
    sound = {row["id"]: row for row in found if _sound(row)}
    brought = {row["id"]: row for row in journal if row["id"] not in sound}
    saved.lost_rollouts = max(0, len(found) - len(sound) - len(brought))
    for row in sorted([*sound.values(), *brought.values()], key=lambda row: row["seq"]):
        _insert(new, "rollouts", row)
        saved.rollouts += 1
        frame = None
        with suppress(*_UNREADABLE):
            frame = _frame_row(old, row["id"])
        if frame is not None and _same_pixels(frame, row):
            _insert(new, "frames", frame)
        elif row["pixels_sha256"]:
            saved.lost_frames += 1


def _copy_labels(
    old: sqlite3.Connection, new: sqlite3.Connection, journal: list[Row], saved: Saved
) -> None:
    found = _rows(old, "labels", "seq")
    sound = {row["seq"]: row for row in journal} | {r["seq"]: r for r in found if _sound(r)}
    for seq in sorted(sound):
        with suppress(sqlite3.IntegrityError):  # of a rollout, or undoing a label, that was lost
            _insert(new, "labels", sound[seq])
            saved.labels += 1
    saved.lost_labels = max(0, max(len(found), len(sound)) - saved.labels)


def _sound(row: Row) -> bool:
    try:
        return row_digest(row) == row["digest"]
    except (TypeError, ValueError):  # damage turned a text into bytes
        return False


def _same_pixels(frame: Row, row: Row) -> bool:
    try:
        return pixels_sha256(decode_frame(frame["data"])) == row["pixels_sha256"]
    except (StorageError, TypeError):
        return False


def _frame_row(db: sqlite3.Connection, rollout_id: str) -> Row | None:
    cursor = db.execute("SELECT * FROM frames WHERE rollout_id = ?", (rollout_id,))
    found = cursor.fetchone()
    return None if found is None else _named(cursor, found)


def _rows(db: sqlite3.Connection, table: str, key: str) -> list[Row]:
    """All rows that can be read: forwards to the first damaged page, backwards to the last one, then one by one."""
    found: dict[int, Row] = {}
    for order in ("ASC", "DESC"):
        with suppress(*_UNREADABLE):
            cursor = db.execute(f"SELECT * FROM {table} ORDER BY {key} {order}")
            for values in cursor:
                row = _named(cursor, values)
                found[row[key]] = row
            return [found[k] for k in sorted(found)]
    for number in set(range(1, max(found, default=0))) - set(found):
        with suppress(*_UNREADABLE):
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
