"""LeRobot dataset format v3.0: meta/info.json, checked, and the names of its files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError, StorageError, UnknownIdError

VERSION = "v3.0"
CHUNK = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{CHUNK}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{CHUNK}.mp4"
EPISODES_PATH = f"meta/episodes/{CHUNK}.parquet"
TASKS_PATH = "meta/tasks.parquet"
OUTCOME, VARIATIONS, ROLLOUT = "robomd/outcome", "robomd/variations", "robomd/rollout_id"
"""Columns of our own in meta/episodes, which every reader of LeRobot's passes over."""

_MAX_BYTES = 10_000_000
_FIELD = re.compile(r"\{(chunk_index|file_index|video_key)(:0\dd)?\}")


@dataclass(frozen=True)
class Feature:
    """One column: dtype "video", "image", "float32", ...; its shape; a name for each number, where there are names."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def is_camera(self) -> bool:
        """A picture."""
        return self.dtype in ("video", "image")


@dataclass(frozen=True)
class Info:
    """What meta/info.json says.

    Attributes:
        root: folder of the dataset.
        fps: frames a second.
        features: by key.
        episodes: how many there are.
        robot: type of the robot, "" = not said.
        data_path, video_path: templates, checked.
    """

    root: Path
    fps: float
    features: Mapping[str, Feature]
    episodes: int
    robot: str
    data_path: str
    video_path: str

    def file(self, template: str, chunk: int, file: int, key: str = "") -> Path:
        """A file of the dataset.

        Raises:
            StorageError: it is not there.
        """
        path = self.root / template.format(chunk_index=chunk, file_index=file, video_key=key)
        if not path.is_file():
            raise StorageError(f"{path.relative_to(self.root)} is missing.")
        return path


def is_lerobot(source: Path) -> bool:
    """Does the folder hold a LeRobot dataset, of whatever version?"""
    return (source / "meta" / "info.json").is_file()


def read_info(root: Path) -> Info:
    """Read meta/info.json.

    Raises:
        UnknownIdError: there is none.
        StorageError: it is no JSON.
        InvalidArgumentError: another version, or something in it is not as it should be.
    """
    data = _json(root / "meta" / "info.json")
    version = str(data.get("codebase_version", ""))
    if not re.fullmatch(r"v3(\.\d+)*", version):
        raise InvalidArgumentError(
            f"{root} is a LeRobot dataset of version {version[:20] or 'unknown'}; this reads v3: "
            + (
                "convert it with `python -m lerobot.datasets.v30.convert_dataset_v21_to_v30`."
                if version.startswith(("v1", "v2"))
                else "update robomd_ros."
            )
        )
    try:
        features = {key: _feature(key, entry) for key, entry in data["features"].items()}
        fps = float(data["fps"])
        if not 0 < fps < 10_000:
            raise ValueError(f"fps {fps}")
        return Info(
            root,
            fps,
            features,
            int(data.get("total_episodes", 0)),
            str(data.get("robot_type") or ""),
            check_template(data.get("data_path") or DATA_PATH),
            check_template(data.get("video_path") or VIDEO_PATH),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgumentError(f"{root}/meta/info.json: {error}") from error


def check_template(template: str) -> str:
    """The template of a path, if it stays inside the dataset and has no other fields than it may have."""
    filled = _FIELD.sub("0", template)
    path = PurePosixPath(filled)
    if "{" in filled or "}" in filled or "\\" in filled or path.is_absolute() or ".." in path.parts:
        raise InvalidArgumentError(
            f"path {template[:100]!r} leads out of the dataset or is no template."
        )
    return template


def check_key(key: str) -> str:
    """The key of a feature, which becomes the name of a folder."""
    if not key or not re.fullmatch(r"[\w.\-]+", key) or key.strip(".") == "":
        raise InvalidArgumentError(f"feature {key[:60]!r}: want letters, digits, '.', '_' and '-'.")
    return key


def _feature(key: str, entry: Mapping[str, Any]) -> Feature:
    shape = tuple(int(n) for n in entry["shape"])
    dtype = str(entry["dtype"])
    if dtype in ("video", "image"):
        check_key(key)
    return Feature(key, dtype, shape, _names(entry.get("names"), shape))


def _names(names: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names come as a list, or as {"motors": [...]}, or not at all."""
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(shape) == 1 and len(names) == shape[0]:
        return tuple(str(name) for name in names)
    return ()


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise StorageError(f"{path} is larger than {_MAX_BYTES} bytes.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnknownIdError(
            f"no LeRobot dataset in {path.parents[1]}: no meta/info.json."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise StorageError(f"{path} is not an object.")
    return data
