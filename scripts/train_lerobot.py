"""Train LeRobot's Diffusion or ACT policy on the expert's demonstrations, and count its successes in the simulator.

    python scripts/train_lerobot.py --task lift --robot Panda --policy diffusion --demo-file out/demos.npz --out out/policies

Needs `robomd policy env lerobot`. Writes a folder POLICY, as LeRobot's own training would, with robomd.json, which
`--policy lerobot:out/policies/diffusion` runs, and POLICY.json with what it is worth.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

from train_policy import EVALUATION_SEEDS, PROPRIO
from train_robomimic import WINDOWS, evaluate, get_demos, run_training

from robomd_ros.core.files import write_atomic
from robomd_ros.policies.sidecars import lerobot_training
from robomd_ros.policies.sidecars.environment import python_of
from robomd_ros.policies.sidecars.kinds import kind_of
from sim_bridge.scene import IMAGE_HEIGHT, IMAGE_WIDTH, RATE
from sim_bridge.tasks import get_task

ACTIONS = 7
log = logging.getLogger("train_lerobot")


def mapping(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the policy is given: the part of the image that the others see, hand and gripper."""
    proprio = PROPRIO[arguments.robot]
    camera: dict[str, Any] = {"image": "camera"}
    if arguments.task in WINDOWS:
        camera["window"] = WINDOWS[arguments.task]
    return {
        "info": {
            "id": f"{arguments.task}_{arguments.robot}_lerobot_{arguments.policy}".lower(),
            "task": arguments.task,
            "robot": arguments.robot,
            "image_height": IMAGE_HEIGHT,
            "image_width": IMAGE_WIDTH,
            "proprio": proprio,
            "action_dim": ACTIONS,
            "action_space": "osc_pose",
            "rate": RATE,
            "horizon": get_task(arguments.task).horizon,
        },
        "observation": {
            lerobot_training.IMAGE: camera,
            lerobot_training.STATE: {"proprio": [p for p in proprio if p != "eef_quat"]},
        },
    }


def get_data(arguments: argparse.Namespace) -> Path:
    """The file of demonstrations; made when it is not there."""
    path: Path = arguments.demo_file
    if not path.is_file():
        get_demos(arguments)
    return path.resolve()


def train(arguments: argparse.Namespace, out: Path) -> list[dict[str, float]]:
    """Train in the sidecar's environment; what it said on the way."""
    request = {
        "data": str(get_data(arguments)),
        "out": str(out.resolve()),
        "policy": arguments.policy,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "minutes": arguments.minutes,
        "mapping": mapping(arguments),
    }
    return run_training("lerobot", lerobot_training.__file__, request, out)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="lift")
    parser.add_argument("--robot", default="Panda")
    parser.add_argument("--policy", choices=tuple(lerobot_training.SETTINGS), default="diffusion")
    parser.add_argument("--out", type=Path, required=True, help="folder of the policies")
    parser.add_argument("--demos", type=int, default=300, help="demonstrations")
    parser.add_argument(
        "--demo-file", type=Path, required=True, help="keep them here, or read them if it exists"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--steps", type=int, default=2000, help="gradient steps, 0.6 s each")
    parser.add_argument("--minutes", type=float, default=0.0, help="of training, at most; 0 = any")
    parser.add_argument("--nominal", type=int, default=40, help="evaluation rollouts; 0 = none")
    parser.add_argument("--blank", type=int, default=10, help="evaluation rollouts, grey image")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    return parser.parse_args()


def main() -> None:
    """Train and judge one policy."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments = parse_arguments()
    python_of(kind_of("lerobot"))  # before minutes are spent
    arguments.out.mkdir(parents=True, exist_ok=True)
    out, started = arguments.out / arguments.policy, time.monotonic()
    last = train(arguments, out)[-1]
    made = {
        "policy": arguments.policy,
        "task": arguments.task,
        "robot": arguments.robot,
        "seed": arguments.seed,
        **last,
    }
    made["seconds"] = round(time.monotonic() - started, 1)
    if arguments.nominal:
        nominal, blank = evaluate(arguments, f"lerobot:{out}")
        made |= {
            "nominal": {"successes": nominal.successes, "rollouts": nominal.rollouts},
            "blank": {"successes": blank.successes, "rollouts": blank.rollouts},
            "first_seed": EVALUATION_SEEDS,
        }
        log.info("%s: nominal %s, blank %s", out.name, nominal.sentence, blank.sentence)
    write_atomic(out.with_suffix(".json"), json.dumps(made, indent=2).encode())


if __name__ == "__main__":
    main()
