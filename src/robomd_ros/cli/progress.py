"""Progress bars of the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(*columns: str) -> Progress:
    """Description, bar, the named fields of the task, time; on stderr, so that output can be piped."""
    shown = [TextColumn(f"{{task.fields[{name}]}}") for name in columns]
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *shown,
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def phase_bar(title: str) -> Iterator[Callable[[str, float, float], None]]:
    """A bar that a training drives: phase, fraction done in 0..1, loss or reward (NaN = none)."""
    with progress_bar("phase", "value") as progress:
        task = progress.add_task(title, total=1.0, phase="", value="")

        def told(phase: str, fraction: float, value: float) -> None:
            shown = f"{value:.3f}" if math.isfinite(value) else ""
            progress.update(task, completed=fraction, phase=phase, value=shown)

        yield told
        progress.update(task, completed=1.0, phase="done")
