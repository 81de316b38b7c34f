"""`robomd policy`: the policies under test."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from robomd_ros.core.errors import PolicyError

app = typer.Typer(no_args_is_help=True, add_completion=False)
console = Console()

PolicyArgument = Annotated[
    str,
    typer.Argument(
        help="A shipped name, a folder, torchscript:PATH.pt, robomimic:PATH.pth, lerobot:FOLDER, python:package.module:factory, "
        "tcp://HOST:PORT or openpi://HOST:PORT?mapping=M."
    ),
]
_STYLES = {"ok": "green", "warn": "yellow", "error": "red"}


@app.command("list")
def list_shipped() -> None:
    """Policies that ship with the package."""
    from robomd_ros.policies.loader import list_policies

    for name in list_policies():
        typer.echo(name)


@app.command()
def info(policy: PolicyArgument) -> None:
    """What a policy needs and gives."""
    from robomd_ros.policies.loader import load_policy

    loaded = load_policy(policy)
    table = Table(show_header=False, box=None)
    for name, value in asdict(loaded.info).items():
        table.add_row(name, ", ".join(value) if isinstance(value, tuple) else str(value))
    loaded.close()
    console.print(table)


@app.command()
def preflight(
    policy: PolicyArgument,
    robot: Annotated[str, typer.Option(help="Panda or UR5e; the policy's own when empty.")] = "",
    trials: Annotated[int, typer.Option(min=1, max=100, help="Nominal rollouts.")] = 4,
) -> None:
    """Run a policy in the simulator before hours are spent: shapes, rates, orientation, ranges, success.

    Exit code 1 when something is wrong that makes a diagnosis worthless.
    """
    from robomd_ros.policies.loader import load_policy
    from robomd_ros.policies.preflight import Level
    from robomd_ros.policies.preflight import preflight as check
    from sim_bridge.cell import to_osc_pose
    from sim_bridge.scene import Scene

    loaded = load_policy(policy)
    info = loaded.info
    scene = Scene(task=info.task, robot=robot or info.robot, proprio=info.proprio)
    try:
        report = check(loaded, scene, trials, command=lambda a: to_osc_pose(a, info.action_space))
    finally:
        scene.close()
        loaded.close()
    table = Table(
        "check",
        "",
        "finding",
        title=f"{report.policy_id}: {report.successes} of {report.trials} succeeded ({report.rate})",
    )
    for found in report.checks:
        table.add_row(found.name, f"[{_STYLES[found.level]}]{found.level}[/]", found.sentence)
    console.print(table)
    if report.level is Level.ERROR:
        raise PolicyError(f"{report.policy_id} is not fit for a diagnosis: see the findings above.")


@app.command()
def serve(
    policy: PolicyArgument,
    host: Annotated[
        str, typer.Option(help="Where to listen. There is no password: stay on networks you trust.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 5757,
) -> None:
    """Offer a policy to robomd on another machine or in another environment, until Ctrl-C."""
    from robomd_ros.policies.loader import load_policy
    from robomd_ros.policies.serve import PolicyServer

    loaded = load_policy(policy)
    server = PolicyServer(loaded, host, port)
    typer.echo("{} at tcp://{}:{}".format(loaded.info.id, *server.address))
    try:
        server.serve_forever()
    finally:
        server.stop()
        loaded.close()


@app.command("env")
def environment(
    name: Annotated[str, typer.Argument(help="robomimic or lerobot: the family of policies.")],
    folder: Annotated[
        Path | None, typer.Option(help="Of the environment; in the user's cache when not given.")
    ] = None,
    own_torch: Annotated[
        bool, typer.Option("--own-torch", help="Install torch there, too, instead of linking ours.")
    ] = False,
) -> None:
    """Make the environment that a family of policies runs in; where it is there, do nothing."""
    from robomd_ros.policies.sidecars.environment import make_environment
    from robomd_ros.policies.sidecars.kinds import kind_of

    kind = kind_of(name)
    python = make_environment(kind, typer.echo, folder, own_torch)
    if folder is not None:
        typer.echo(f"to use it: export {kind.variable}={python}")
