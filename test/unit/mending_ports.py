"""A fine-tuning without simulator or network: what it does is written down, and it may be made to die like a killed process.

python mending_ports.py FOLDER DIE     runs it there; the process is gone at the step DIE ("" = never)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.mending.effect import SHIPPED
from robomd_ros.mending.finetune import MendConfig, MendingRun, Order, Ports
from robomd_ros.mending.plan import Budget, DataPlan, make_plan
from robomd_ros.mending.risks import Risk
from robomd_ros.policies.bc_finetuning import FineTuning
from robomd_ros.policies.bc_training import DemoSet

LIFT = load_catalogue("lift")
META = StudyMeta("lift", "Panda", "toy-old")
WORST = ("cube_green", "table_blue", "robot_red")
CONFIG = MendConfig(scenes=2, finetuning=FineTuning(steps=10))


def toy_plan(demos: int = 12) -> DataPlan:
    risks = [
        Risk(c, 0.9 if c.id in WORST else 0.05, 0.7 if c.id in WORST else 0.0, 1.0 if c.id in WORST else 0.2, 12)
        for c in [Perturbation(), *LIFT.singles]
    ]  # fmt: skip
    return make_plan(risks, Budget(demos), META, "toys", SHIPPED)


def toy_demos(demos: int, first_seed: int, size: int = 8) -> DemoSet:
    rng = np.random.default_rng(first_seed)
    steps = 3 * demos
    return DemoSet(
        rng.integers(0, 255, (steps, size, size, 3), dtype=np.uint8),
        rng.normal(size=(steps, 5)).astype(np.float32),
        rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        np.repeat(np.arange(demos), 3),
        rng.normal(size=(demos, 3)).astype(np.float32),
        first_seed + np.arange(demos),
    )


@dataclass
class Toy:
    """All three ports; `done` names each piece of work."""

    die: str = ""
    done: list[str] = field(default_factory=list)
    policy_id: str = "toy-old"

    def _do(self, work: str) -> None:
        if work == self.die:
            os._exit(9)  # as a killed process: nothing is tidied up
        self.done.append(work)

    def demonstrate(self, orders: Sequence[Order]) -> Iterator[DemoSet]:
        for order in orders:
            self._do(f"demos {order.perturbation.id}")
            yield toy_demos(order.demos, order.first_seed)

    def replay(self) -> DemoSet:
        self._do("replay")
        return toy_demos(5, 1)

    def tune(
        self,
        replay: DemoSet,
        new: DemoSet | None,
        config: FineTuning,
        folder: Path,
        told: Callable[[float, float], None],
    ) -> None:
        folder.mkdir()
        (folder / "half.txt").write_text("half")
        self._do("tune")
        told(1.0, 0.1)
        (folder / "policy.txt").write_text(
            f"{len(replay.seeds)} old, {0 if new is None else len(new.seeds)} new"
        )

    def test(
        self,
        policy: Path | None,
        study: Path,
        conditions: Sequence[Perturbation],
        config: MendConfig,
    ) -> Iterator[RolloutRecord]:
        who = "old" if policy is None else "new"
        if (study / "study.json").is_file():
            opened = Study.open(study)
        else:
            opened = Study.create(study, StudyMeta("lift", "Panda", f"toy-{who}"))
        with opened.store() as store:
            for condition in conditions:
                for k in range(config.scenes):
                    name = f"{condition.id}-{k}"
                    if not store.holds(name):
                        self._do(f"{who} {name}")
                        failed = condition.id in (WORST if who == "old" else WORST[2:])
                        store.add(
                            RolloutRecord(
                                name, condition, "lift", "Panda", opened.meta.policy_id, "heldout",
                                seed=config.first_scene + k, labels=(Label(Outcome(1 + failed), "toy", 1.0),),
                            )
                        )  # fmt: skip
                    yield store.get(name, False)


def toy_run(folder: Path, toy: Toy, plan: DataPlan | None = None) -> MendingRun:
    return MendingRun(folder, plan or toy_plan(), LIFT, CONFIG, Ports(toy, toy, toy))


if __name__ == "__main__":
    toy_run(Path(sys.argv[1]), Toy(sys.argv[2])).run()
