"""`robomd rehearse`: a session on the stand-in cell, with faults, watched on the wire: before an arm moves."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from robomd_ros.arm.rehearsal import EXPECTED, WatchedRollout, parse_faults
from robomd_ros.cli.graph_process import GraphProcess
from robomd_ros.cli.live import console, refuse_second_graph, run_session, say, wait_for_nodes
from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.outcome import Outcome

if TYPE_CHECKING:
    from robomd_ros.core.records import RolloutRecord

app = typer.Typer(add_completion=False)

FAULTS = "4:protective_stop,7:speed_scaling,10:frozen_camera,13:lost_network,16:emergency_stop"
_SESSION, _ROLLOUT, _BY_HAND = 900.0, 120.0, 24 * 3600.0


@app.command()
def rehearse(
    rollouts: Annotated[int, typer.Option(min=1, help="Of the session.")] = 20,
    faults: Annotated[
        str, typer.Option(help=f"NUMBER:FAULT,...; faults: {', '.join(EXPECTED)}; empty = none.")
    ] = FAULTS,
    operator: Annotated[
        str,
        typer.Option(
            help="auto: the stand-in answers and labels; console: you do, in the browser."
        ),
    ] = "auto",
    study: Annotated[
        Path | None, typer.Option(help="Folder of the study; empty = a new one in studies/.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the session and of the scenes.")] = 0,
    console_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the console.")] = 8090,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Run a session on the stand-in UR5e cell, let things go wrong, and check from outside that it ends as it must.

    Everything but the arm is what runs on the real cell: driver node, watchdogs, operator, recording, session, report.
    Exit code 1 when a rollout with a fault ended otherwise than it has to, a command was published after an end, or a
    label is missing.
    """
    from robomd_msgs.action import Diagnose
    from robomd_ros.adapters.command_watch import CommandWatch
    from robomd_ros.cli.wire import Wire

    planned = parse_faults(faults)
    late = [n for n in planned if n > rollouts]
    if late:
        raise InvalidArgumentError(f"fault in rollout {late[0]}: there are {rollouts}.")
    if operator not in ("auto", "console"):
        raise InvalidArgumentError(f"operator {operator!r}: want auto or console.")
    folder = study or Path("studies") / datetime.now().strftime("rehearsal-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--mode", "ur5e", "--hardware", "standin", "--operator", operator]
    arguments += ["--study", str(folder), "--faults", faults, "--seed", str(seed)]
    arguments += ["--console-port", str(console_port)]
    started = time.monotonic()
    with Wire() as wire:
        refuse_second_graph(wire)
        watch = CommandWatch(wire.node, planned)
        with GraphProcess(arguments, folder / "nodes.log") as graph:
            say(f"nodes start in processes of their own, their output: {graph.log}")
            wait_for_nodes(wire, graph)
            if operator == "console":
                say(f"you are the operator: http://127.0.0.1:{console_port}")
            patience = _BY_HAND if operator == "console" else _SESSION + _ROLLOUT * rollouts
            goal = Diagnose.Goal(rollouts=rollouts, train_every=rollouts, seed=seed)
            status = run_session(wire, graph, goal, patience)
    stored = _stored(folder)
    _show(watch.rollouts, stored, as_json)
    _report(folder, status, time.monotonic() - started)
    wrong = verdict(watch.rollouts, stored, planned, status)
    if moved := watch.commands_while_stopped:
        wrong.append(f"{moved} commands while the cell waited for the operator's word.")
    for sentence in wrong:
        say(f"[bold red]{sentence}[/]")
    if wrong:
        raise typer.Exit(1)
    say("[bold green]every rollout ended as it has to, and nothing was commanded after an end[/]")


def verdict(
    seen: Sequence[WatchedRollout],
    stored: dict[str, RolloutRecord],
    planned: dict[int, str],
    status: Any,
) -> list[str]:
    """What went wrong, one sentence each."""
    wrong = []
    for number, rollout in enumerate(seen, 1):
        name = f"rollout {number} ({rollout.fault or 'no fault'})"
        if not rollout.as_expected:
            wanted = EXPECTED.get(rollout.fault)
            wrong.append(
                f"{name} ended {rollout.outcome.name}, want {'-' if wanted is None else wanted.name}."
            )
        if rollout.commands_after_end:
            wrong.append(f"{name}: {rollout.commands_after_end} commands after its end.")
        record = stored.get(rollout.rollout_id)
        if record is None:
            wrong.append(f"{name} is not in the store.")
        elif record.outcome is Outcome.UNKNOWN:
            wrong.append(f"{name} has no label.")
        elif EXPECTED.get(rollout.fault) and record.outcome is not rollout.outcome:
            wrong.append(f"{name} is stored as {record.outcome.name}.")
    missed = [f"{n}:{fault}" for n, fault in planned.items() if n > len(seen)]
    if missed:
        wrong.append(
            f"there were only {len(seen)} rollouts, so {', '.join(missed)} did not happen."
        )
    if status.done < status.total:
        wrong.append(f"the session did {status.done} of {status.total} rollouts.")
    return wrong


def _stored(folder: Path) -> dict[str, RolloutRecord]:
    from robomd_ros.core.study import Study

    if not (folder / "study.json").is_file():
        raise UnavailableError(f"nothing was stored, see {folder / 'nodes.log'}")
    with Study.open(folder).store(read_only=True) as store:
        return {record.id: record for record in store.records()}


def row(number: int, seen: WatchedRollout, record: RolloutRecord | None) -> dict[str, object]:
    """One rollout as plain data; times in ms."""
    return {
        "rollout": number,
        "perturbation": record.perturbation.id if record else "",
        "fault": seen.fault,
        "outcome": (record.outcome if record else seen.outcome).name,
        "as_expected": seen.as_expected,
        "driver_time_to_stop_ms": float(seen.facts.get("time_to_stop_ms", "nan")),
        "stop_to_last_command_ms": round(seen.stop_to_last_command, 1),
        "commands_after_stop": seen.commands_after_stop,
        "fault_to_last_command_ms": round(seen.fault_to_last_command, 1),
        "commands": len(seen.commands),
        "commands_after_end": seen.commands_after_end,
        "frames": f"{record.frames}/{record.frames_expected}" if record else "",
        "recording": record.recording if record else "",
        "reason": seen.reason,
    }


def _show(seen: Sequence[WatchedRollout], stored: dict[str, RolloutRecord], as_json: bool) -> None:
    rows = [row(n, r, stored.get(r.rollout_id)) for n, r in enumerate(seen, 1)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, title="What went over the wire (times in ms)")
    for title in ("#", "variation", "fault", "outcome", "fault→last", "stop→last", "after end"):
        table.add_column(title, no_wrap=True)
    table.add_column("why it ended", overflow="fold", min_width=20)
    for number, (entry, rollout) in enumerate(zip(rows, seen, strict=True), 1):
        fine = rollout.as_expected and not rollout.commands_after_end
        table.add_row(
            str(number),
            str(entry["perturbation"]),
            rollout.fault or "–",
            str(entry["outcome"]),
            f"{rollout.fault_to_last_command:.0f}" if rollout.fault else "–",
            f"{rollout.stop_to_last_command:.0f}" if rollout.program_stopped else "–",
            f"{rollout.commands_after_end} of {len(rollout.commands)}",
            rollout.reason,
            style="" if fine else "bold red",
        )
    console.print(table)


def _report(folder: Path, status: Any, seconds: float) -> None:
    from robomd_ros.report.build import build_report

    with console.status("report"):
        report = build_report(folder)
    say(
        f"{status.done} rollouts: {status.successes} succeeded, {status.failures} failed, "
        f"{status.done - status.successes - status.failures} are no evidence about the policy (stops, negative controls); {seconds / 60:.1f} minutes"
    )
    say(f"report: {report}")
