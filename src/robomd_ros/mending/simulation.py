"""The ports of a fine-tuning in simulation: the scripted expert, the shipped kind of policy, rollouts in processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.mending.finetune import ByHand, MendConfig, Order, Ports
from robomd_ros.policies.bc import BcPolicy
from robomd_ros.policies.bc_finetuning import FineTuning, finetune_bc
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.loader import load_policy
from robomd_ros.recording.collection import run_jobs, simulator

REPLAYED = 300
_CHUNK = 50
"""Replayed demonstrations are made in parts, so that several processes share them."""


def simulation(policy: str, workers: int = 1, known: Study | None = None, replay: int = 0) -> Ports:
    """The ports for a policy of the shipped kind.

    Args:
        policy: for policies.loader; what it was made of stands in its policy.json.
        workers: processes that simulate.
        known: a study of the old policy, whose rollouts on the same scenes are not run again.
        replay: old demonstrations to be made again from their seeds; 0 = as many as it was made of.

    Raises:
        InvalidArgumentError: a policy of another kind, or a study of another policy.
    """
    old = _load(policy)
    if known is not None and known.meta.policy_id != old.info.id:
        raise InvalidArgumentError(
            f"{known.folder} is about policy {known.meta.policy_id}, not {old.info.id}: its rollouts say nothing of this one."
        )
    return Ports(_Made(old, workers, replay), _Tuner(old), _Tester(policy, workers, known))


def by_person(policy: str, folder: Path, replay: Path | None) -> Ports:
    """The ports where a person makes the demonstrations, and the new policy is tested on the cell.

    Raises:
        InvalidArgumentError: a policy of another kind.
    """
    return Ports(ByHand(folder, replay), _Tuner(_load(policy)))


def _load(policy: str) -> BcPolicy:
    loaded = load_policy(policy)
    if not isinstance(loaded, BcPolicy):
        raise InvalidArgumentError(
            f"{policy} is not a policy of the shipped kind (bc), and only those are fine-tuned here: take the plan of "
            "`robomd plan-data`, train with your own code, and compare."
        )
    return loaded


class _Made:
    """Demonstrations by the scripted expert."""

    def __init__(self, policy: BcPolicy, workers: int, replay: int) -> None:
        self._policy, self._workers = policy, workers
        self._facts: Mapping[str, Any] = policy.made.get("demos", {})
        self._replayed = replay or int(self._facts.get("demos", REPLAYED))

    def demonstrate(self, orders: Sequence[Order]) -> Iterator[DemoSet]:
        """One set an order."""
        demos, varied = _expert_modules()
        info = self._policy.info
        config = demos.DemoConfig(
            task=info.task,
            robot=info.robot,
            noise=float(self._facts.get("noise", demos.DemoConfig.noise)),
            first_seed=int(self._facts.get("first_seed", demos.TRAINING_SEEDS)),
            proprio=info.proprio,
        )
        wishes = [varied.Wish(o.perturbation, o.demos, o.first_seed) for o in orders]
        yield from varied.collect_varied(config, wishes, self._workers)

    def replay(self) -> DemoSet:
        """The unchanged scene again from the seeds that the policy was made of: no new demonstrations."""
        first = int(self._facts.get("first_seed", 1_000_000))
        orders = [
            Order(Perturbation(), min(_CHUNK, self._replayed - start), first + start)
            for start in range(0, self._replayed, _CHUNK)
        ]
        return DemoSet.join(list(self.demonstrate(orders)))


class _Tuner:
    """Goes on with the old policy's weights."""

    def __init__(self, policy: BcPolicy) -> None:
        self._policy, self.policy_id = policy, policy.info.id

    def tune(
        self,
        replay: DemoSet,
        new: DemoSet | None,
        config: FineTuning,
        folder: Path,
        told: Callable[[float, float], None],
    ) -> None:
        """Train and save."""
        finetune_bc(self._policy, replay, new, config, folder, told)


class _Tester:
    """Rollouts of the simulator, each condition on the same scenes."""

    def __init__(self, policy: str, workers: int, known: Study | None) -> None:
        self._policy, self._workers, self._known = policy, workers, known

    def test(
        self,
        policy: Path | None,
        study: Path,
        conditions: Sequence[Perturbation],
        config: MendConfig,
    ) -> Iterator[RolloutRecord]:
        """Those that are stored, then those that are run."""
        spec = self._policy if policy is None else str(policy)
        opened = _study(spec, study)
        make = simulator().jobs.make_job
        jobs = [
            make(condition, config.first_scene + k, "heldout")
            for k in range(config.scenes)
            for condition in conditions
        ]
        with opened.store() as store:
            if policy is None and self._known is not None:
                _take_over(self._known, store, jobs)
            yield from (store.get(j.rollout_id, False) for j in jobs if store.holds(j.rollout_id))
            yield from run_jobs(opened, store, jobs, spec, self._workers, keep_recordings=False)


def _take_over(source: Study, store: RolloutStore, jobs: Sequence[Any]) -> None:
    """Copy rollouts of the same policy, condition and scene that another study holds."""
    wanted = {(j.perturbation.id, j.seed): j for j in jobs if not store.holds(j.rollout_id)}
    with source.store(read_only=True) as known:
        for record in known.records(evidence_only=True, policy_id=source.meta.policy_id):
            job = wanted.pop((record.perturbation.id, record.seed), None)
            if job is not None:
                store.add(replace(record, id=job.rollout_id, purpose=job.purpose, recording=""))


def _expert_modules() -> tuple[ModuleType, ModuleType]:
    """The two modules of sim_bridge that demonstrate, imported when they are needed."""
    try:
        return import_module("sim_bridge.demos"), import_module("sim_bridge.varied_demos")
    except ImportError as error:
        raise UnavailableError(
            f"demonstrations need the simulator, and {error.name} is not there: pip install ./sim_bridge"
        ) from error


def _study(spec: str, folder: Path) -> Study:
    if (folder / "study.json").is_file():
        return Study.open(folder)
    policy = load_policy(spec)
    info = policy.info
    policy.close()
    return Study.create(folder, StudyMeta(info.task, info.robot, info.id))
