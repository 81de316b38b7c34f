"""`robomd up`: the node graph without ROS 2's launch."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from robomd_ros.core.errors import UnavailableError
from robomd_ros.graph import MODES, PROFILES, GraphOptions, node_table

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
    name in front, and one that dies is started again.
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
