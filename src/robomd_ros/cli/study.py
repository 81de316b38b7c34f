"""`robomd study`: make, fill, inspect and check studies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robomd_ros.cli.exchange import export, import_study
from robomd_ros.cli.study_tables import agreement_table, factor_table, failure_table
from robomd_ros.core.agreement import SHARE, Agreement, agreement, due, in_words
from robomd_ros.core.errors import InvalidArgumentError, RobomdError, StorageError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study, StudyMeta, shipped_studies

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("import")(import_study)
app.command()(export)
console = Console()

PathArgument = Annotated[
    Path, typer.Argument(help="Folder of the study, or the name of a shipped one.")
]
PolicyOption = Annotated[
    str,
    typer.Option(
        help="Policy under test: a shipped name, a folder, python:…, torchscript:…, tcp://…"
    ),
]


@app.command("list")
def list_studies(
    folder: Annotated[Path, typer.Argument(help="Look for studies in here.")] = Path("studies"),
) -> None:
    """Studies that ship with the package, and those in a folder."""
    for kind, paths in (("shipped", shipped_studies().values()), ("own", _studies_in(folder))):
        for path in paths:
            try:
                console.print(f"{kind:8}{_line(Study.open(path))}", highlight=False, soft_wrap=True)
            except RobomdError as error:
                console.print(
                    f"{kind:8}{path}: {error}", style="red", highlight=False, soft_wrap=True
                )


@app.command()
def show(
    path: PathArgument,
    every: Annotated[
        bool, typer.Option("--all", help="Each continuous condition on its own row.")
    ] = False,
) -> None:
    """Outcomes of a study by condition, with intervals; who labelled; how many negative controls."""
    study = _open(path)
    with study.store(read_only=True) as store:
        counts, whole, records = store.counts(), store.summary(), store.records(with_frames=False)
        twice = agreement(store.looks())
    console.print(_line(study), highlight=False, soft_wrap=True)
    console.print(failure_table("failures by condition", counts, every))
    if any("=" in name for name in counts):
        console.print(factor_table(records))
    labelers = Counter(r.labels[-1].labeler or "?" for r in records if r.labels)
    wrong = sum(r.control != 0 and r.outcome is Outcome.SUCCESS for r in records)
    console.print(
        f"{whole.total} rollouts: {whole.successes} successes, {whole.failures} failures, {whole.unlabeled} unlabelled, "
        f"{whole.not_evidence} not evidence, {whole.controls} negative controls ({wrong} of them succeeded, want 0). "
        f"Labelled by {', '.join(f'{name} ({n})' for name, n in labelers.most_common())}.",
        highlight=False,
        soft_wrap=True,
    )
    if twice.looks:
        _show_agreement(twice)


@app.command("agreement")
def show_agreement(
    path: PathArgument,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rollouts that wants a second look.")
    ] = SHARE,
    seed: Annotated[int, typer.Option(help="Another seed, other rollouts.")] = 0,
) -> None:
    """How far second looks agree with the labels: Cohen's kappa, who said what, and what is still to be looked at."""
    study = _open(path)
    with study.store(read_only=True) as store:
        twice, records = agreement(store.looks()), store.records(with_frames=False)
    if len(twice.outcomes) > 1:
        console.print(agreement_table(twice))
    _show_agreement(twice)
    wanted = due(records, share=share, seed=seed)
    console.print(
        f"{len(wanted)} more want a second look for {100 * share:g} %"
        + (f": `robomd label --second-look --study {study.folder}`." if wanted else "."),
        highlight=False,
        soft_wrap=True,
    )


def _show_agreement(twice: Agreement) -> None:
    console.print(in_words(twice), highlight=False, soft_wrap=True)
    for look in twice.disagreements:
        console.print(
            f"  {look.rollout_id} ({look.perturbation_id}): {look.first.outcome.name} by {look.first.labeler}, "
            f"then {look.second.outcome.name} by {look.second.labeler}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@app.command()
def check(
    path: PathArgument,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set right what can be; nothing is thrown away.")
    ] = False,
) -> None:
    """Compare every row, frame and recording with its checksum. Exit code 1 when something is wrong and stays so."""
    from robomd_ros.recording import verify_recording

    study = _open(path, writing=repair)
    findings = study.check(repair, deep=True)
    for finding in findings:
        console.print(str(finding), highlight=False, soft_wrap=True)
    left = sum(not finding.action for finding in findings)
    if not any(f.path == study.database.name for f in findings) or repair:
        with study.store(read_only=True) as store:
            names = [r.recording for r in store.records(with_frames=False) if r.recording]
        for name in names:
            try:
                verify_recording(study.recordings / name)
            except StorageError as error:
                left += 1
                console.print(str(error), highlight=False, soft_wrap=True)
    if left:
        raise StorageError(
            f"{left} problems in {path}" + ("." if repair else ": --repair mends what can be.")
        )
    console.print("whole" if not findings else "mended")


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="Name of a shipped study, or a folder.")],
    path: Annotated[Path, typer.Argument(help="New folder.")],
) -> None:
    """Copy a study, to go on from it; trained models are left out."""
    console.print(_line(Study.copy_from(source, path)), highlight=False, soft_wrap=True)


@app.command()
def compact(path: PathArgument) -> None:
    """Shrink the store to one file without a write-ahead log, to be shipped or archived."""
    study = _open(path, writing=True)
    with study.store() as store:
        store.compact()
    console.print(
        f"{study.database}: {study.database.stat().st_size / 1e6:.2f} MB", highlight=False
    )


@app.command()
def collect(
    path: Annotated[
        Path, typer.Argument(help="Folder; made when it is not there, gone on with when it is.")
    ],
    policy: PolicyOption,
    task: Annotated[str, typer.Option(help="Of a new study; empty = the policy's.")] = "",
    robot: Annotated[str, typer.Option(help="Of a new study; empty = the policy's.")] = "",
    rollouts: Annotated[
        int, typer.Option(min=1, help="Of the policy; controls come on top.")
    ] = 100,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    seed: Annotated[
        int, typer.Option(min=0, max=4, help="Other seed, other scenes and variations.")
    ] = 0,
    continuous_share: Annotated[
        float, typer.Option(min=0, max=1, help="Part with continuous variations.")
    ] = 0.5,
    per_variation: Annotated[
        int,
        typer.Option(help="Repeats of nominal and each named variation; left out: by the share."),
    ] = -1,
    recordings: Annotated[bool, typer.Option(help="Keep an MCAP file of each rollout.")] = True,
) -> None:
    """Run rollouts in the simulator without ROS, in several processes. Stop it and start it again as you like."""
    from robomd_ros.recording.collection import Plan, plan_jobs, run_jobs

    study = study_of(path, policy, task, robot)
    jobs = plan_jobs(study.catalogue(), Plan(rollouts, continuous_share, per_variation, seed))
    store, findings = study.open_store()
    for finding in findings:
        console.print(str(finding), highlight=False, soft_wrap=True)
    with store, _progress() as progress:
        bar = progress.add_task("rollouts", total=len(jobs), failed=0)
        progress.advance(bar, sum(store.holds(job.rollout_id) for job in jobs))
        failed = 0
        for record in run_jobs(study, store, jobs, policy, workers, recordings):
            failed += record.is_evidence and record.outcome is Outcome.FAILURE
            progress.update(bar, advance=1, failed=failed)
    console.print(_line(study), highlight=False, soft_wrap=True)


@app.command()
def record(
    path: PathArgument,
    rollouts: Annotated[list[str], typer.Argument(help="Ids of rollouts.")],
    policy: PolicyOption,
) -> None:
    """Run stored rollouts of the simulator again from their seeds and keep their recordings."""
    from robomd_ros.recording.collection import record_again

    study = _open(path, writing=True)
    with study.store() as store:
        for done in record_again(study, store, rollouts, policy):
            line = f"{done.recording} {done.perturbation.id}"
            console.print(line, highlight=False, soft_wrap=True)


def study_of(path: Path, policy: str, task: str = "", robot: str = "") -> Study:
    """The study at `path`, made when it is not there; it is about this policy and no other."""
    from robomd_ros.policies.loader import load_policy

    under_test = load_policy(policy)
    info, policy_id = under_test.info, under_test.info.id
    under_test.close()
    if (task or info.task, robot or info.robot) != (info.task, info.robot):
        raise InvalidArgumentError(
            f"policy {policy_id} was made for {info.task} with {info.robot}, not {task or info.task} with {robot or info.robot}."
        )
    if not (path / "study.json").is_file():
        return Study.create(path, StudyMeta(info.task, info.robot, policy_id))
    study = Study.open(path)
    if study.meta.policy_id != policy_id:
        raise InvalidArgumentError(
            f"{path} is about policy {study.meta.policy_id}, not {policy_id}: start a new study."
        )
    return study


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _open(path: Path, writing: bool = False) -> Study:
    shipped = shipped_studies().get(str(path))
    if shipped is not None and writing and not path.exists():
        raise InvalidArgumentError(
            f"{path} ships with the package: `robomd study copy {path} mine` first."
        )
    return Study.open(path if shipped is None or path.exists() else shipped)


def _studies_in(folder: Path) -> list[Path]:
    return sorted(p.parent for p in [*folder.glob("study.json"), *folder.glob("*/study.json")])


def _line(study: Study) -> str:
    with study.store(read_only=True) as store:
        total = store.revision()[0]
    meta = study.meta
    return f"{meta.name}: {total} rollouts of {meta.policy_id} ({meta.task}, {meta.robot}), {study.folder}"
