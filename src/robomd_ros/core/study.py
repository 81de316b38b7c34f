"""A study: one folder that holds everything known about one policy on one robot."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError, StorageError, UnknownIdError
from robomd_ros.core.files import storage_error, sync, write_atomic
from robomd_ros.core.repair import Finding, check_study
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.store_schema import connect, storage_errors
from robomd_ros.core.variations import Catalogue, load_catalogue

STUDY_VERSION = 1
_MAX_BYTES = 1_000_000
_FOLDERS = ("recordings", "models", "quarantine", "report")


@dataclass(frozen=True)
class StudyMeta:
    """Content of study.json.

    Attributes:
        task: "lift", ...
        robot: "Panda", "UR5e", ...
        policy_id: of the policy under test.
        name: for people; the folder's name when empty.
        catalogue: a shipped task's name or a TOML file, relative to the study; the task's own when empty.
        created: ISO 8601, UTC; now when empty.
        schema: of study.json.
    """

    task: str
    robot: str
    policy_id: str
    name: str = ""
    catalogue: str = ""
    created: str = ""
    schema: int = STUDY_VERSION

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), int if field.name == "schema" else str
            if type(value) is not kind:
                raise InvalidArgumentError(
                    f"study {field.name}: want {kind.__name__}, got {value!r:.80}."
                )
        if not self.task or not self.robot:
            raise InvalidArgumentError("a study wants a task and a robot.")
        if self.schema != STUDY_VERSION:
            raise InvalidArgumentError(
                f"study schema {self.schema}; this robomd_ros reads {STUDY_VERSION}: update it."
            )


@dataclass(frozen=True)
class Study:
    """A folder and what its study.json says. Opening reads that file only; `store` opens the rollouts."""

    folder: Path
    meta: StudyMeta

    @classmethod
    def create(cls, folder: str | Path, meta: StudyMeta) -> Study:
        """Make a new study with an empty store.

        Raises:
            InvalidArgumentError: there is a study already.
            StorageError: the folder cannot be written.
        """
        path = Path(folder)
        if (path / "study.json").exists():
            raise InvalidArgumentError(
                f"{path} holds a study already: open it, or choose another folder."
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        meta = replace(meta, name=meta.name or path.resolve().name, created=meta.created or now)
        try:
            for name in _FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(path, error) from error
        study = cls(path, meta)
        study.store().close()
        # Last, so that a folder with a study.json is a whole study.
        write_atomic(path / "study.json", (json.dumps(asdict(meta), indent=2) + "\n").encode())
        return study

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """Open an existing study; study.json is validated.

        Raises:
            UnknownIdError: no study there.
            StorageError: study.json is damaged or of a newer version.
        """
        path = Path(folder)
        if not (path / "study.json").is_file():
            raise UnknownIdError(f"no study in {path}: it has no study.json.")
        return cls(path, _read_meta(path / "study.json"))

    @classmethod
    def copy_from(cls, source: str | Path, folder: str | Path) -> Study:
        """Copy a study that ships with the package (by name) or any other one (by folder), models excluded."""
        shipped = shipped_studies().get(str(source))
        origin = cls.open(shipped or source)
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise InvalidArgumentError(f"{target} is not empty: choose another folder.")
        partial = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for name in _FOLDERS:
                (partial / name).mkdir(parents=True)
            _copy_database(origin.database, partial / "rollouts.sqlite")
            for path in origin.recordings.glob("*.mcap"):
                shutil.copyfile(path, partial / "recordings" / path.name)
            for path in origin.folder.glob("*.toml"):
                shutil.copyfile(path, partial / path.name)
            if origin.probes.is_file():
                shutil.copyfile(origin.probes, partial / origin.probes.name)
            shutil.copyfile(origin.folder / "study.json", partial / "study.json")
            if target.exists():
                target.rmdir()
            partial.rename(target)
            sync(target.parent)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise storage_error(target, error) from error
        return cls.open(target)

    @property
    def database(self) -> Path:
        """The rollout store's file."""
        return self.folder / "rollouts.sqlite"

    @property
    def recordings(self) -> Path:
        """Folder of one MCAP file a rollout."""
        return self.folder / "recordings"

    @property
    def models(self) -> Path:
        """Folder of the trained embedding and search."""
        return self.folder / "models"

    @property
    def probes(self) -> Path:
        """What the policy answers when it is asked and not run (core/probes.py)."""
        return self.folder / "probes.npz"

    @property
    def quarantine(self) -> Path:
        """Folder of files that were set aside, each with a reason beside it."""
        return self.folder / "quarantine"

    @property
    def report(self) -> Path:
        """Folder of the HTML report."""
        return self.folder / "report"

    def catalogue(self) -> Catalogue:
        """The variations of the study's task."""
        own = self.folder / self.meta.catalogue
        if self.meta.catalogue and own.is_file():
            return load_catalogue(own)
        return load_catalogue(self.meta.catalogue or self.meta.task)

    def store(self, read_only: bool = False) -> RolloutStore:
        """The rollouts, as the one writer or as one of many readers; nothing is repaired."""
        return RolloutStore(self.database, read_only)

    def open_store(self) -> tuple[RolloutStore, list[Finding]]:
        """The writer's way in: repair what an earlier crash left, then open. The findings say what was done."""
        findings = self.check(repair=True)
        return self.store(), findings

    def check(self, repair: bool = False, deep: bool = False) -> list[Finding]:
        """What is wrong in the folder; with `repair` it is set right, and nothing is thrown away.

        Args:
            repair: set it right.
            deep: also compare every row and first frame with its hash (seconds for thousands of them).

        Raises:
            BusyError: `repair` while the study has a writer.
        """
        return check_study(self.folder, repair, deep)


def shipped_studies() -> dict[str, Path]:
    """Folders of the studies that ship with the package, by name. They are read-only: use `Study.copy_from`."""
    root = Path(str(resources.files("robomd_ros"))) / "assets" / "studies"
    return {path.parent.name: path.parent for path in sorted(root.glob("*/study.json"))}


def _read_meta(path: Path) -> StudyMeta:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise StorageError(f"{path} is larger than {_MAX_BYTES} bytes: this is no study.json.")
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return StudyMeta(**data)
    except OSError as error:
        raise storage_error(path, error) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"{path} is not a valid study.json: {error}") from error


def _copy_database(source: Path, target: Path) -> None:
    with storage_errors(source):
        origin = connect(source, read_only=True)
        copy = sqlite3.connect(target)
        try:
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        finally:
            copy.close()
            origin.close()
