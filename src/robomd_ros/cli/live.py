"""What the commands that start a graph of their own share: is it up, how far is the session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from robomd_ros.cli.progress import progress_bar
from robomd_ros.core.errors import BusyError

if TYPE_CHECKING:
    from robomd_ros.cli.graph_process import GraphProcess
    from robomd_ros.cli.wire import Wire

console = Console()

START = 120.0
"""Seconds the nodes have to come up."""


def say(text: str) -> None:
    """One line for the person watching."""
    console.print(f"[bold cyan]•[/] {text}", highlight=False, soft_wrap=True)


def refuse_second_graph(wire: Wire) -> None:
    """Raise BusyError when a graph runs in this ROS domain already."""
    from robomd_msgs.action import Diagnose
    from robomd_ros.adapters import names

    if wire.serves_action(Diagnose, names.DIAGNOSE, timeout=1.5):
        raise BusyError(
            "another graph runs in this ROS domain: stop it, or set ROS_DOMAIN_ID to another number (0 to 101)."
        )


def wait_for_nodes(wire: Wire, graph: GraphProcess) -> None:
    """Until the session's node is there; what the graph died of is raised."""
    from robomd_msgs.action import Diagnose
    from robomd_ros.adapters import names

    deadline = time.monotonic() + START
    while not wire.serves_action(Diagnose, names.DIAGNOSE, timeout=1.0):
        graph.check()
        if time.monotonic() > deadline:
            break  # the call says what is missing


def run_session(
    wire: Wire,
    graph: GraphProcess,
    goal: Any,
    timeout: float,
    on_status: Callable[[Any], None] = lambda _: None,
) -> Any:
    """The SessionStatus at the end of a Diagnose goal, with a live bar."""
    with progress_bar("found", "message") as progress:
        task = progress.add_task("live rollouts", total=goal.rollouts, found="", message="")

        def show(status: Any) -> None:
            progress.update(
                task,
                completed=status.done,
                found=f"{status.done}/{status.total}, {status.failures} failed",
                message=status.message[:60],
            )
            on_status(status)

        def on_lost() -> None:
            progress.update(task, message="diagnosis went away; resumed when it is back")

        status = wire.diagnose(goal, timeout, show, graph.check, on_lost).status
        progress.update(task, completed=goal.rollouts, message="done")
    graph.check()
    return status
