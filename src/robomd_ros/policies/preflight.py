"""Will this policy work in this cell? Asked before hours are spent, and a success rate of 0 % is explained.

Works on any cell with `reset(seed)`, `step(action)` and `success()` (sim_bridge's Scene has them), and knows no simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import PolicyError, RobomdError
from robomd_ros.core.statistics import wilson
from robomd_ros.policies.base import Observation, Policy, PolicyInfo, check_action

CONFIDENCE = 0.9
"""Of the interval beside a success rate: a few rollouts leave much open."""

BLIND = 0.02
"""Mean absolute change of an action below which a policy does not react to what it is shown."""


class Level(StrEnum):
    """How bad."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how bad it is, one sentence that says what to do."""

    name: str
    level: Level
    sentence: str


@dataclass(frozen=True)
class PreflightReport:
    """All findings, and the trial rollouts behind them."""

    policy_id: str
    checks: tuple[Check, ...]
    successes: int
    trials: int

    @property
    def level(self) -> Level:
        """The worst of all."""
        found = {c.level for c in self.checks}
        return next((v for v in (Level.ERROR, Level.WARN) if v in found), Level.OK)

    @property
    def rate(self) -> str:
        """Success rate of the trials and how far it can be trusted, for people."""
        return _rate(self.successes, self.trials)


def _rate(successes: int, trials: int) -> str:
    if not trials:
        return "no rate"
    low, high = wilson(successes, trials, CONFIDENCE)
    share = f"{100 * CONFIDENCE:.0f} %"
    return f"{successes / trials:.2f}, {share} interval {low:.2f} to {high:.2f}"


class TrialCell(Protocol):
    """What preflight needs of a cell; task, robot, rate and proprio_names are compared where it has them."""

    def reset(self, seed: int) -> Observation:
        """The nominal scene of this seed."""

    def step(self, action: NDArray[np.float32]) -> Observation:
        """Apply one action."""

    def success(self) -> bool:
        """The task is done."""


@dataclass(frozen=True)
class _Seat:
    """Where a policy sits: the cell, and how its actions become the cell's."""

    cell: TrialCell
    command: Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Trial:
    """One rollout: what was seen, what was answered, how long each answer took [s]."""

    observations: tuple[Observation, ...]
    actions: NDArray[np.float32]
    latencies: NDArray[np.float64]
    success: bool


def preflight(
    policy: Policy,
    cell: TrialCell,
    trials: int = 4,
    first_seed: int = 900_000,
    command: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda action: action,
) -> PreflightReport:
    """Check a policy against a cell.

    Args:
        policy: under test.
        cell: what it will run in, unchanged scene. It moves.
        trials: nominal rollouts; each explanation of a complete failure is tried with as many.
        first_seed: of the trials.
        command: from an action of the policy's space to one that `cell.step` takes, e.g. osc_position to osc_pose.

    Returns:
        The findings. A policy or cell that fails does not raise: that is a finding.
    """
    info = policy.info
    checks = list(_compare(info, cell))
    seeds = range(first_seed, first_seed + trials)
    seat = _Seat(cell, command)
    try:
        checks.append(_check_shape(info, cell.reset(first_seed)))
        done = [_run(policy, seat, seed) for seed in seeds]
    except RobomdError as error:
        checks.append(Check("trial", Level.ERROR, f"the first rollouts ended with: {error}"))
        return PreflightReport(info.id, tuple(checks), 0, 0)
    checks += [_check_range(done), _check_latency(info, done), *_check_reactions(policy, done)]
    successes = sum(t.success for t in done)
    checks.append(_judge(policy, seat, seeds, successes))
    return PreflightReport(info.id, tuple(checks), successes, trials)


def _compare(info: PolicyInfo, cell: TrialCell) -> Iterable[Check]:
    """The policy's needs against what the cell says of itself."""
    pairs: tuple[tuple[str, str, object], ...] = (
        ("task", "task", info.task),
        ("robot", "robot", info.robot),
        ("rate", "rate", info.rate),
        ("proprio", "proprio_names", info.proprio),
        ("horizon", "horizon", info.horizon),
    )
    for name, attribute, wanted in pairs:
        offered = getattr(cell, attribute, None)
        if offered is None:
            continue
        same = offered == wanted
        level = Level.OK if same else Level.WARN if name == "horizon" else Level.ERROR
        sentence = (
            f"{name} {_show(wanted)} on both sides."
            if same
            else f"the policy wants {name} {_show(wanted)}, the cell has {_show(offered)}: set the cell up for this policy."
        )
        yield Check(name, level, sentence)


def _show(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _check_shape(info: PolicyInfo, seen: Observation) -> Check:
    """The camera's image against the policy's: it is resized by area, which blurs and may distort."""
    height, width = seen.image.shape[:2]
    wanted = f"{info.image_width}x{info.image_height}"
    if (height, width) == (info.image_height, info.image_width):
        return Check("image size", Level.OK, f"{wanted} on both sides.")
    distorted = abs(width / height * info.image_height / info.image_width - 1.0) > 0.02
    enlarged = height < info.image_height or width < info.image_width
    how = "distorted" if distorted else "enlarged" if enlarged else "reduced"
    return Check(
        "image size",
        Level.WARN if distorted or enlarged else Level.OK,
        f"the camera's {width}x{height} is {how} to the policy's {wanted}.",
    )


def _run(
    policy: Policy,
    seat: _Seat,
    seed: int,
    see: Callable[[Observation], Observation] = lambda observation: observation,
) -> _Trial:
    observation = seat.cell.reset(seed)
    policy.reset(seed)
    seen, actions, latencies = [], [], []
    for _ in range(policy.info.horizon):
        seen.append(see(_fitted(policy.info, observation)))
        started = time.perf_counter()
        actions.append(check_action(policy.info, policy.act(seen[-1])))
        latencies.append(time.perf_counter() - started)
        observation = seat.cell.step(seat.command(np.clip(actions[-1], -1.0, 1.0)))
        if seat.cell.success():
            break
    return _Trial(tuple(seen), np.stack(actions), np.array(latencies), seat.cell.success())


def _fitted(info: PolicyInfo, observation: Observation) -> Observation:
    """As a cell hands it over: resized by area."""
    size = (info.image_height, info.image_width)
    if observation.image.shape[:2] == size:
        return observation
    from robomd_ros.policies.images import resize_area

    pixels = resize_area(observation.image, *size).permute(1, 2, 0)
    return replace(observation, image=np.ascontiguousarray(pixels.numpy()))


def _check_range(done: list[_Trial]) -> Check:
    actions = np.concatenate([t.actions for t in done])
    outside = int((np.abs(actions) > 1.0 + 1e-6).any(axis=1).sum())
    largest = float(np.abs(actions).max())
    if outside:
        return Check(
            "action range",
            Level.WARN,
            f"{outside} of {len(actions)} actions leave -1..1 (largest {largest:.3g}) and are clipped: are they metres, "
            "radians or unnormalised?",
        )
    if largest < 1e-3:
        return Check(
            "action range", Level.ERROR, f"the arm never moves: largest action {largest:.2g}."
        )
    return Check("action range", Level.OK, f"actions within -1..1, largest {largest:.2f}.")


def _check_latency(info: PolicyInfo, done: list[_Trial]) -> Check:
    """The first answer of a rollout may load and compile; the others have to keep the rate."""
    late = np.concatenate([t.latencies[1:] if len(t.latencies) > 1 else t.latencies for t in done])
    p95, period = float(np.percentile(late, 95)), 1.0 / info.rate
    level = Level.OK if p95 < 0.5 * period else Level.WARN if p95 < period else Level.ERROR
    advice = (
        ""
        if level is Level.OK
        else ": a real cell would wait for it; lower the rate or use a faster machine"
    )
    return Check(
        "latency",
        level,
        f"an action takes {1e3 * p95:.1f} ms (95th percentile) of the {1e3 * period:.0f} ms period{advice}.",
    )


def _check_reactions(policy: Policy, done: list[_Trial]) -> Iterable[Check]:
    """Ask again with the same, with a blank, and with another scene's image."""
    firsts = [t.observations[0] for t in done]
    same = _changes(policy, [(o, o) for o in firsts])
    drawn = f" though the seed is the same (mean change {same:.2g}): outcomes will not repeat"
    yield Check(
        "determinism",
        Level.OK if same < 1e-5 else Level.WARN,
        f"the same observation gives {'the same action.' if same < 1e-5 else 'another action' + drawn + '.'}",
    )
    blank = _changes(policy, [(o, _blank(o)) for o in firsts])
    if blank < max(BLIND, 2 * same):
        yield Check(
            "sees the image",
            Level.ERROR,
            f"a blank image changes the action by {blank:.2g} on average: the policy does not look, or sees black "
            "(is the image divided by 255 twice?).",
        )
        return
    others = [(o, replace(o, image=p.image)) for o, p in pairwise(firsts)]
    moved = _changes(policy, others) if others else blank
    yield Check(
        "sees the image",
        Level.OK if moved > 1e-4 else Level.WARN,
        f"a blank image changes the action by {blank:.2g} on average, another scene's image by {moved:.2g}.",
    )


def _changes(policy: Policy, pairs: list[tuple[Observation, Observation]]) -> float:
    """Mean absolute difference of the first actions to the two observations of each pair."""
    differences = []
    for a, b in pairs:
        answers = []
        for observation in (a, b):
            policy.reset(0)
            answers.append(check_action(policy.info, policy.act(observation)))
        differences.append(np.abs(np.clip(answers[0], -1, 1) - np.clip(answers[1], -1, 1)).mean())
    return float(np.mean(differences))


def _blank(observation: Observation) -> Observation:
    return replace(observation, image=np.full_like(observation.image, 127))


def _mirrored(image: NDArray[np.uint8], *axes: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.flip(image, axes))


EXPLANATIONS: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "the image upside down": lambda image: _mirrored(image, 0),
    "the image turned by 180 degrees": lambda image: _mirrored(image, 0, 1),
    "the image mirrored left to right": lambda image: _mirrored(image, 1),
    "red and blue swapped (BGR)": lambda image: _mirrored(image, 2),
}


def _judge(policy: Policy, seat: _Seat, seeds: range, successes: int) -> Check:
    """The success rate, and where it is 0 the first other way of reading the image that does better."""
    n = len(seeds)
    if successes:
        level = Level.OK if successes > n / 2 else Level.WARN
        return Check(
            "trial", level, f"{successes} of {n} nominal rollouts succeed ({_rate(successes, n)})."
        )
    for name, other, see in _alternatives(policy):
        try:
            better = sum(_run(other, seat, seed, see).success for seed in seeds)
        except PolicyError:
            continue
        if better:
            return Check(
                "trial",
                Level.ERROR,
                f"0 of {n} nominal rollouts succeed ({_rate(0, n)}), but {better} of {n} do with {name} "
                f"({_rate(better, n)}): mend that first.",
            )
    tried = ", ".join(name for name, _, _ in _alternatives(policy))
    return Check(
        "trial",
        Level.ERROR,
        f"0 of {n} nominal rollouts succeed ({_rate(0, n)}), and none does with {tried}. See the other checks: robot, "
        "proprioception and action space have to be those of the training data.",
    )


def _alternatives(
    policy: Policy,
) -> list[tuple[str, Policy, Callable[[Observation], Observation]]]:
    """Other ways of giving the policy what it sees: name, policy, change of the observation."""

    def seen(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Any:
        return lambda observation: replace(observation, image=change(observation.image))

    ways: list[tuple[str, Policy, Callable[[Observation], Observation]]]
    ways = [(name, policy, seen(change)) for name, change in EXPLANATIONS.items()]
    others: Mapping[str, Policy] = getattr(policy, "alternatives", dict)()
    return ways + [(name, other, lambda observation: observation) for name, other in others.items()]
