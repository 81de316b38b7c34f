"""How large an evaluation is: the whole one, and the quick one that does all of it small."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SHIPPED = "shipped"
"""Title of the shipped policy beside others."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of rollouts, seeds and epochs.

    Attributes:
        tasks: in the order of the tables; the first has all of them.
        repeats: scenes a named variation of a catalogue study of the first task.
        task_repeats: the same of the other tasks.
        policy_repeats: the same where policies stand beside each other.
        continuous: random composed continuous conditions, one rollout each.
        heldout: the last ones of them, that no model of a learning curve sees.
        ceiling: conditions, and scenes of each, that say how much of an outcome is chance.
        pair_repeats: scenes of each pair of named variations.
        renders: pictures of random scenes in which no policy ran, that the models of a learning curve see besides.
        curve: numbers of training rollouts of a learning curve.
        seeds: of whatever is repeated.
        folds: of a cross-validation.
        image_epochs: of the image-only networks.
        search_steps: environment steps of a search; 0 = the default.
        budget: rollouts of a search experiment.
    """

    tasks: tuple[str, ...] = ("lift", "stack", "can", "square")
    repeats: int = 24
    task_repeats: int = 12
    policy_repeats: int = 4
    continuous: int = 1250
    heldout: int = 450
    ceiling: tuple[int, int] = (60, 6)
    pair_repeats: int = 4
    renders: int = 2000
    curve: tuple[int, ...] = (50, 100, 200, 400, 800)
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    folds: int = 4
    image_epochs: int = 200
    search_steps: int = 0
    budget: int = 100


QUICK = Sizes(
    tasks=("lift",), repeats=3, policy_repeats=2, continuous=80, heldout=30, ceiling=(6, 3), pair_repeats=1, renders=30, curve=(50,), seeds=(0,), folds=2,
    image_epochs=2, search_steps=2_048, budget=15,
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and where its files are.

    Attributes:
        out: folder of studies and results.
        quick: all of it small, in minutes.
        sizes: of the work.
        robot: that runs them.
    """

    out: Path
    quick: bool = False
    robot: str = "Panda"
    sizes: Sizes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", QUICK if self.quick else Sizes())

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the tables."""
        return self.sizes.tasks

    def repeats(self, task: str) -> int:
        """Scenes a named variation of a task's catalogue study."""
        return self.sizes.repeats if task == self.tasks[0] else self.sizes.task_repeats

    @property
    def studies(self) -> Path:
        """Folder of the datasets."""
        return self.out / "studies"

    @property
    def policies(self) -> dict[str, str]:
        """Policies that stand beside each other on the first task, by title: the shipped one, and those in OUT/policies.

        Those are checkpoints of robomimic, and folders of LeRobot.
        """
        trained = sorted((self.out / "policies").glob("*.pth"))
        folders = sorted(p.parent for p in (self.out / "policies").glob("*/robomd.json"))
        return (
            {SHIPPED: self.policy(self.tasks[0])}
            | {p.stem: f"robomimic:{p}" for p in trained}
            | {p.name: f"lerobot:{p}" for p in folders}
        )

    def policy(self, task: str) -> str:
        """The policy that is tested on a task where nothing else is said: the shipped one."""
        return f"{task}_{self.robot.lower()}_bc"
