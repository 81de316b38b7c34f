"""`robomd query`: how likely does the policy fail under each of these?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from robomd_ros.core.answers import Answer, Question
from robomd_ros.core.errors import StorageError
from robomd_ros.core.variations import Catalogue, load_catalogue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = typer.Typer(add_completion=False)


@app.command()
def query(
    asked: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION...",
            help='Variation ids ("cube_red", "cube_red+light_intensity=0.4", "nominal") or free text of two words or more '
            '("a dim purple lamp"); none = the whole catalogue.',
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture of the scene before the policy moves, png or jpg.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Use the newest camera frame as the picture.")
    ] = False,
    study: Annotated[
        Path | None, typer.Option(help="Ask a trained study on disk instead of the running nodes.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="Catalogue of the running nodes: a task, or a TOML file.")
    ] = "lift",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the cell.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the nodes.")] = 10.0,
) -> None:
    """Ask how likely the policy fails: known variations, composed ones, free text, an image.

    Asks the running nodes (robomd up), or with --study a study on disk without ROS.
    """
    if live and (image or study):
        raise typer.BadParameter(
            "--live is a picture of its own and needs the running nodes: leave --image and --study out."
        )
    picture = read_image(image) if image else None
    if study is not None:
        answers = ask_study(study, asked or [], picture)
    else:
        answers = ask_nodes(asked or [], load_catalogue(task), picture, live, namespace, timeout)
    show(answers, as_json)


def show(answers: Sequence[Answer], as_json: bool = False, title: str = "") -> None:
    """Print answers."""
    from robomd_ros.cli.tables import answer_json, answers_table

    if as_json:
        typer.echo(json.dumps([answer_json(a) for a in answers], indent=2))
    else:
        console = Console()
        console.print(answers_table(answers, title, console.width))


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise StorageError(f"{path} is no readable picture: {error}.") from error


def parse(text: str, catalogue: Catalogue, image: NDArray[np.uint8] | None = None) -> Question:
    """One argument of the command line: with a space it is free text, without it is a set of variation ids."""
    if any(c.isspace() for c in text.strip()):
        return Question(text=text.strip(), image=image)
    return Question(catalogue.perturbation(text.strip()), image=image)


def questions(
    asked: Sequence[str], catalogue: Catalogue, image: NDArray[np.uint8] | None
) -> list[Question]:
    """All arguments; a picture goes with each of them or stands alone; nothing at all asks for the whole catalogue."""
    if asked:
        return [parse(text, catalogue, image) for text in asked]
    if image is not None:
        return [Question(image=image)]
    return [Question(p) for p in (catalogue.perturbation("nominal"), *catalogue.singles)]


def ask_study(
    study: Path, asked: Sequence[str], image: NDArray[np.uint8] | None
) -> Sequence[Answer]:
    """Answers of a trained study on disk, riskiest first."""
    from robomd_ros.core.study import Study
    from robomd_ros.search.asking import Asker

    opened = Study.open(study)
    return Asker.from_study(opened).ask(questions(asked, opened.catalogue(), image))


def ask_nodes(
    asked: Sequence[str],
    catalogue: Catalogue,
    image: NDArray[np.uint8] | None = None,
    live: bool = False,
    namespace: str = "",
    timeout: float = 10.0,
) -> list[Answer]:
    """Answers of the running search_service, riskiest first."""
    from robomd_msgs.msg import Question as QuestionMsg
    from robomd_msgs.srv import QueryFailureLikelihood
    from robomd_ros.adapters import conversions, names
    from robomd_ros.cli.wire import Wire

    if live and not asked:
        messages = [QuestionMsg()]
    else:
        messages = [conversions.question_to_msg(q) for q in questions(asked, catalogue, image)]
    for message in messages:
        message.use_live_image = live
    request = QueryFailureLikelihood.Request(questions=messages)
    with Wire(namespace) as wire:
        response = wire.call(
            QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, request, timeout
        )
    return [conversions.answer_from_msg(m, catalogue) for m in response.answers]
