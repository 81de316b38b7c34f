"""A LeRobot dataset v3.0, episode after episode; the files are as LeRobot's own writer lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robomd_ros.exchange import lerobot_stats
from robomd_ros.exchange.demo import Demo, Shape
from robomd_ros.exchange.lerobot_info import (
    DATA_PATH,
    EPISODES_PATH,
    OUTCOME,
    ROLLOUT,
    TASKS_PATH,
    VARIATIONS,
    VERSION,
    VIDEO_PATH,
)
from robomd_ros.exchange.video import VideoWriter, video_info

CAMERA = "observation.images.camera"
CHUNK_FILES = 1000
DATA_BYTES, VIDEO_BYTES = 100 << 20, 200 << 20
_INDEX = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
          "task_index": "int64"}  # fmt: skip
_FLAGS = {"next.reward": "float32", "next.done": "bool", "next.success": "bool"}
_TYPES = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class LeRobotWriter:
    """Writes one dataset.

    Args:
        root: new folder.
        shape: of its episodes.
        fps: frames a second.
        robot: its type.
        codec: of the video, see video.CODECS; "" = images in the parquet files.
    """

    def __init__(self, root: Path, shape: Shape, fps: int, robot: str, codec: str) -> None:
        self.root, self._shape, self._fps, self._robot, self._codec = root, shape, fps, robot, codec
        self._tasks: dict[str, int] = {}
        self._frames, self._rows = 0, 0
        self._stats: dict[str, lerobot_stats.Stats] = {}
        self._data, self._data_file = _Parquet(root, DATA_PATH), 0
        self._episodes = _Parquet(root, EPISODES_PATH)
        self._video: VideoWriter | None = None
        self._video_file = -1
        self._video_info: dict[str, Any] = {}
        if codec:
            self._next_video()

    def add(self, demo: Demo) -> None:
        """Append an episode: its video, its rows, its line in meta/episodes."""
        count = len(demo)
        values = self._values(demo)
        stats = {key: lerobot_stats.of_vectors(v.reshape(count, -1)) for key, v in values.items()}
        stats[CAMERA] = lerobot_stats.of_frames(demo.frames[:count])
        row: dict[str, Any] = {
            "episode_index": self._rows,
            "tasks": [demo.task],
            "length": count,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
            **_place("data", self._data.index),
            **_place("meta/episodes", 0),
            ROLLOUT: demo.record.id,
            OUTCOME: demo.record.outcome.name.lower(),
            VARIATIONS: demo.record.perturbation.id,
        }
        row |= self._write_video(demo.frames[:count])
        row |= {f"stats/{k}/{n}": v.tolist() for k, part in stats.items() for n, v in part.items()}
        self._data.write(self._table(values, demo.frames[:count]), DATA_BYTES)
        self._episodes.write(pa.Table.from_pylist([row]), 0)
        for key, part in stats.items():
            known = self._stats.get(key)
            self._stats[key] = lerobot_stats.together([known, part]) if known else part
        self._frames, self._rows = self._frames + count, self._rows + 1

    def close(self) -> None:
        """Finish the files and write meta/."""
        self._data.close()
        self._episodes.close()
        if self._video is not None:
            self._video.close()
            self._video_info = self._video_info or video_info(self._video.path)
        _write_tasks(self.root / TASKS_PATH, self._tasks)
        stats = {
            key: {name: value.tolist() for name, value in part.items()}
            for key, part in self._stats.items()
        }
        _write_json(self.root / "meta" / "stats.json", stats)
        _write_json(self.root / "meta" / "info.json", self._info())

    def _values(self, demo: Demo) -> dict[str, NDArray[Any]]:
        """The numbers of each frame, by feature; those of one number are (N,)."""
        count = len(demo)
        last = np.arange(count) == count - 1
        task = self._tasks.setdefault(demo.task, len(self._tasks))
        vectors = {"action": demo.actions}
        if self._shape.joints:
            vectors["observation.state"] = demo.positions[:count]
        if self._shape.has_velocities:
            vectors["observation.velocity"] = demo.velocities[:count]
        return {
            **{k: v[:, 0] if v.shape[1] == 1 else v for k, v in vectors.items()},
            "next.reward": np.float32(last & demo.success),
            "next.done": last,
            "next.success": last & demo.success,
            "timestamp": (np.arange(count) / self._fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, self._rows),
            "index": self._frames + np.arange(count),
            "task_index": np.full(count, task),
        }

    def _table(self, values: dict[str, NDArray[Any]], frames: NDArray[np.uint8]) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        if not self._codec:
            columns[CAMERA] = pa.array([_png(f, k) for k, f in enumerate(frames)], _IMAGE)
        for key, feature in self._features().items():
            if key in values:
                kind = _TYPES[feature["dtype"]]
                flat = pa.array(np.ascontiguousarray(values[key]).reshape(-1), kind)
                width = feature["shape"][0]
                columns[key] = (
                    flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
                )
        return pa.table(columns)

    def _write_video(self, frames: NDArray[np.uint8]) -> dict[str, Any]:
        if self._video is None:
            return {}
        if self._video.size() > VIDEO_BYTES:
            self._next_video()
        start = self._video.seconds
        self._video.write(frames)
        folder = f"videos/{CAMERA}"
        return {
            **_place(folder, self._video_file),
            f"{folder}/from_timestamp": start,
            f"{folder}/to_timestamp": self._video.seconds,
        }

    def _next_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video_info = self._video_info or video_info(self._video.path)
        self._video_file += 1
        path = self.root / _file(VIDEO_PATH, self._video_file, CAMERA)
        size = self._shape.height, self._shape.width
        self._video = VideoWriter(path, size, self._fps, self._codec)

    def _features(self) -> dict[str, dict[str, Any]]:
        shape = self._shape
        camera = {
            "dtype": "video" if self._codec else "image",
            "shape": [shape.height, shape.width, 3],
            "names": ["height", "width", "channels"],
        }
        joints = {"dtype": "float32", "shape": [len(shape.joints)], "names": list(shape.joints)}
        action = {
            "dtype": "float32",
            "shape": [shape.action_dim],
            "names": [f"action_{n}" for n in range(shape.action_dim)],
        }
        one = {k: {"dtype": d, "shape": [1], "names": None} for k, d in (_FLAGS | _INDEX).items()}
        return {
            CAMERA: camera | ({"info": self._video_info} if self._codec else {}),
            **({"observation.state": joints} if shape.joints else {}),
            **({"observation.velocity": joints} if shape.has_velocities else {}),
            "action": action,
            **one,
        }

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": self._robot,
            "total_episodes": self._rows,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_BYTES >> 20,
            "video_files_size_in_mb": VIDEO_BYTES >> 20,
            "fps": self._fps,
            "splits": {"train": f"0:{self._rows}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._codec else None,
            "features": self._features(),
        }


class _Parquet:
    """Files of one kind; a new one is begun when the last is large enough."""

    def __init__(self, root: Path, template: str) -> None:
        self._root, self._template, self.index = root, template, 0
        self._writer: pq.ParquetWriter | None = None
        self._path = root

    def write(self, table: pa.Table, limit: int) -> None:
        """Append one row group; `limit` bytes end the file, 0 = never."""
        if self._writer is None:
            self._path = self._root / _file(self._template, self.index)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table)
        if limit and self._path.stat().st_size > limit:
            self.close()
            self.index += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _file(template: str, index: int, key: str = "") -> str:
    chunk, file = divmod(index, CHUNK_FILES)
    return template.format(chunk_index=chunk, file_index=file, video_key=key)


def _place(folder: str, index: int) -> dict[str, int]:
    chunk, file = divmod(index, CHUNK_FILES)
    return {f"{folder}/chunk_index": chunk, f"{folder}/file_index": file}


def _png(frame: NDArray[np.uint8], at: int) -> dict[str, Any]:
    _, data = cv2.imencode(".png", frame[:, :, ::-1])
    return {"bytes": data.tobytes(), "path": f"frame-{at:06d}.png"}


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=4, ensure_ascii=False), encoding="utf-8")


def _write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """A table with the sentence as its pandas index, which is how LeRobot finds it."""
    index = "__index_level_0__"
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
         "metadata": None},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]  # fmt: skip
    told = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": columns,
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": list(tasks.values()), index: list(tasks)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(told)}), path)
