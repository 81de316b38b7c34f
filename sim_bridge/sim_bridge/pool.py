"""Worker processes that roll out what they are told next: for who decides by the outcomes what to run."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.records import RolloutRecord
from sim_bridge.cell import SimCell
from sim_bridge.collect import CellSpec, build_cell, run_job
from sim_bridge.jobs import Job

_cell: SimCell | None = None
"""Of a worker process; built with its first job, so that what goes wrong is that job's error."""


class CellPool:
    """Processes with one cell each. Close it, or use it as a context manager."""

    def __init__(self, spec: CellSpec, workers: int = 1) -> None:
        self.workers = workers
        self._spec = spec
        self._executor = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=leave_ctrl_c_to_the_parent
        )

    def submit(self, job: Job) -> Future[RolloutRecord]:
        """Run a job as soon as a process is free; take the record with `result`."""
        try:
            return self._executor.submit(_run, self._spec, job)
        except BrokenProcessPool as error:
            raise broken(self._spec) from error

    def result(self, future: Future[RolloutRecord]) -> RolloutRecord:
        """Wait for a record.

        Raises:
            RobomdError: the cell cannot be built, or the job is malformed.
            UnavailableError: a process died.
        """
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise broken(self._spec) from error

    def close(self) -> None:
        """End the processes when the rollouts that run are done; those that wait are dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def broken(spec: CellSpec) -> UnavailableError:
    """The error for a worker process that died."""
    return UnavailableError(
        f"a process that ran policy {spec.policy} in {spec.task} died: out of memory, or a crash in the policy or in GL."
    )


def leave_ctrl_c_to_the_parent() -> None:
    """For a worker process: the parent answers Ctrl-C, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(spec: CellSpec, job: Job) -> RolloutRecord:
    global _cell
    if _cell is None:
        _cell = build_cell(spec)
    record, _ = run_job(_cell, job)
    return record
