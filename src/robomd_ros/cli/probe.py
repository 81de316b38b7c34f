"""`robomd probe`: ask the policy what it would do under variations; no rollout is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from robomd_ros.cli.progress import progress_bar

if TYPE_CHECKING:
    from robomd_ros.core.study import Study
    from robomd_ros.core.variations import Perturbation

app = typer.Typer(add_completion=False)

_SHOWN = 12


@app.command()
def probe(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Folder; made when it is not there.")
    ],
    policy: Annotated[
        str, typer.Option(help="A shipped name, a path or an address.")
    ] = "lift_panda_bc",
    random: Annotated[
        int, typer.Option(min=0, max=20_000, help="Random continuous conditions, besides.")
    ] = 200,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the random conditions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Ask the policy what it would do under variations, beside what it does unchanged: no rollout is spent, nothing moves.

    About the catalogue, everything that the study tried, and random conditions; in simulation. Answers, suggestions and the
    report of the study use it from then on. What is there is not asked again.
    """
    from robomd_ros.cli.study import study_of
    from robomd_ros.core.probes import by_answers
    from robomd_ros.recording.probing import known_probes, missing_probes, run_probes

    study = study_of(path, policy)
    wanted = _wanted(study, random, seed)
    left = missing_probes(study, wanted)
    with progress_bar("done") as progress:
        bar = progress.add_task("asking", total=len(left), done=f"0/{len(left)}")
        for n, _ in enumerate(run_probes(study, left, policy, workers), 1):
            progress.update(bar, advance=1, done=f"{n}/{len(left)}")
    table = known_probes(study)
    ranked = by_answers(table, study.catalogue().singles)
    if as_json:
        typer.echo(
            json.dumps(
                {"asked": len(left), "known": len(table), "named": {p.id: m for p, m in ranked}}
            )
        )
        return
    _show(ranked, len(left), len(table))


def _wanted(study: Study, random: int, seed: int) -> list[Perturbation]:
    import numpy as np

    from robomd_ros.core.variations import Perturbation
    from robomd_ros.search.suggest import draw

    catalogue = study.catalogue()
    with study.store(read_only=True) as store:
        tried = [r.perturbation for r in store.records(evidence_only=True)]
    drawn = (
        draw(catalogue, np.random.default_rng(seed), random) if catalogue.numeric_factors else []
    )
    return [Perturbation(), *catalogue.singles, *tried, *drawn]


def _show(ranked: list[tuple[Perturbation, float]], asked: int, known: int) -> None:
    table = Table("variation", "change of its answers", box=box.SIMPLE_HEAD)
    for perturbation, mean in ranked[:_SHOWN]:
        table.add_row(perturbation.id, f"{mean:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"{asked} conditions asked about, {known} known. -1.6: it answers as always; 0 and above: it will hardly do the same. "
        "That is no P(failure) yet: some rollouts say how much it matters (robomd study collect, robomd train).",
        highlight=False,
    )
