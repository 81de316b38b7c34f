"""A plan carried out: demonstrations, fine-tuning, everything tested again, compared. Behind ports, so that a cell with a person fits.

Everything lies in one folder, each part written whole or not at all, and what is there is not done again:

    run.json                 what this run is about; another plan or other settings want another folder
    plan.json                the collection plan
    demos/ID.npz             demonstrations under one condition (policies.bc_training.DemoSet); put there by a person, or made
    replay.npz               demonstrations the policy was made from
    policy/                  the new policy
    before/, after/          studies of the old and the new policy on the same scenes
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, StorageError
from robomd_ros.core.files import sync, write_atomic
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.mending.effect import Measured
from robomd_ros.mending.plan import DataPlan
from robomd_ros.mending.result import Mended, measured, mended
from robomd_ros.mending.risks import catalogue_conditions
from robomd_ros.policies.bc_finetuning import FineTuning
from robomd_ros.policies.bc_training import DemoSet

TEST_SEEDS = 600_000
"""Scenes of the comparison start here: no study, no demonstration and no evaluation of a shipped policy uses them."""
DEMO_SEEDS = 1_200_000
"""Scenes of new demonstrations start here, each condition SEEDS_A_CONDITION further on."""
SEEDS_A_CONDITION = 10_000
PLAN, BEFORE, AFTER = "plan.json", "before", "after"

Told = Callable[[str, float, float], None]
"""Phase, how much of it is done, of how much."""


@dataclass(frozen=True)
class Order:
    """Demonstrations of one condition that are still to be made."""

    perturbation: Perturbation
    demos: int
    first_seed: int


@dataclass(frozen=True)
class MendConfig:
    """How to carry a plan out.

    Attributes:
        scenes: that both policies are run on under each condition of the catalogue.
        first_scene: seed of the first of them.
        finetuning: how to train.
    """

    scenes: int = 12
    first_scene: int = TEST_SEEDS
    finetuning: FineTuning = field(default_factory=FineTuning)

    def __post_init__(self) -> None:
        if not 1 <= self.scenes <= 1000:
            raise InvalidArgumentError(f"{self.scenes} scenes a condition: want 1 to 1000.")


class Demonstrator(Protocol):
    """Who makes demonstrations: the simulator's expert, or nobody where a person has to."""

    def demonstrate(self, orders: Sequence[Order]) -> Iterator[DemoSet]:
        """One set an order, in their order. Raises NotReadyError where a person has to make them."""

    def replay(self) -> DemoSet:
        """Those the policy was made from."""


class Tuner(Protocol):
    """How a policy learns from demonstrations.

    Attributes:
        policy_id: of the old policy.
    """

    policy_id: str

    def tune(
        self,
        replay: DemoSet,
        new: DemoSet | None,
        config: FineTuning,
        folder: Path,
        told: Callable[[float, float], None],
    ) -> None:
        """Train and write the new policy to `folder`."""


class Tester(Protocol):
    """Where policies are tried."""

    def test(
        self,
        policy: Path | None,
        study: Path,
        conditions: Sequence[Perturbation],
        config: MendConfig,
    ) -> Iterator[RolloutRecord]:
        """Run what the study does not hold yet and yield every rollout of the test, run before or now.

        Args:
            policy: folder of the new one; None = the old one.
            study: made when it is not there.
            conditions: to run.
            config: the scenes of each.
        """


@dataclass(frozen=True)
class Ports:
    """What a run needs from outside; without a tester it ends with the new policy."""

    demonstrator: Demonstrator
    tuner: Tuner
    tester: Tester | None = None


class MendingRun:
    """One fine-tuning in one folder."""

    def __init__(
        self, folder: Path, plan: DataPlan, catalogue: Catalogue, config: MendConfig, ports: Ports
    ) -> None:
        """Open the folder, or make it.

        Raises:
            InvalidArgumentError: another run lies there, or the plan is about another policy.
            UnknownIdError: the plan names a condition that the catalogue does not have.
        """
        if plan.policy_id != ports.tuner.policy_id:
            raise InvalidArgumentError(
                f"the plan is about policy {plan.policy_id}, not {ports.tuner.policy_id}: plan from a study of that one."
            )
        self.folder, self.plan, self.catalogue, self.config = folder, plan, catalogue, config
        self._ports = ports
        self._conditions = catalogue_conditions(catalogue)
        self._wanted = [(catalogue.perturbation(e.id), e.demos) for e in plan.wanted]
        self._claim()

    def run(self, told: Told = lambda phase, done, total: None) -> Mended | None:
        """Do what is not done yet; None = there is no tester."""
        self._demonstrate(told)
        self._tune(told)
        tester = self._ports.tester
        if tester is None:
            return None
        before = self._test(tester, None, BEFORE, told)
        after = self._test(tester, self.folder / "policy", AFTER, told)
        return mended(before, after, {e.id: e.demos for e in self.plan.wanted})

    def demo_file(self, perturbation: Perturbation) -> Path:
        """Where the demonstrations of one condition lie."""
        return self.folder / "demos" / f"{perturbation.id}.npz"

    def _claim(self) -> None:
        digest = sha256(self.plan.to_json().encode()).hexdigest()[:16]
        about = {"plan": digest, "policy": self.plan.policy_id, "config": asdict(self.config)}
        text = json.dumps(about, indent=1) + "\n"
        marker = self.folder / "run.json"
        if marker.is_file():
            if marker.read_text(encoding="utf-8") != text:
                raise InvalidArgumentError(
                    f"{self.folder} holds a fine-tuning of another plan or with other settings: choose another folder."
                )
            return
        if self.folder.is_dir() and any(p.name != "demos" for p in self.folder.iterdir()):
            raise InvalidArgumentError(f"{self.folder} is not empty: choose another folder.")
        try:
            (self.folder / "demos").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror}.") from error
        self.plan.save(self.folder / PLAN)
        write_atomic(marker, text.encode())

    def _demonstrate(self, told: Told) -> None:
        orders = [
            Order(perturbation, demos, DEMO_SEEDS + i * SEEDS_A_CONDITION)
            for i, (perturbation, demos) in enumerate(self._wanted)
            if not self.demo_file(perturbation).is_file()
        ]
        done = self.plan.demos - sum(order.demos for order in orders)
        told("demonstrations", done, self.plan.demos)
        for order, made in zip(orders, self._ports.demonstrator.demonstrate(orders), strict=True):
            made.save(self.demo_file(order.perturbation))
            done += order.demos
            told("demonstrations", done, self.plan.demos)

    def _replay(self) -> DemoSet:
        kept = self.folder / "replay.npz"
        if not kept.is_file():
            self._ports.demonstrator.replay().save(kept)
        return DemoSet.load(kept)

    def _tune(self, told: Told) -> None:
        done = self.folder / "policy"
        if done.is_dir():
            return
        told("replayed demonstrations", 0, 1)
        replay = self._replay()
        sets = [DemoSet.load(self.demo_file(perturbation)) for perturbation, _ in self._wanted]
        partial = self.folder / ".policy.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        new = DemoSet.join(sets) if sets else None
        steps = self.config.finetuning.steps
        self._ports.tuner.tune(
            replay, new, self.config.finetuning, partial,
            lambda fraction, loss: told("fine-tuning", round(fraction * steps), steps),
        )  # fmt: skip
        partial.rename(done)
        sync(self.folder)

    def _test(
        self, tester: Tester, policy: Path | None, name: str, told: Told
    ) -> list[RolloutRecord]:
        total = len(self._conditions) * self.config.scenes
        records: list[RolloutRecord] = []
        told(f"rollouts {name}", 0, total)
        tests = tester.test(policy, self.folder / name, self._conditions, self.config)
        for record in tests:
            records.append(record)
            told(f"rollouts {name}", len(records), total)
        return records


class ByHand:
    """Demonstrations that a person makes on a real cell and puts into the run's folder."""

    def __init__(self, folder: Path, replay: Path | None) -> None:
        self._folder, self._replay = folder, replay

    def demonstrate(self, orders: Sequence[Order]) -> Iterator[DemoSet]:
        """Raise NotReadyError that names what is still to be collected."""
        if orders:
            wanted = ", ".join(f"{o.demos} as {o.perturbation.id}.npz" for o in orders)
            raise NotReadyError(
                f"demonstrations are still to be collected: {wanted}, in {self._folder / 'demos'}; then run this again."
            )
        return iter(())

    def replay(self) -> DemoSet:
        """From the file that was given."""
        if self._replay is None:
            raise NotReadyError(
                "the policy forgets without the demonstrations it was made from: give their file (--replay-file)."
            )
        return DemoSet.load(self._replay)


def measured_in(folder: Path, catalogue: Catalogue) -> list[Measured]:
    """What each condition's demonstrations did in a finished run.

    Raises:
        StorageError: no run lies there.
        UnknownIdError: it has not got as far as its tests.
    """
    plan = DataPlan.load(folder / PLAN)
    studies = [Study.open(folder / name) for name in (BEFORE, AFTER)]
    records = []
    for study in studies:
        with study.store(read_only=True) as store:
            records.append(store.records(evidence_only=True, with_frames=False))
    found = mended(records[0], records[1], {e.id: e.demos for e in plan.wanted})
    names = [row.name for row in found.comparison.rows]
    return measured(
        found, {n: [v.factor for v in catalogue.perturbation(n).variations] for n in names}
    )
