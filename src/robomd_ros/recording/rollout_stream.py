"""Rollouts of one policy in simulation, run one after the other as they are asked for, kept in a study if there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.recording.collection import simulator

if TYPE_CHECKING:
    from sim_bridge.jobs import Job


class RolloutStream:
    """Runs jobs ahead in its processes and gives their records in order; what the study holds is not run again.

    A context manager; one thread uses it.
    """

    def __init__(
        self, policy: str, task: str, robot: str, workers: int = 1, study: Study | None = None
    ) -> None:
        """Start processes.

        Args:
            policy: for policies.loader.
            task: of the scene.
            robot: of the scene.
            workers: processes.
            study: of the same policy; None = nothing is kept.
        """
        from importlib import import_module

        spec = simulator().collect.CellSpec(policy, task, robot)
        self._store = study.open_store()[0] if study is not None else None
        self._pool: Any = import_module("sim_bridge.pool").CellPool(spec, workers)
        self.ran = 0

    def records(self, jobs: Iterable[Job]) -> Iterator[RolloutRecord]:
        """The record of each job, in order. `jobs` is read ahead by as many as there are processes."""
        jobs = iter(jobs)
        ahead: deque[Any] = deque()
        try:
            while True:
                while len(ahead) < self._pool.workers and (job := next(jobs, None)) is not None:
                    ahead.append(self._start(job))
                if not ahead:
                    return
                yield self._finish(ahead.popleft())
        finally:
            for left in ahead:
                if not isinstance(left, RolloutRecord):
                    left.cancel()

    def close(self) -> None:
        """End the processes, and the writing of the study."""
        self._pool.close()
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, job: Job) -> Any:
        if self._store is not None and self._store.holds(job.rollout_id):
            return self._store.get(job.rollout_id)
        return self._pool.submit(job)

    def _finish(self, started: Any) -> RolloutRecord:
        if isinstance(started, RolloutRecord):
            return started
        record: RolloutRecord = self._pool.result(started)
        self.ran += 1
        return self._store.add(record) if self._store is not None else record
