import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from PIL import Image as PilImage
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from store_samples import make_record, make_study, make_trace, same

from robomd_ros.core.assembly import FRAME_0
from robomd_ros.core.errors import InvalidArgumentError, StorageError, UnavailableError
from robomd_ros.core.frame_codec import decode_frame, encode_frame, encode_png
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RawMessage, Trace
from robomd_ros.recording import (
    attach_recording,
    commit_rollout,
    messages,
    read_recording,
    verify_recording,
    write_recording,
)
from robomd_ros.recording.messages import COMPRESSED, TYPES, header_stamp, nanoseconds
from robomd_ros.recording.reader import read_info
from robomd_ros.recording.schemas import schema, typestore


@st.composite
def traces(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames, joints = draw(st.integers(1, 6)), draw(st.integers(0, 3))
    states, actions = draw(st.integers(0, 9)), draw(st.integers(0, 8))
    start = draw(st.floats(0, 2e9))
    size = (frames, draw(st.integers(1, 7)), draw(st.integers(1, 7)), 3)
    velocities = rng.normal(size=(states, joints)) if draw(st.booleans()) else np.zeros((0, 0))
    return Trace(
        stamps=start + np.cumsum(rng.uniform(0.001, 1, frames)),
        frames=rng.integers(0, 256, size, dtype=np.uint8),
        joint_names=tuple(f"j{n}" for n in range(joints)),
        joint_stamps=start + np.cumsum(rng.uniform(0.001, 1, states)),
        joint_positions=rng.normal(size=(states, joints)),
        joint_velocities=velocities,
        actions=rng.normal(size=(actions, 4)).astype(np.float32),
        frame_id=draw(st.sampled_from(["camera", "", "ö/optical"])),
    )


@settings(max_examples=40, deadline=None)
@given(trace=traces())
def test_a_trace_comes_back(tmp_path_factory, trace):
    folder = tmp_path_factory.mktemp("recording")
    back = read_recording(folder / write_recording(trace, folder, "r1"))
    assert back.frame_id == trace.frame_id
    assert back.joint_names == trace.joint_names
    for name in ("frames", "joint_positions", "actions"):
        assert np.array_equal(getattr(back, name), getattr(trace, name)), name
    assert back.actions.dtype == np.float32
    if trace.joint_velocities.size:
        assert np.array_equal(back.joint_velocities, trace.joint_velocities)
    for name in ("stamps", "joint_stamps"):
        assert np.allclose(getattr(back, name), getattr(trace, name), rtol=0, atol=5e-7), name
    assert list(folder.iterdir()) == [folder / "r1.mcap"]


def raw(topic, kind, stamp, latched=False, **fields):
    """A message of any type with these fields, the others empty, as bytes."""
    schema(kind)
    store = typestore()
    made = store.types[kind](**{**empty(kind), **fields})
    return RawMessage(topic, kind, stamp, bytes(store.serialize_cdr(made, kind)), latched)


def empty(kind):
    """Fields of a type with nothing in them."""
    zero = {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}

    def value(node, what):
        if node == 1:
            return zero.get(what[0], 0)
        if node == 2:
            return typestore().types[what](**empty(what))
        return (
            [] if what[0][0] == 2 or what[0][1][0] == "string" else np.zeros(what[1], what[0][1][0])
        )

    return {name: value(*field) for name, field in typestore().fielddefs[kind][1]}


def jpeg(rgb, mode="JPEG"):
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, mode)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def make_extras():
    """What a cell says besides its frames: with and without a header, latched and not, ours and the standard's."""
    types = typestore().types
    when = types["builtin_interfaces/msg/Time"](sec=3, nanosec=5)
    fact = types["diagnostic_msgs/msg/KeyValue"](key="time_to_stop_ms", value="12")
    header = types["std_msgs/msg/Header"](stamp=when, frame_id="base")
    transform = types["geometry_msgs/msg/TransformStamped"](
        **{
            **empty("geometry_msgs/msg/TransformStamped"),
            "header": header,
            "child_frame_id": "tool0",
        }
    )
    ns = 100_000_000
    return (
        raw("/tf_static", "tf2_msgs/msg/TFMessage", 0, True, transforms=[transform]),
        raw("/robomd/cell_state", "robomd_msgs/msg/CellState", 0, True, message="ready", state=2),
        raw("/robomd/rollout_status", "robomd_msgs/msg/RolloutStatus", 0, True, facts=[fact]),
        *(
            raw(
                "/forward_position_controller/commands",
                "std_msgs/msg/Float64MultiArray",
                ns * n,
                data=np.arange(6) + 0.5 * n,
            )
            for n in range(4)
        ),
        raw("/robomd/cell_state", "robomd_msgs/msg/CellState", 4 * ns, True, state=6),
    )


def by_topic(extras):
    return {t: [m for m in extras if m.topic == t] for t in {m.topic for m in extras}}


def test_every_message_of_a_recording_is_decoded_by_a_reader_that_knows_no_type(tmp_path):
    extras = make_extras()
    trace = replace(make_trace(), extras=extras)
    path = tmp_path / write_recording(trace, tmp_path, "r1")
    verify_recording(path)
    found = {}
    with AnyReader([path]) as bag:  # its types come from the file alone
        for connection, stamp, data in bag.messages():
            message = bag.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((stamp, message))
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in bag.connections}
        for connection in bag.connections:
            installed = schema(connection.msgtype)
            assert bag.typestore.hash_rihs01(connection.msgtype) == installed[1]
    for topic, sent in by_topic(extras).items():
        assert [stamp for stamp, _ in found[topic]] == [m.stamp for m in sent]
        latched = QosDurability.TRANSIENT_LOCAL if sent[0].latched else QosDurability.VOLATILE
        assert offered[topic].durability is latched
        assert offered[topic].reliability is QosReliability.RELIABLE
    assert found["/tf_static"][0][1].transforms[0].child_frame_id == "tool0"
    assert [m.state for _, m in found["/robomd/cell_state"]] == [2, 6]
    assert found["/robomd/rollout_status"][0][1].facts[0].value == "12"
    commands = [m.data for _, m in found["/forward_position_controller/commands"]]
    assert np.array_equal(commands, np.arange(6) + 0.5 * np.arange(4)[:, None])
    assert by_topic(read_recording(path).extras) == by_topic(extras)
    assert read_info(path)["messages/forward_position_controller/commands"] == "4"


def test_definitions_are_those_the_wire_uses(root):
    installed = sorted((root / "src/robomd_msgs/msg").glob("*.msg"))
    share = (
        next(p for p in map(Path, sys.path) if (p / "robomd_msgs").is_dir()).parents[2] / "share"
    )
    for path in installed:
        name = f"robomd_msgs/msg/{path.stem}"
        built = json.loads((share / "robomd_msgs/msg" / f"{path.stem}.json").read_text())
        hashes = {h["type_name"]: h["hash_string"] for h in built["type_hashes"]}
        assert schema(name)[1] == hashes[name]


@pytest.mark.parametrize(
    "kind", ["nobody_msgs/msg/X", "std_msgs/Bool", "std_msgs/msg/../Bool", "std_msgs/msg/No"]
)
def test_a_type_that_is_not_installed_is_named(kind):
    with pytest.raises(UnavailableError):
        schema(kind)


def test_a_recording_that_lacks_a_message_of_a_further_topic_is_noticed(tmp_path, monkeypatch):
    counted = messages.Counter
    monkeypatch.setattr(messages, "Counter", lambda topics: counted([*topics, "/tf_static"]))
    name = write_recording(replace(make_trace(), extras=make_extras()), tmp_path, "r1")
    monkeypatch.undo()
    with pytest.raises(StorageError, match="1 of 2 messages on /tf_static"):
        verify_recording(tmp_path / name)


@pytest.mark.parametrize(
    "extra",
    [
        RawMessage("/joint_states", "sensor_msgs/msg/JointState", 0, b""),
        RawMessage("relative", "std_msgs/msg/Bool", 0, b"\0\1\0\0\1"),
        RawMessage("/bool", "std_msgs/msg/Bool", -1, b"\0\1\0\0\1"),
        RawMessage("/robomd/cell_state", "std_msgs/msg/Bool", 0, b"\0\1\0\0\1"),
        RawMessage("/x", "nobody_msgs/msg/X", 0, b"\0\1\0\0\1"),
    ],
)
def test_a_further_message_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, extra):
    trace = replace(make_trace(), extras=(*make_extras()[:2], extra))
    with pytest.raises((InvalidArgumentError, UnavailableError)):
        write_recording(trace, tmp_path, "r1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["JPEG", "PNG"])
def test_frames_are_kept_as_the_driver_compressed_them(tmp_path, mode):
    trace, sent, lossy = make_trace(frames=4, size=16), [], mode == "JPEG"
    for at, frame in enumerate(trace.frames):
        sec = types_time(nanoseconds(trace.stamps[at]))
        header = typestore().types["std_msgs/msg/Header"](stamp=sec, frame_id="camera")
        data = jpeg(frame, mode)
        kept = raw(COMPRESSED, TYPES[COMPRESSED], 0, header=header, format=mode.lower(), data=data)
        assert header_stamp(kept.data) == nanoseconds(trace.stamps[at])
        sent.append(kept.data)
    sent[2] = b""  # was lost on the way: this one is kept raw
    path = tmp_path / write_recording(replace(trace, compressed=tuple(sent)), tmp_path, "r1")
    verify_recording(path)
    back = read_recording(path)
    assert back.compressed == tuple(sent)
    assert np.array_equal(back.frames[2], trace.frames[2])
    assert np.array_equal(back.frames, trace.frames) is not lossy
    assert (read_info(path)["frames"], read_info(path)["compressed"]) == ("4", "3")
    with AnyReader([path]) as bag:
        assert {c.topic: c.msgcount for c in bag.connections}[COMPRESSED] == 3
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StorageError):
        verify_recording(path)


def types_time(stamp):
    return typestore().types["builtin_interfaces/msg/Time"](
        sec=stamp // 10**9, nanosec=stamp % 10**9
    )


def test_without_frame_0_the_recording_stays_and_no_later_frame_stands_in(tmp_path):
    study, trace = make_study(tmp_path / "s"), make_trace()
    blind = replace(trace, stamps=np.zeros(0), frames=np.zeros((0, 0, 0, 3), np.uint8))
    blind = replace(blind, actions=np.zeros((0, 0), np.float32), extras=make_extras())
    with study.store() as store:
        for rollout_id, kept in (("late", trace), ("blind", blind)):
            record = make_record(rollout_id, facts={FRAME_0: "lost"})
            stored = commit_rollout(study, store, record, kept)
            assert stored.first_frame is None
            back = read_recording(study.recordings / stored.recording)
            assert np.array_equal(back.frames, kept.frames)
            assert len(back.extras) == len(kept.extras)
    assert study.check(deep=True) == []


def test_rosbags_reads_the_same_pixels_with_standard_types(tmp_path):
    trace = make_trace(frames=7, size=16)
    name = write_recording(trace, tmp_path, "r1", {"perturbation_id": "cube_red"})
    images, counts = [], {}
    with AnyReader([tmp_path / name]) as bag:
        for connection, stamp, raw in bag.messages():
            counts[connection.topic] = counts.get(connection.topic, 0) + 1
            message = bag.deserialize(raw, connection.msgtype)
            if connection.msgtype == "sensor_msgs/msg/Image":
                assert nanoseconds(trace.stamps[len(images)]) == stamp
                assert message.encoding == "rgb8"
                images.append(message.data.reshape(message.height, message.width, 3))
            elif connection.msgtype == "sensor_msgs/msg/JointState":
                assert tuple(message.name) == trace.joint_names
    assert np.array_equal(np.stack(images), trace.frames)
    topics = {
        "/camera/image_raw": 7,
        "/joint_states": 7,
        "/robomd/actions": 6,
        "/robomd/rollout": 1,
    }
    assert counts == topics
    assert read_info(tmp_path / name)["perturbation_id"] == "cube_red"


def test_the_file_says_what_foxglove_and_ros2_bag_look_for(tmp_path):
    with (tmp_path / write_recording(make_trace(), tmp_path, "r1")).open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
    assert {s.encoding for s in summary.schemas.values()} == {"ros2msg"}
    assert {c.message_encoding for c in summary.channels.values()} == {"cdr"}
    image = next(s for s in summary.schemas.values() if s.name == "sensor_msgs/msg/Image")
    assert b"uint8[] data" in image.data
    assert b"MSG: builtin_interfaces/Time" in image.data


def test_the_same_trace_gives_the_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = [tmp_path / n / write_recording(make_trace(3), tmp_path / n, "r1") for n in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"stamps": np.array([-1.0, 0.0, 1.0, 2.0])},
        {"stamps": np.array([np.nan, 0.0, 1.0, 2.0])},
        {"joint_velocities": np.zeros((3, 2))},
        {"actions": np.zeros(4, np.float32)},
    ],
)
def test_a_trace_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, change):
    with pytest.raises(InvalidArgumentError):
        write_recording(replace(make_trace(), **change), tmp_path, "r1")
    assert not list(tmp_path.iterdir())


def test_every_torn_or_changed_recording_is_noticed(tmp_path):
    path = tmp_path / write_recording(make_trace(), tmp_path, "r1")
    verify_recording(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for at in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at])
        with pytest.raises(StorageError, match=r"r1\.mcap"):
            verify_recording(path)
    noticed = 0
    for at in rng.integers(0, len(whole) // 2, 40):  # the first half is the compressed data
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            back = read_recording(path)
            verify_recording(path)
            assert np.array_equal(back.frames, make_trace().frames)
        except StorageError:
            noticed += 1
    assert noticed > 20
    with pytest.raises(StorageError, match="no recording"):
        read_recording(tmp_path / "other.mcap")


def test_a_commit_is_whole_and_can_be_repeated(tmp_path):
    study, trace = make_study(tmp_path / "s"), make_trace()
    with study.store() as store:
        first = commit_rollout(study, store, make_record("r1"), trace)
        assert first.recording == "r1.mcap"
        assert first.frames == 4
        assert np.array_equal(first.first_frame, trace.frames[0])
        assert same(commit_rollout(study, store, make_record("r1"), trace), first)
        slim = commit_rollout(study, store, make_record("r2"), trace, keep_recording=False)
        assert slim.recording == ""
        assert not (study.recordings / "r2.mcap").exists()
        with pytest.raises(InvalidArgumentError, match="other content"):
            commit_rollout(study, store, make_record("r1", "cube_blue"), trace)
        with pytest.raises(InvalidArgumentError):
            commit_rollout(study, store, make_record("r3", duration=float("nan")), trace)
    assert [p.name for p in study.recordings.iterdir()] == ["r1.mcap"]
    assert study.check() == []


def test_a_replay_gives_its_recording_only_when_it_is_the_same_rollout(tmp_path):
    study, trace = make_study(tmp_path / "s"), make_trace()
    with study.store() as store:
        stored = commit_rollout(study, store, make_record("r1", steps=3), trace, False)
        for other, other_trace in (
            (replace(stored, steps=4), trace),
            (replace(stored, labels=(Label(Outcome.FAILURE, "sim", 1.5),)), trace),
            (stored, make_trace(1)),
        ):
            with pytest.raises(InvalidArgumentError, match="another rollout"):
                attach_recording(study, store, other, other_trace)
        assert not list(study.recordings.iterdir())
        store.label(
            "r1", Label(Outcome.INVALID, "me", 3.0)
        )  # judged again later: still that rollout
        assert attach_recording(study, store, stored, trace).recording == "r1.mcap"
    assert study.check(deep=True) == []
    assert np.array_equal(read_recording(study.recordings / "r1.mcap").frames, trace.frames)


FULL_DISK = """
import resource, shutil, sys
from pathlib import Path
from store_samples import make_record, make_study, make_trace
from robomd_ros.core.errors import StorageError
from robomd_ros.recording import commit_rollout

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
study = make_study(folder)
store, done, message = study.store(), [], ""
if limit:  # no file may grow beyond it: what a full disk does, without one
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    for n in range(400):
        done.append(commit_rollout(study, store, make_record(f"r{n}"), make_trace(n, 6, 24)).id)
except StorageError as error:
    message = str(error)
assert message, "the disk never was full"
failed = f"r{len(done)}"
assert [r.id for r in store.records()] == done, "an acknowledged rollout is lost"
assert not (study.recordings / f"{failed}.mcap").exists(), "a recording without a row"
assert not list(study.recordings.glob(".*")), "a half file remains"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if not limit:
    for path in sorted(study.recordings.iterdir())[:5]:
        path.unlink()  # room again
commit_rollout(study, store, make_record(failed), make_trace(len(done), 6, 24))
assert [r.id for r in store.records()] == [*done, failed]
store.close()
problems = [f for f in study.check() if "missing" not in f.problem]
assert not problems, problems
print(message)
"""


def run_full(folder, limit):
    here = os.path.dirname(__file__)
    return subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(limit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("limit", [6_000, 60_000])
def test_files_that_may_not_grow_are_a_clear_error_and_nothing_is_lost(tmp_path, limit):
    ended = run_full(tmp_path / "s", limit)
    assert ended.returncode == 0, ended.stderr
    assert "free" in ended.stdout


def test_a_really_full_disk_is_a_clear_error_and_nothing_is_lost(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here; the test above covers it")
    try:
        ended = run_full(tmp_path / "s", 0)
        assert ended.returncode == 0, ended.stderr
        assert "free" in ended.stdout
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_an_unwritable_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=os.strerror(errno.ENOENT)):
        write_recording(make_trace(), tmp_path / "nowhere", "r1")


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_frames_are_kept_exactly(shape, seed):
    rng = np.random.default_rng(seed)
    noisy = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    flat = np.full((*shape, 3), rng.integers(0, 256, 3), np.uint8)
    for image in (noisy, flat):
        codec, data = encode_frame(image)
        assert codec == "webp"
        assert np.array_equal(decode_frame(data), image)
        assert np.array_equal(decode_frame(encode_png(image)), image)


def test_wide_frames_fall_back_to_png_and_nonsense_is_named():
    wide = np.zeros((1, 20_000, 3), np.uint8)
    codec, data = encode_frame(wide)
    assert codec == "png"
    assert decode_frame(data).shape == wide.shape
    for nonsense in (b"", b"nonsense", data[: len(data) // 4]):
        with pytest.raises(StorageError, match="no picture"):
            decode_frame(nonsense)
