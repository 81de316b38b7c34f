"""`robomd study import` and `robomd study export`: rollouts from and to other tools."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from robomd_ros.cli.progress import progress_bar
from robomd_ros.cli.study_tables import write_csv
from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import storage_error
from robomd_ros.core.study import Study, StudyMeta, shipped_studies
from robomd_ros.core.variations import Catalogue, load_catalogue

if TYPE_CHECKING:
    from robomd_ros.exchange.export import Exported
    from robomd_ros.exchange.importer import Step

console = Console()


class Format(Enum):
    """What a study is written as."""

    CSV = "csv"
    LEROBOT = "lerobot"
    ROBOMIMIC = "robomimic"


MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="camera=/cam/image_raw, joints=, actions=, success=, split= (bags), velocities= (datasets); "
        "a part of a message after a colon: success=/verdict:ok. Or a TOML file of these.",
    ),
]


def import_study(
    source: Annotated[
        Path,
        typer.Argument(
            help="A rosbag2 folder, .mcap or .db3 file, a folder of them, or a LeRobot v3 dataset."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="Folder of the study; made when it is not there.")],
    mapping: MapOption = None,
    variation: Annotated[
        str | None,
        typer.Option(
            help="What was varied where neither table nor source says it: cube_red, nominal."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="CSV with episode,variations,outcome,reason, or the like in TOML."),
    ] = None,
    labeler: Annotated[str, typer.Option(help="Who stands behind table and flags.")] = "import",
    rate: Annotated[float, typer.Option(min=0, help="Frames a second kept of a bag; 0 = all.")] = 0,
    task: Annotated[str, typer.Option(help="Of a new study; lift, if the source knows none.")] = "",
    robot: Annotated[
        str, typer.Option(help="Of a new study; UR5e, if the source knows none.")
    ] = "",
    policy: Annotated[str, typer.Option(help="Of a new study: id of what ran.")] = "",
    catalogue: Annotated[
        Path | None, typer.Option(help="Of a new study: variations of a task that does not ship.")
    ] = None,
) -> None:
    """Take rollouts over from bags or a LeRobot dataset; what is there already is skipped, unlabelled ones can be labelled later."""
    from robomd_ros.exchange.importer import (
        ImportOptions,
        Result,
        check_names,
        import_episodes,
    )
    from robomd_ros.exchange.source import open_source
    from robomd_ros.exchange.table import read_table

    found = open_source(source, mapping or [], rate)
    meta = StudyMeta(
        task or found.about.get("task") or "lift",
        robot or found.about.get("robot") or "UR5e",
        policy or found.about.get("policy_id") or "imported",
    )
    known = _catalogue(path, meta.task, catalogue)
    said = read_table(table, known) if table else {}
    check_names(found.names, said)
    if variation is not None:
        known.perturbation(variation)
    is_new = not path.exists()
    study = _study(path, meta, catalogue)
    options = ImportOptions(variation, said, labeler, str(source))
    store, findings = study.open_store()
    for finding in findings:
        console.print(str(finding), highlight=False, soft_wrap=True)
    steps: list[Step] = []
    with store, progress_bar("count") as progress:
        bar = progress.add_task(found.kind, total=len(found.names), count="")
        for step in import_episodes(study, store, found.episodes(), options):
            steps.append(step)
            progress.update(bar, advance=1, count=f"{len(steps)}/{len(found.names)}")
    if is_new and all(step.result is Result.REFUSED for step in steps):
        shutil.rmtree(path)
    _summary(steps, study)


def export(
    path: Annotated[
        Path, typer.Argument(help="Folder of the study, or the name of a shipped one.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(help="New file or folder; a table goes to standard output when left out."),
    ] = None,
    kind: Annotated[
        Format,
        typer.Option(
            "--format", help="csv: a line a rollout. lerobot: dataset v3. robomimic: HDF5."
        ),
    ] = Format.CSV,
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="Of the rollouts in a data set; more than once. success and failure."),
    ] = None,
    fps: Annotated[int, typer.Option(min=0, help="Of a data set; 0 = as recorded.")] = 0,
    codec: Annotated[str, typer.Option(help="Of lerobot's video: av1 or h264.")] = "av1",
    video: Annotated[bool, typer.Option(help="--no-video keeps lossless images instead.")] = True,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="actions=topic[:field]: recorded commands are the actions."),
    ] = None,
) -> None:
    """Write a study for others: a table of its rollouts, or a data set to train on."""
    study = Study.open(shipped_studies().get(str(path), path) if not path.exists() else path)
    if kind is Format.CSV:
        _export_table(study, target)
        return
    if target is None:
        raise InvalidArgumentError(
            f"--format {kind.value} wants a target: the name of a new file or folder."
        )
    wanted = outcome or ["success", "failure"]
    _export_data(study, target, kind, wanted, fps, codec if video else "", mapping or [])


def _export_table(study: Study, target: Path | None) -> None:
    with study.store(read_only=True) as store:
        records = store.records(with_frames=False)
    if target is None:
        write_csv(records, sys.stdout)
        return
    try:
        with target.open("w", newline="", encoding="utf-8") as file:
            lines = write_csv(records, file)
    except OSError as error:
        raise storage_error(target, error) from error
    console.print(f"{lines} rollouts to {target}", highlight=False, soft_wrap=True)


def _export_data(
    study: Study,
    target: Path,
    kind: Format,
    outcomes: list[str],
    fps: int,
    codec: str,
    mapping: list[str],
) -> None:
    from robomd_ros.exchange.demo import choose, usual_rate
    from robomd_ros.exchange.export import export_rollouts, writer_of
    from robomd_ros.exchange.mapping import parse_map
    from robomd_ros.exchange.table import outcome_of

    actions = parse_map(mapping, ("actions",)).get("actions")
    with study.store(read_only=True) as store:
        records = choose(store, [outcome_of(name) for name in outcomes])
    if not records:
        raise InvalidArgumentError(
            f"{study.folder} has no rollout with outcome {' or '.join(outcomes)}."
        )
    recorded = [record for record in records if record.recording]
    rate = fps or usual_rate(recorded)
    begin = writer_of(kind.value, study.meta.task, study.meta.robot, rate, codec)
    done: list[Exported] = []
    with progress_bar("count") as progress:
        bar = progress.add_task(kind.value, total=len(recorded), count="")
        for step in export_rollouts(study, recorded, target, rate, begin, actions):
            done.append(step)
            progress.update(bar, advance=1, count=f"{len(done)}/{len(recorded)}")
    refused = [step for step in done if step.refused]
    for step in refused:
        console.print(
            f"refused {step.rollout_id}: {step.refused}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    console.print(
        f"{len(done) - len(refused)} rollouts at {rate} Hz to {target}; {len(refused)} refused, "
        f"{len(records) - len(recorded)} without a recording, "
        f"{sum(step.resampled for step in done)} resampled over gaps of the camera.",
        highlight=False,
        soft_wrap=True,
    )


def _summary(steps: list[Step], study: Study) -> None:
    from robomd_ros.exchange.importer import Result

    counts = Counter(step.result for step in steps)
    outcomes = Counter(step.outcome.name for step in steps if step.result is Result.IMPORTED)
    for step in steps:
        if step.detail:
            line = f"{step.result.value} {step.name}: {step.detail}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(
        ", ".join(f"{counts[result]} {result.value}" for result in Result)
        + f"; the new ones: {', '.join(f'{n} {name}' for name, n in outcomes.items()) or 'none'}. {study.folder}",
        highlight=False,
        soft_wrap=True,
    )
    if not steps or counts[Result.REFUSED] == len(steps):
        raise StorageError(
            "nothing was imported: " + ("every episode was refused." if steps else "no episode.")
        )


def _catalogue(path: Path, task: str, catalogue: Path | None) -> Catalogue:
    if not (path / "study.json").is_file():
        return load_catalogue(catalogue or task)
    if catalogue is not None:
        raise InvalidArgumentError(f"{path} has its catalogue already: leave --catalogue out.")
    return Study.open(path).catalogue()


def _study(path: Path, meta: StudyMeta, catalogue: Path | None) -> Study:
    if (path / "study.json").is_file():
        return Study.open(path)
    if catalogue is None:
        return Study.create(path, meta)
    try:
        path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(catalogue, path / "catalogue.toml")
    except OSError as error:
        raise storage_error(path, error) from error
    return Study.create(
        path, StudyMeta(meta.task, meta.robot, meta.policy_id, catalogue="catalogue.toml")
    )
