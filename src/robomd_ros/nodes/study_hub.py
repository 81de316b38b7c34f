"""study_hub: several cells feed one study. It labels and stores for all of them, in one process, for a store has one writer."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.parameter import Parameter
from rclpy.signals import uninstall_signal_handlers

from robomd_ros.adapters.base import Health, RobomdNode
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import make_executor, run
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerConfig, OutcomeLabelerNode
from robomd_ros.recording.keeper import LiveStudy

MAX_CELLS = 16
MAX_DOMAIN = 232
_ADDRESS = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_]{0,39}(/[A-Za-z][A-Za-z0-9_]{0,39}){0,3})@(?P<domain>[0-9]{1,3})\Z"
)


@dataclass(frozen=True)
class StudyHubConfig(OutcomeLabelerConfig):
    """Parameters of study_hub: those of outcome_labeler, for every cell, and the cells."""

    cells: tuple[str, ...] = parameter(
        (), "cells that feed the study, each NAMESPACE@DOMAIN: left@10, right@11"
    )


@dataclass(frozen=True)
class CellAddress:
    """Where a cell is: its namespace, which is its name in the study, and its ROS domain."""

    name: str
    domain: int


def parse_cells(texts: Sequence[str]) -> list[CellAddress]:
    """Addresses from NAMESPACE@DOMAIN.

    Raises:
        InvalidArgumentError: one is none, or two cells have the same name.
    """
    cells = [_parse(text) for text in texts]
    if not 1 <= len(cells) <= MAX_CELLS:
        raise InvalidArgumentError(
            f"{len(cells)} cells: want 1 to {MAX_CELLS}, each NAMESPACE@DOMAIN, for example left@10 right@11."
        )
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(
                f"two cells are called {name!r}: give each a namespace of its own."
            )
    return cells


def _parse(text: str) -> CellAddress:
    found = _ADDRESS.match(text.removeprefix("/"))
    if found is None or int(found["domain"]) > MAX_DOMAIN:
        raise InvalidArgumentError(
            f"cell {text[:80]!r}: want NAMESPACE@DOMAIN with a ROS domain of 0 to {MAX_DOMAIN}, for example left@10."
        )
    return CellAddress(found["name"], int(found["domain"]))


class _Cell:
    """An outcome_labeler in a cell's namespace and domain, spun by a thread of its own."""

    def __init__(self, address: CellAddress, live: LiveStudy, parameters: list[Parameter]) -> None:
        self.name = address.name
        self.context = Context()
        # No arguments: those of the process are the hub's, and would rename and set up this node, too.
        rclpy.init(args=[], context=self.context, domain_id=address.domain)
        self.node = OutcomeLabelerNode(
            live,
            address.name,
            context=self.context,
            namespace=address.name,
            parameter_overrides=parameters,
        )
        self._executor = make_executor(self.node)
        self._thread = threading.Thread(target=self._spin, name=f"cell {address.name}")
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            while self.context.ok() and not self.node.closing.is_set():
                self.node.guard(self._executor.spin)

    def close(self) -> None:
        """Bring what waits to the disk, and leave the domain."""
        self.node.closing.set()
        self._executor.shutdown(timeout_sec=5.0)
        self._thread.join()
        self._executor._executor.shutdown()  # rclpy does not wait for callbacks that still run
        self.node.destroy_node()
        self.context.try_shutdown()


class StudyHubNode(RobomdNode):
    """Stores and labels the rollouts of several cells in one study; a cell that goes away holds up nobody.

    In each cell it does what outcome_labeler does, under that name; the cells run without one (`robomd up --hub`). It is in
    a domain of its own, that of the process, and needs none of the cells to be there.

    Parameters: StudyHubConfig.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("study_hub", **kwargs)
        config = declare(self, StudyHubConfig)
        addresses = parse_cells(config.cells)
        self._live = LiveStudy(Path(config.study), config.keep_recordings)
        self._cells: list[_Cell] = []
        if self._live.open():
            for finding in self._live.findings:
                self.get_logger().warning(str(finding))
        own = [self.get_parameter(name) for name in OutcomeLabelerConfig.__dataclass_fields__]
        try:
            for address in addresses:
                self._cells.append(_Cell(address, self._live, own))
        except BaseException:
            self.destroy_node()
            raise
        where = ", ".join(f"{a.name} in domain {a.domain}" for a in addresses)
        self.get_logger().info(f"{config.study} is fed by {where}")

    def health(self) -> Health:
        """The worst of the cells, and how many rollouts of each were stored."""
        health = {cell.name: cell.node.health() for cell in list(self._cells)}
        values: dict[str, object] = {n: h.values["stored"] for n, h in health.items()}
        out = Health(values={"study": self._live.folder, **values})
        for name, one in health.items():
            if one.level > out.level:
                out.level, out.message = one.level, f"{name}: {one.message}"
        return out

    def destroy_node(self) -> None:
        """Leave all cells, then close the study."""
        self.closing.set()
        for cell in self._cells:
            cell.close()
        self._cells.clear()
        self._live.close()
        super().destroy_node()


def run_hub(**kwargs: Any) -> NoReturn:
    """Run the hub until Ctrl-C or SIGTERM, and end the process; arguments as for the node."""
    run(partial(_make, **kwargs))


def _make(**kwargs: Any) -> StudyHubNode:
    # rclpy's own handlers end the contexts of all cells at once, in the middle of what is written and announced. A hub that
    # was stopped that way crashed once in 25 stops; why was not found.
    uninstall_signal_handlers()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    return StudyHubNode(**kwargs)


def _interrupt(*_: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run the node."""
    run_hub()


if __name__ == "__main__":
    main()
