"""`robomd evaluate`: re-make the tables of docs/RESULTS.md."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from robomd_ros.cli.progress import progress_bar
from robomd_ros.core.errors import RobomdError
from robomd_ros.core.variations import Perturbation
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.report import results_page, revision
from robomd_ros.evaluation.steps import (
    Results,
    Step,
    datasets_of,
    probed_of,
    rendered_of,
    run_steps,
)
from robomd_ros.evaluation.tables import NAMES, table

app = typer.Typer(add_completion=False)
console = Console(stderr=True)


@app.command()
def evaluate(
    tables: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(NAMES)}; all when none is named.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="All of it small, in minutes.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the rollouts and results.")] = Path(
        "out/evaluate"
    ),
    page: Annotated[
        Path | None,
        typer.Option(help="Markdown to write; docs/RESULTS.md, with --quick OUT/quick/RESULTS.md."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = min(
        2, os.cpu_count() or 1
    ),
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Run the steps anew whose results are kept; rollouts stay."),
    ] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be run.")] = False,
) -> None:
    """Re-make every table: rollouts in simulation, our answers, the baselines beside them, seeds, n and intervals.

    Stop it and start it again as you like: each rollout and each step is kept when it is done.
    """
    plan = Plan(out / "quick" if quick else out, quick)
    page = page or (plan.out if quick else Path("docs")) / "RESULTS.md"
    names = tables or list(NAMES)
    results = Results(page.with_suffix(".json"))
    steps = [step for name in names for step in table(name).steps(plan)]
    if fresh:
        results.forget(steps)
    todo = [step for step in steps if step not in results]
    console.print(
        f"{len(steps)} steps, {len(steps) - len(todo)} are kept, {len(todo)} to run.",
        highlight=False,
    )
    if dry:
        _show(todo, plan)
        return
    try:
        failed = _run(todo, plan, results, workers)
    finally:  # a run that is stopped shows what it has
        page.parent.mkdir(parents=True, exist_ok=True)
        command = "robomd evaluate" + " --quick" * quick
        page.write_text(results_page(results, plan, list(NAMES), command), encoding="utf-8")
        console.print(f"{page} is written.", highlight=False)
    if failed:
        raise RobomdError(f"{failed} of {len(todo)} steps failed; run it again to try them again.")


def _show(todo: list[Step], plan: Plan) -> None:
    for dataset in datasets_of(todo):
        left = datasets.missing(dataset, plan.studies)
        console.print(f"rollouts  {dataset.name}: {left} to run", highlight=False)
    for dataset in probed_of(todo):
        left = len(datasets.unasked(dataset, plan.studies))
        console.print(f"probes    {dataset.name}: {left} to ask", highlight=False)
    for dataset, count in rendered_of(todo):
        if not datasets.renders_file(dataset, plan.studies, count).is_file():
            console.print(f"renders   {dataset.name}: {count} to draw", highlight=False)
    for step in todo:
        console.print(f"step      {step.name}", highlight=False)


def _run(todo: list[Step], plan: Plan, results: Results, workers: int) -> int:
    """Collect what is missing, ask the policy, then run the steps; how many failed."""
    failed = 0
    with progress_bar("done", "what") as progress:

        def tell(title: str, total: int, done: Iterable[Perturbation]) -> None:
            """A bar that each condition moves on."""
            bar = progress.add_task(title, total=total, done="", what="")
            for n, condition in enumerate(done, 1):
                progress.update(bar, advance=1, done=f"{n}/{total}", what=condition.id[:40])

        for dataset in datasets_of(todo):
            if left := datasets.missing(dataset, plan.studies):
                ran = datasets.collect(dataset, plan.studies, workers)
                tell(f"rollouts {dataset.name}", left, (r.perturbation for r in ran))
        for dataset in probed_of(todo):
            if left := len(datasets.unasked(dataset, plan.studies)):
                asked = datasets.ask_policy(dataset, plan.studies, workers)
                tell(f"probes {dataset.name}", left, asked)
        for dataset, count in rendered_of(todo):
            if not datasets.renders_file(dataset, plan.studies, count).is_file():
                tell(
                    f"renders {dataset.name}", count, datasets.render(dataset, plan.studies, count)
                )
        bar = progress.add_task("steps", total=len(todo), done="", what="")
        for n, (step, result) in enumerate(run_steps(todo, plan.studies, workers, revision()), 1):
            if isinstance(result, Exception):
                failed += 1
                progress.console.print(
                    f"{step.name} failed: {type(result).__name__}: {result}",
                    highlight=False,
                    markup=False,
                )
            else:
                results.add(step, result)
            progress.update(bar, advance=1, done=f"{n}/{len(todo)}", what=step.name)
    return failed
