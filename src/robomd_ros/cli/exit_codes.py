"""Exit codes of commands whose result is a verdict, so that CI can tell a verdict from trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

TROUBLE = 3
"""An error or wrong usage, in place of 1 and 2, which are verdicts here."""


class VerdictCommand(TyperCommand):
    """A command that exits with 0, 1 or 2 for what it found and with TROUBLE where it could find nothing."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments; wrong ones are trouble."""
        with _trouble():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; whatever it raises is trouble."""
        with _trouble():
            return super().invoke(ctx)


@contextmanager
def _trouble() -> Iterator[None]:
    """Errors that pass get TROUBLE as their exit code; typer and `main.run` look for that attribute."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        error.exit_code = TROUBLE  # type: ignore[attr-defined]
        raise
