"""The whole graph: a robot cell (simulated, rehearsed or real), and the nodes that diagnose the policy in it.

The camera's exposure and white balance are locked: automatic ones would cancel a variation of the light. Options of the
UR driver that have no argument here go through `ur_args`, those of a camera through a launch file of your own and camera:=none.
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.substitutions import FindPackageShare

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.graph import (
    CAMERA_TOPICS,
    HARDWARE,
    MODES,
    OPERATORS,
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
        description="robosuite, or a UR5e (see robot_ip, hardware)",
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
    DeclareLaunchArgument(
        "hardware",
        default_value=DEFAULTS.hardware,
        choices=list(HARDWARE),
        description="ur5e: the arm, the UR driver's mock, or a stand-in to rehearse with",
    ),
    DeclareLaunchArgument(
        "camera",
        default_value=DEFAULTS.camera,
        choices=list(CAMERA_TOPICS),
        description="ur5e: camera driver to start; none = it runs already",
    ),
    DeclareLaunchArgument(
        "camera_topic",
        default_value=DEFAULTS.camera_topic,
        description="ur5e: topic of its images; empty = the camera driver's own",
    ),
    DeclareLaunchArgument(
        "compressed",
        default_value="false",
        choices=SWITCH,
        description="ur5e: read and record the pictures as the camera's driver compressed them",
    ),
    DeclareLaunchArgument(
        "operator",
        default_value=DEFAULTS.operator,
        choices=list(OPERATORS),
        description="ur5e: a web page, the stand-in itself, or clients of your own",
    ),
    DeclareLaunchArgument(
        "console_host",
        default_value=DEFAULTS.console_host,
        description="Address the operator's page is served at; 0.0.0.0 = to the network, with a token",
    ),
    DeclareLaunchArgument(
        "console_port",
        default_value=str(DEFAULTS.console_port),
        description="Port of the operator's page",
    ),
    DeclareLaunchArgument(
        "console_token",
        default_value=DEFAULTS.console_token,
        description="Wanted of every browser; empty = none on this machine, a kept one elsewhere",
    ),
    DeclareLaunchArgument(
        "joy",
        default_value="false",
        choices=SWITCH,
        description="Also listen to a gamepad or pedal on the topic joy (`ros2 run joy joy_node`)",
    ),
    DeclareLaunchArgument(
        "faults",
        default_value=DEFAULTS.faults,
        description="standin: what goes wrong in which rollout, 4:protective_stop,8:frozen_camera",
    ),
    DeclareLaunchArgument(
        "cell",
        default_value=DEFAULTS.cell,
        description="Name of the cell: its session ids begin with it",
    ),
    DeclareLaunchArgument(
        "hub",
        default_value="false",
        choices=SWITCH,
        description="The study is kept by `robomd hub`, for several cells: no outcome_labeler here",
    ),
    DeclareLaunchArgument(
        "cell_config",
        default_value=DEFAULTS.cell_config,
        description="YAML file with parameters of the cell's node; empty = its defaults",
    ),
]
SWITCHES = ("rviz", "allow_download", "compressed", "joy", "hub")
DRIVER_ARGUMENTS = [
    DeclareLaunchArgument(
        "start_ur_driver",
        default_value="true",
        choices=SWITCH,
        description="ur5e: start ur_robot_driver; false = it runs already",
    ),
    DeclareLaunchArgument(
        "ur_type", default_value="ur5e", description="ur5e: type of the arm, for ur_robot_driver"
    ),
    DeclareLaunchArgument(
        "headless_mode",
        default_value="false",
        choices=SWITCH,
        description="ur5e: run the control program without the pendant, for ur_robot_driver",
    ),
    DeclareLaunchArgument(
        "initial_joint_controller",
        default_value="scaled_joint_trajectory_controller",
        description="ur5e: controller that is active at the start, for ur_robot_driver",
    ),
    DeclareLaunchArgument(
        "kinematics_params_file",
        default_value="",
        description="ur5e: the arm's own calibration, an absolute path; empty = nominal",
    ),
    DeclareLaunchArgument(
        "ur_args",
        default_value="",
        description="ur5e: more arguments of ur_control.launch.py, key:=value key:=value",
    ),
    DeclareLaunchArgument(
        "video_device", default_value="/dev/video0", description="usb_cam and v4l2: the camera"
    ),
]
"""For the drivers of the arm and the camera, which only `ros2 launch` starts."""


def wire(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node table as launch actions, and the drivers it needs."""
    given = {a.name: context.launch_configurations[a.name] for a in ARGUMENTS}
    chosen = {a.name: context.launch_configurations[a.name] for a in DRIVER_ARGUMENTS}
    respawn = given.pop("respawn") == "true"
    options = GraphOptions(
        **given
        | {name: int(given[name]) for name in ("rollouts", "seed", "patience", "console_port")}
        | {name: given[name] == "true" for name in SWITCHES}
    )
    with_driver = options.mode == "ur5e" and options.hardware != "standin"
    if with_driver and options.namespace and chosen["start_ur_driver"] == "true":
        raise InvalidArgumentError(
            "ur_control.launch.py starts its controllers without a namespace: start the UR driver of this cell by yourself "
            "(docs/several_cells.md) and say start_ur_driver:=false."
        )
    actions = [node(spec, options.namespace, respawn) for spec in node_table(options)]
    wanted = {}
    if with_driver:
        if chosen["start_ur_driver"] == "true":
            wanted["ur_robot_driver"] = NO_ARM
            actions.append(ur_driver(options, chosen))
        if options.camera != "none":
            wanted[CAMERA_PACKAGES[options.camera]] = NO_CAMERA
            actions += camera(options, chosen["video_device"])
    if options.rviz:
        wanted["rviz2"] = "rviz:=false"
        actions.append(rviz(options))
    check_installed(wanted)
    return actions


def check_installed(wanted: dict[str, str]) -> None:
    """Notice a missing package before anything starts: launch leaves running what it started before an error.

    Args:
        wanted: package of others to what can be said instead.
    """
    for package, instead in wanted.items():
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            raise UnavailableError(
                f"package {package} is not installed: get it with `rosdep install`, or say {instead}."
            ) from None


def node(spec: NodeSpec, namespace: str, respawn: bool) -> Node:
    """One row of the table."""
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=namespace,
        parameters=[p for p in (spec.params_file, dict(spec.parameters)) if p],
        remappings=list(spec.remappings.items()),
        respawn=respawn and spec.respawn,
        respawn_delay=2.0,
        output="screen",
        emulate_tty=True,
        prefix=f"nice -n {spec.niceness}" if spec.niceness else None,
        additional_env={"ROS_PYTHON_CHECK_FIELDS": "1"},
    )


def ur_driver(options: GraphOptions, chosen: dict[str, str]) -> LaunchDescriptionEntity:
    """The arm's own driver, in the cell's namespace."""
    passed = ("ur_type", "headless_mode", "initial_joint_controller", "kinematics_params_file")
    arguments = {name: chosen[name] for name in passed if chosen[name]} | {
        "robot_ip": options.robot_ip or "0.0.0.0",
        "use_mock_hardware": str(options.hardware == "mock").lower(),
        "launch_rviz": "false",
    }
    arguments |= dict(pair.split(":=", 1) for pair in chosen["ur_args"].split())
    return grouped(options, include("ur_robot_driver", "ur_control.launch.py", arguments))


def camera(options: GraphOptions, video_device: str) -> list[LaunchDescriptionEntity]:
    """The camera's driver, exposure and white balance locked."""
    if options.camera == "realsense":
        # the node itself: its rs_launch.py knows no argument for the white balance, and would drop it
        locked = {
            "enable_depth": False,
            "rgb_camera.enable_auto_exposure": False,
            "rgb_camera.enable_auto_white_balance": False,
        }
        return [
            Node(
                package="realsense2_camera",
                executable="realsense2_camera_node",
                name="camera",
                namespace=f"{options.namespace}/camera".lstrip("/"),
                parameters=[{"camera_name": "camera", **locked}],
                respawn=True,
                respawn_delay=2.0,
                output="screen",
            )
        ]
    package, executable, locked = WEBCAMS[options.camera]
    return [
        Node(
            package=package,
            executable=executable,
            name=package,
            namespace=options.namespace,
            parameters=[{"video_device": video_device, **locked}],
            respawn=True,
            respawn_delay=2.0,
            output="screen",
        )
    ]


WEBCAMS = {
    "usb_cam": (
        "usb_cam",
        "usb_cam_node_exe",
        # `autoexposure` until 0.8.1; `auto_exposure` since, where 1 is V4L2's manual mode
        {"pixel_format": "yuyv2rgb", "autoexposure": False, "auto_exposure": 1}
        | {"auto_white_balance": False},
    ),
    "v4l2": (
        "v4l2_camera",
        "v4l2_camera_node",
        # named after the camera's controls; the second pair is that of kernels before 5.19
        {"auto_exposure": 1, "white_balance_automatic": False}
        | {"exposure_auto": 1, "white_balance_temperature_auto": False},
    ),
}
"""Package, executable and the parameters that lock exposure and white balance."""

CAMERA_PACKAGES = {"realsense": "realsense2_camera"} | {k: v[0] for k, v in WEBCAMS.items()}
NO_ARM = (
    "start_ur_driver:=false where it runs already, or hardware:=standin to rehearse without an arm"
)
NO_CAMERA = "camera:=none where its driver runs already"


def include(package: str, file: str, arguments: dict[str, str]) -> IncludeLaunchDescription:
    """Another package's launch file."""
    path = PathJoinSubstitution([FindPackageShare(package), "launch", file])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path), launch_arguments=arguments.items()
    )


def grouped(options: GraphOptions, action: LaunchDescriptionEntity) -> LaunchDescriptionEntity:
    """The action in the cell's namespace."""
    return GroupAction([PushRosNamespace(options.namespace), action])


def rviz(options: GraphOptions) -> Node:
    """RViz with robot, camera, overlay and markers."""
    config = PathJoinSubstitution([FindPackageShare("robomd_ros"), "config", "robomd.rviz"])
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        namespace=options.namespace,
        arguments=["-d", config],
        remappings=list(options.remappings.items()),
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the graph they ask for."""
    return LaunchDescription([*ARGUMENTS, *DRIVER_ARGUMENTS, OpaqueFunction(function=wire)])
