"""`robomd minimize`: the smallest part of a failing combination that still makes the policy fail."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from robomd_ros.cli.progress import progress_bar
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.search.minimal import MinimalConfig, MinimalSearch, Tested

if TYPE_CHECKING:
    from robomd_ros.recording.rollout_stream import RolloutStream

app = typer.Typer(add_completion=False)

FIRST_SEED = 800_000
"""Scenes of no collection, no training and no evaluation of a shipped policy."""
SEEDS = 10_000
"""Scenes of one `--seed`."""
_WORDS = {True: "fails", False: "does not fail", None: "undecided"}


@app.command()
def minimize(
    combination: Annotated[
        str, typer.Argument(help='What makes the policy fail: "cube_blue+table_red+light_grey".')
    ],
    policy: Annotated[
        str, typer.Option(help="A shipped name, a folder, python:…, torchscript:…, tcp://…")
    ],
    task: Annotated[str, typer.Option(help="Of the scene.")] = "lift",
    robot: Annotated[str, typer.Option(help="Panda or UR5e.")] = "Panda",
    threshold: Annotated[
        float, typer.Option(help="A set fails when its failure rate is above this.")
    ] = 0.5,
    alpha: Annotated[
        float, typer.Option(help="Chance at most that any set is judged wrongly.")
    ] = 0.05,
    max_rollouts: Annotated[
        int, typer.Option(min=1, help="Of one set; undecided by then, it counts as not failing.")
    ] = 40,
    budget: Annotated[int, typer.Option(min=1, help="Rollouts of all sets together.")] = 400,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=9, help="Other seed, other scenes.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option("--in", help="Keep the rollouts as a study here; run again, it goes on."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """The smallest part of a failing combination that still makes the policy fail, by rollouts in simulation.

    Ctrl-C ends it with what is known so far. Exit code 1 where the search did not come to its end.
    """
    from robomd_ros.cli.compare_live import own_study, policy_info
    from robomd_ros.recording.rollout_stream import RolloutStream

    catalogue = load_catalogue(task)
    whole = catalogue.perturbation(combination)
    config = MinimalConfig(threshold, alpha, max_rollouts, budget)
    info = policy_info(policy, task, robot)
    study = own_study(folder, task, robot, info.id) if folder is not None else None
    with RolloutStream(policy, task, robot, workers, study) as stream, progress_bar("now") as bar:
        now = bar.add_task("rollouts", total=budget, now="simulator starts")

        def told(tested: Tested) -> None:
            bar.update(now, completed=search.spent, now=_line(tested))

        first = FIRST_SEED + SEEDS * seed
        search = MinimalSearch(lambda p: _outcomes(stream, p, first, max_rollouts), config, told)
        try:
            search.run(whole)
        except KeyboardInterrupt:
            bar.stop()
            typer.echo("Stopped; what is known so far:", err=True)
            _show(search, as_json)
            raise
        except Exception:
            bar.stop()
            if search.tested and not as_json:
                _show(search, as_json)
            raise
    _show(search, as_json)
    raise typer.Exit(0 if search.complete else 1)


def _outcomes(
    stream: RolloutStream, perturbation: Perturbation, first_seed: int, most: int
) -> Generator[bool]:
    """Whether each rollout failed; those that ended otherwise are left out."""
    from robomd_ros.recording.collection import simulator

    make_job = simulator().jobs.make_job
    seeds = range(first_seed, first_seed + most)
    jobs = (make_job(perturbation, s, "confirm") for s in seeds)
    for record in stream.records(jobs):
        if record.is_evidence:
            yield record.outcome is Outcome.FAILURE


def _line(tested: Tested) -> str:
    return f"{tested.perturbation.id}: {tested.failures} of {tested.rollouts} failed"


def _show(search: MinimalSearch, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_json(search), indent=2))
        return
    percent = 100 * (1 - search.config.alpha)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("set", overflow="fold", ratio=1)
    for name in ("failed", "of", "rate", f"{percent:g} % interval", f"above {search.config.threshold:g}?"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for t in search.tested.values():
        low, high = t.interval(1 - search.config.alpha)
        rate = f"{t.failures / t.rollouts:.2f}"
        cells = (str(t.failures), str(t.rollouts), rate, f"{low:.2f} – {high:.2f}", _WORDS[t.fails])
        table.add_row(t.perturbation.id, *cells)
    console = Console()
    console.print(table)
    console.print(_verdict(search), highlight=False, markup=False, soft_wrap=True)


def _verdict(search: MinimalSearch) -> str:
    spent = f"({search.spent} rollouts)"
    if search.smallest is None:
        return f"No set is known to fail {spent}."
    name = search.smallest.id
    if not search.complete:
        return f"Not finished: the smallest set known to fail is {name} {spent}."
    open_ones = [t.perturbation.id for t in search.without() if t.fails is None]
    if open_ones:
        return f"{name} fails; it is minimal unless {' or '.join(open_ones)} fails, which is undecided {spent}."
    return f"{name} is minimal: it fails, and does not without any one of its variations {spent}."


def _json(search: MinimalSearch) -> dict[str, Any]:
    return {
        "minimal": search.smallest.id if search.smallest is not None else None,
        "complete": search.complete,
        "proven": search.complete and all(t.fails is False for t in search.without()),
        "rollouts": search.spent,
        "threshold": search.config.threshold,
        "alpha": search.config.alpha,
        "tested": [
            {
                "set": t.perturbation.id,
                "failures": t.failures,
                "rollouts": t.rollouts,
                "interval": list(t.interval(1 - search.config.alpha)),
                "fails": t.fails,
            }
            for t in search.tested.values()
        ],
    }
