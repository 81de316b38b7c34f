"""The whole graph: a robot cell (simulated or real), and the nodes that diagnose the policy in it."""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from robomd_ros.graph import (
    MODES,
    PROFILES,
    SIM_ROBOTS,
    GraphOptions,
    NodeSpec,
    node_table,
)

DEFAULTS = GraphOptions()
SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument(
        "mode",
        default_value=DEFAULTS.mode,
        choices=list(MODES),
        description="robosuite, or a real UR5e (which also wants robot_ip)",
    ),
    DeclareLaunchArgument(
        "study",
        default_value=DEFAULTS.study,
        description="Folder of the study; made when it is not there",
    ),
    DeclareLaunchArgument(
        "policy",
        default_value=DEFAULTS.policy,
        description="Policy under test; empty = the shipped one of the robot",
    ),
    DeclareLaunchArgument(
        "profile",
        default_value=DEFAULTS.profile,
        choices=list(PROFILES),
        description="Embedding: small encoders, or those of the paper",
    ),
    DeclareLaunchArgument(
        "robot",
        default_value=DEFAULTS.robot,
        choices=["", *SIM_ROBOTS],
        description="Robot of the cell; empty = the mode's",
    ),
    DeclareLaunchArgument(
        "task",
        default_value=DEFAULTS.task,
        description="Task, which names the catalogue of variations",
    ),
    DeclareLaunchArgument(
        "rollouts",
        default_value=str(DEFAULTS.rollouts),
        description="Also start a diagnosis of so many rollouts; 0 = none",
    ),
    DeclareLaunchArgument("seed", default_value=str(DEFAULTS.seed), description="Of the diagnosis"),
    DeclareLaunchArgument(
        "session",
        default_value=DEFAULTS.session,
        description="Id of a session to resume, with rollouts; empty = a new one",
    ),
    DeclareLaunchArgument(
        "patience",
        default_value=str(DEFAULTS.patience),
        description="End a diagnosis after so many rollouts without a new failing condition; 0 = never",
    ),
    DeclareLaunchArgument(
        "device",
        default_value=DEFAULTS.device,
        description="Torch device of the embedding: cpu, cuda, ...",
    ),
    DeclareLaunchArgument(
        "image_weights",
        default_value=DEFAULTS.image_weights,
        description="paper: file of ViT-B/16 weights; empty = torch's cache",
    ),
    DeclareLaunchArgument(
        "text_weights",
        default_value=DEFAULTS.text_weights,
        description="paper: file of CLIP weights; empty = open_clip's cache",
    ),
    DeclareLaunchArgument(
        "allow_download",
        default_value="false",
        choices=SWITCH,
        description="paper: fetch weights that are not there",
    ),
    DeclareLaunchArgument(
        "namespace", default_value=DEFAULTS.namespace, description="Separates cells on one network"
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="false",
        choices=SWITCH,
        description="Show camera, overlay and markers",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="true",
        choices=SWITCH,
        description="Start nodes again when they die",
    ),
    DeclareLaunchArgument(
        "robot_ip", default_value=DEFAULTS.robot_ip, description="Address of the arm, mode ur5e"
    ),
]


def wire(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node table as launch actions."""
    given = {a.name: context.launch_configurations[a.name] for a in ARGUMENTS}
    respawn = given.pop("respawn") == "true"
    options = GraphOptions(
        **given
        | {name: int(given[name]) for name in ("rollouts", "seed", "patience")}
        | {name: given[name] == "true" for name in ("rviz", "allow_download")}
    )
    actions = [node(spec, options.namespace, respawn) for spec in node_table(options)]
    if options.mode == "ur5e":
        actions.append(ur_driver(options.robot_ip))
    if options.rviz:
        actions.append(rviz(options.namespace))
    return actions


def node(spec: NodeSpec, namespace: str, respawn: bool) -> Node:
    """One row of the table."""
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=namespace,
        parameters=[dict(spec.parameters)] if spec.parameters else [],
        respawn=respawn and spec.respawn,
        respawn_delay=2.0,
        output="screen",
        emulate_tty=True,
        additional_env={"ROS_PYTHON_CHECK_FIELDS": "1"},
    )


def ur_driver(robot_ip: str) -> IncludeLaunchDescription:
    """The arm's own driver."""
    path = PathJoinSubstitution(
        [FindPackageShare("ur_robot_driver"), "launch", "ur_control.launch.py"]
    )
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments={
            "ur_type": "ur5e",
            "robot_ip": robot_ip,
            "launch_rviz": "false",
        }.items(),
    )


def rviz(namespace: str) -> Node:
    """RViz with camera, overlay and markers."""
    config = PathJoinSubstitution([FindPackageShare("robomd_ros"), "config", "robomd.rviz"])
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        namespace=namespace,
        arguments=["-d", config],
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the graph they ask for."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=wire)])
