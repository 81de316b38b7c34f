"""Bulk rollouts without ROS: several processes run the same cell and hand back the same records as the live path."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from robomd_ros.core.errors import RobomdError
from robomd_ros.core.outcome import Label
from robomd_ros.core.records import RolloutRecord, Trace
from sim_bridge.cell import LABELER, RolloutResult, SimCell
from sim_bridge.jobs import Job, check_unique

MAX_ATTEMPTS = 2
_PACKAGES = ("robomd_ros", "robosuite", "mujoco", "numpy", "torch")
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class CellSpec:
    """What each process builds.

    Attributes:
        policy: for robomd_ros.policies.loader; "" = none (zero-action controls only).
        task, robot: of the scene.
    """

    policy: str
    task: str = "lift"
    robot: str = "Panda"


def facts(cell: SimCell) -> dict[str, str]:
    """Versions and settings that the pixels and outcomes may depend on."""
    found = {"python": platform.python_version(), "gl": os.environ.get("MUJOCO_GL", "")}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"rate": f"{cell.scene.rate:g}", "horizon": str(cell.horizon)}


def build_cell(spec: CellSpec) -> SimCell:
    """A scene and its policy, on the calling thread.

    One torch thread: the sums of a policy, and with them its actions to the last bit, must not depend on the machine's
    cores; and it is faster beside other processes.
    """
    from sim_bridge.scene import Scene

    policy = None
    if spec.policy:
        from robomd_ros.policies.loader import load_policy

        policy = load_policy(spec.policy)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
    return SimCell(Scene(task=spec.task, robot=spec.robot), policy)


def run_job(cell: SimCell, job: Job) -> tuple[RolloutRecord, Trace]:
    """One job in a cell. The trace's clock starts at 0, so that it does not depend on what ran before."""
    started = time.time()
    cell.apply(job.perturbation)
    result = cell.rollout(job.seed, job.control)
    trace = _from_zero(result.trace)
    return make_record(cell, job, result, started), trace


def make_record(cell: SimCell, job: Job, result: RolloutResult, started: float) -> RolloutRecord:
    """The row of the store for a rollout that ran."""
    reason = str(result.error) if result.error is not None else ""
    policy_id = cell.policy.info.id if cell.policy is not None else ""
    return RolloutRecord(
        id=job.rollout_id,
        perturbation=job.perturbation,
        task=cell.scene.task,
        robot=cell.scene.robot,
        policy_id=policy_id,
        purpose=job.purpose,
        control=job.control,
        seed=job.seed,
        started=started,
        duration=result.duration,
        steps=result.steps,
        frames=len(result.trace.frames),
        frames_expected=len(result.trace.frames),
        first_frame=result.trace.frames[0],
        labels=(Label(result.outcome, LABELER, time.time(), reason),),
        facts=facts(cell),
    )


def _from_zero(trace: Trace) -> Trace:
    first = trace.stamps[0]
    stamps = np.round(trace.stamps - first, 6)
    return replace(trace, stamps=stamps, joint_stamps=np.round(trace.joint_stamps - first, 6))


def collect(
    jobs: Iterable[Job],
    spec: CellSpec,
    workers: int = 2,
    on_problem: Callable[[str], None] = lambda sentence: None,
) -> Iterator[tuple[RolloutRecord, Trace]]:
    """Run jobs in `workers` processes and yield each result, in the order of the jobs.

    Args:
        jobs: with unique ids.
        spec: of the cells.
        workers: processes, at least 1.
        on_problem: told in one sentence of a worker that died; its job is tried once more, then left out.

    Raises:
        RobomdError: a cell cannot be built (no policy, no GL), or a job is malformed.
    """
    todo = deque(enumerate(check_unique(jobs)))
    pool = _Pool(spec, min(max(1, workers), max(1, len(todo))), on_problem)
    try:
        yield from _in_order(pool.results(todo), len(todo))
    finally:
        pool.close()


def _in_order(results: Iterator[tuple[int, Any]], n: int) -> Iterator[tuple[RolloutRecord, Trace]]:
    early: dict[int, Any] = {}
    due = 0
    for index, result in results:
        early[index] = result
        while due in early:
            ready = early.pop(due)
            due += 1
            if ready is not None:
                yield ready


@dataclass
class _Process:
    """One worker and the job it has."""

    process: Any
    pipe: Connection
    job: tuple[int, Job] | None = None


class _Pool:
    """Worker processes, each with one job at a time; one that dies is replaced."""

    def __init__(self, spec: CellSpec, workers: int, on_problem: Callable[[str], None]) -> None:
        self._spec, self._on_problem = spec, on_problem
        self._attempts: dict[int, int] = {}
        self._processes = [self._start() for _ in range(workers)]

    def results(self, todo: deque[tuple[int, Job]]) -> Iterator[tuple[int, Any]]:
        """(index, (record, trace)) as they come; None in place of a result that two workers died of."""
        left = len(todo)
        while left:
            for worker in self._processes:
                if worker.job is None and todo:
                    self._give(worker, todo.popleft())
            for worker in self._readable():
                index, result = self._take(worker, todo)
                if index is not None:
                    left -= 1
                    yield index, result

    def close(self) -> None:
        """End all workers."""
        for worker in self._processes:
            worker.pipe.close()
        for worker in self._processes:
            worker.process.join(timeout=5.0)
            if worker.process.is_alive():
                worker.process.terminate()

    def _start(self) -> _Process:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, self._spec), daemon=True)
        process.start()
        theirs.close()
        return _Process(process, ours)

    def _give(self, worker: _Process, item: tuple[int, Job]) -> None:
        worker.job = item
        with contextlib.suppress(OSError):  # it died: seen when its pipe is read
            worker.pipe.send(item[1])

    def _readable(self) -> list[_Process]:
        busy = {w.pipe: w for w in self._processes if w.job is not None}
        return [busy[pipe] for pipe in wait(list(busy)) if pipe in busy]

    def _take(self, worker: _Process, todo: deque[tuple[int, Job]]) -> tuple[int | None, Any]:
        index, job = worker.job  # type: ignore[misc]
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace(worker, index, job, todo)
        worker.job = None
        if isinstance(answer, RobomdError):
            raise answer
        return index, answer

    def _replace(
        self, worker: _Process, index: int, job: Job, todo: deque[tuple[int, Job]]
    ) -> tuple[int | None, Any]:
        worker.process.join(timeout=5.0)
        attempts = self._attempts[index] = self._attempts.get(index, 0) + 1
        again = attempts < MAX_ATTEMPTS
        self._on_problem(
            f"a worker died (exit code {worker.process.exitcode}) in rollout {job.rollout_id} "
            f"({job.perturbation.id}, seed {job.seed}): {'tried again' if again else 'left out'}."
        )
        self._processes[self._processes.index(worker)] = self._start()
        if not again:
            return index, None
        todo.appendleft((index, job))
        return None, None


def _work(pipe: Connection, spec: CellSpec) -> None:
    """A worker process: builds a cell, then answers jobs until the pipe closes."""
    try:
        cell = build_cell(spec)
    except RobomdError as error:
        pipe.recv()
        pipe.send(error)
        return
    try:
        while True:
            job = pipe.recv()
            try:
                pipe.send(run_job(cell, job))
            except RobomdError as error:
                pipe.send(error)
    except (EOFError, OSError):
        pass  # the collector has all it wanted
    finally:
        cell.close()
