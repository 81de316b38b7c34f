"""`robomd up`: the node graph without ROS 2's launch."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from robomd_ros.core.errors import UnavailableError
from robomd_ros.graph import (
    CAMERA_TOPICS,
    HARDWARE,
    MODES,
    OPERATORS,
    PROFILES,
    GraphOptions,
    node_table,
)

app = typer.Typer(add_completion=False)


@app.command()
def up(
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(MODES)}.")] = "sim",
    study: Annotated[
        Path, typer.Option(help="Folder of the study; made when it is not there.")
    ] = Path("studies/live"),
    policy: Annotated[
        str, typer.Option(help="Policy under test; empty = the shipped one of the robot.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help=f"Embedding: one of {', '.join(PROFILES)}.")
    ] = "compact",
    robot: Annotated[str, typer.Option(help="Panda or UR5e; empty = the mode's.")] = "",
    task: Annotated[
        str, typer.Option(help="Task, which names the catalogue of variations.")
    ] = "lift",
    namespace: Annotated[str, typer.Option(help="Separates cells on one network.")] = "",
    robot_ip: Annotated[str, typer.Option(help="Address of the arm, mode ur5e.")] = "",
    hardware: Annotated[
        str,
        typer.Option(
            help=f"ur5e: one of {', '.join(HARDWARE)}; standin rehearses without an arm, mock is the UR driver's."
        ),
    ] = "real",
    camera: Annotated[
        str,
        typer.Option(
            help=f"ur5e: the driver whose topic is read, one of {', '.join(CAMERA_TOPICS)}."
        ),
    ] = "realsense",
    camera_topic: Annotated[
        str, typer.Option(help="ur5e: topic of the images; empty = the camera driver's own.")
    ] = "",
    compressed: Annotated[
        bool,
        typer.Option(
            "--compressed",
            help="ur5e: read and record the pictures as the camera's driver compressed them.",
        ),
    ] = False,
    operator: Annotated[
        str,
        typer.Option(
            help=f"ur5e: who answers, one of {', '.join(OPERATORS)}: a web page, the stand-in, your own clients."
        ),
    ] = "console",
    console_host: Annotated[
        str, typer.Option(help="Address the operator's page is served at.")
    ] = "127.0.0.1",
    console_port: Annotated[int, typer.Option(help="Port of the operator's page.")] = 8090,
    console_token: Annotated[
        str,
        typer.Option(help="Wanted of every browser; empty = none here, a kept one elsewhere."),
    ] = "",
    joy: Annotated[
        bool, typer.Option("--joy", help="Also listen to a gamepad or pedal on the topic joy.")
    ] = False,
    faults: Annotated[
        str,
        typer.Option(help="standin: what goes wrong when, 4:protective_stop,8:frozen_camera."),
    ] = "",
    cell: Annotated[
        str, typer.Option(help="Name of the cell: its session ids begin with it.")
    ] = "",
    hub: Annotated[
        bool, typer.Option("--hub", help="The study is kept by `robomd hub`, for several cells.")
    ] = False,
    cell_config: Annotated[
        str, typer.Option(help="YAML file with parameters of the cell's node.")
    ] = "",
    diagnose: Annotated[
        int, typer.Option(min=0, help="Also start a diagnosis of so many rollouts; 0 = none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the diagnosis.")] = 0,
    session: Annotated[str, typer.Option(help="Id of a session to resume, with --diagnose.")] = "",
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="End a diagnosis after so many rollouts without a new failing one; 0 = never.",
        ),
    ] = 0,
    device: Annotated[str, typer.Option(help='Of the embedding: "cpu", "cuda", ...')] = "cpu",
    image_weights: Annotated[
        str, typer.Option(help="paper: file of ViT-B/16 weights; empty = torch's cache.")
    ] = "",
    text_weights: Annotated[
        str, typer.Option(help="paper: file of CLIP weights; empty = open_clip's cache.")
    ] = "",
    download: Annotated[
        bool,
        typer.Option("--download", help="paper: fetch weights that are not in the cache."),
    ] = False,
    stop_when_done: Annotated[
        bool,
        typer.Option(
            "--stop-when-done", help="End when the diagnosis has ended, with its exit code."
        ),
    ] = False,
    respawn: Annotated[bool, typer.Option(help="Start nodes again when they die.")] = True,
) -> None:
    """Start the node graph and keep it up until Ctrl-C.

    The same table as `ros2 launch robomd_ros diagnose.launch.py`: each node is a process of its own, its output has its
    name in front, and one that dies is started again. The drivers of a real arm and of its camera are not in the table: start
    them beside it, or use the launch file, which does.
    """
    options = GraphOptions(
        mode=mode,
        study=str(study),
        policy=policy,
        profile=profile,
        robot=robot,
        task=task,
        rollouts=diagnose,
        seed=seed,
        session=session,
        patience=patience,
        device=device,
        image_weights=image_weights,
        text_weights=text_weights,
        allow_download=download,
        namespace=namespace,
        robot_ip=robot_ip,
        hardware=hardware,
        camera=camera,
        camera_topic=camera_topic,
        compressed=compressed,
        operator=operator,
        console_host=console_host,
        console_port=console_port,
        console_token=console_token,
        joy=joy,
        faults=faults,
        cell=cell,
        hub=hub,
        cell_config=cell_config,
    )
    table = node_table(options)
    missing = [m for m in ("rclpy", "robomd_msgs") if importlib.util.find_spec(m) is None]
    if missing:
        raise UnavailableError(
            f"{' and '.join(missing)} cannot be imported: run ./robomd setup, or source ROS 2."
        )
    from robomd_ros.cli.supervisor import Supervisor

    stop_with = "start_diagnosis" if stop_when_done and diagnose else ""
    raise typer.Exit(Supervisor(table, namespace, respawn, stop_with, sys.stdout).run())
