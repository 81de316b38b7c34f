"""`robomd report`: the HTML report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="Folder of the study.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; report/index.html in the study when empty.")
    ] = None,
) -> None:
    """Write the self-contained HTML report of a study and say where it is."""
    from robomd_ros.report.build import build_report

    typer.echo(build_report(study, out))
