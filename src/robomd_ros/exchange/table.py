"""What people know about the episodes of a source: a CSV or TOML table of variations and outcomes."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import Catalogue

COLUMNS = ("episode", "variations", "outcome", "reason")


@dataclass(frozen=True)
class Said:
    """One line of the table.

    Attributes:
        variations: ids joined by "+"; None = left open.
        outcome: UNKNOWN = left open.
        reason: of the outcome, may be empty.
    """

    variations: str | None = None
    outcome: Outcome = Outcome.UNKNOWN
    reason: str = ""


def read_table(path: Path, catalogue: Catalogue) -> dict[str, Said]:
    """The table by episode name, every line of it checked.

    A CSV file has the header `episode,variations,outcome,reason`, the last two may be missing. A TOML file has a table
    a name: `["bag_7"]` with the same keys.

    Raises:
        UnknownIdError: no such file, or a variation that the catalogue does not have.
        InvalidArgumentError: not such a table; the sentence names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _toml_rows(text) if path.suffix == ".toml" else _csv_rows(text)
    except OSError as error:
        raise UnknownIdError(f"table {path} cannot be read: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise InvalidArgumentError(f"table {path}: {error}") from error
    table: dict[str, Said] = {}
    for where, row in rows:
        name = str(row.get("episode") or "").strip()
        if not name or name in table:
            raise InvalidArgumentError(
                f"table {path}, {where}: " + (f"{name} a second time." if name else "no episode.")
            )
        try:
            table[name] = _said(row, catalogue)
        except (InvalidArgumentError, UnknownIdError) as error:
            raise type(error)(f"table {path}, {where}: {error}") from error
    return table


def outcome_of(text: str) -> Outcome:
    """An outcome by its name, in any case; "" = UNKNOWN."""
    try:
        return Outcome[text.strip().upper()] if text.strip() else Outcome.UNKNOWN
    except KeyError:
        known = ", ".join(o.name.lower() for o in Outcome)
        raise InvalidArgumentError(f"outcome {text[:40]!r}: want one of {known}.") from None


def _said(row: Mapping[str, Any], catalogue: Catalogue) -> Said:
    unknown = [str(key) for key in row if key not in COLUMNS]
    if unknown or not all(isinstance(v, str) for v in row.values() if v is not None):
        raise InvalidArgumentError(
            f"want text in the columns {', '.join(COLUMNS)}"
            + (f", got {', '.join(unknown)[:80]}." if unknown else ".")
        )
    variations = (row.get("variations") or "").strip()
    return Said(
        catalogue.perturbation(variations).id if variations else None,
        outcome_of(row.get("outcome") or ""),
        (row.get("reason") or "").strip(),
    )


def _csv_rows(text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    if not reader.fieldnames or "episode" not in reader.fieldnames:
        raise InvalidArgumentError(f"want the header {','.join(COLUMNS)}.")
    return [(f"line {reader.line_num}", row) for row in reader]


def _toml_rows(text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    data = tomllib.loads(text)
    if not all(isinstance(entry, dict) for entry in data.values()):
        raise InvalidArgumentError('want one table an episode: ["name"] variations = ...')
    return [(f"[{name}]", {**entry, "episode": name}) for name, entry in data.items()]
