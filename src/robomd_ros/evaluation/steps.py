"""Units of work with a kept result: run in several processes, gone on with where a run stopped."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from robomd_ros.core.errors import NotReadyError, StorageError, UnavailableError
from robomd_ros.core.files import write_atomic
from robomd_ros.evaluation.datasets import Dataset


@dataclass(frozen=True)
class Step:
    """One call whose result is kept.

    Attributes:
        name: unique, "table/what/seed".
        call: "package.module:function"; called with `studies` and the datasets by their role, then the arguments.
        arguments: plain values.
        datasets: by role; they are complete before the call.
        version: of the table.
        probed: roles of the datasets under whose conditions the policy is asked, too, before the call.
    """

    name: str
    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    version: int = 1
    probed: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Changes with whatever the result depends on but the code."""
        data = {name: dataset.to_dict() for name, dataset in self.datasets.items()}
        text = json.dumps([self.call, dict(self.arguments), data, self.version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def run(self, studies: Path) -> dict[str, Any]:
        """Call it here and now."""
        module, _, function = self.call.partition(":")
        made: dict[str, Any] = getattr(import_module(module), function)(
            studies=studies, **self.datasets, **self.arguments
        )
        return made


@dataclass(frozen=True)
class Result:
    """What a step gave.

    Attributes:
        key: of the step.
        value: plain values; {} where it could not be run.
        seconds: of wall time.
        reason: why it could not be run here; "" = it ran.
        revision: of the code, and when: so that a kept result can be traced.
    """

    key: str
    value: Mapping[str, Any]
    seconds: float
    reason: str = ""
    revision: str = ""


class Results:
    """Results by the names of their steps, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Result] = {}
        if path.is_file():
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                self._kept = {name: Result(**fields) for name, fields in kept.items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise StorageError(
                    f"{path} is no file of results: {error}; move it away."
                ) from error

    def __contains__(self, step: Step) -> bool:
        kept = self._kept.get(step.name)
        return kept is not None and kept.key == step.key and not kept.reason

    def current(self, steps: Iterable[Step]) -> Results:
        """Without what these steps gave when they were others: an older version, other arguments."""
        keys = {step.name: step.key for step in steps}
        found = Results(Path())
        found._kept = {n: r for n, r in self._kept.items() if keys.get(n, r.key) == r.key}
        return found

    def value(self, name: str) -> Mapping[str, Any] | None:
        """What a step gave; None = it has not been run, or could not be."""
        kept = self._kept.get(name)
        return kept.value if kept is not None and not kept.reason else None

    def under(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        """All that ran, by the rest of the name."""
        return {
            name.removeprefix(prefix): kept.value
            for name, kept in sorted(self._kept.items())
            if name.startswith(prefix) and not kept.reason
        }

    def reasons(self, prefix: str) -> dict[str, str]:
        """Why steps could not be run, by the rest of the name."""
        return {
            name.removeprefix(prefix): kept.reason
            for name, kept in sorted(self._kept.items())
            if name.startswith(prefix) and kept.reason
        }

    def seconds(self, names: Iterable[str]) -> float:
        """Time that these steps took, together."""
        return sum(self._kept[name].seconds for name in names if name in self._kept)

    def revisions(self, names: Iterable[str]) -> set[str]:
        """Revisions of the code that made them."""
        return {self._kept[name].revision for name in names if name in self._kept}

    def add(self, step: Step, result: Result) -> None:
        """Keep one, on the disk."""
        self._kept[step.name] = result
        lines = [
            f"{json.dumps(name)}: {json.dumps(kept.__dict__, allow_nan=True)}"
            for name, kept in sorted(self._kept.items())
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    def forget(self, steps: Iterable[Step]) -> None:
        """Drop what is kept of these steps."""
        for step in steps:
            self._kept.pop(step.name, None)


def run_steps(
    steps: list[Step], studies: Path, workers: int, revision: str
) -> Iterator[tuple[Step, Result | Exception]]:
    """Run steps in `workers` processes of one thread each, and yield each as it ends.

    A step that cannot be run here (UnavailableError: no library; NotReadyError: too few outcomes) has a result with the reason; any other error is yielded.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
        futures: dict[Future[Result], Step] = {
            pool.submit(_run, step, studies, revision): step for step in steps
        }
        try:
            for future in as_completed(futures):
                error = future.exception()
                yield (
                    futures[future],
                    error if isinstance(error, Exception) else future.result(),
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    """Numpy and torch are loaded by now, the environment's OMP_NUM_THREADS comes too late."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch.set_num_threads(1)


def _run(step: Step, studies: Path, revision: str) -> Result:
    started = time.monotonic()
    try:
        value, reason = step.run(studies), ""
    except (UnavailableError, NotReadyError) as error:
        value, reason = {}, str(error)
    return Result(step.key, value, round(time.monotonic() - started, 2), reason, revision)


def datasets_of(steps: Iterable[Step]) -> list[Dataset]:
    """Each dataset that they need, once."""
    return _largest(d for step in steps for d in step.datasets.values())


def probed_of(steps: Iterable[Step]) -> list[Dataset]:
    """Each dataset under whose conditions the policy has to be asked, once."""
    return _largest(step.datasets[role] for step in steps for role in step.probed)


def rendered_of(steps: Iterable[Step]) -> list[tuple[Dataset, int]]:
    """Each dataset and number of outcome-free renders of its scene that they learn from, once."""
    wanted = {}
    for step in steps:
        if count := int(step.arguments.get("renders", 0)):
            dataset = step.datasets["data"]
            wanted[dataset.name, count] = dataset
    return [(dataset, count) for (_, count), dataset in wanted.items()]


def _largest(datasets: Iterable[Dataset]) -> list[Dataset]:
    found: dict[str, Dataset] = {}
    for dataset in datasets:
        known = found.setdefault(dataset.name, dataset)
        if (dataset.conditions, dataset.repeats) > (known.conditions, known.repeats):
            found[dataset.name] = dataset
    return list(found.values())
