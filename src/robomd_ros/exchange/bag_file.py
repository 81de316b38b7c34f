"""A rosbag2 recording as any tool wrote it: its topics, and messages decoded by the definitions inside the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from mcap.records import Chunk
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robomd_ros.core.errors import InvalidArgumentError, RobomdError, StorageError, UnknownIdError
from robomd_ros.recording.messages import typestore

_SUFFIXES = (".mcap", ".db3")


def find_bags(source: Path) -> dict[str, Path]:
    """Bags by name: `source` itself, or every folder with a metadata.yaml and every bare file inside it.

    Raises:
        UnknownIdError: there is none.
    """
    if source.is_file() and source.suffix in _SUFFIXES:
        return {source.stem: source}
    if (source / "metadata.yaml").is_file():
        return {source.resolve().name: source}
    folders = {path.parent for path in source.rglob("metadata.yaml")}
    files = {
        path
        for suffix in _SUFFIXES
        for path in source.rglob(f"*{suffix}")
        if not folders & set(path.parents)
    }
    found = {_name(path, source): path for path in sorted(folders | files)}
    if not found:
        raise UnknownIdError(
            f"no bag in {source}: want a folder with a metadata.yaml, a .mcap or a .db3 file, or a folder of them."
        )
    return found


def storage_files(bag: Path) -> list[Path]:
    """The files that hold the messages."""
    if bag.is_file():
        return [bag]
    found = [
        path
        for path in sorted(bag.iterdir())
        if set(path.suffixes) & set(_SUFFIXES) and path.is_file()
    ]
    if not found:
        raise StorageError(f"{bag} has a metadata.yaml, but no .mcap or .db3 file beside it.")
    return found


def verify_bag(bag: Path) -> None:
    """Compare the chunks of MCAP files with their checksums, which reading does not. Raises StorageError."""
    for path in storage_files(bag):
        if path.suffix == ".mcap":
            found = path.stat()
            _verify_mcap(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)  # the parts of a split bag ask for it each
def _verify_mcap(path: Path, size: int, changed: int) -> None:
    with _damage(path), path.open("rb") as file:
        for record in StreamReader(file, emit_chunks=True, validate_crcs=True).records:
            if isinstance(record, Chunk):
                breakup_chunk(record, validate_crc=True)


class BagFile:
    """An open bag. Use `open_bag`."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        self._store = typestore()
        self._known: set[str] = set()

    @property
    def start(self) -> int:
        """Time of the first message [ns]."""
        return self._reader.start_time

    @property
    def topics(self) -> dict[str, str]:
        """Message types by topic, those without a message left out."""
        return {c.topic: c.msgtype for c in self._reader.connections if c.msgcount}

    def type_of(self, topic: str) -> str:
        """Message type of a topic. Raises UnknownIdError that names those there are."""
        try:
            return self.topics[topic]
        except KeyError:
            there = ", ".join(f"{name} ({kind})" for name, kind in sorted(self.topics.items()))
            raise UnknownIdError(
                f"no message on {topic} in {self.path.name}; there are: {there[:1000] or 'none'}."
            ) from None

    def messages(
        self,
        topics: Iterable[str],
        start: int | None = None,
        stop: int | None = None,
        wanted: Callable[[str, int], bool] = lambda topic, time: True,
    ) -> Iterator[tuple[str, int, Any]]:
        """Topic, time of receipt [ns] and message, in the order of time.

        Args:
            topics: those to read.
            start: nanoseconds; None = from the beginning.
            stop: nanoseconds, not included; None = to the end.
            wanted: asked by topic and time before a message is decoded.
        """
        names = set(topics)
        connections = [c for c in self._reader.connections if c.topic in names]
        store = self._types(connections)
        if not connections:
            return
        with _damage(self.path):
            for connection, stamp, raw in self._reader.messages(connections, start, stop):
                if wanted(connection.topic, stamp):
                    yield (
                        connection.topic,
                        stamp,
                        store.deserialize_cdr(raw, connection.msgtype),
                    )

    def _types(self, connections: list[Connection]) -> Typestore:
        """The file's own definitions where it has some, those of ROS 2 Jazzy where not."""
        store = get_typestore(Stores.EMPTY)
        for connection in connections:
            try:
                found = _definitions(connection)
                known = {k: v for k, v in found.items() if k not in store.fielddefs}
                store.register(known)
            except Exception as error:  # a parser of foreign text raises what it likes
                raise InvalidArgumentError(
                    f"{connection.topic}: the definition of {connection.msgtype} cannot be read: {error}"
                ) from error
            if connection.msgtype not in store.fielddefs:
                raise InvalidArgumentError(
                    f"{connection.topic}: the bag has no definition of {connection.msgtype}; record it as MCAP."
                )
        return store


@contextmanager
def open_bag(path: Path) -> Iterator[BagFile]:
    """Open a bag for reading. Raises StorageError when it is torn or of an unknown kind."""
    with _damage(path):
        reader = Reader(path)
        reader.open()
    try:
        yield BagFile(path, reader)
    finally:
        reader.close()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (RobomdError, GeneratorExit):
        raise
    except Exception as error:  # the decoders below raise whatever torn bytes lead them to
        raise StorageError(
            f"{path.name} is torn or damaged ({type(error).__name__}: {str(error)[:200]}); "
            "`mcap recover` or `ros2 bag reindex` may save a part of it."
        ) from error


def _definitions(connection: Connection) -> Mapping[str, Any]:
    definition = connection.msgdef
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, connection.msgtype)
    if definition.format == MessageDefinitionFormat.IDL:
        blocks = definition.data.split("=" * 80 + "\n")
        found: dict[str, Any] = {}
        for block in blocks:
            text = block.split("\n", 1)[1] if block.startswith("IDL: ") else block
            if text.strip():
                found |= get_types_from_idl(text)
        return found
    return typestore().fielddefs


def _name(path: Path, source: Path) -> str:
    inside = path.relative_to(source)
    return str(inside.with_suffix("") if path.is_file() else inside)
