import numpy as np
import pytest
from bag_samples import START, Bag, make_bag, pictures
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import Reader, StoragePlugin
from store_samples import LIFT, make_record, make_study, make_trace

from robomd_ros.cli import main
from robomd_ros.core.errors import InvalidArgumentError, RobomdError, StorageError, UnknownIdError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.study import Study
from robomd_ros.exchange.bags import bag_episodes
from robomd_ros.exchange.importer import ImportOptions, Result, check_names, import_episodes
from robomd_ros.exchange.mapping import parse_map
from robomd_ros.exchange.source import open_source
from robomd_ros.exchange.table import read_table
from robomd_ros.recording import commit_rollout, read_recording

MAPPED = ("camera=/my/cam/image_raw", "joints=/js", "actions=/cmd", "success=/done")


def load(path, *mapped, rate=0.0):
    (episode,) = open_source(path, mapped, rate).episodes()
    return episode.load()


def run(study, path, *mapped, **options):
    with study.store() as store:
        steps = list(
            import_episodes(
                study, store, open_source(path, mapped).episodes(), ImportOptions(**options)
            )
        )
    return steps


def records(study):
    with study.store(read_only=True) as store:
        return store.records()


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study")


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_bag_becomes_a_rollout_with_every_number(tmp_path, study, storage):
    rgb = make_bag(tmp_path / "bag", storage=storage)
    steps = run(study, tmp_path / "bag", *MAPPED, variation="cube_red", source="here")
    assert [(s.name, s.result, s.detail) for s in steps] == [("bag", Result.IMPORTED, "")]
    (record,) = records(study)
    assert record.outcome is Outcome.SUCCESS
    assert record.perturbation.id == "cube_red"
    assert record.facts["imported_from"] == "here"
    assert record.facts["topic_camera"] == "/my/cam/image_raw"
    assert record.started == START * 1e-9
    assert np.array_equal(record.first_frame, rgb[0])
    trace = read_recording(study.recordings / record.recording)
    assert np.array_equal(trace.frames, rgb)
    assert np.allclose(trace.stamps - START * 1e-9, 0.1 * np.arange(5), atol=1e-6)
    assert trace.joint_names == ("a", "b")
    assert trace.joint_positions.shape == trace.joint_velocities.shape == (25, 2)
    assert np.array_equal(trace.actions, [[k, k + 0.5] for k in range(5)])


def test_a_second_import_changes_nothing_wherever_the_bag_lies(tmp_path, study):
    (tmp_path / "bags").mkdir()
    make_bag(tmp_path / "bags" / "one", seed=1)
    make_bag(tmp_path / "bags" / "two", seed=2, success=None)
    first = run(study, tmp_path / "bags", *MAPPED[:3], variation="nominal")
    (tmp_path / "bags").rename(tmp_path / "moved")
    second = run(study, tmp_path / "moved", *MAPPED[:3], variation="nominal")
    assert [s.result for s in first] == [Result.IMPORTED] * 2
    assert [s.result for s in second] == [Result.SKIPPED] * 2
    assert [r.outcome for r in records(study)] == [Outcome.UNKNOWN] * 2
    (storage,) = (tmp_path / "moved" / "one").glob("*.mcap")
    assert run(study, storage, *MAPPED[:3])[0].result is Result.SKIPPED


def test_the_table_labels_and_says_what_was_varied(tmp_path, study):
    (tmp_path / "bags").mkdir()
    for name in ("one", "two", "three"):
        make_bag(tmp_path / "bags" / name, seed=len(name) + ord(name[0]), success=None)
    table = tmp_path / "t.csv"
    table.write_text(
        "episode,variations,outcome,reason\none,cube_red,failure,slipped\ntwo,nominal,,\n"
    )
    said = read_table(table, LIFT)
    steps = {
        s.name: s for s in run(study, tmp_path / "bags", *MAPPED[:3], table=said, labeler="ann")
    }
    assert "nobody says what was varied" in steps["three"].detail
    by_name = {r.facts["imported_episode"]: r for r in records(study)}
    assert by_name["one"].labels[0].reason == "slipped"
    assert by_name["one"].labels[0].labeler == "ann"
    assert by_name["two"].outcome is Outcome.UNKNOWN
    table.write_text("episode,variations,outcome\none,cube_red,success\ntwo,nominal,success\n")
    said = read_table(table, LIFT)
    steps = {s.name: s for s in run(study, tmp_path / "bags", *MAPPED[:3], table=said)}
    assert steps["two"].result is Result.LABELLED
    assert steps["one"].result is Result.SKIPPED
    assert "stored as FAILURE" in steps["one"].detail
    with pytest.raises(InvalidArgumentError, match="bag_9"):
        check_names(["one"], {"bag_9": said["one"]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "episode,variations\nx,no_such\n", "line 2.*no_such"),
        ("t.csv", "episode,outcome\nx,won\n", "line 2.*want one of"),
        ("t.csv", "bag,outcome\nx,success\n", "header"),
        ("t.csv", "episode\nx\nx\n", "second time"),
        ("t.csv", "episode,mood\nx,good\n", "mood"),
        ("t.toml", "x = 1\n", "one table an episode"),
        ("t.toml", "[x\n", "t.toml"),
        ("t.toml", "[x]\nvariations = 3\n", "want text"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises((InvalidArgumentError, UnknownIdError), match=message):
        read_table(tmp_path / name, LIFT)


def test_a_toml_table_says_the_same(tmp_path):
    (tmp_path / "t.toml").write_text('["a/b#2"]\nvariations = "cube_red"\noutcome = "Failure"\n')
    said = read_table(tmp_path / "t.toml", LIFT)["a/b#2"]
    assert (said.variations, said.outcome) == ("cube_red", Outcome.FAILURE)


def encoded(bag, kind, rgb):
    grey = rgb[:, :, 0]
    if kind in ("png", "jpg"):
        bag.compressed("/c", 0.0, rgb, kind)
    elif kind == "padded":
        bag.image("/c", 0.0, rgb, "rgb8", padding=5)
    elif kind in ("rgba8", "bgra8"):
        order = (0, 1, 2, 3) if kind == "rgba8" else (2, 1, 0, 3)
        alpha = np.full((*grey.shape, 1), 9, np.uint8)
        bag.image("/c", 0.0, np.concatenate([rgb, alpha], axis=2)[:, :, order], kind)
    elif kind == "mono16":
        bag.image("/c", 0.0, grey.astype(np.uint16) * 257, kind)
    else:
        bag.image("/c", 0.0, grey if kind in ("mono8", "bayer_rggb8") else rgb, kind)


@pytest.mark.parametrize(
    "kind", ["rgb8", "padded", "rgba8", "bgra8", "mono8", "mono16", "png", "jpg"]
)
def test_usual_encodings(tmp_path, kind):
    rgb = np.repeat(np.repeat(pictures(1, size=2)[0], 8, axis=0), 8, axis=1)
    with Bag(tmp_path / "b") as bag:
        encoded(bag, kind, rgb)
    frame = load(tmp_path / "b").trace.frames[0]
    want = np.repeat(rgb[:, :, :1], 3, axis=2) if kind.startswith("mono") else rgb
    assert np.abs(frame.astype(int) - want).max() <= (60 if kind == "jpg" else 1)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("32FC1", "depth"), ("16UC1", "depth"), ("nv12", "not known"), ("what", "not known")],
)
def test_what_is_no_picture_is_refused(tmp_path, encoding, message):
    with Bag(tmp_path / "b") as bag:
        bag.image(
            "/c", 0.0, np.ones((8, 8), np.float32 if encoding == "32FC1" else np.uint16), encoding
        )
    with pytest.raises(InvalidArgumentError, match=message):
        load(tmp_path / "b")


def test_own_message_types_are_decoded_by_the_file(tmp_path):
    with Bag(tmp_path / "b") as bag:
        for k in range(3):
            bag.compressed("/c", 0.1 * k, pictures(3)[k])
            bag.verdict("/v", 0.1 * k, k == 2, (k, 2 * k))
    content = load(tmp_path / "b", "actions=/v:inner.arm", "success=/v:inner.ok")
    assert content.outcome is Outcome.SUCCESS
    assert np.array_equal(content.trace.actions, [[0, 0], [1, 2], [2, 4]])
    with pytest.raises(InvalidArgumentError, match="no field"):
        load(tmp_path / "b", "success=/v:inner.good")
    with pytest.raises(InvalidArgumentError, match="want a Bool, got 7"):
        load(tmp_path / "b", "success=/v:score")


def test_a_split_bag_gives_a_rollout_a_marker(tmp_path, study):
    rgb = pictures(9)
    with Bag(tmp_path / "b") as bag:
        for k in range(9):
            if k in (2, 6):
                bag.boolean("/run", 0.1 * k - 0.01, True)
                bag.text("/name", 0.1 * k - 0.01, "left")
            if k == 4:
                bag.boolean("/run", 0.1 * k - 0.01, False)
            bag.image("/c", 0.1 * k, rgb[k], "rgb8")
    parts = list(open_source(tmp_path / "b", ["split=/run"]).episodes())
    assert [p.name for p in parts] == ["b#1", "b#2"]
    assert [len(p.load().trace.frames) for p in parts] == [2, 3]
    assert len({p.identity() for p in parts}) == 2
    named = list(open_source(tmp_path / "b", ["split=/name"]).episodes())
    assert [p.name.split("@")[0] for p in named] == ["b#left", "b#left"]
    assert np.array_equal(named[0].load().trace.frames, rgb[2:6])


def test_stamps_of_several_clocks_become_the_cameras(tmp_path):
    """The camera counts from its own start, joints from the wall, one frame comes twice and one late."""
    with Bag(tmp_path / "b") as bag:
        for k in range(6):
            for at in (k, 1) if k == 3 else (k,):
                bag.image("/c", 0.1 * k, pictures(6)[at], "rgb8", stamp=0.1 * at - 1_600_000_000)
            bag.joints("/j", 0.1 * k, ("a",), (k,))
            bag.command("/u", 0.1 * k + 0.01, (k,))
    content = load(tmp_path / "b", "actions=/u")
    trace = content.trace
    assert np.array_equal(trace.frames, pictures(6))
    assert content.facts["frames_out_of_order"] == "1"
    assert np.allclose(trace.joint_stamps, trace.stamps, atol=1e-4)
    assert np.array_equal(trace.actions[:, 0], range(6))


def test_joint_states_that_come_in_parts_and_unknown_ones(tmp_path):
    nan = float("nan")
    with Bag(tmp_path / "b") as bag:
        bag.image("/c", 0.0, pictures(1)[0], "rgb8")
        for k in range(4):
            bag.joints("/j", 0.1 * k, ("grip", "ghost"), (10 + k, nan), (nan, nan))
            bag.joints("/j", 0.1 * k + 0.01, ("a", "b"), (k, -k), (1, 1))
    content = load(tmp_path / "b")
    assert content.trace.joint_names == ("grip", "a", "b")
    assert np.array_equal(content.trace.joint_positions, [[10 + k, k, -k] for k in range(4)])
    assert not content.trace.joint_velocities.size
    assert content.facts["joints_unknown"] == "1"


def test_frames_can_be_thinned(tmp_path):
    make_bag(tmp_path / "b", frames=20)
    assert len(load(tmp_path / "b", *MAPPED, rate=5).trace.frames) == 10


def test_actions_that_are_no_numbers_or_of_several_lengths(tmp_path):
    for name, values in (
        ("nan", [(1,), (float("nan"),)]),
        ("long", [(1,), (1, 2)]),
        ("none", [()]),
    ):
        with Bag(tmp_path / name) as bag:
            for k, value in enumerate(values):
                bag.image("/c", 0.1 * k, pictures(1)[0], "rgb8")
                bag.command("/u", 0.1 * k, value)
        with pytest.raises(InvalidArgumentError, match=r"finite|lengths|0 numbers"):
            load(tmp_path / name, "actions=/u")


def test_a_question_that_has_no_answer_names_the_topics(tmp_path):
    with Bag(tmp_path / "b") as bag:
        for topic in ("/left", "/right"):
            bag.image(topic, 0.0, pictures(1)[0], "rgb8")
    with pytest.raises(InvalidArgumentError, match="/left, /right"):
        load(tmp_path / "b")
    with pytest.raises(UnknownIdError, match=r"no message on /nose.*/left"):
        load(tmp_path / "b", "camera=/nose")
    with pytest.raises(InvalidArgumentError, match="no sensor_msgs/JointState"):
        load(tmp_path / "b", "camera=/left", "joints=/right")
    assert np.array_equal(load(tmp_path / "b", "camera=/left").trace.frames, pictures(1))


@pytest.mark.parametrize("entry", ["nose=/x", "camera=", "camera", "velocities=/x"])
def test_a_wrong_mapping_is_refused(entry):
    with pytest.raises(InvalidArgumentError, match="map"):
        parse_map([entry], ("camera", "joints"))


def test_a_mapping_can_stand_in_a_file(tmp_path):
    (tmp_path / "m.toml").write_text('camera = "/c"\nsuccess = "/v:inner.ok"\n')
    found = parse_map([str(tmp_path / "m.toml"), "camera=/d"], ("camera", "success"))
    assert (found["camera"].name, found["success"].path) == ("/d", "inner.ok")


def damaged(path, how):
    (file,) = path.glob("bag.*")
    data = file.read_bytes()
    if how == "torn":
        file.write_bytes(data[: len(data) // 2])
    elif how == "header":
        file.write_bytes(bytes(64) + data[64:])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "gone":
        file.unlink()
    else:
        (path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("how", ["torn", "header", "empty", "gone", "yaml"])
def test_a_damaged_bag_is_refused_and_the_next_one_comes_in(tmp_path, study, how, storage):
    (tmp_path / "bags").mkdir()
    make_bag(tmp_path / "bags" / "bag", seed=1, frames=40, storage=storage)
    make_bag(tmp_path / "bags" / "good", seed=2)
    damaged(tmp_path / "bags" / "bag", how)
    steps = {s.name: s for s in run(study, tmp_path / "bags", *MAPPED, variation="nominal")}
    assert steps["good"].result is Result.IMPORTED
    assert steps["bag"].result is Result.REFUSED
    assert "Traceback" not in steps["bag"].detail
    assert len(list(study.recordings.glob("*"))) == 1
    split = {s.name: s for s in run(study, tmp_path / "bags", "split=/done", variation="nominal")}
    assert split["bag"].result is Result.REFUSED


def test_a_flipped_byte_is_found_by_the_checksum(tmp_path):
    """Nothing else would find it: the pixels are as good as any."""
    make_bag(tmp_path / "a", frames=9)
    with Reader(tmp_path / "a") as bag, (tmp_path / "b.mcap").open("wb") as file:
        writer = McapWriter(file, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="another")
        (camera,) = (c for c in bag.connections if c.topic == "/my/cam/image_raw")
        schema = writer.register_schema(camera.msgtype, "ros2msg", camera.msgdef.data.encode())
        channel = writer.register_channel("/c", "cdr", schema)
        for _, stamp, raw in bag.messages([camera]):
            writer.add_message(channel, stamp, raw, stamp)
        writer.finish()
    assert len(load(tmp_path / "b.mcap").trace.frames) == 9
    data = bytearray((tmp_path / "b.mcap").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b.mcap").write_bytes(bytes(data))
    with pytest.raises(StorageError, match="torn or damaged"):
        load(tmp_path / "b.mcap")


def test_compressed_frames_stay_as_the_camera_sent_them(tmp_path, study):
    with Bag(tmp_path / "b") as bag:
        for k in range(4):
            bag.compressed("/c", 0.1 * k, pictures(4, size=64)[k], "jpg")
    assert run(study, tmp_path / "b", variation="nominal")[0].result is Result.IMPORTED
    (record,) = records(study)
    stored = read_recording(study.recordings / record.recording)
    assert len(stored.compressed) == 4
    assert np.array_equal(stored.frames, load(tmp_path / "b").trace.frames)


def test_a_recording_without_its_first_frame_says_so_when_it_is_imported(tmp_path, study):
    other = make_study(tmp_path / "other")
    with other.store() as store:
        commit_rollout(other, store, make_record("r1", facts={"frame_0": "lost"}), make_trace())
    run(study, other.recordings)
    (record,) = records(study)
    assert record.first_frame is None
    assert record.facts["frame_0"] == "lost"


def test_recordings_of_another_study_come_over_as_they_are(tmp_path, study):
    other = make_study(tmp_path / "other")
    traces = {name: make_trace(n) for n, name in enumerate(("r1", "r2"))}
    with other.store() as store:
        commit_rollout(other, store, make_record("r1", seed=5, purpose="search"), traces["r1"])
        still = make_record("r2", "nominal", control=Control.ZERO_ACTION, purpose="control")
        commit_rollout(other, store, still, traces["r2"])
    steps = run(study, other.recordings)
    assert [s.result for s in steps] == [Result.IMPORTED] * 2
    one, two = sorted(records(study), key=lambda r: r.id)
    assert (one.id, one.perturbation.id, one.seed, one.purpose) == ("r1", "cube_red", 5, "search")
    assert one.outcome is Outcome.UNKNOWN
    assert two.control is Control.ZERO_ACTION
    back = read_recording(study.recordings / one.recording)
    assert np.array_equal(back.actions, traces["r1"].actions)
    assert np.array_equal(back.joint_velocities, traces["r1"].joint_velocities)
    assert run(study, other.recordings)[0].result is Result.SKIPPED


def test_a_recording_of_another_policy_is_refused(tmp_path):
    from robomd_ros.core.study import StudyMeta

    other = make_study(tmp_path / "other")
    with other.store() as store:
        commit_rollout(other, store, make_record("r1"), make_trace())
    mine = Study.create(tmp_path / "mine", StudyMeta("lift", "Panda", "newer"))
    assert "bc-test" in run(mine, other.recordings)[0].detail


def test_a_full_disk_ends_the_import_and_what_was_imported_stays(tmp_path, study, monkeypatch):
    (tmp_path / "bags").mkdir()
    for n in range(3):
        make_bag(tmp_path / "bags" / f"b{n}", seed=n)
    from robomd_ros.exchange import importer

    def full_after_one(study, store, *rest):
        if store.records():
            raise StorageError("disk full")
        return commit_rollout(study, store, *rest)

    monkeypatch.setattr(importer, "commit_rollout", full_after_one)
    with pytest.raises(StorageError, match="disk full"):
        run(study, tmp_path / "bags", *MAPPED, variation="nominal")
    assert len(records(study)) == 1
    monkeypatch.undo()
    assert [
        s.result.value for s in run(study, tmp_path / "bags", *MAPPED, variation="nominal")
    ] == [
        "skipped",
        "imported",
        "imported",
    ]


def robomd(capfd, *arguments):
    code = main.run(["study", *map(str, arguments)])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_the_command_makes_a_study_and_sums_up(tmp_path, capfd):
    (tmp_path / "bags").mkdir()
    make_bag(tmp_path / "bags" / "a", seed=1)
    make_bag(tmp_path / "bags" / "b", seed=2, success=False)
    with Bag(tmp_path / "bags" / "c") as bag:
        bag.boolean("/done", 0.0, True)
    mapped = [part for entry in MAPPED for part in ("--map", entry)]
    arguments = ("import", tmp_path / "bags", tmp_path / "s", *mapped, "--variation", "cube_red")
    code, out, _ = robomd(capfd, *arguments)
    assert code == 0
    assert "2 imported, 0 labelled, 0 skipped, 1 refused; the new ones: 1 SUCCESS, 1 FAILURE" in out
    assert "refused c: no message on /my/cam/image_raw" in out
    assert "0 imported, 0 labelled, 2 skipped, 1 refused" in robomd(capfd, *arguments)[1]
    assert Study.open(tmp_path / "s").meta.robot == "UR5e"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--variation", "no_such"), "no variation 'no_such'"),
        (("--table", "none.csv"), "cannot be read"),
        (("--map", "nose=/x"), "want camera"),
        (("--map", "camera=/nothing"), "every episode was refused"),
        ((), "every episode was refused"),
    ],
)
def test_what_does_not_fit_costs_nothing(tmp_path, capfd, extra, message):
    make_bag(tmp_path / "a")
    code, _, err = robomd(capfd, "import", tmp_path / "a", tmp_path / "s", *extra)
    assert code == 1
    assert message in err
    assert not (tmp_path / "s").exists()


def test_an_own_catalogue_comes_along(tmp_path, capfd):
    make_bag(tmp_path / "a")
    (tmp_path / "mine.toml").write_text(
        'task = "fold"\n[factors.cloth]\nkind = "label"\n[variations.silk]\nfactor = "cloth"\nsentence = "Use silk."\n'
    )
    code, _, err = robomd(
        capfd, "import", tmp_path / "a", tmp_path / "s", "--task", "fold", "--variation", "silk",
        "--catalogue", tmp_path / "mine.toml",
    )  # fmt: skip
    assert (code, err.count("robomd:")) == (0, 0)
    assert Study.open(tmp_path / "s").catalogue().task == "fold"


def test_nothing_to_import(tmp_path):
    with pytest.raises(UnknownIdError, match="nothing at"):
        open_source(tmp_path / "no", [])
    with pytest.raises(UnknownIdError, match="no bag"):
        list(bag_episodes(tmp_path, {}))
    assert issubclass(UnknownIdError, RobomdError)
