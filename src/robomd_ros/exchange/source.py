"""What `robomd study import` is pointed at: bags, or a LeRobot dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError
from robomd_ros.exchange.bags import ROLES as BAG_ROLES
from robomd_ros.exchange.bags import OwnRecording, bag_episodes
from robomd_ros.exchange.episode import Episode
from robomd_ros.exchange.lerobot_info import is_lerobot, read_info
from robomd_ros.exchange.mapping import parse_map
from robomd_ros.recording.reader import read_info as read_recording_info


@dataclass(frozen=True)
class Source:
    """Where episodes come from.

    Attributes:
        kind: "rosbag2" or "LeRobot".
        names: of its episodes.
        episodes: reads them again at each call, one at a time.
        about: task, robot and policy_id, as far as the source knows them.
    """

    kind: str
    names: tuple[str, ...]
    episodes: Callable[[], Iterable[Episode]]
    about: Mapping[str, str]


def open_source(path: Path, mapping: Iterable[str], rate: float = 0.0) -> Source:
    """Look at a source without reading its rollouts.

    Args:
        path: a bag, a folder of bags, or the folder of a LeRobot dataset.
        mapping: see mapping.parse_map.
        rate: frames a second of a bag that are kept at most; 0 = all.

    Raises:
        UnknownIdError: nothing there that is known.
        InvalidArgumentError: the mapping does not fit, or another version of a dataset.
        StorageError: a dataset is damaged.
    """
    if not path.exists():
        raise UnknownIdError(f"nothing at {path}.")
    if is_lerobot(path):
        from robomd_ros.exchange.lerobot_read import ROLES, episode_names, lerobot_episodes

        if rate:
            raise InvalidArgumentError(
                "--rate is for bags: the frames of a dataset are as they are."
            )
        fields = parse_map(mapping, ROLES)
        names = episode_names(path)
        next(iter(lerobot_episodes(path, fields)), None)  # says at once what does not fit
        about = {"robot": read_info(path).robot}
        return Source("LeRobot", tuple(names), partial(lerobot_episodes, path, fields), about)
    if (path / "meta").is_dir() and (path / "data").is_dir():
        raise InvalidArgumentError(
            f"{path} looks like a LeRobot dataset, but has no meta/info.json."
        )
    found = list(bag_episodes(path, parse_map(mapping, BAG_ROLES), rate))
    own = next((episode for episode in found if isinstance(episode, OwnRecording)), None)
    about = read_recording_info(own.path) if own else {}
    return Source("rosbag2", tuple(episode.name for episode in found), lambda: found, about)
