"""`robomd compare --live`: two policies in simulation on the same scenes, until decided or until the budget is spent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from robomd_ros.cli.progress import progress_bar
from robomd_ros.core.comparison import Comparison, ComparisonConfig, Verdict
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control
from robomd_ros.core.pairing import Pair, Trial
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import NOMINAL, Catalogue, load_catalogue

if TYPE_CHECKING:
    from robomd_ros.policies.base import PolicyInfo
    from robomd_ros.recording.rollout_stream import RolloutStream
    from robomd_ros.search.live_comparison import Monitor, Turn

FIRST_SEED = 700_000
"""Scenes of no collection, no training and no evaluation of a shipped policy."""
SEEDS = 10_000
"""Scenes of one `--seed`."""
_ZERO_ACTIONS = 2
_REPEATS = 4


@dataclass(frozen=True)
class LiveOptions:
    """Of `robomd compare --live`; see its --help."""

    task: str
    robot: str
    budget: int
    each: bool
    workers: int
    seed: int
    folder: Path | None
    only: tuple[str, ...]

    @property
    def first_seed(self) -> int:
        """Of the scenes."""
        return FIRST_SEED + SEEDS * self.seed


def run_live(
    a: str, b: str, config: ComparisonConfig, options: LiveOptions
) -> tuple[Comparison, dict[str, str], dict[str, Any]]:
    """Run, and return what it showed, the names of A and B, and more for the JSON.

    Raises:
        KeyboardInterrupt: Ctrl-C, after what is known so far was shown.
    """
    from robomd_ros.recording.rollout_stream import RolloutStream
    from robomd_ros.search.live_comparison import Monitor

    catalogue = load_catalogue(options.task)
    conditions = [catalogue.perturbation(text).id for text in options.only]
    conditions = conditions or [NOMINAL, *(p.id for p in catalogue.singles)]
    if len(set(conditions)) != len(conditions):
        raise InvalidArgumentError("--only names a condition twice.")
    infos = [policy_info(spec, options.task, options.robot) for spec in (a, b)]
    names = _names(infos, (a, b))
    monitor = Monitor(conditions, config)
    studies = [
        own_study(options.folder / side, options.task, options.robot, info.id)
        if options.folder is not None
        else None
        for side, info in zip("ab", infos, strict=True)
    ]
    share = max(1, options.workers // 2)
    with contextlib.ExitStack() as stack:
        of_a, of_b = (
            stack.enter_context(RolloutStream(spec, options.task, options.robot, share, study))
            for spec, study in zip((a, b), studies, strict=True)
        )
        controls = _run(of_a, of_b, monitor, catalogue, options, names)
    return _told(monitor, controls, config), names, {"rollouts": 2 * len(monitor.pairs)}


def policy_info(spec: str, task: str, robot: str) -> PolicyInfo:
    """What a policy says of itself; InvalidArgumentError where it is not for this task and robot."""
    from robomd_ros.policies.loader import load_policy

    policy = load_policy(spec)
    info = policy.info
    policy.close()
    if (info.task, info.robot) != (task, robot):
        raise InvalidArgumentError(
            f"policy {info.id} is for {info.task} on {info.robot}, not for {task} on {robot}: say --task and --robot."
        )
    return info


def _run(
    of_a: RolloutStream,
    of_b: RolloutStream,
    monitor: Monitor,
    catalogue: Catalogue,
    options: LiveOptions,
    names: dict[str, str],
) -> list[str]:
    """The rollouts, with a bar; the control arm first. Returns what the controls came to."""
    from robomd_ros.cli.compare import show
    from robomd_ros.search.live_comparison import run_comparison

    def rollouts(stream: RolloutStream, turns: Iterable[Turn]) -> Iterator[RolloutRecord]:
        return stream.records(_job(catalogue, t.condition, t.seed, "initial") for t in turns)

    pairs = options.budget // 2
    with progress_bar("done", "failed", "overall") as progress:
        bar = progress.add_task("control arm", total=pairs, done="", failed="", overall="")
        try:
            _zero_actions(of_a, catalogue, options)
            progress.update(bar, description="pairs")

            def told(pair: Pair) -> None:
                whole, n = monitor.comparison.overall, len(monitor.pairs)
                failed = [
                    sum(getattr(p, f) for p in monitor.pairs) for f in ("a_failed", "b_failed")
                ]
                progress.update(
                    bar,
                    completed=n,
                    done=f"{n} of {pairs}",
                    failed="A failed {}, B {}".format(*failed),
                    overall=f"B - A {whole.low:+.2f} … {whole.high:+.2f}",
                )

            run_comparison(
                lambda turns: rollouts(of_a, turns),
                lambda turns: rollouts(of_b, turns),
                monitor,
                pairs,
                options.first_seed,
                options.each,
                told,
            )
            progress.update(bar, description="control arm")
            return [_repeats(of_a, monitor, catalogue)]
        except KeyboardInterrupt:
            progress.stop()
            typer.echo("Stopped; what is known so far:", err=True)
            show(_told(monitor, [], monitor.comparison.config), **names)
            raise


def _zero_actions(stream: RolloutStream, catalogue: Catalogue, options: LiveOptions) -> None:
    """Negative controls: a robot that gets no action must fail, or the success check is worth nothing."""
    from robomd_ros.cli.compare import refuse_false_alarms

    jobs = (
        _job(catalogue, NOMINAL, options.first_seed + k, "control", Control.ZERO_ACTION)
        for k in range(_ZERO_ACTIONS)
    )
    refuse_false_alarms("the simulator", list(stream.records(jobs)))


def _repeats(stream: RolloutStream, monitor: Monitor, catalogue: Catalogue) -> str:
    """A against A on the same scenes: how far the same rollout ends alike."""
    again = monitor.pairs[:_REPEATS]
    jobs = (_job(catalogue, p.condition, p.seed, "control") for p in again)
    alike = sum(
        r.outcome.name == ("FAILURE" if p.a_failed else "SUCCESS")
        for p, r in zip(again, stream.records(jobs), strict=True)
    )
    return f"Control: {_ZERO_ACTIONS} rollouts without actions failed, as they must; A again on the same scenes: {alike} of {len(again)} ended alike."


def _told(monitor: Monitor, controls: list[str], config: ComparisonConfig) -> Comparison:
    """The result with its notes."""
    from robomd_ros.cli.compare import control_notes

    sides = (
        [Trial(p.condition, p.seed, getattr(p, name)) for p in monitor.pairs]
        for name in ("a_failed", "b_failed")
    )
    found = monitor.comparison
    spent = f"{2 * len(monitor.pairs)} rollouts, {'stopped when decided' if found.verdict is not Verdict.UNDECIDED else 'not decided'}."
    return replace(found, notes=(spent, *controls, *control_notes(*sides, config)))


def _names(infos: list[PolicyInfo], specs: tuple[str, str]) -> dict[str, str]:
    return {
        side: info.id if info.id in spec else f"{info.id} ({spec})"
        for side, info, spec in zip("ab", infos, specs, strict=True)
    }


def own_study(path: Path, task: str, robot: str, policy_id: str) -> Study:
    """The study at `path` to keep rollouts in, made where there is none; InvalidArgumentError where it is of something else."""
    if not (path / "study.json").is_file():
        return Study.create(path, StudyMeta(task, robot, policy_id))
    study = Study.open(path)
    theirs = (study.meta.task, study.meta.robot, study.meta.policy_id)
    if theirs != (task, robot, policy_id):
        raise InvalidArgumentError(
            f"{path} holds rollouts of {', '.join(theirs)}, not of {task}, {robot}, {policy_id}: choose another --in."
        )
    return study


def _job(
    catalogue: Catalogue,
    condition: str,
    seed: int,
    purpose: str,
    control: Control = Control.NONE,
) -> Any:
    from robomd_ros.recording.collection import simulator

    return simulator().jobs.make_job(catalogue.perturbation(condition), seed, purpose, control)
