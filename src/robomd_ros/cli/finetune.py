"""`robomd finetune`: carry a collection plan out in simulation, and test everything again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from robomd_ros.cli.plan_data import (
    CostOption,
    DemosOption,
    LearntOption,
    LeastOption,
    SetupOption,
    WithoutOption,
    budget,
    in_words,
    open_study,
    planned,
)

if TYPE_CHECKING:
    from robomd_ros.mending.finetune import Told
    from robomd_ros.mending.plan import Budget, DataPlan
    from robomd_ros.mending.result import Mended

app = typer.Typer(add_completion=False)
console = Console()


@app.command()
def finetune(
    source: Annotated[
        Path,
        typer.Argument(help="A study, to be planned for; or the plan of `robomd plan-data --out`."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder of this fine-tuning; call again to go on.")],
    policy: Annotated[
        str, typer.Option(help="Policy to go on from: a shipped name or a folder.")
    ] = "lift_panda_bc",
    demos: DemosOption = 80,
    least: LeastOption = 4,
    setup_cost: SetupOption = 0.0,
    cost: CostOption = None,
    without: WithoutOption = None,
    learnt_from: LearntOption = None,
    scenes: Annotated[
        int, typer.Option(min=1, help="Both policies run under each condition on so many.")
    ] = 12,
    steps: Annotated[int, typer.Option(min=0, help="Gradient steps; 0 = the default.")] = 0,
    replay: Annotated[
        int, typer.Option(min=0, help="Old demonstrations made again; 0 = all it was made of.")
    ] = 0,
    before: Annotated[
        Path | None, typer.Option(help="A study of the old policy: what it holds is not run again.")
    ] = None,
    by_hand: Annotated[
        bool,
        typer.Option(
            "--by-hand", help="A person puts the demonstrations into OUT/demos; no simulator."
        ),
    ] = False,
    replay_file: Annotated[
        Path | None, typer.Option(help="By hand: demonstrations the policy was made from (npz).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate.")] = 2,
) -> None:
    """Demonstrations by the scripted expert, fine-tuning, every condition run again with both policies, compared."""
    from robomd_ros.core.variations import load_catalogue
    from robomd_ros.mending.finetune import MendConfig, MendingRun
    from robomd_ros.mending.simulation import by_person, simulation
    from robomd_ros.policies.bc_finetuning import FineTuning

    plan = _plan(source, out, budget(demos, least, setup_cost, cost, without), learnt_from)
    training = FineTuning(seed=seed, **({"steps": steps} if steps else {}))
    if by_hand:
        ports = by_person(policy, out, replay_file)
    else:
        known = open_study(before) if before is not None else None
        ports = simulation(policy, workers, known, replay)
    catalogue = load_catalogue(plan.task) if _is_plan(source) else open_study(source).catalogue()
    run = MendingRun(out, plan, catalogue, MendConfig(scenes, finetuning=training), ports)
    for line in in_words(plan):
        console.print(line, highlight=False, soft_wrap=True)
    with _told() as told:
        found = run.run(told)
    if found is None:
        typer.echo(
            f"The new policy is in {out / 'policy'}. Test everything again with it in a study of its own, then compare."
        )
    else:
        show_result(found, plan.policy_id, str(out / "policy"))


def _is_plan(source: Path) -> bool:
    return source.is_file()


def _plan(source: Path, out: Path, spent: Budget, learnt_from: list[Path] | None) -> DataPlan:
    """That of the run that is gone on with, else the given one, else one made now."""
    from robomd_ros.mending.plan import DataPlan

    if (out / "run.json").is_file() and not _is_plan(source):
        typer.echo(f"Going on with the plan that lies in {out}.", err=True)
        return DataPlan.load(out / "plan.json")
    return (
        DataPlan.load(source)
        if _is_plan(source)
        else planned(open_study(source), spent, learnt_from)
    )


@contextmanager
def _told() -> Iterator[Told]:
    """A bar for each phase."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def told(phase: str, done: float, total: float) -> None:
            if phase not in bars:
                bars[phase] = progress.add_task(phase, total=total)
            progress.update(bars[phase], completed=done, total=total)

        yield told


def show_result(found: Mended, old: str, new: str) -> None:
    """For people."""
    from robomd_ros.cli.compare_tables import comparison_table, sentence
    from robomd_ros.core.statistics import wilson

    console.print(comparison_table(found.comparison, old, new))
    row = found.comparison.overall
    before, after = (
        f"{k / n:.3f} [{low:.3f}, {high:.3f}]"
        for k, n in ((row.failures_a, row.n_a), (row.failures_b, row.n_b))
        for low, high in [wilson(k, n)]
    )
    ratio, low, high = found.ratio
    lines = (
        f"Failures over {len(found.comparison.rows)} conditions, each on the same scenes: {before} before, {after} after: "
        f"{ratio:.2f} [{low:.2f}, {high:.2f}] of before (95 % intervals).",
        sentence(found.comparison),
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
