"""Train one of robomimic's algorithms on the expert's demonstrations, and count its successes in the simulator.

    python scripts/train_robomimic.py --task lift --robot Panda --algo bc_rnn --demos 300 --out out/robomimic

Needs `robomd policy env robomimic`. Demonstrations are made once for all algorithms. Writes ALGO.pth, a checkpoint of robomimic
that `--policy robomimic:out/robomimic/ALGO.pth` runs, and ALGO.json with what it is worth.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from model_card import Tally
from train_policy import EVALUATION_SEEDS, PROPRIO, Blanked

from robomd_ros.core.errors import RobomdError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import Perturbation
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.loader import load_policy
from robomd_ros.policies.sidecar import sidecar_environment
from robomd_ros.policies.sidecars import robomimic_training
from robomd_ros.policies.sidecars.environment import python_of
from robomd_ros.policies.sidecars.kinds import kind_of
from robomd_ros.policies.sidecars.robomimic_data import Setting, write_demos
from sim_bridge.cell import SimCell
from sim_bridge.collect import CellSpec, collect
from sim_bridge.demos import DemoConfig, collect_demos
from sim_bridge.jobs import make_job
from sim_bridge.scene import IMAGE_HEIGHT, IMAGE_WIDTH, RATE, Scene
from sim_bridge.tasks import get_task

WINDOWS = {"lift": (12, 16, 64, 64)}
"""Top, left, height and width of what the network sees of the camera's image [pixel]; other tasks: all of it."""

log = logging.getLogger("train_robomimic")


def get_data(arguments: argparse.Namespace) -> Path:
    """The file of demonstrations; made when it is not there."""
    name = f"demos_{arguments.task}_{arguments.robot}_{arguments.demos}.hdf5".lower()
    path: Path = (arguments.out / name).resolve()
    if path.is_file():
        return path
    setting = Setting(
        task=arguments.task,
        robot=arguments.robot,
        rate=RATE,
        horizon=get_task(arguments.task).horizon,
        image_size=(IMAGE_HEIGHT, IMAGE_WIDTH),
        proprio=PROPRIO[arguments.robot],
        window=WINDOWS.get(arguments.task),
    )
    write_demos(get_demos(arguments), setting, path)
    return path


def get_demos(arguments: argparse.Namespace) -> DemoSet:
    """Made now, or read from --demo-file, which may be one of scripts/train_policy.py."""
    kept: Path | None = arguments.demo_file
    if kept is not None and kept.is_file():
        return DemoSet.load(kept)
    proprio = PROPRIO[arguments.robot]
    config = DemoConfig(arguments.task, arguments.robot, arguments.demos, proprio=proprio)
    demos, attempts = collect_demos(config, arguments.workers)
    log.info(
        "%d demonstrations, %d steps, %d attempts", len(demos.seeds), len(demos.demo), attempts
    )
    if kept is not None:
        demos.save(kept)
    return demos


def train(arguments: argparse.Namespace, data: Path, out: Path) -> list[dict[str, float]]:
    """Train in the sidecar's environment; what it said at each epoch."""
    request = {
        "data": str(data),
        "out": str(out.resolve()),
        "algo": arguments.algo,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "minutes": arguments.minutes,
    }
    return run_training("robomimic", robomimic_training.__file__, request, out)


def run_training(
    family: str, script: str, request: dict[str, Any], out: Path
) -> list[dict[str, float]]:
    """Run a training script in the environment of a family; what it said on the way. Raises RobomdError."""
    asked, words = out.with_suffix(".request.json"), out.with_suffix(".log")
    asked.write_text(json.dumps(request))
    # isolated: what lies beside the script is not importable from there
    command = [str(python_of(kind_of(family))), "-I", script, str(asked)]
    said = []
    with words.open("w") as stderr:
        environment = sidecar_environment(os.environ)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
        assert process.stdout is not None
        for line in process.stdout:
            said.append(json.loads(line))
            log.info("%s: %s", out.stem, {k: round(v, 4) for k, v in said[-1].items()})
    if process.wait():
        raise RobomdError(f"training ended with exit code {process.returncode}: see {words}.")
    asked.unlink()
    return said


def evaluate(arguments: argparse.Namespace, spec: str) -> tuple[Tally, Tally]:
    """Successes of the nominal scene, and on a grey image, through the sidecar."""
    nominal, blank = Tally("nominal"), Tally("blank image")
    jobs = [
        make_job(Perturbation(), EVALUATION_SEEDS + k, "heldout") for k in range(arguments.nominal)
    ]
    cell = CellSpec(spec, arguments.task, arguments.robot)
    for record, _ in collect(jobs, cell, arguments.workers):
        if record.outcome not in (Outcome.SUCCESS, Outcome.FAILURE):
            raise RobomdError(f"a rollout of {spec} ended as {record.outcome.name}.")
        nominal.add(record.outcome is Outcome.SUCCESS, record.steps)
    policy = load_policy(spec)
    blind = SimCell(Scene(task=arguments.task, robot=arguments.robot), Blanked(policy))
    for k in range(max(1, arguments.blank)):
        result = blind.rollout(EVALUATION_SEEDS + k)
        blank.add(result.success, result.steps)
    blind.close()
    return nominal, blank


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="lift")
    parser.add_argument("--robot", default="Panda")
    parser.add_argument("--algo", choices=tuple(robomimic_training.RECIPES), required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of demonstrations and checkpoints"
    )
    parser.add_argument("--demos", type=int, default=300, help="demonstrations")
    parser.add_argument("--demo-file", type=Path, help="keep them here, or read them if it exists")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--steps", type=int, default=0, help="gradient steps; 0 = the recipe's")
    parser.add_argument("--minutes", type=float, default=0.0, help="of training, at most; 0 = any")
    parser.add_argument("--nominal", type=int, default=40, help="evaluation rollouts; 0 = none")
    parser.add_argument("--blank", type=int, default=10, help="evaluation rollouts, grey image")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    parser.add_argument(
        "--evaluate-only", action="store_true", help="of the checkpoint that is there"
    )
    return parser.parse_args()


def make(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Demonstrations and training; what the summary says of them."""
    data = get_data(arguments)
    started = time.monotonic()
    epochs = train(arguments, data, out)
    return {
        "algo": arguments.algo,
        "task": arguments.task,
        "robot": arguments.robot,
        "demos": arguments.demos,
        "seed": arguments.seed,
        "steps": epochs[-1]["step"],
        "last_epoch": epochs[-1],
        "seconds_training": round(time.monotonic() - started, 1),
        "sha256": sha256(out.read_bytes()).hexdigest(),
    }


def main() -> None:
    """Train and judge one policy."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments = parse_arguments()
    python_of(kind_of("robomimic"))  # before minutes are spent
    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out / f"{arguments.algo}.pth"
    summary = out.with_suffix(".json")
    if not arguments.evaluate_only:
        write_atomic(summary, json.dumps(make(arguments, out), indent=2).encode())
    if arguments.nominal:
        started = time.monotonic()
        nominal, blank = evaluate(arguments, f"robomimic:{out}")
        made = json.loads(summary.read_text()) | {
            "nominal": {"successes": nominal.successes, "rollouts": nominal.rollouts},
            "blank": {"successes": blank.successes, "rollouts": blank.rollouts},
            "first_seed": EVALUATION_SEEDS,
            "seconds_evaluation": round(time.monotonic() - started, 1),
        }
        write_atomic(summary, json.dumps(made, indent=2).encode())
        log.info("%s: nominal %s, blank %s", arguments.algo, nominal.sentence, blank.sentence)


if __name__ == "__main__":
    main()
