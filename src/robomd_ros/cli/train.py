"""`robomd train`: learn from the rollouts of a study, without ROS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from robomd_ros.cli.progress import phase_bar

if TYPE_CHECKING:
    from robomd_ros.learning.config import EmbeddingConfig
    from robomd_ros.learning.inputs import Renders
    from robomd_ros.search.asking import Asker
    from robomd_ros.search.config import SearchConfig

app = typer.Typer(no_args_is_help=True, add_completion=False)

StudyArgument = Annotated[Path, typer.Argument(help="Folder of the study.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, data and threads: same model.")]
ProfileOption = Annotated[
    str, typer.Option(help='"compact" (CPU, minutes) or "paper" (ViT-B/16 + CLIP).')
]
EpochsOption = Annotated[int, typer.Option(min=0, help="0 = the profile's own.")]
DeviceOption = Annotated[str, typer.Option(help='"cpu", "cuda", ...')]
DownloadOption = Annotated[
    bool,
    typer.Option("--download", help="paper: fetch pretrained weights that are not in the cache."),
]
ImageWeightsOption = Annotated[
    str, typer.Option(help="paper: file of ViT-B/16 weights; empty = torch's cache.")
]
TextWeightsOption = Annotated[
    str, typer.Option(help="paper: file of CLIP weights; empty = open_clip's cache.")
]
RendersOption = Annotated[
    int,
    typer.Option(
        min=0, max=10_000, help="Outcome-free renders of the simulator as extra training data."
    ),
]
AlgorithmOption = Annotated[str, typer.Option(help="ppo, a2c, sac or discrete_ppo.")]
StepsOption = Annotated[int, typer.Option(min=0, help="Virtual steps; 0 = the default.")]


@app.command()
def embedding(
    study: StudyArgument,
    profile: ProfileOption = "compact",
    epochs: EpochsOption = 0,
    device: DeviceOption = "cpu",
    download: DownloadOption = False,
    image_weights: ImageWeightsOption = "",
    text_weights: TextWeightsOption = "",
    renders: RendersOption = 0,
    seed: SeedOption = 0,
) -> None:
    """Learn the embedding from the labelled rollouts."""
    from robomd_ros.cli.tables import figures_table
    from robomd_ros.core.study import Study
    from robomd_ros.report.from_asker import figures_of
    from robomd_ros.search.fit import fit_embedding

    Study.open(study)  # before the bar: a wrong folder is one sentence
    config = embedding_config(profile, epochs, device, download, image_weights, text_weights)
    pool = _renders(study, renders, seed)
    with phase_bar("embedding") as told:
        fitted = fit_embedding(study, config, seed=seed, progress=told, renders=pool)
    Console().print(figures_table(figures_of(fitted)))
    typer.echo(
        f"embedding {fitted.id}, {len(fitted.facts.training_ids)} rollouts, in {study / 'models'}"
    )


@app.command()
def search(
    study: StudyArgument,
    algorithm: AlgorithmOption = "ppo",
    steps: StepsOption = 0,
    seed: SeedOption = 0,
) -> None:
    """Learn the search policy in the embedding that is there."""
    from robomd_ros.core.study import Study
    from robomd_ros.search.fit import fit_search

    Study.open(study)
    with phase_bar("search") as told:
        asker = fit_search(study, _search_config(algorithm, steps), seed=seed, progress=told)
    _show_quality(asker)


@app.command("all")
def everything(
    study: StudyArgument,
    profile: ProfileOption = "compact",
    epochs: EpochsOption = 0,
    device: DeviceOption = "cpu",
    download: DownloadOption = False,
    image_weights: ImageWeightsOption = "",
    text_weights: TextWeightsOption = "",
    renders: RendersOption = 0,
    algorithm: AlgorithmOption = "ppo",
    steps: StepsOption = 0,
    seed: SeedOption = 0,
) -> None:
    """Learn the embedding, then the search policy."""
    embedding(study, profile, epochs, device, download, image_weights, text_weights, renders, seed)
    search(study, algorithm, steps, seed)


def embedding_config(
    profile: str,
    epochs: int = 0,
    device: str = "cpu",
    download: bool = False,
    image_weights: str = "",
    text_weights: str = "",
) -> EmbeddingConfig:
    """The profile's own settings with what the options change."""
    from robomd_ros.learning.config import EmbeddingConfig

    return EmbeddingConfig.of(
        profile,
        epochs=epochs,
        device=device,
        allow_download=download,
        image_weights=image_weights,
        text_weights=text_weights,
    )


def _search_config(algorithm: str, steps: int) -> SearchConfig:
    from robomd_ros.search.config import SearchConfig

    chosen = {"steps": steps} if steps else {}
    return SearchConfig(algorithm=algorithm, **chosen)


def _renders(study: Path, count: int, seed: int) -> Renders | None:
    """Pictures of perturbed scenes in which no policy ran, of the study's task and robot."""
    if not count:
        return None
    import numpy as np

    from robomd_ros.core.study import Study
    from robomd_ros.learning.inputs import Renders
    from sim_bridge.collect import CellSpec, build_cell

    opened = Study.open(study)
    cell = build_cell(CellSpec("", opened.meta.task, opened.meta.robot))
    try:
        pool = cell.render_pool(count, np.random.default_rng(seed), opened.catalogue())
    finally:
        cell.close()
    return Renders(*pool)


def _show_quality(asker: Asker) -> None:
    from robomd_ros.report.summary import scorers

    quality = asker.quality
    console = Console()
    console.print(
        f"ranking accuracy (AUC) on {quality.rollouts} held-out rollouts:", highlight=False
    )
    for scorer in scorers(quality):
        shown = f"{scorer.auc:.3f}" if math.isfinite(scorer.auc) else "not measured"
        console.print(f"  {scorer.name:36}{shown}", highlight=False)
    console.print(
        f"  90 % intervals hold {quality.coverage:.2f}; calibration error {quality.calibration_error:.3f} "
        f"(a perfect predictor shows up to {quality.calibration_error_floor:.3f})",
        highlight=False,
    )
