"""Make a shipped policy anew: demonstrations, training, evaluation, model card.

    python scripts/train_policy.py --task stack --robot Panda --out src/robomd_ros/assets/policies/stack_panda_bc

The same seeds, package versions and processor type give the same weights: training runs on one thread.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model_card import Tally, write_card

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import NOMINAL, Perturbation, load_catalogue
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.bc import WEIGHTS_NAME, BcConfig, BcPolicy, load_bc
from robomd_ros.policies.bc_training import BcTrainer, BcTrainingConfig, DemoSet, Stage
from sim_bridge.cell import SimCell
from sim_bridge.collect import CellSpec, collect
from sim_bridge.demos import DemoConfig, collect_demos
from sim_bridge.jobs import make_job
from sim_bridge.scene import ACTION_DIM, IMAGE_HEIGHT, IMAGE_WIDTH, RATE, Scene
from sim_bridge.tasks import get_task

EVALUATION_SEEDS = 500_000
"""Seeds of the scenes a policy is judged on; neither demonstrations nor studies use them."""

PROPRIO = {"Panda": ("eef_pos", "eef_quat", "gripper_qpos"), "UR5e": ("eef_pos", "gripper_qpos")}
"""UR5e's hand points down with a quaternion of w near 0, whose sign flips from step to step: left out."""

log = logging.getLogger("train_policy")


@dataclass(frozen=True)
class Recipe:
    """What a task needs to be learnt from pictures: sizes of the network, stages, demonstrations."""

    network: BcConfig = field(default_factory=BcConfig)
    stages: tuple[Stage, ...] = field(default_factory=lambda: BcTrainingConfig().stages)
    demos: int = 300


RECIPES = {
    "lift": Recipe(),
    "stack": Recipe(
        BcConfig(points=2), (Stage(4400, 1e-3, 0.3), Stage(1600, 5e-4, 0.3, 0.25)), 300
    ),
    "can": Recipe(
        BcConfig(crop_top=12, crop_left=4, points=2),
        (Stage(3200, 1e-3, 0.3), Stage(1000, 5e-4, 0.3, 0.25)),
        140,
    ),
    "square": Recipe(
        BcConfig(crop_top=14, crop_left=14, points=2),
        (Stage(3600, 1e-3, 0.3), Stage(1000, 5e-4, 0.3, 0.25)),
        240,
    ),
}


@dataclass
class Stopwatch:
    """Minutes each stage took, for the card."""

    minutes: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, stage: str) -> None:
        """Close a stage."""
        now = time.monotonic()
        self.minutes[stage] = round((now - self._last) / 60, 1)
        self._last = now
        log.info("%s: %.1f minutes", stage, self.minutes[stage])


class Blanked:
    """A policy that is shown one grey image instead of the camera's."""

    def __init__(self, policy: BcPolicy) -> None:
        self.policy, self.info = policy, policy.info

    def reset(self, seed: int) -> None:
        """As the policy's own."""
        self.policy.reset(seed)

    def act(self, observation: Observation) -> np.ndarray:
        """As the policy's own, on a blank."""
        return self.policy.act(replace(observation, image=np.full_like(observation.image, 128)))

    def close(self) -> None:
        """As the policy's own."""
        self.policy.close()


def info_for(task: str, robot: str, policy_id: str) -> PolicyInfo:
    """What a policy of this scene needs and gives."""
    return PolicyInfo(
        id=policy_id,
        task=task,
        robot=robot,
        image_height=IMAGE_HEIGHT,
        image_width=IMAGE_WIDTH,
        proprio=PROPRIO[robot],
        action_dim=ACTION_DIM,
        action_space="osc_pose",
        rate=RATE,
        horizon=get_task(task).horizon,
    )


def train(
    demos: DemoSet, task: str, robot: str, config: BcTrainingConfig, out: Path, made: dict
) -> BcPolicy:
    """Clone, save, and read back what was saved; the id carries a hash of the weights."""
    torch.set_num_threads(1)
    trainer = BcTrainer(demos, info_for(task, robot, "unnamed"), RECIPES[task].network, config)
    network = trainer.run()
    draft = BcPolicy(trainer.info, trainer.network_config, network, made)
    draft.save(out)
    digest = sha256((out / WEIGHTS_NAME).read_bytes()).hexdigest()[:8]
    replace(draft, info=info_for(task, robot, f"{task}_{robot.lower()}_bc-{digest}")).save(out)
    return load_bc(out)


def evaluate(
    folder: Path, policy: BcPolicy, nominal: int, varied: int, workers: int
) -> list[Tally]:
    """Failures of the nominal scene and of each named variation, nominal first."""
    task, robot = policy.info.task, policy.info.robot
    singles = load_catalogue(task).singles
    jobs = [make_job(Perturbation(), EVALUATION_SEEDS + k, "heldout") for k in range(nominal)]
    jobs += [make_job(p, EVALUATION_SEEDS + k, "heldout") for p in singles for k in range(varied)]
    tallies = {p.id: Tally(p.id) for p in (Perturbation(), *singles)}
    for record, _ in collect(jobs, CellSpec(str(folder), task, robot), workers):
        tally = tallies[record.perturbation.id]
        tally.add(record.outcome is Outcome.SUCCESS, record.steps)
        log.debug("%s %s", record.perturbation.id, record.outcome.name)
    return list(tallies.values())


def evaluate_blank(policy: BcPolicy, rollouts: int) -> Tally:
    """Successes on a blank image: a policy that sees has nearly none."""
    cell = SimCell(Scene(policy.info.task, policy.info.robot), Blanked(policy))
    tally = Tally("blank image")
    for k in range(rollouts):
        result = cell.rollout(EVALUATION_SEEDS + k)
        tally.add(result.success, result.steps)
    cell.close()
    return tally


def revision() -> str:
    """Git's name of what ran; "unknown" outside a clone."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=tuple(RECIPES), default="lift")
    parser.add_argument("--robot", choices=("Panda", "UR5e"), default="Panda")
    parser.add_argument("--out", type=Path, required=True, help="policy folder to write")
    parser.add_argument(
        "--demos", type=int, default=0, help="demonstrations; 0 = as the task needs"
    )
    parser.add_argument("--demo-file", type=Path, help="keep them here, or read them if it exists")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--nominal", type=int, default=60, help="nominal evaluation rollouts")
    parser.add_argument("--blank", type=int, default=12, help="evaluation rollouts, blank image")
    parser.add_argument("--varied", type=int, default=6, help="evaluation rollouts a variation")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--evaluate-only", action="store_true", help="of the policy in --out")
    return parser.parse_args()


def get_demos(arguments: argparse.Namespace, config: DemoConfig) -> DemoSet:
    """Made now, or read from --demo-file."""
    kept: Path | None = arguments.demo_file
    if kept is not None and kept.is_file():
        return DemoSet.load(kept)
    demos, attempts = collect_demos(config, arguments.workers)
    log.info("%d demonstrations in %d attempts", len(demos.seeds), attempts)
    if kept is not None:
        demos.save(kept)
    return demos


def make(arguments: argparse.Namespace, watch: Stopwatch) -> BcPolicy:
    """Demonstrations and training."""
    task, robot, recipe = arguments.task, arguments.robot, RECIPES[arguments.task]
    demo_config = DemoConfig(
        task, robot, demos=arguments.demos or recipe.demos, proprio=PROPRIO[robot]
    )
    demos = get_demos(arguments, demo_config)
    watch.lap("demonstrations")
    training = BcTrainingConfig(recipe.stages, seed=arguments.seed)
    made: dict[str, Any] = {
        "script": "scripts/train_policy.py",
        "revision": revision(),
        "versions": {p: metadata.version(p) for p in ("torch", "numpy", "robosuite", "mujoco")},
        "demos": asdict(demo_config) | {"steps": len(demos.images)},
        "training": asdict(training),
    }
    policy = train(demos, task, robot, training, arguments.out, made)
    watch.lap("training")
    return policy


def main() -> None:
    """Make and judge one policy."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments = parse_arguments()
    watch = Stopwatch()
    policy = load_bc(arguments.out) if arguments.evaluate_only else make(arguments, watch)
    tallies = evaluate(
        arguments.out, policy, arguments.nominal, arguments.varied, arguments.workers
    )
    blank = evaluate_blank(policy, arguments.blank)
    watch.lap("evaluation")
    write_card(arguments.out / "MODEL_CARD.md", policy, tallies, blank, watch.minutes)
    nominal = next(t for t in tallies if t.condition == NOMINAL)
    log.info("nominal %s, blank %s", nominal.sentence, blank.sentence)


if __name__ == "__main__":
    main()
