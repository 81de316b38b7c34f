"""Messages on their way into a recording: what is kept, what is led in, and in which clock."""

from __future__ import annotations

import numpy as np
import pytest
from store_samples import make_record

from robomd_ros.core.assembly import FRAME_0, RolloutAssembly
from robomd_ros.core.message_buffer import CameraClock, MessageBuffer
from robomd_ros.core.records import RawMessage

SECOND = 1_000_000_000
WALL = 1_790_000_000 * SECOND


def said(stamp: int, topic: str = "/a", data: bytes = b"x", latched: bool = False) -> RawMessage:
    return RawMessage(topic, "std_msgs/msg/Bool", stamp, data, latched)


def test_an_interval_begins_with_what_latched_topics_said_last() -> None:
    buffer = MessageBuffer(1 << 20)
    for message in (
        said(1, "/state", b"old", True),
        said(2, "/state", b"now", True),
        said(3, "/tf_static", b"camera", True),
        said(4, "/tf_static", b"table", True),
        said(5, "/tf_static", b"camera", True),
        said(6),
        said(10),
        said(12, "/state", b"new", True),
        said(20),
    ):
        buffer.add(message)
    found = buffer.between(10, 15)
    assert [(m.topic, m.data, m.stamp) for m in found] == [
        ("/state", b"now", 10),
        ("/tf_static", b"table", 10),
        ("/tf_static", b"camera", 10),
        ("/a", b"x", 10),
        ("/state", b"new", 12),
    ]


def test_memory_is_bounded_and_a_latched_topic_is_never_forgotten() -> None:
    buffer = MessageBuffer(10_000)
    buffer.add(said(1, "/state", b"ready", True))
    for stamp in range(2, 1000):
        buffer.add(said(stamp, data=bytes(800)))
    found = buffer.between(0, 2000)
    assert 5 < len(found) < 15
    assert (found[0].topic, found[0].stamp) == ("/state", 0)
    assert found[-1].stamp == 999
    oldest = found[1].stamp
    assert buffer.is_whole_since(oldest)
    assert not buffer.is_whole_since(oldest - 1)


def test_many_static_transforms_do_not_grow_without_end() -> None:
    buffer = MessageBuffer(10_000)
    for stamp in range(5000):
        buffer.add(said(stamp, "/tf_static", str(stamp).encode(), True))
    assert len(buffer.between(5000, 5000)) <= 64


def test_after_a_jump_of_the_clock_only_latched_topics_count() -> None:
    buffer = MessageBuffer(1 << 20)
    buffer.add(said(WALL, "/state", b"ready", True))
    buffer.add(said(WALL + 1))
    buffer.add(said(5))
    assert [(m.topic, m.stamp) for m in buffer.between(5, 9)] == [("/state", 5), ("/a", 5)]


def test_the_camera_s_clock_is_the_wall_clock_or_the_newest_stamp() -> None:
    clock = CameraClock()
    assert clock.read(WALL) == WALL
    assert not clock.hear(WALL, WALL + 3)
    assert clock.read(WALL + 60 * SECOND) == WALL + 60 * SECOND  # the camera went silent
    assert clock.hear(7 * SECOND, WALL)  # it is a simulator after all
    assert clock.read(WALL + SECOND) == 7 * SECOND
    assert not clock.hear(8 * SECOND, WALL)
    assert clock.hear(SECOND, WALL)  # started again


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_frames_come_out_in_order_and_the_first_is_that_of_the_start(order: list[int]) -> None:
    frames = [np.full((4, 6, 3), 50 * n, np.uint8) for n in range(4)]
    assembly = RolloutAssembly(start=0, end=30, frames_expected=4)
    for at in order:
        assembly.add_frame(10 * at, frames[at], 1 << 20)
        assembly.add_frame(10 * at, frames[0], 1 << 20)  # told again
    assembly.add_frame(99, frames[0], 1 << 20)  # after the end
    record, trace = assembly.build(make_record("r1"), [], {20: b"jpeg"})
    assert trace is not None
    assert np.array_equal(trace.frames, frames)
    assert np.array_equal(record.first_frame, frames[0])
    assert trace.compressed == (b"", b"", b"jpeg", b"")
    assert FRAME_0 not in record.facts


def test_frames_beyond_the_memory_limit_are_counted() -> None:
    frame = np.zeros((10, 10, 3), np.uint8)
    assembly = RolloutAssembly(start=1, frames_expected=200)
    for stamp in range(1, 201):
        assembly.add_frame(stamp, frame, 100 * frame.nbytes)
    assembly.end = 200
    assert (assembly.frames, assembly.dropped, assembly.complete) == (100, 100, True)
