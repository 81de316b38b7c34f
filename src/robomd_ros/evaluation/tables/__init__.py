"""One table a file: TITLE, VERSION, `steps(plan)` and `render(results, plan)`, in the order in which they are shown."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from robomd_ros.core.errors import UnknownIdError
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step

NAMES = (
    "ranking",
    "continuous",
    "probe",
    "unseen",
    "policies",
    "embedding",
    "finetuning",
    "search",
    "choice",
    "potential",
)


class Table(Protocol):
    """What a module of this package has.

    Attributes:
        TITLE: of the section.
        VERSION: counts up when the meaning of its steps changes: kept results of an older one are not used.
    """

    TITLE: str
    VERSION: int

    def steps(self, plan: Plan) -> list[Step]:
        """The work whose results the table shows."""

    def render(self, results: Results, plan: Plan) -> str:
        """Markdown, without the title."""


def table(name: str) -> Table:
    """The table of a name; UnknownIdError says the known ones."""
    if name not in NAMES:
        raise UnknownIdError(f"no table {name[:60]!r}; known: {', '.join(NAMES)}.")
    module: Table = import_module(f"robomd_ros.evaluation.tables.{name}")
    return module
