"""Write chosen rollouts of a study as one data set, which is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from robomd_ros.core.errors import InvalidArgumentError, RobomdError
from robomd_ros.core.files import storage_error, sync
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.exchange.demo import Demo, Shape, read_demo
from robomd_ros.exchange.mapping import Field
from robomd_ros.exchange.video import CODECS


class Writer(Protocol):
    """A data set that is being written."""

    def add(self, demo: Demo) -> None:
        """Append a rollout."""
        ...

    def close(self) -> None:
        """Finish the files."""
        ...


def writer_of(
    kind: str, task: str, robot: str, fps: int, codec: str
) -> Callable[[Path, Shape], Writer]:
    """What opens the writer of a format.

    Args:
        kind: "lerobot" or "robomimic".
        task: of the study.
        robot: its type.
        fps: frames a second.
        codec: of LeRobot's video, see video.CODECS; "" = images.

    Raises:
        InvalidArgumentError: no such codec.
    """
    if codec not in ("", *CODECS):
        raise InvalidArgumentError(f"codec {codec[:20]!r}: want {' or '.join(CODECS)}.")
    if kind == "lerobot":
        from robomd_ros.exchange.lerobot_write import LeRobotWriter

        return lambda path, shape: LeRobotWriter(path, shape, fps, robot, codec)
    from robomd_ros.exchange.robomimic_write import RobomimicWriter

    return lambda path, shape: RobomimicWriter(path, shape, fps, task, robot)


@dataclass(frozen=True)
class Exported:
    """One rollout that was dealt with; `refused` says why it is not in the data set, "" = it is."""

    rollout_id: str
    refused: str = ""
    resampled: bool = False


def export_rollouts(
    study: Study,
    records: list[RolloutRecord],
    target: Path,
    fps: int,
    begin: Callable[[Path, Shape], Writer],
    actions: Field | None = None,
) -> Iterator[Exported]:
    """Write the rollouts, one in memory at a time; what does not fit to the first of them is refused.

    Args:
        study: where the recordings are.
        records: the chosen ones.
        target: new file or folder.
        fps: frames a second of the data set.
        begin: opens a writer at a temporary name, for rollouts of one shape.
        actions: topic whose messages are the actions; None = what the policy answered.

    Yields:
        One entry a rollout. The target is there after the last.

    Raises:
        InvalidArgumentError: the target is there already, or not one rollout could be exported.
        StorageError: the disk is full; nothing remains.
    """
    if target.exists():
        raise InvalidArgumentError(f"{target} is there already: choose another name.")
    temporary = target.with_name(f".{target.name}.tmp")
    _remove(temporary)
    writer: Writer | None = None
    shape: Shape | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for record in records:
            try:
                demo = read_demo(study, record, fps, actions)
                _check_shape(demo.shape, shape)
            except RobomdError as error:
                yield Exported(record.id, str(error))
                continue
            shape = shape or demo.shape
            writer = writer or begin(temporary, shape)
            writer.add(demo)
            yield Exported(record.id, resampled=demo.resampled)
        if writer is None:
            raise InvalidArgumentError(
                "not one of the chosen rollouts can be exported: nothing was written."
            )
        writer.close()
        temporary.rename(target)
        sync(target.parent)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        _remove(temporary)


def _check_shape(shape: Shape, first: Shape | None) -> None:
    for name in Shape.__dataclass_fields__:
        ours, theirs = getattr(shape, name), getattr(first or shape, name)
        if ours != theirs:
            raise InvalidArgumentError(
                f"{name.replace('_', ' ')} {ours}, those before it {theirs}: one data set holds one kind."
            )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
