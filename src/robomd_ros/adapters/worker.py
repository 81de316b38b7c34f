"""One thread that owns what must not be touched from two: a torch model, a GL context, the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from robomd_ros.core.errors import BusyError, DeadlineError

T = TypeVar("T")


class Worker:
    """Runs jobs one after the other on its own thread.

    Args:
        name: of the thread.
        limit: jobs that may wait or run at once; one more is refused with BusyError. 1 = no queue.
    """

    def __init__(self, name: str, limit: int = 64) -> None:
        self.name = name
        self.limit = limit
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._jobs = 0

    @property
    def jobs(self) -> int:
        """Jobs waiting or running."""
        return self._jobs

    def submit(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """Queue a job and return at once.

        Raises:
            BusyError: `limit` jobs are there already, or the worker is closed.
        """
        with self._lock:
            if self._jobs >= self.limit:
                raise BusyError(f"{self.name} is busy with {self._jobs} jobs; try again later.")
            try:
                future = self._pool.submit(fn, *args, **kwargs)
            except RuntimeError:
                raise BusyError(f"{self.name} is shutting down.") from None
            self._jobs += 1
        future.add_done_callback(self._done)
        return future

    def call(self, fn: Callable[..., T], *args: Any, timeout: float, **kwargs: Any) -> T:
        """Queue a job and wait for its result; its exception is raised here.

        Raises:
            BusyError: see `submit`.
            DeadlineError: no result after `timeout` seconds; a job that has not begun is dropped.
        """
        future = self.submit(fn, *args, **kwargs)
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done():  # the job itself raised a TimeoutError
                raise
            future.cancel()
            raise DeadlineError(
                f"{self.name} did not finish within {timeout:g} s; {self._jobs} jobs are there."
            ) from None

    def close(self) -> None:
        """Drop what waits and join the thread after the running job: long jobs must watch their cancel flag."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, _: Future) -> None:
        with self._lock:
            self._jobs -= 1
