import json
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from store_samples import make_record, make_study, make_trace

from robomd_ros.cli import main
from robomd_ros.core.errors import InvalidArgumentError, RobomdError, StorageError, UnknownIdError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import RawMessage
from robomd_ros.exchange import lerobot_stats, lerobot_write
from robomd_ros.exchange.demo import choose, on_grid, read_demo, usual_rate
from robomd_ros.exchange.export import export_rollouts, writer_of
from robomd_ros.exchange.importer import ImportOptions, Result, import_episodes
from robomd_ros.exchange.lerobot_info import check_template
from robomd_ros.exchange.source import open_source
from robomd_ros.exchange.video import VideoWriter
from robomd_ros.recording import commit_rollout, read_recording
from robomd_ros.recording.messages import typestore

EVIDENCE = (Outcome.SUCCESS, Outcome.FAILURE)
IMAGES = "observation.images.camera"


def smooth(trace, size=64):
    """Pictures that a video keeps well: a gradient that moves."""
    ramp = np.linspace(0, 200, size)
    frames = [
        np.stack([np.add.outer(ramp, ramp) / 2 + 5 * k] * 3, axis=2)
        for k in range(len(trace.frames))
    ]
    return replace(trace, frames=np.stack(frames).astype(np.uint8))


@pytest.fixture
def study(tmp_path):
    """Three rollouts of 6 frames, one of them without a recording, and a negative control."""
    made = make_study(tmp_path / "study")
    with made.store() as store:
        for n, outcome in enumerate((Outcome.SUCCESS, Outcome.FAILURE, Outcome.SUCCESS)):
            record = make_record(f"r{n}", ("cube_red", "nominal")[n % 2], outcome, duration=0.5)
            commit_rollout(made, store, record, smooth(make_trace(n, frames=6)), n != 2)
        zero = make_record(
            "zero", "nominal", Outcome.FAILURE, control=Control.ZERO_ACTION, duration=0.5
        )
        commit_rollout(made, store, zero, make_trace(9, frames=6))
        commit_rollout(made, store, make_record("open", outcome=Outcome.UNKNOWN), make_trace(8))
    return made


def export(study, target, kind="lerobot", codec="", outcomes=EVIDENCE, fps=10, **options):
    with study.store(read_only=True) as store:
        records = choose(store, outcomes)
    begin = writer_of(kind, "lift", "Panda", fps, codec)
    return list(export_rollouts(study, records, target, fps, begin, **options))


def imported(tmp_path, source, *mapped, **options):
    target = make_study(tmp_path / f"imported{len(list(tmp_path.iterdir()))}")
    with target.store() as store:
        episodes = open_source(source, mapped).episodes()
        steps = list(import_episodes(target, store, episodes, ImportOptions(**options)))
        return target, steps, store.records()


def rows(dataset):
    return pq.read_table(dataset / "data/chunk-000/file-000.parquet")


def edit_info(dataset, **fields):
    path = dataset / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_rows(dataset, change, path="data/chunk-000/file-000.parquet"):
    pq.write_table(change(pq.read_table(dataset / path)), dataset / path)


def replaced(table, key, values):
    kind = table.schema.field(key).type
    return table.set_column(table.column_names.index(key), key, pa.array(values, kind))


@pytest.mark.parametrize("codec", ["", "h264", "av1"])
def test_a_study_goes_to_lerobot_and_back(tmp_path, study, codec):
    done = export(study, tmp_path / "set", codec=codec)
    assert [(d.rollout_id, d.refused) for d in done] == [
        ("r0", ""),
        ("r1", ""),
        ("r2", "it has no recording."),
    ]
    target, steps, back = imported(tmp_path, tmp_path / "set")
    assert [s.result for s in steps] == [Result.IMPORTED] * 2
    for record in back:
        with study.store(read_only=True) as store:
            original = store.get(record.id)
        assert record.outcome is original.outcome
        assert record.perturbation == original.perturbation
        ours, theirs = (read_recording(s.recordings / record.recording) for s in (study, target))
        worst = np.abs(theirs.frames.astype(int) - ours.frames[:-1]).max()
        assert worst == 0 if not codec else worst < 16
        assert np.array_equal(theirs.actions, ours.actions)
        assert np.allclose(theirs.joint_positions, ours.joint_positions[:-1], atol=1e-6)
        assert np.allclose(theirs.joint_velocities, ours.joint_velocities[:-1], atol=1e-6)
        assert theirs.joint_names == ours.joint_names
        assert np.allclose(theirs.stamps, 0.1 * np.arange(5), atol=1e-6)


def test_the_dataset_says_what_lerobot_asks_for(tmp_path, study):
    export(study, tmp_path / "set", codec="h264")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, 10)
    assert info["features"][IMAGES]["info"]["video.codec"] == "h264"
    table = rows(tmp_path / "set")
    assert table["next.success"].to_pylist() == [False] * 4 + [True] + [False] * 5
    assert table["next.done"].to_pylist() == ([False] * 4 + [True]) * 2
    assert table["index"].to_pylist() == list(range(10))
    assert table.schema.field("action").type == pa.list_(pa.float32(), 4)
    episodes = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [e["robomd/variations"] for e in episodes] == ["cube_red", "nominal"]
    assert [e[f"videos/{IMAGES}/from_timestamp"] for e in episodes] == [0.0, 0.5]
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    actions = np.array(table["action"].to_pylist())
    assert np.allclose(stats["action"]["std"], actions.std(axis=0))
    assert np.array(stats[IMAGES]["mean"]).shape == (3, 1, 1)
    tasks = pq.read_table(tmp_path / "set/meta/tasks.parquet")
    assert b'"index_columns": ["__index_level_0__"]' in tasks.schema.metadata[b"pandas"]


def test_statistics_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(size=(50, 3))
    parts = [lerobot_stats.of_vectors(part) for part in (values[:20], values[20:])]
    whole, joined = lerobot_stats.of_vectors(values), lerobot_stats.together(parts)
    for name in ("min", "max", "mean", "std", "count"):
        assert np.allclose(whole[name], joined[name]), name


def test_files_are_begun_anew_when_they_are_large(tmp_path, study, monkeypatch):
    monkeypatch.setattr(lerobot_write, "DATA_BYTES", 10)
    monkeypatch.setattr(lerobot_write, "VIDEO_BYTES", 10)
    monkeypatch.setattr(lerobot_write, "CHUNK_FILES", 1)
    export(study, tmp_path / "set", codec="h264")
    assert (tmp_path / "set/data/chunk-001/file-000.parquet").exists()
    assert (tmp_path / f"set/videos/{IMAGES}/chunk-001/file-000.mp4").exists()
    assert [s.result for s in imported(tmp_path, tmp_path / "set")[1]] == [Result.IMPORTED] * 2


def test_an_import_of_a_dataset_is_done_once(tmp_path, study):
    export(study, tmp_path / "set")
    path = "meta/episodes/chunk-000/file-000.parquet"
    edit_rows(tmp_path / "set", lambda t: t.drop_columns(["robomd/rollout_id"]), path)
    target, _, back = imported(tmp_path, tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / "moved")
    with target.store() as store:
        again = list(
            import_episodes(
                target, store, open_source(tmp_path / "moved", []).episodes(), ImportOptions()
            )
        )
    assert [s.result for s in again] == [Result.SKIPPED] * 2
    assert len({r.id for r in back}) == 2


@pytest.mark.parametrize("flags", [[0] * 10, [0, 1] + [0] * 8, [0.5] * 10])
def test_success_flags(tmp_path, study, flags):
    export(study, tmp_path / "set")
    edit_rows(
        tmp_path / "set",
        lambda t: t.drop_columns(["next.success"]).append_column("won", pa.array(flags)),
    )
    info = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    edit_info(tmp_path / "set", features=info | {"won": {"dtype": "float32", "shape": [1]}})
    _, steps, back = imported(tmp_path, tmp_path / "set", "success=won")
    if flags[0] == 0.5:
        assert all("no flag" in s.detail for s in steps)
    else:
        assert [r.outcome for r in sorted(back, key=lambda r: r.id)] == [
            Outcome.SUCCESS if flags[1] else Outcome.FAILURE,
            Outcome.FAILURE,
        ]


def test_a_dataset_without_a_flag_waits_for_an_operator(tmp_path, study):
    export(study, tmp_path / "set")
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    del features["next.success"]
    edit_info(tmp_path / "set", features=features)
    own = ["robomd/outcome", "robomd/variations", "robomd/rollout_id"]
    edit_rows(
        tmp_path / "set", lambda t: t.drop_columns(own), "meta/episodes/chunk-000/file-000.parquet"
    )
    _, steps, _ = imported(tmp_path, tmp_path / "set")
    assert all("nobody says what was varied" in s.detail for s in steps)
    _, _, back = imported(tmp_path, tmp_path / "set", variation="nominal")
    assert [r.outcome for r in back] == [Outcome.UNKNOWN] * 2
    assert {r.facts["task_sentence"] for r in back} == {"lift"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codebase_version": "v2.1"}, "version v2.1.*convert"),
        ({"codebase_version": "v4.0"}, "update robomd_ros"),
        ({"data_path": "../../etc/{chunk_index}"}, "leads out"),
        ({"data_path": "/etc/passwd"}, "leads out"),
        ({"video_path": "videos/{video_key.__class__}/x.mp4"}, "leads out"),
        ({"video_path": "{video_key}/{0}"}, "leads out"),
        ({"fps": 0}, "fps"),
        ({"fps": "nan"}, "fps"),
        ({"features": {"../x": {"dtype": "video", "shape": [8, 8, 3]}}}, "want letters"),
        ({"features": []}, "info.json"),
        (
            {"features": {"action": {"dtype": "float32", "shape": [2]}}},
            "which feature is the camera",
        ),
    ],
)
def test_an_info_that_does_not_fit_is_refused_at_once(tmp_path, study, fields, message):
    export(study, tmp_path / "set")
    edit_info(tmp_path / "set", **fields)
    with pytest.raises(InvalidArgumentError, match=message):
        open_source(tmp_path / "set", [])


def test_templates_of_real_datasets_are_taken():
    for template in (
        lerobot_write.DATA_PATH,
        lerobot_write.VIDEO_PATH,
        "d/{chunk_index}-{file_index}",
    ):
        assert check_template(template) == template


def damage(dataset, how):
    data = dataset / "data/chunk-000/file-000.parquet"
    video = dataset / f"videos/{IMAGES}/chunk-000/file-000.mp4"
    if how == "torn data":
        data.write_bytes(data.read_bytes()[:-100])
    elif how == "no data":
        data.unlink()
    elif how == "torn video":
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    elif how == "no video":
        video.unlink()
    elif how == "short video":
        with av.open(str(video), "w") as out:
            stream = out.add_stream("libx264", rate=10)
            stream.width = stream.height = 64
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            frame.pts, frame.time_base = 0, Fraction(1, 10)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    elif how == "nan":
        nan = lambda t: replaced(t, "action", [[float("nan")] * 4] * 10)  # noqa: E731
        edit_rows(dataset, nan)
    elif how == "lost rows":
        edit_rows(dataset, lambda t: t.filter(pc.not_equal(t["frame_index"], 2)))
    elif how == "lost column":
        edit_rows(dataset, lambda t: t.drop_columns(["observation.state"]))
    elif how == "times":
        edit_rows(dataset, lambda t: replaced(t, "timestamp", [0.0] * 10))


@pytest.mark.parametrize(
    "how",
    [
        "torn data",
        "no data",
        "torn video",
        "no video",
        "short video",
        "nan",
        "lost rows",
        "lost column",
        "times",
    ],
)
def test_a_damaged_dataset_is_refused_episode_by_episode(tmp_path, study, how):
    export(study, tmp_path / "set", codec="h264")
    damage(tmp_path / "set", how)
    target, steps, back = imported(tmp_path, tmp_path / "set")
    assert [s.result for s in steps] == [Result.REFUSED] * 2
    assert all(s.detail for s in steps)
    assert back == []
    assert not list(target.recordings.iterdir())


def test_damaged_meta_is_one_sentence(tmp_path, study):
    export(study, tmp_path / "set")
    episodes = tmp_path / "set/meta/episodes/chunk-000/file-000.parquet"
    episodes.write_bytes(episodes.read_bytes()[:-9])
    with pytest.raises(StorageError, match="damaged"):
        open_source(tmp_path / "set", [])
    shutil.rmtree(tmp_path / "set/meta/episodes")
    with pytest.raises(StorageError, match="is empty; the dataset has 2"):
        open_source(tmp_path / "set", [])
    edit_info(tmp_path / "set", total_episodes=0)
    assert open_source(tmp_path / "set", []).names == ()
    (tmp_path / "set/meta/info.json").write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        open_source(tmp_path / "set", [])
    (tmp_path / "set/meta/info.json").unlink()
    with pytest.raises(InvalidArgumentError, match=r"no meta/info.json"):
        open_source(tmp_path / "set", [])


def test_a_study_goes_to_robomimic(tmp_path, study):
    done = export(study, tmp_path / "set.hdf5", "robomimic")
    assert [d.rollout_id for d in done if not d.refused] == ["r0", "r1"]
    with h5py.File(tmp_path / "set.hdf5") as file:
        demo, trace = file["data/demo_0"], read_recording(study.recordings / "r0.mcap")
        assert demo.attrs["num_samples"] == 5
        assert file["data"].attrs["total"] == 10
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "Lift"
        assert np.array_equal(demo["obs/agentview_image"], trace.frames[:-1])
        assert np.array_equal(demo["next_obs/agentview_image"], trace.frames[1:])
        assert np.allclose(demo["obs/robot0_joint_pos"], trace.joint_positions[:-1])
        assert np.array_equal(demo["actions"], trace.actions)
        assert list(demo["rewards"]) == [0, 0, 0, 0, 1]
        assert list(demo["dones"]) == [0, 0, 0, 0, 1]
        assert demo.attrs["robomd_variations"] == "cube_red"
        assert not np.any(file["data/demo_1/rewards"])
        masks = {key: [name.decode() for name in file["mask"][key]] for key in file["mask"]}
    assert masks["success"] == ["demo_0"]
    assert masks["failure"] == ["demo_1"]
    assert sorted(masks["train"] + masks.get("valid", [])) == ["demo_0", "demo_1"]


def test_the_gripper_stands_apart_by_name(tmp_path):
    study = make_study(tmp_path / "s")
    trace = replace(
        make_trace(frames=6, joints=3), joint_names=("elbow_joint", "finger_joint1", "wrist")
    )
    with study.store() as store:
        commit_rollout(study, store, make_record("r0", duration=0.5), trace)
    export(study, tmp_path / "set.hdf5", "robomimic")
    with h5py.File(tmp_path / "set.hdf5") as file:
        obs = file["data/demo_0/obs"]
        assert np.allclose(obs["robot0_joint_pos"], trace.joint_positions[:5, [0, 2]])
        assert np.allclose(obs["robot0_gripper_qpos"], trace.joint_positions[:5, [1]])


def test_recorded_commands_can_be_the_actions(tmp_path):
    types, kind = typestore().types, "std_msgs/msg/Float64MultiArray"
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    extras = tuple(
        RawMessage("/cmd", kind, 10_000_000 * k, bytes(typestore().serialize_cdr(types[kind](layout, np.array([k, 2.0 * k])), kind)))
        for k in range(45)
    )  # fmt: skip
    trace = replace(make_trace(frames=6), actions=np.zeros((0, 0), np.float32), extras=extras)
    study = make_study(tmp_path / "s")
    with study.store() as store:
        record = commit_rollout(study, store, make_record("r0", duration=0.5), trace)
    with pytest.raises(InvalidArgumentError, match="--map actions=topic"):
        read_demo(study, record, 10)
    from robomd_ros.exchange.mapping import Field

    assert np.array_equal(
        read_demo(study, record, 10, Field("/cmd")).actions[:, 0], [0, 10, 20, 30, 40]
    )
    with pytest.raises(UnknownIdError, match=r"no message on /no.*/cmd"):
        read_demo(study, record, 10, Field("/no"))


def test_the_grid_keeps_a_camera_that_jitters_and_fills_its_gaps():
    jitter = 0.1 * np.arange(8) + np.array([0, 0.03, -0.01, 0, 0.02, 0, 0, 0.01])
    assert on_grid(jitter, 10)[1] is False
    rows, resampled = on_grid(np.array([0, 0.1, 0.2, 0.5, 0.6]), 10)
    assert resampled
    assert list(rows) == [0, 1, 2, 2, 3, 3, 4]
    assert list(on_grid(0.1 * np.arange(7), 5)[0]) == [0, 2, 4, 6]
    assert list(on_grid(np.array([3.0]), 10)[0]) == [0]


def test_what_differs_from_the_first_is_refused(tmp_path, study):
    with study.store() as store:
        for name, trace in (("big", make_trace(frames=6, size=9)), ("nan", make_trace(frames=6))):
            if name == "nan":
                trace = replace(smooth(trace), actions=np.full((5, 4), np.nan, np.float32))
            commit_rollout(study, store, make_record(name, duration=0.5), trace)
    done = {d.rollout_id: d.refused for d in export(study, tmp_path / "set")}
    assert "height 9, those before it 64" in done["big"]
    assert "not finite" in done["nan"]


def test_an_export_is_there_whole_or_not_at_all(tmp_path, study, monkeypatch):
    def torn(self, demo):
        if self._rows == 1:
            raise OSError(28, "No space left on device")
        written(self, demo)

    written = lerobot_write.LeRobotWriter.add
    monkeypatch.setattr(lerobot_write.LeRobotWriter, "add", torn)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match="disk full"):
        export(study, tmp_path / "set")
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.undo()
    export(study, tmp_path / "set")
    with pytest.raises(InvalidArgumentError, match="there already"):
        export(study, tmp_path / "set")
    with pytest.raises(InvalidArgumentError, match="not one"):
        export(study, tmp_path / "none", outcomes=[Outcome.TIMEOUT])


def test_video_says_which_sizes_it_takes(tmp_path):
    study = make_study(tmp_path / "s")
    with study.store() as store:
        commit_rollout(study, store, make_record("r0", duration=0.5), make_trace(frames=6, size=9))
    with pytest.raises(InvalidArgumentError, match=r"even sides.*--no-video"):
        export(study, tmp_path / "set", codec="h264")
    with pytest.raises(RobomdError, match="codec"):
        writer_of("lerobot", "lift", "Panda", 10, "gif")
    with pytest.raises(InvalidArgumentError, match="two frames"):
        usual_rate([])


def test_the_commands(tmp_path, study, capfd):
    with study.store() as store:
        store.label("r1", Label(Outcome.SUCCESS, "ann", 2.0))
        store.label("r1", Label(Outcome.INVALID, "ann", 3.0))
    command = ["study", "export", str(study.folder)]
    assert (
        main.run([*command, str(tmp_path / "set"), "--format", "lerobot", "--codec", "h264"]) == 0
    )
    assert "1 rollouts at 10 Hz" in capfd.readouterr().out
    assert main.run([*command, "--format", "robomimic"]) == 1
    assert "wants a target" in capfd.readouterr().err
    arguments = [str(tmp_path / "x"), "--format", "robomimic", "--outcome", "safety_stop"]
    assert main.run([*command, *arguments]) == 1
    assert "no rollout with outcome safety_stop" in capfd.readouterr().err
    assert main.run(["study", "import", str(tmp_path / "set"), str(tmp_path / "new")]) == 0
    assert "1 imported" in capfd.readouterr().out


def test_encoding_leaves_the_process_an_ordinary_one(tmp_path):
    """SVT-AV1, run by root, makes the caller real-time; its children then starve the machine."""
    before = os.sched_getscheduler(0)
    writer = VideoWriter(tmp_path / "v.mp4", (64, 64), 10, "av1")
    writer.write(np.zeros((5, 64, 64, 3), np.uint8))
    during = {os.sched_getscheduler(int(t.name)) for t in Path("/proc/self/task").iterdir()}
    writer.close()
    assert during == {before}
    assert os.sched_getscheduler(0) == before
