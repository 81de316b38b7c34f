"""Rollouts out of rosbag2 recordings: one a bag, or one between two messages of a marker topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from robomd_ros.core.assembly import FRAME_0
from robomd_ros.core.errors import InvalidArgumentError, RobomdError
from robomd_ros.exchange.bag_file import BagFile, find_bags, open_bag, storage_files, verify_bag
from robomd_ros.exchange.bag_trace import Topics, read_trace
from robomd_ros.exchange.episode import Content, Episode, content_id
from robomd_ros.exchange.mapping import Field
from robomd_ros.recording import read_recording
from robomd_ros.recording.messages import ROLLOUT, TYPES
from robomd_ros.recording.reader import read_info

ROLES = ("camera", "joints", "actions", "success", "split")
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_JOINTS = "sensor_msgs/msg/JointState"
_PROBE = 1 << 20
"""Bytes at each end of a file that stand for its content."""


@dataclass(frozen=True)
class BagEpisode:
    """One rollout inside a bag.

    Attributes:
        bag: folder or file.
        name: of the bag; "bag#2" or "bag#text of the marker" when it is split.
        topics: what is read.
        start, stop: nanoseconds of receipt, half open; None = the whole bag.
        rate: frames a second that are kept at most; 0 = all.
    """

    bag: Path
    name: str
    topics: Mapping[str, Field]
    start: int | None = None
    stop: int | None = None
    rate: float = 0.0

    def identity(self) -> str:
        """From the sizes and the ends of the bag's files, wherever they lie, and from the part."""
        span = f"{self.start},{self.stop}" if self.start is not None else ""
        return content_id([*_probe(storage_files(self.bag)), span.encode()])

    def load(self) -> Content:
        """Frames, joint states, actions and the success flag, on the camera's clock."""
        verify_bag(self.bag)
        with open_bag(self.bag) as bag:
            topics = choose_topics(bag, self.topics)
            trace, success, facts = read_trace(bag, topics, self.start, self.stop, self.rate)
            start = bag.start if self.start is None else self.start
        return Content(trace, success, started=start * 1e-9, facts={**facts, **topics.facts()})


@dataclass(frozen=True)
class OwnRecording:
    """A recording of robomd_ros from another study: it is taken over as it is, under its own id."""

    path: Path
    name: str

    def identity(self) -> str:
        """The rollout's id."""
        return read_info(self.path).get("rollout_id", "") or self.name

    def load(self) -> Content:
        """The trace with every number as it was; the label was never in the recording."""
        info = read_info(self.path)
        try:
            seed = int(info.get("seed", -1))
        except ValueError as error:
            raise InvalidArgumentError(f"{self.path.name}: seed {info['seed']!r}.") from error
        trace = read_recording(self.path)
        return Content(
            trace,
            variations=info.get("perturbation_id"),
            purpose=info.get("purpose", "manual"),
            seed=seed,
            policy_id=info.get("policy_id", ""),
            task=info.get("task", ""),
            facts={key: value for key, value in info.items() if key == FRAME_0},
        )


@dataclass(frozen=True)
class TornBag:
    """A bag that could not even be opened; the import says so and goes on."""

    name: str
    error: RobomdError

    def identity(self) -> str:
        """Raises what is wrong with it."""
        raise self.error

    def load(self) -> Content:
        """Raises what is wrong with it."""
        raise self.error


def bag_episodes(source: Path, topics: Mapping[str, Field], rate: float = 0.0) -> Iterator[Episode]:
    """The rollouts of all bags under `source`.

    Args:
        source: a bag, or a folder of bags.
        topics: by role, see ROLES; what is not mapped is found by its type where there is one only.
        rate: frames a second that are kept at most; 0 = all.

    Raises:
        UnknownIdError: no bag there.
    """
    for name, path in find_bags(source).items():
        own = _own_file(path)
        if own is not None and not topics:
            yield OwnRecording(own, name)
        elif "split" in topics:
            try:
                parts = _parts(path, name, topics, rate)
            except RobomdError as error:
                parts = [TornBag(name, error)]
            yield from parts
        else:
            yield BagEpisode(path, name, topics, rate=rate)


def choose_topics(bag: BagFile, mapped: Mapping[str, Field]) -> Topics:
    """The mapped topics, and for the rest those whose type leaves no choice.

    Raises:
        UnknownIdError: a mapped topic is not there.
        InvalidArgumentError: the camera is not mapped, and there is no image topic, or several.
    """
    for field in mapped.values():
        bag.type_of(field.name)
    images = sorted(name for name, kind in bag.topics.items() if kind in _IMAGES)
    camera = mapped.get("camera")
    if camera is None and len(images) != 1:
        listed = ", ".join(images) or ", ".join(sorted(bag.topics)) or "none"
        raise InvalidArgumentError(
            f"which topic is the camera? --map camera=...; {'image topics' if images else 'topics'}: {listed[:1000]}."
        )
    joints = mapped.get("joints")
    states = [name for name, kind in bag.topics.items() if kind == _JOINTS]
    if joints is None and len(states) == 1:
        joints = Field(states[0])
    return Topics(camera or Field(images[0]), joints, mapped.get("actions"), mapped.get("success"))


def _parts(path: Path, name: str, topics: Mapping[str, Field], rate: float) -> list[Episode]:
    """Bool markers: true starts a rollout and false ends it. Any other message starts the next one."""
    marker = topics["split"]
    starts: list[tuple[str, int, int | None]] = []
    with open_bag(path) as bag:
        bag.type_of(marker.name)
        for _, stamp, message in bag.messages([marker.name]):
            value = marker.value(message)
            value = getattr(value, "data", value)
            if starts and starts[-1][2] is None:
                starts[-1] = (*starts[-1][:2], stamp)
            if value is not False:
                label = value if isinstance(value, str) and value.strip() else str(len(starts) + 1)
                starts.append((label, stamp, None))
    rest = {role: field for role, field in topics.items() if role != "split"}
    found: dict[str, Episode] = {}
    for label, start, stop in starts:
        unique = f"{name}#{label}" if f"{name}#{label}" not in found else f"{name}#{label}@{start}"
        found[unique] = BagEpisode(path, unique, rest, start, stop or 2**63 - 1, rate)
    return list(found.values())


def _own_file(path: Path) -> Path | None:
    """The MCAP file of a recording of ours; None = it is somebody else's, or cannot be read (which is said later)."""
    try:
        files = storage_files(path)
        if len(files) != 1 or files[0].suffix != ".mcap":
            return None
        with open_bag(files[0]) as bag:
            return files[0] if bag.topics.get(ROLLOUT) == TYPES[ROLLOUT] else None
    except RobomdError:
        return None


def _probe(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        size = path.stat().st_size
        yield str(size).encode()
        with path.open("rb") as file:
            yield file.read(_PROBE)
            file.seek(max(0, size - _PROBE))
            yield file.read(_PROBE)
