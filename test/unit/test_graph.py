"""The node table is what the packages install, and its parameters are those the nodes have."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from robomd_ros.adapters import names
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.graph import CAMERA_TOPICS, GraphOptions, NodeSpec, node_table

TABLE = node_table(GraphOptions(study="s", rollouts=5, seed=3))
ALL_CHOSEN = GraphOptions(
    study="s",
    profile="paper",
    rollouts=5,
    session="s1",
    patience=40,
    device="cuda",
    image_weights="vit.pt",
    text_weights="clip.pt",
    allow_download=True,
    cell="left",
)
REAL = GraphOptions(study="s", mode="ur5e", robot_ip="192.0.2.1", rollouts=5)
SMALL_PICTURES = GraphOptions(
    study="s", mode="ur5e", robot_ip="192.0.2.1", compressed=True, console_token="lab"
)
REHEARSAL = GraphOptions(
    study="s",
    mode="ur5e",
    hardware="standin",
    operator="auto",
    faults="4:protective_stop",
    cell="left",
)


def source(root: Path, spec: NodeSpec) -> Path:
    base = root / ("src" if spec.package == "robomd_ros" else "sim_bridge")
    return base / (spec.module.replace(".", "/") + ".py")


def parameters(path: Path) -> set[str]:
    """Fields of the node's Config class, in its file or in one that it imports, read without importing rclpy."""
    body = ast.parse(path.read_text()).body
    found = [n for n in body if isinstance(n, ast.ClassDef) and n.name.endswith("Config")]
    if not found:
        base = path.parents[2] if "nodes" in path.parts else path.parents[1]
        elsewhere = next(
            n.module
            for n in body
            if isinstance(n, ast.ImportFrom) and any(a.name.endswith("Config") for a in n.names)
        )
        return parameters(base / (elsewhere.replace(".", "/") + ".py"))
    config = found[0]
    return {n.target.id for n in config.body if isinstance(n, ast.AnnAssign)}


@pytest.mark.parametrize(
    "spec",
    {
        (s.name, frozenset(s.parameters)): s
        for options in (ALL_CHOSEN, REAL, SMALL_PICTURES, REHEARSAL)
        for s in node_table(options)
    }.values(),
    ids=lambda s: s.name,
)
def test_rows_are_real(root: Path, spec: NodeSpec) -> None:
    path = source(root, spec)
    assert set(spec.parameters) <= parameters(path)
    assert "def main()" in path.read_text()
    setup = (
        root / ("setup.py" if spec.package == "robomd_ros" else "sim_bridge/setup.py")
    ).read_text()
    assert spec.executable in setup


def test_diagnosis_is_started_when_asked_for() -> None:
    starter = TABLE[-1]
    assert (starter.name, starter.respawn) == ("start_diagnosis", False)
    assert dict(starter.parameters) == {"rollouts": 5, "seed": 3}
    assert "start_diagnosis" not in [s.name for s in node_table(GraphOptions())]


def test_what_is_chosen_reaches_its_node() -> None:
    nodes = {s.name: s.parameters for s in node_table(ALL_CHOSEN)}
    assert nodes["diagnosis"]["patience"] == 40
    assert nodes["start_diagnosis"]["session_id"] == "s1"
    assert dict(nodes["embedding_service"]) == {
        "study": str(Path("s").resolve()),
        "profile": "paper",
        "device": "cuda",
        "image_weights": str(Path("vit.pt").resolve()),
        "text_weights": str(Path("clip.pt").resolve()),
        "allow_download": True,
    }


def test_study_is_absolute_and_shared() -> None:
    studies = {s.parameters["study"] for s in TABLE if "study" in s.parameters}
    assert studies == {str(Path("s").resolve())}


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "moon"},
        {"profile": "huge"},
        {"robot": "R2D2"},
        {"rollouts": -1},
        {"study": ""},
        {"patience": -1, "rollouts": 5},
        {"session": "s1"},
        {"mode": "ur5e"},
        {"hardware": "toy"},
        {"camera": "eye"},
        {"operator": "robot"},
        {"operator": "auto", "mode": "ur5e", "robot_ip": "192.0.2.1"},
        {"faults": "1:clear", "mode": "ur5e", "robot_ip": "192.0.2.1"},
        {"robot": "Panda", "mode": "ur5e", "robot_ip": "192.0.2.1"},
        {"console_port": 0},
        {"cell": "a b"},
        {"cell_config": "no/such.yaml"},
        {"compressed": True},
        {"hub": True},
        {"hub": True, "namespace": "/"},
    ],
)
def test_wrong_options(wrong: dict) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        GraphOptions(**wrong)


def named(options: GraphOptions) -> dict[str, NodeSpec]:
    return {s.name: s for s in node_table(options)}


def test_a_rehearsal_needs_no_arm_and_no_hands() -> None:
    nodes = named(REHEARSAL)
    assert list(nodes)[:2] == ["standin_cell", "ur5e_driver"]
    assert nodes["standin_cell"].parameters["faults"] == "4:protective_stop"
    assert nodes["standin_cell"].parameters["operator"] == "auto"
    assert nodes["diagnosis"].parameters["cell"] == "left"
    assert "operator_console" not in nodes


def test_cells_that_share_a_hub_have_no_store_of_their_own() -> None:
    for namespace, cell in (("lab/left_1", ""), ("any", "lab-left-1")):
        nodes = named(GraphOptions(hub=True, namespace=namespace, cell=cell))
        assert "outcome_labeler" not in nodes
        assert nodes["diagnosis"].parameters["cell"] == "lab-left-1"
    with pytest.raises(InvalidArgumentError, match="no name for a cell"):
        GraphOptions(hub=True, namespace="a" * 21)
    assert GraphOptions(hub=True, namespace="a" * 21, cell="a").cell_name == "a"


def test_compressed_pictures_are_read_and_recorded_alike() -> None:
    options = GraphOptions(
        mode="ur5e", robot_ip="192.0.2.1", camera="usb_cam", compressed=True, console_token="lab"
    )
    nodes = named(options)
    reading = {name for name, spec in nodes.items() if spec.parameters.get("compressed")}
    assert reading == {"camera_capture", "outcome_labeler"}
    assert nodes["operator_console"].parameters["token"] == "lab"
    assert not any("compressed" in s.parameters for s in TABLE)


def test_hands_have_time() -> None:
    nodes = named(REAL)
    assert "standin_cell" not in nodes
    assert "operator_console" in nodes
    assert nodes["perturbation_tagger"].parameters["cell_timeout"] >= 1800
    assert nodes["diagnosis"].parameters["label_timeout"] == 0.0
    assert nodes["diagnosis"].parameters["apply_timeout"] >= 1800


@pytest.mark.parametrize("camera", CAMERA_TOPICS)
def test_every_node_reads_the_camera_that_is_there(camera: str) -> None:
    options = GraphOptions(mode="ur5e", robot_ip="192.0.2.1", camera=camera)
    maps = [dict(s.remappings) for s in node_table(options)]
    wanted = CAMERA_TOPICS[camera]
    assert {m.get(names.CAMERA_IMAGE, names.CAMERA_IMAGE) for m in maps} == {wanted}
    info = maps[0].get(names.CAMERA_INFO, names.CAMERA_INFO)
    assert info.rpartition("/")[0] == wanted.rpartition("/")[0]


def test_a_camera_of_any_name_is_read() -> None:
    options = GraphOptions(mode="ur5e", robot_ip="192.0.2.1", camera_topic="/eye/color")
    assert dict(node_table(options)[0].remappings) == {
        names.CAMERA_IMAGE: "/eye/color",
        names.CAMERA_COMPRESSED: "/eye/color/compressed",
        names.CAMERA_INFO: "/eye/camera_info",
    }
    assert all(not s.remappings for s in node_table(GraphOptions()))


def test_parameters_of_the_cell_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    path.write_text("/**: {ros__parameters: {}}")
    options = GraphOptions(mode="ur5e", robot_ip="192.0.2.1", cell_config=str(path))
    assert [s.name for s in node_table(options) if s.params_file] == ["ur5e_driver"]


def test_launch_arguments_cover_the_options(root: Path) -> None:
    text = (root / "launch/diagnose.launch.py").read_text()
    tree = ast.parse(text)
    declared = {
        target.id: {
            call.args[0].value
            for call in ast.walk(statement.value)
            if isinstance(call, ast.Call)
            and getattr(call.func, "id", "") == "DeclareLaunchArgument"
        }
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    }
    assert declared["ARGUMENTS"] == {f.name for f in fields(GraphOptions)} | {"respawn"}
    assert {"ur_args", "kinematics_params_file", "headless_mode"} <= declared["DRIVER_ARGUMENTS"]
    assert "eval" not in text
    assert "subprocess" not in text


@pytest.mark.parametrize("name", [f.name for f in fields(GraphOptions)])
def test_up_sets_every_option(root: Path, name: str) -> None:
    tree = ast.parse((root / "src/robomd_ros/cli/up.py").read_text())
    call = next(
        c
        for c in ast.walk(tree)
        if isinstance(c, ast.Call) and ast.unparse(c.func) == "GraphOptions"
    )
    assert name == "rviz" or name in {k.arg for k in call.keywords}  # RViz needs an installed ROS


def test_rviz_shows_what_is_published(root: Path) -> None:
    from yaml import safe_load

    from robomd_ros.adapters import names

    displays = safe_load((root / "config/robomd.rviz").read_text())["Visualization Manager"][
        "Displays"
    ]
    topics = {d["Topic"]["Value"] for d in displays if "Topic" in d}
    assert topics == {names.OVERLAY_IMAGE, names.CAMERA_IMAGE, names.OVERLAY_MARKERS}
    assert all(d["Class"].startswith("rviz_default_plugins/") for d in displays)


def test_a_gamepad_is_listened_to_where_it_is_wanted():
    assert "joy_operator" not in {spec.name for spec in node_table(GraphOptions())}
    assert "joy_operator" in {spec.name for spec in node_table(GraphOptions(joy=True))}
