"""`robomd compare`: is B better or worse than A, under each condition and overall? Made for CI."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from robomd_ros.cli.compare_tables import comparison_json, comparison_table, sentence
from robomd_ros.cli.exit_codes import VerdictCommand
from robomd_ros.core.comparison import Comparison, ComparisonConfig, Verdict, compare
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.pairing import CHOSEN_BY_OUTCOME, Trial, halves, trials
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta, shipped_studies

app = typer.Typer(add_completion=False)

EXIT = {Verdict.BETTER: 0, Verdict.NO_WORSE: 0, Verdict.WORSE: 1, Verdict.UNDECIDED: 2}


@app.command("compare", cls=VerdictCommand)
def compare_command(
    a: Annotated[str, typer.Argument(help="The study before; with --live the policy before.")],
    b: Annotated[str, typer.Argument(help="The study after; with --live the policy after.")],
    live: Annotated[
        bool,
        typer.Option("--live", help="A and B are policies: run them in simulation until decided."),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Compare under this condition, as nominal or cube_red; may be repeated."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance at most of a wrong verdict.")] = 0.05,
    margin: Annotated[
        float, typer.Option(help='"No worse": less than this above A\'s failure rate.')
    ] = 0.1,
    anytime: Annotated[
        bool,
        typer.Option("--anytime", help="For studies that are compared again while they grow."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    task: Annotated[str, typer.Option(help="With --live.")] = "lift",
    robot: Annotated[str, typer.Option(help="With --live: Panda or UR5e.")] = "Panda",
    budget: Annotated[
        int, typer.Option(min=2, help="With --live: rollouts at most, six controls on top.")
    ] = 600,
    each: Annotated[
        bool,
        typer.Option(
            "--each", help="With --live: go on until each condition is decided, not only the whole."
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="With --live: processes, at least one a policy.")
    ] = 2,
    seed: Annotated[
        int, typer.Option(min=0, max=9, help="With --live: other seed, other scenes.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--in", help="With --live: keep the rollouts as studies a and b in here, and go on."
        ),
    ] = None,
) -> None:
    """Is B better or worse than A, under each condition and overall?

    Exit code 0: B is better or no worse overall, and nowhere shown to be worse. 1: B is worse overall or under some
    condition. 2: undecided. 3: an error or wrong usage. 130: Ctrl-C.
    """
    config = ComparisonConfig(alpha, margin, anytime or live)
    if live:
        from robomd_ros.cli.compare_live import LiveOptions, run_live

        options = LiveOptions(task, robot, budget, each, workers, seed, folder, tuple(only or ()))
        found, names, more = run_live(a, b, config, options)
    else:
        found, names, more = _studies(a, b, config, tuple(only or ()))
    if as_json:
        typer.echo(json.dumps(comparison_json(found, **names, **more), indent=2))
    else:
        show(found, **names)
    raise typer.Exit(EXIT[found.verdict])


def show(found: Comparison, a: str, b: str) -> None:
    """Print a comparison."""
    console = Console()
    console.print(comparison_table(found, a, b, console.width))
    for text in (*found.notes, sentence(found)):
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Side:
    """One study: what it is of, and its rollouts."""

    meta: StudyMeta
    trials: list[Trial]
    notes: tuple[str, ...]


def _studies(
    a: str, b: str, config: ComparisonConfig, only: tuple[str, ...]
) -> tuple[Comparison, dict[str, str], dict[str, object]]:
    before, after = _side("A", a, only), _side("B", b, only)
    for name in ("task", "robot"):
        ours, theirs = getattr(before.meta, name), getattr(after.meta, name)
        if ours != theirs:
            raise InvalidArgumentError(
                f"A is of {name} {ours}, B of {theirs}: only policies on one {name} can be compared."
            )
    notes = [*before.notes, *after.notes]
    if before.meta.policy_id == after.meta.policy_id:
        notes.append(f"Both studies are of policy {after.meta.policy_id}.")
    found = compare(before.trials, after.trials, config)
    notes += found.notes + tuple(control_notes(before.trials, after.trials, config))
    names = {
        side: f"{meta.policy_id} ({meta.name})"
        for side, meta in (("a", before.meta), ("b", after.meta))
    }
    return replace(found, notes=tuple(notes)), names, {}


def _side(name: str, path: str, only: tuple[str, ...]) -> _Side:
    shipped = shipped_studies().get(path)
    study = Study.open(path if shipped is None or Path(path).exists() else shipped)
    with study.store(read_only=True) as store:
        records = store.records(with_frames=False)
    ours = [r for r in records if r.policy_id == study.meta.policy_id]
    refuse_false_alarms(name, ours)
    wanted = {study.catalogue().perturbation(text).id for text in only}
    used = [t for t in trials(ours) if not wanted or t.condition in wanted]
    left = {
        "are of another policy": len(records) - len(ours),
        "have no label": sum(r.outcome is Outcome.UNKNOWN for r in ours),
        "were chosen by their outcome": sum(
            r.is_evidence and r.purpose in CHOSEN_BY_OUTCOME for r in ours
        ),
    }
    notes = [f"{n} rollouts of {name} {why} and are left out." for why, n in left.items() if n]
    return _Side(study.meta, used, tuple(notes))


def refuse_false_alarms(name: str, records: list[RolloutRecord]) -> None:
    """Raise InvalidArgumentError where a robot that was not moved "succeeded"."""
    controls = [r for r in records if r.control != 0]
    wrong = sum(r.outcome is Outcome.SUCCESS for r in controls)
    if wrong:
        raise InvalidArgumentError(
            f"{wrong} of {len(controls)} negative controls of {name} succeeded, with a robot that was not moved: its labels "
            "cannot be trusted, so nothing can be compared."
        )


def control_notes(a: list[Trial], b: list[Trial], config: ComparisonConfig) -> list[str]:
    """The control arm that costs nothing: each policy's earlier half against its later one has to come out even."""
    notes = []
    for name, some in (("A", a), ("B", b)):
        early, late = halves(some)
        if not {t.condition for t in early} & {t.condition for t in late}:
            continue
        overall = compare(early, late, replace(config, anytime=False)).overall
        odd = overall.verdict in (Verdict.WORSE, Verdict.BETTER)
        notes.append(
            f"Control: {name}'s later half against its earlier one {overall.difference:+.2f} "
            f"({overall.low:+.2f} to {overall.high:+.2f})"
            + (": they differ, so something else than the policy changed." if odd else ", even.")
        )
    return notes
