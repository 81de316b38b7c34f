"""`robomd plan-data`: what demonstrations would mend the policy, and what to expect of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from robomd_ros.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from robomd_ros.core.study import Study
    from robomd_ros.mending.effect import Effect
    from robomd_ros.mending.plan import Budget, DataPlan, Entry

app = typer.Typer(add_completion=False)

DemosOption = Annotated[
    int, typer.Option(min=0, max=100_000, help="Demonstrations that may be spent; 0: none.")
]
LeastOption = Annotated[
    int, typer.Option(min=1, help="Fewest under one variation: for less nobody sets it up.")
]
SetupOption = Annotated[
    float, typer.Option(min=0, help="What setting up one variation costs, in demonstrations.")
]
CostOption = Annotated[
    list[str] | None,
    typer.Option(help="The same for one factor or variation: table_color=10. May be repeated."),
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(help="A factor or variation that cannot be set up. May be repeated."),
]
LearntOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of a finished `robomd finetune`: expect what demonstrations did there. May be repeated."
    ),
]


@app.command()
def plan_data(
    study: Annotated[Path, typer.Argument(help="Folder of the study, or a shipped one's name.")],
    demos: DemosOption = 80,
    least: LeastOption = 4,
    setup_cost: SetupOption = 0.0,
    cost: CostOption = None,
    without: WithoutOption = None,
    learnt_from: LearntOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan here, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Which variations to demonstrate, how often, and what to expect of it: a plan for a cell or for `robomd finetune`."""
    plan = planned(open_study(study), budget(demos, least, setup_cost, cost, without), learnt_from)
    if out is not None:
        plan.save(out)
    if as_json:
        typer.echo(plan.to_json(), nl=False)
    else:
        show_plan(plan)


def open_study(path: Path) -> Study:
    """A study by its folder or, where it ships with the package, by its name."""
    from robomd_ros.core.study import Study, shipped_studies

    shipped = shipped_studies().get(str(path))
    return Study.open(path if shipped is None or path.exists() else shipped)


def budget(
    demos: int, least: int, setup_cost: float, cost: list[str] | None, without: list[str] | None
) -> Budget:
    """From the options."""
    from robomd_ros.mending.plan import Budget

    costs = {}
    for text in cost or []:
        name, equals, value = text.partition("=")
        try:
            costs[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise InvalidArgumentError(f"--cost {text[:60]!r}: want NAME=DEMONSTRATIONS.")
    return Budget(demos, least, setup_cost, costs, tuple(without or ()))


def planned(study: Study, spent: Budget, learnt_from: list[Path] | None) -> DataPlan:
    """The plan for a study."""
    from robomd_ros.mending.plan import make_plan
    from robomd_ros.mending.risks import risks_of_study

    effect = _effect(study, learnt_from)
    risks, based_on = risks_of_study(study)
    return make_plan(risks, spent, study.meta, based_on, effect)


def _effect(study: Study, runs: list[Path] | None) -> Effect:
    from robomd_ros.mending.effect import SHIPPED, fit_effect
    from robomd_ros.mending.finetune import measured_in

    if not runs:
        return SHIPPED
    measured = [m for run in runs for m in measured_in(run, study.catalogue())]
    return fit_effect(measured, f"{len(runs)} fine-tunings: {', '.join(r.name for r in runs)}")


def show_plan(plan: DataPlan) -> None:
    """For people."""
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("condition", overflow="fold")
    for name in ("failed", "P(fail)", "90 %", "demos", "after", "90 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in plan.entries:
        table.add_row(*_cells(entry))
    console.print(table)
    for line in in_words(plan):
        console.print(line, highlight=False, soft_wrap=True)


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.id + (" ?" if entry.confirm else ""),
        f"{entry.failures}/{entry.rollouts}" if entry.rollouts else "–",
        f"{entry.p:.2f}",
        f"{entry.low:.2f}–{entry.high:.2f}",
        str(entry.demos) if entry.demos else "–",
        f"{entry.after:.2f}",
        f"{entry.after_low:.2f}–{entry.after_high:.2f}",
    )


def in_words(plan: DataPlan) -> list[str]:
    """What the plan comes to, and what that rests on."""

    def span(values: tuple[float, float, float]) -> str:
        return f"{values[0]:.2f} [{values[1]:.2f}, {values[2]:.2f}]"

    setups = plan.cost - plan.demos
    lines = [
        f"{plan.demos} demonstrations under {len(plan.wanted)} variations"
        + (f", set-ups worth {setups:g} more" if setups else "")
        + f": the mean P(failure) over {len(plan.entries)} conditions is {span(plan.before)} now and is expected to be "
        f"{span(plan.after)} afterwards, {span(plan.gain)} less (90 % intervals).",
        f"P(fail): {plan.based_on}. after, expected: {plan.effect.source}.",
    ]
    if not plan.demos:
        lines.insert(1, "Nothing is expected to get better by demonstrations within this budget.")
    if any(entry.confirm for entry in plan.entries):
        lines.append("?: hardly tried. Run it some times before you demonstrate it.")
    return lines
