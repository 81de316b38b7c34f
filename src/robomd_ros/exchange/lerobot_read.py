"""Rollouts out of a LeRobot dataset v3.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import Trace
from robomd_ros.exchange.episode import Content, content_id
from robomd_ros.exchange.images import decode_file
from robomd_ros.exchange.lerobot_info import (
    OUTCOME,
    ROLLOUT,
    VARIATIONS,
    Feature,
    Info,
    read_info,
)
from robomd_ros.exchange.mapping import Field
from robomd_ros.exchange.table import outcome_of
from robomd_ros.exchange.video import read_frames

ROLES = ("camera", "joints", "velocities", "actions", "success")
_USUAL = {
    "joints": "observation.state",
    "velocities": "observation.velocity",
    "actions": "action",
}
_FLAGS = ("next.success", "success")
_WHERE = ("data/chunk_index", "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index",
          "dataset_from_index", "dataset_to_index")  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Which feature means what; None = there is none.

    Attributes:
        camera: the pictures.
        joints, velocities, actions: one vector a frame.
        success: key of the flag, of a frame or of an episode; "" = there is none.
    """

    camera: Feature
    joints: Feature | None
    velocities: Feature | None
    actions: Feature | None
    success: str

    @property
    def vectors(self) -> list[Feature]:
        """Features that are read as vectors."""
        return [f for f in (self.joints, self.velocities, self.actions) if f]


@dataclass(frozen=True)
class LeRobotEpisode:
    """One episode.

    Attributes:
        info: of the dataset.
        columns: what is read.
        row: of meta/episodes.
    """

    info: Info
    columns: Columns
    row: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The episode's number."""
        return str(self.row["episode_index"])

    def identity(self) -> str:
        """From its numbers, and from the statistics of its pictures; not from the files they lie in."""
        own = self.row.get(ROLLOUT)
        if isinstance(own, str) and own:
            return own
        facts = {
            k: v for k, v in self.row.items() if k not in _WHERE and not k.startswith("videos/")
        }
        table = self._table([f.key for f in self.columns.vectors])
        columns = (
            np.asarray(column.combine_chunks().flatten()).tobytes() for column in table.columns
        )
        return content_id([repr(sorted(facts.items())).encode(), *columns])

    def load(self) -> Content:
        """Frames are decoded, never resized."""
        columns, camera = self.columns, self.columns.camera
        keys = {"timestamp", *(f.key for f in columns.vectors)}
        keys |= {columns.success} & set(self.info.features)
        keys |= {camera.key} if camera.dtype == "image" else set()
        table = self._table(sorted(keys))
        stamps = np.asarray(table["timestamp"], np.float64).reshape(-1)
        if not len(stamps) or not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
            raise InvalidArgumentError("its timestamps are not increasing numbers.")
        frames = self._frames(table, stamps)
        joints, velocities = (
            self._vector(table, columns.joints),
            self._vector(table, columns.velocities),
        )
        if velocities.shape != joints.shape:
            velocities = np.zeros((0, 0))
        names = _joint_names(columns.joints, joints.shape[1])
        trace = Trace(
            stamps=stamps,
            frames=frames,
            joint_names=names,
            joint_stamps=stamps if len(names) else np.zeros(0),
            joint_positions=joints,
            joint_velocities=velocities,
            actions=self._vector(table, columns.actions).astype(np.float32),
            frame_id=camera.key,
        )
        return Content(trace, self._outcome(table), self._variations(), facts=self._facts())

    def _table(self, keys: list[str]) -> pa.Table:
        path = self.info.file(
            self.info.data_path,
            self._place("data/chunk_index"),
            self._place("data/file_index"),
        )
        with _damage(path):
            found = pq.read_table(
                path,
                columns=[*keys, "frame_index"],
                filters=[("episode_index", "=", self.row["episode_index"])],
                partitioning=None,
            ).sort_by("frame_index")
            missing = [key for key in keys if key not in found.column_names]
        if missing:
            raise StorageError(f"{path.name} has no column {', '.join(missing)}.")
        if len(found) != self.row.get("length", len(found)) or not len(found):
            raise StorageError(
                f"{path.name} holds {len(found)} of the {self.row.get('length')} frames of episode {self.name}."
            )
        return found.select(keys)

    def _place(self, key: str) -> int:
        value = self.row.get(key)
        if not isinstance(value, int) or value < 0:
            raise StorageError(f"meta/episodes says no {key} of episode {self.name}.")
        return value

    def _frames(self, table: pa.Table, stamps: NDArray[np.float64]) -> NDArray[np.uint8]:
        camera = self.columns.camera
        if camera.dtype == "image":
            return _embedded(table[camera.key].to_pylist())
        folder = f"videos/{camera.key}"
        path = self.info.file(
            self.info.video_path,
            self._place(f"{folder}/chunk_index"),
            self._place(f"{folder}/file_index"),
            camera.key,
        )
        offset = float(self.row.get(f"{folder}/from_timestamp") or 0.0)
        return read_frames(path, stamps + offset, 0.5 / self.info.fps)

    def _vector(self, table: pa.Table, feature: Feature | None) -> NDArray[np.float64]:
        """(T, N) of a feature; (0, 0) without one."""
        if feature is None:
            return np.zeros((0, 0))
        try:
            values = np.array(table[feature.key].to_pylist(), np.float64).reshape(len(table), -1)
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(f"{feature.key} is no table of numbers: {error}") from error
        if not np.isfinite(values).all():
            raise InvalidArgumentError(f"{feature.key} holds numbers that are not finite.")
        return values

    def _outcome(self, table: pa.Table) -> Outcome:
        """Success is a flag that was up in any frame, as LeRobot's own evaluation counts it."""
        key = self.columns.success
        if key in table.column_names:
            flags = np.array(table[key].to_pylist(), object).reshape(-1)
        elif self.row.get(key) is not None:
            flags = np.array([self.row[key]], object).reshape(-1)
        else:
            return outcome_of(str(self.row.get(OUTCOME) or ""))
        if any(not isinstance(flag, bool | int | float) or flag not in (0, 1) for flag in flags):
            raise InvalidArgumentError(f"{key} is no flag: {flags[0]!r:.40}.")
        return Outcome.SUCCESS if any(flags) else Outcome.FAILURE

    def _variations(self) -> str | None:
        said = self.row.get(VARIATIONS)
        return said if isinstance(said, str) else None

    def _facts(self) -> dict[str, str]:
        tasks = self.row.get("tasks") or []
        facts = {"robot_type": self.info.robot, "camera": self.columns.camera.key}
        return {k: v for k, v in facts.items() if v} | (
            {"task_sentence": " ".join(map(str, tasks))[:1000]} if tasks else {}
        )


def lerobot_episodes(root: Path, mapped: Mapping[str, Field]) -> Iterator[LeRobotEpisode]:
    """The episodes of a dataset, one after the other.

    Args:
        root: folder with meta/, data/ and videos/.
        mapped: by role, see ROLES; for the rest the usual keys.

    Raises:
        UnknownIdError, StorageError, InvalidArgumentError: no dataset, damaged, other version, or no such key.
    """
    info = read_info(root)
    columns = choose_columns(info, mapped)
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files and info.episodes:
        raise StorageError(
            f"{root}/meta/episodes is empty; the dataset has {info.episodes} episodes."
        )
    for path in files:
        with _damage(path):
            file = pq.ParquetFile(path)
            batches = file.iter_batches(256)
        while True:
            with _damage(path):
                batch = next(batches, None)
                rows = batch.to_pylist() if batch is not None else []
            if not rows:
                break
            for row in rows:
                if not isinstance(row.get("episode_index"), int):
                    raise StorageError(f"{path.name} has no episode_index.")
                yield LeRobotEpisode(info, columns, row)


def episode_names(root: Path) -> list[str]:
    """The numbers of the episodes, without anything else of them."""
    names: list[str] = []
    for path in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        with _damage(path):
            column = pq.read_table(path, columns=["episode_index"], partitioning=None)
        names += [str(row["episode_index"]) for row in column.to_pylist()]
    return names


def choose_columns(info: Info, mapped: Mapping[str, Field]) -> Columns:
    """The mapped keys, the usual ones for the rest."""
    cameras = [key for key, feature in info.features.items() if feature.is_camera]
    wanted = mapped.get("camera")
    if wanted is None and len(cameras) != 1:
        raise InvalidArgumentError(
            f"which feature is the camera? --map camera=...; there are: {', '.join(cameras)[:1000] or 'none'}."
        )
    camera = _feature(info, wanted.name if wanted else cameras[0])
    if not camera.is_camera:
        raise InvalidArgumentError(f"{camera.key} is {camera.dtype}, no picture.")
    found = {}
    for role, usual in _USUAL.items():
        field = mapped.get(role)
        found[role] = _feature(info, field.name) if field is not None else info.features.get(usual)
    flag = mapped.get("success")
    success = flag.name if flag else next((key for key in _FLAGS if key in info.features), "")
    return Columns(camera, found["joints"], found["velocities"], found["actions"], success)


def _feature(info: Info, key: str) -> Feature:
    try:
        return info.features[key]
    except KeyError:
        raise InvalidArgumentError(
            f"no feature {key[:80]!r}; there are: {', '.join(info.features)[:1000]}."
        ) from None


def _joint_names(feature: Feature | None, count: int) -> tuple[str, ...]:
    if feature is None:
        return ()
    return feature.names or tuple(f"{feature.key}/{n}" for n in range(count))


def _embedded(cells: list[Any]) -> NDArray[np.uint8]:
    frames = [
        decode_file(cell["bytes"]) if isinstance(cell, dict) and cell.get("bytes") else None
        for cell in cells
    ]
    bad = [k for k, frame in enumerate(frames) if frame is None]
    if bad:
        raise StorageError(f"frame {bad[0]} is not an embedded jpeg or png.")
    if len({frame.shape for frame in frames if frame is not None}) > 1:
        raise StorageError("its frames have several sizes.")
    return np.stack([frame for frame in frames if frame is not None])


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path.name} is damaged: {str(error)[:300]}") from error
