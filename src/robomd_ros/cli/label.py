"""`robomd label`: how a rollout ended, said by a person."""

from __future__ import annotations

import getpass
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Label, Outcome

app = typer.Typer(add_completion=False)


class Judgement(StrEnum):
    """What a person can say about a rollout."""

    SUCCESS = "success"
    FAILURE = "failure"
    INVALID = "invalid"
    SAFETY_STOP = "safety_stop"


@app.command()
def label(
    rollout: Annotated[
        str, typer.Argument(help='Id of the rollout; "last" = the newest one.')
    ] = "",
    outcome: Annotated[Judgement | None, typer.Argument(help="How it ended.")] = None,
    reason: Annotated[str, typer.Option(help="Why, in your own words.")] = "",
    phase: Annotated[str, typer.Option(help='Phase of the task that failed, e.g. "grasp".')] = "",
    labeler: Annotated[str, typer.Option(help="Who says so; your login name when empty.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the newest label back.")] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Stay, show what the cell asks, and take single keys."),
    ] = False,
    second_look: Annotated[
        bool,
        typer.Option(
            "--second-look", help="Judge stored rollouts again from their pictures, blind."
        ),
    ] = False,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rollouts that wants a second look.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed, other rollouts for a second look.")] = 0,
    study: Annotated[
        Path | None,
        typer.Option(help="Write into a study on disk instead of asking the running nodes."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the cell.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the nodes.")] = 10.0,
) -> None:
    """Say how a rollout ended, or take the newest label back; labels are appended, never overwritten."""
    who = labeler or getpass.getuser()
    if watch or (second_look and outcome is None and not undo):
        if (watch and (rollout or second_look or study)) or outcome or undo:
            raise typer.BadParameter("--watch takes no rollout, outcome, --undo or --study.")
        if watch:
            from robomd_ros.cli.watch import watch as stay

            stay(who, namespace, timeout)
            return
        from robomd_ros.cli.second_look import look_again

        look_again(rollout, who, share, seed, study, namespace, timeout)
        return
    if not rollout:
        raise typer.BadParameter("say which rollout, or --watch, or --second-look.")
    if undo == (outcome is not None):
        raise typer.BadParameter(
            "say how it ended (success, failure, invalid, safety_stop) or --undo, one of the two."
        )
    judged = Label(
        Outcome[outcome.name] if outcome else Outcome.UNKNOWN,
        who,
        time.time(),
        reason,
        phase,
        second_look,
    )
    rollout_id = "" if rollout == "last" else rollout
    if study is not None:
        said = _label_study(study, rollout_id, judged, undo)
    else:
        said = _label_nodes(rollout_id, judged, undo, namespace, timeout)
    typer.echo(said)


def _label_study(folder: Path, rollout_id: str, judged: Label, undo: bool) -> str:
    from robomd_ros.core.study import Study

    with Study.open(folder).store() as store:
        if not rollout_id:
            newest = store.page(limit=1)[1]
            if not newest:
                raise InvalidArgumentError(f"{folder} holds no rollouts yet.")
            rollout_id = newest[0].id
        if undo:
            record = store.undo(rollout_id, judged.labeler, judged.stamp, judged.second_look)
        else:
            record = store.label(rollout_id, judged)
    return f"{record.id} ({record.perturbation.id}): {record.outcome.name}"


def _label_nodes(rollout_id: str, judged: Label, undo: bool, namespace: str, timeout: float) -> str:
    from robomd_msgs.srv import LabelOutcome
    from robomd_ros.adapters import conversions, names
    from robomd_ros.cli.wire import Wire

    request = LabelOutcome.Request(
        rollout_id=rollout_id,
        undo=undo,
        second_look=judged.second_look,
        outcome=conversions.label_to_msg(judged),
    )
    with Wire(namespace) as wire:
        rollout = wire.call(LabelOutcome, names.LABEL_OUTCOME, request, timeout).rollout
    return (
        f"{rollout.rollout_id} ({rollout.perturbation.id}): {Outcome(rollout.outcome.value).name}"
    )
