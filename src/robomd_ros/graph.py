"""The node table: one description of the graph, started by `ros2 launch` and by `robomd up` alike."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.variations import load_catalogue

MODES = ("sim", "ur5e")
PROFILES = ("compact", "paper")
SIM_ROBOTS = ("Panda", "UR5e")
ROBOT_FOR = {"sim": "Panda", "ur5e": "UR5e"}
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

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("profile", PROFILES)):
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
        if self.mode == "ur5e" and not self.robot_ip:
            raise InvalidArgumentError("mode ur5e wants robot_ip, the address of the arm.")
        load_catalogue(self.task)

    @property
    def robot_name(self) -> str:
        """The robot that runs."""
        return self.robot or ROBOT_FOR[self.mode]

    @property
    def policy_name(self) -> str:
        """The policy under test: the one given, or the shipped one of task and robot."""
        return self.policy or f"{self.task}_{self.robot_name.lower()}_bc"


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
    """

    package: str
    executable: str
    module: str
    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    respawn: bool = True


def node_table(options: GraphOptions) -> list[NodeSpec]:
    """The nodes of the graph, the cell first.

    Raises:
        UnavailableError: the mode wants a node that this version does not have.
    """
    study = str(Path(options.study).expanduser().resolve())
    slow_hands = {"cell_timeout": 600.0} if options.mode == "ur5e" else {}
    table = [
        _cell(options),
        _node("camera_capture"),
        _node("perturbation_tagger", catalogue=options.task, **slow_hands),
        _node("outcome_labeler", study=study),
        _node("embedding_service", study=study, **_embedding(options)),
        _node("search_service", study=study),
        _node("risk_overlay"),
        _node(
            "diagnosis",
            study=study,
            catalogue=options.task,
            profile=options.profile,
            patience=options.patience,
        ),
    ]
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


def _cell(options: GraphOptions) -> NodeSpec:
    policy = {"policy": options.policy_name, "robot": options.robot_name}
    if options.mode == "sim":
        return NodeSpec(
            "sim_bridge",
            "sim_bridge_node",
            "sim_bridge.sim_bridge_node",
            "sim_bridge",
            {"task": options.task, **policy},
        )
    if importlib.util.find_spec("robomd_ros.nodes.ur5e_driver") is None:
        raise UnavailableError(
            "mode ur5e: this version has no ur5e_driver node, which runs the policy on the arm; use mode sim."
        )
    return _node("ur5e_driver", robot_ip=options.robot_ip, **policy)
