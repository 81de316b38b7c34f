"""The node table: one description of the graph, started by `ros2 launch` and by `robomd up` alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from robomd_ros.adapters import names
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue

MODES = ("sim", "ur5e")
PROFILES = ("compact", "paper")
SIM_ROBOTS = ("Panda", "UR5e")
ROBOT_FOR = {"sim": "Panda", "ur5e": "UR5e"}
HARDWARE = ("real", "mock", "standin")
OPERATORS = ("console", "auto", "none")
CAMERA_TOPICS = {
    "realsense": "camera/camera/color/image_raw",
    "usb_cam": "image_raw",
    "v4l2": "image_raw",
    "none": "camera/image_raw",
}
"""Where each camera driver publishes, relative to the namespace; "none" = one that runs already."""

BY_HAND = 3600.0
"""What a person does may take this long [s]."""

SHARED_MACHINE = {
    "joint_silence": 1.0,
    "camera_silence": 1.0,
    "observation_age": 1.0,
    "action_age": 1.5,
}
"""Watchdogs of a rehearsal [s]: simulator, driver and models share two cores, which an arm's controller box does not."""

STEPS_ASIDE = 10
"""Niceness of the nodes that learn, draw and answer: they must not make an arm wait."""

_CELL = re.compile(r"[A-Za-z0-9-]{0,20}\Z")
Parameter = bool | int | float | str


@dataclass(frozen=True)
class GraphOptions:
    """What a user chooses.

    Attributes:
        mode: "sim" or "ur5e".
        study: folder of the study; made when it is not there.
        policy: under test; "" = the shipped one of the robot.
        profile: of the embedding, "compact" or "paper".
        robot: "Panda" or "UR5e"; "" = the mode's.
        task: catalogue of variations: a shipped task.
        rollouts: of a diagnosis that is started with the graph; 0 = none.
        seed: of that diagnosis.
        session: id of a session to resume; "" = a new one. Wants rollouts.
        patience: stop rule of a diagnosis: rollouts without a new failing condition; 0 = never.
        device: torch device of the embedding.
        image_weights, text_weights: files of the paper profile; "" = the libraries' caches.
        allow_download: paper profile: fetch weights that are not there.
        namespace: separates cells on one network; "" = none.
        rviz: also start RViz (ros2 launch only).
        robot_ip: of the arm, mode ur5e.
        hardware: mode ur5e: "real", "mock" (the UR driver's own), or "standin" (a rehearsal: a simulated cell that speaks
            the UR driver's names).
        camera: whose topic is read, and what `ros2 launch` starts; see CAMERA_TOPICS.
        camera_topic: another topic than that of `camera`; "" = its own.
        compressed: the pictures are read and recorded as the camera's driver compressed them, from its topic /compressed.
        operator: mode ur5e: "console" (a web page), "auto" (the stand-in answers and labels by itself), "none" (the
            terminal or any other client).
        console_host, console_port: where the page is served.
        console_token: wanted of every browser; "" = none on this machine, a kept one elsewhere.
        joy: also start joy_operator, for a gamepad or pedal whose own driver publishes joy.
        faults: of the stand-in, "4:protective_stop,8:frozen_camera": in the n-th rollout.
        cell: name of the cell: its session ids begin with it, so that cells can share a study.
        hub: the study is kept by `robomd hub`, for several cells: no outcome_labeler of its own. Wants a namespace, which
            is also the cell's name where none is given.
        cell_config: YAML file with parameters of the cell's node (tool, frames, home pose, gripper, limits); "" = none.
    """

    mode: str = "sim"
    study: str = "studies/live"
    policy: str = ""
    profile: str = "compact"
    robot: str = ""
    task: str = "lift"
    rollouts: int = 0
    seed: int = 0
    session: str = ""
    patience: int = 0
    device: str = "cpu"
    image_weights: str = ""
    text_weights: str = ""
    allow_download: bool = False
    namespace: str = ""
    rviz: bool = False
    robot_ip: str = ""
    hardware: str = "real"
    camera: str = "realsense"
    camera_topic: str = ""
    compressed: bool = False
    operator: str = "console"
    console_host: str = "127.0.0.1"
    console_port: int = 8090
    console_token: str = ""
    joy: bool = False
    faults: str = ""
    cell: str = ""
    hub: bool = False
    cell_config: str = ""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InvalidArgumentError(
                    f"{name} {getattr(self, name)!r}: want one of {', '.join(allowed)}."
                )
        if self.robot not in ("", *SIM_ROBOTS):
            raise InvalidArgumentError(
                f"robot {self.robot!r}: want one of {', '.join(SIM_ROBOTS)}."
            )
        if not 0 <= self.rollouts <= 100_000:
            raise InvalidArgumentError(f"rollouts {self.rollouts}: want 0 to 100000.")
        if not 0 <= self.patience <= 100_000:
            raise InvalidArgumentError(f"patience {self.patience}: want 0 to 100000.")
        if self.session and not self.rollouts:
            raise InvalidArgumentError(
                f"session {self.session[:60]!r} is resumed by a diagnosis: also say of how many rollouts."
            )
        if not self.study:
            raise InvalidArgumentError("study is empty: name a folder.")
        if not 1 <= self.console_port <= 65535:
            raise InvalidArgumentError(f"console_port {self.console_port}: want 1 to 65535.")
        if not _CELL.match(self.cell):
            raise InvalidArgumentError(
                f"cell {self.cell[:60]!r}: want up to 20 letters, digits or '-'."
            )
        if self.cell_config and not Path(self.cell_config).expanduser().is_file():
            raise InvalidArgumentError(f"cell_config {self.cell_config!r} is not a file.")
        self._check_hub()
        self._check_cell()
        load_catalogue(self.task)

    def _check_hub(self) -> None:
        if self.hub and not self.namespace.strip("/"):
            raise InvalidArgumentError(
                "hub wants a namespace: the one that `robomd hub NAMESPACE@DOMAIN` looks for the cell in."
            )
        if self.hub and not _CELL.match(self.cell_name):
            raise InvalidArgumentError(
                f"namespace {self.namespace[:60]!r} is no name for a cell: give it one, with up to 20 letters, digits or '-'."
            )

    def _check_cell(self) -> None:
        if self.compressed and (self.mode == "sim" or self.hardware == "standin"):
            raise InvalidArgumentError(
                "compressed is for a camera's driver: a simulated cell publishes raw pictures only."
            )
        rehearsal = self.mode == "ur5e" and self.hardware == "standin"
        if self.mode == "ur5e" and self.hardware == "real" and not self.robot_ip:
            raise InvalidArgumentError(
                "mode ur5e wants robot_ip, the address of the arm; or hardware standin, for a rehearsal without one."
            )
        if self.mode == "ur5e" and self.robot_name != "UR5e":
            raise InvalidArgumentError(f"robot {self.robot}: mode ur5e has a UR5e.")
        if self.faults and not rehearsal:
            raise InvalidArgumentError("faults are for a rehearsal: mode ur5e, hardware standin.")
        if self.operator == "auto" and not rehearsal:
            raise InvalidArgumentError(
                "operator auto is for a rehearsal: mode ur5e, hardware standin; an arm wants a person."
            )

    @property
    def robot_name(self) -> str:
        """The robot that runs."""
        return self.robot or ROBOT_FOR[self.mode]

    @property
    def cell_name(self) -> str:
        """What the ids of the cell's sessions begin with; "" = nothing."""
        own = self.namespace.strip("/").replace("/", "-").replace("_", "-") if self.hub else ""
        return self.cell or own

    @property
    def policy_name(self) -> str:
        """The policy under test: the one given, or the shipped one of task and robot."""
        return self.policy or f"{self.task}_{self.robot_name.lower()}_bc"

    @property
    def remappings(self) -> dict[str, str]:
        """From the names every node uses for the camera to those of the camera that is there."""
        if self.mode == "sim":
            return {}
        topic = (
            self.camera_topic
            or CAMERA_TOPICS["realsense" if self.hardware == "standin" else self.camera]
        )
        if topic == names.CAMERA_IMAGE:
            return {}
        folder = topic.rpartition("/")[0]
        return {
            names.CAMERA_IMAGE: topic,
            names.CAMERA_COMPRESSED: f"{topic}/compressed",
            names.CAMERA_INFO: f"{folder}/camera_info" if folder else "camera_info",
        }


_CHOICES = {
    "mode": MODES,
    "profile": PROFILES,
    "hardware": HARDWARE,
    "camera": tuple(CAMERA_TOPICS),
    "operator": OPERATORS,
}


@dataclass(frozen=True)
class NodeSpec:
    """One node of the graph.

    Attributes:
        package: ROS package.
        executable: console script of the package.
        module: Python module with the same `main`, for starting without an installed package.
        name: node name.
        parameters: those that differ from the node's defaults.
        respawn: start it again when it dies.
        remappings: of names on the wire.
        params_file: more parameters, in ROS 2's YAML; "" = none.
        niceness: 0 = as urgent as others, 19 = only when nothing else runs.
    """

    package: str
    executable: str
    module: str
    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    respawn: bool = True
    remappings: Mapping[str, str] = field(default_factory=dict)
    params_file: str = ""
    niceness: int = 0


def node_table(options: GraphOptions) -> list[NodeSpec]:
    """The nodes of the graph, the cell first."""
    aside = {"embedding_service", "search_service", "risk_overlay"}
    return [
        replace(
            spec,
            remappings=options.remappings,
            niceness=STEPS_ASIDE if spec.name in aside and options.mode == "ur5e" else 0,
        )
        for spec in _table(options)
    ]


def _table(options: GraphOptions) -> list[NodeSpec]:
    study = str(Path(options.study).expanduser().resolve())
    by_hand = options.mode == "ur5e"
    pictures = {"compressed": True} if options.compressed else {}
    slow_hands = {"cell_timeout": BY_HAND} if by_hand else {}
    patient = {
        "apply_timeout": BY_HAND,
        "rollout_timeout": BY_HAND,
        "label_timeout": 0.0,
        "by_hand": True,
        "patience_for_nodes": 24 * BY_HAND,
    }
    table = [
        *_cell(options),
        _node("camera_capture", **pictures),
        _node("perturbation_tagger", catalogue=options.task, **slow_hands),
        *([] if options.hub else [_node("outcome_labeler", study=study, **pictures)]),
        _node("embedding_service", study=study, **_embedding(options)),
        _node("search_service", study=study, **({"by_hand": True} if by_hand else {})),
        _node("risk_overlay"),
        _node(
            "diagnosis",
            study=study,
            catalogue=options.task,
            profile=options.profile,
            patience=options.patience,
            cell=options.cell_name,
            **(patient if by_hand else {}),
        ),
    ]
    if by_hand and options.operator == "console":
        page: dict[str, Parameter] = {"host": options.console_host, "port": options.console_port}
        page |= {"token": options.console_token} if options.console_token else {}
        table.append(_node("operator_console", study=study, **page))
    if options.joy:
        table.append(_node("joy_operator"))
    if options.rollouts:
        goal: dict[str, Parameter] = {"rollouts": options.rollouts, "seed": options.seed}
        goal |= {"session_id": options.session} if options.session else {}
        table.append(_node("start_diagnosis", respawn=False, **goal))
    return table


def _node(name: str, respawn: bool = True, **parameters: Parameter) -> NodeSpec:
    return NodeSpec("robomd_ros", name, f"robomd_ros.nodes.{name}", name, parameters, respawn)


def _embedding(options: GraphOptions) -> dict[str, Parameter]:
    """Parameters of the same name; a weights file is found from whatever folder the node runs in."""
    files = {
        name: str(Path(given).expanduser().resolve())
        for name in ("image_weights", "text_weights")
        if (given := getattr(options, name))
    }
    return {
        "profile": options.profile,
        "device": options.device,
        "allow_download": options.allow_download,
        **files,
    }


def _cell(options: GraphOptions) -> list[NodeSpec]:
    config = str(Path(options.cell_config).expanduser().resolve()) if options.cell_config else ""
    policy = {"policy": options.policy_name, "robot": options.robot_name}
    if options.mode == "sim":
        bridge = _sim("sim_bridge_node", "sim_bridge", task=options.task, **policy)
        return [replace(bridge, params_file=config)]
    driver = _node(
        "ur5e_driver",
        task=options.task,
        hardware=options.hardware,
        robot_ip=options.robot_ip,
        **policy,
        **(SHARED_MACHINE if options.hardware == "standin" else {}),
    )
    driver = replace(driver, params_file=config)
    if options.hardware != "standin":
        return [driver]
    auto = "auto" if options.operator == "auto" else ""
    cell = _sim(
        "standin_cell_node",
        "standin_cell",
        task=options.task,
        operator=auto,
        faults=options.faults,
        seed=options.seed,
    )
    return [cell, driver]


def _sim(module: str, name: str, **parameters: Parameter) -> NodeSpec:
    executable = module if name == "sim_bridge" else name
    return NodeSpec("sim_bridge", executable, f"sim_bridge.{module}", name, parameters)
