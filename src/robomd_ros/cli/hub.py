"""`robomd hub`: several cells feed one study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robomd_ros.core.errors import UnavailableError

app = typer.Typer(add_completion=False)


@app.command()
def hub(
    cells: Annotated[
        list[str],
        typer.Argument(help="Each NAMESPACE@DOMAIN of a cell, for example left@10 right@11."),
    ],
    study: Annotated[
        Path, typer.Option(help="Folder of the study; made when it is not there.")
    ] = Path("studies/live"),
) -> None:
    """Store and label the rollouts of several cells in one study until Ctrl-C.

    Start each cell with `robomd up --hub --namespace NAMESPACE --study STUDY` in its own ROS_DOMAIN_ID. Cells may come and
    go in any order; further parameters are those of outcome_labeler: `ros2 run robomd_ros study_hub`.
    """
    try:
        from rclpy.parameter import Parameter

        from robomd_ros.nodes.study_hub import parse_cells, run_hub
    except ImportError as error:
        raise UnavailableError(
            f"{error.name} cannot be imported: run ./robomd setup, or source ROS 2."
        ) from error
    parse_cells(cells)
    own = {"study": str(study.expanduser().resolve()), "cells": cells}
    run_hub(parameter_overrides=[Parameter(k, value=v) for k, v in own.items()])
