"""Real checkpoints of robomimic, trained here for a few steps, in a real sidecar; skipped where there is no environment for it."""

import json
import os
import subprocess

import numpy as np
import pytest

from robomd_ros.core.errors import PolicyError, UnavailableError
from robomd_ros.core.outcome import Outcome
from robomd_ros.policies.base import Observation
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.loader import load_policy
from robomd_ros.policies.sidecar import sidecar_environment
from robomd_ros.policies.sidecars import robomimic_training
from robomd_ros.policies.sidecars.environment import python_of
from robomd_ros.policies.sidecars.kinds import kind_of
from robomd_ros.policies.sidecars.robomimic_data import Setting, write_demos
from sim_bridge.cell import SimCell
from sim_bridge.scene import Scene

SETTING = Setting("lift", "Panda", 10.0, 40, (96, 96), window=(12, 16, 64, 64))
STEPS = 14


@pytest.fixture(scope="session")
def python():
    try:
        return str(python_of(kind_of("robomimic")))
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def demos():
    rng = np.random.default_rng(0)
    count = 3 * STEPS
    return DemoSet(
        images=rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8),
        proprio=rng.normal(size=(count, 5)).astype(np.float32),
        actions=rng.uniform(-1, 1, (count, 7)).astype(np.float32),
        demo=np.repeat(np.arange(3), STEPS),
        grasp=np.zeros((3, 3), np.float32),
        seeds=np.arange(3),
    )


@pytest.fixture(scope="session")
def data(demos, tmp_path_factory):
    path = tmp_path_factory.mktemp("robomimic") / "demos.hdf5"
    write_demos(demos, SETTING, path)
    return path


def train(python, data, algo):
    """Two steps; returns the checkpoint."""
    out = data.with_name(f"{algo}.pth")
    if not out.exists():
        request = data.with_name(f"{algo}.request.json")
        fields = {
            "data": str(data),
            "out": str(out),
            "algo": algo,
            "seed": 0,
            "steps": 2,
            "minutes": 0,
        }
        request.write_text(json.dumps(fields))
        run(python, [robomimic_training.__file__, str(request)])
    return out


def run(python, arguments):
    done = subprocess.run(
        [python, "-I", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=sidecar_environment(os.environ),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def observation(demos, index):
    return Observation(demos.images[index], demos.proprio[index], 0.1 * index)


DIRECT = """
import json, sys, torch
import robomimic.utils.file_utils as file_utils, robomimic.utils.train_utils as train_utils
import robomimic.utils.obs_utils as obs_utils
rollout, checkpoint = file_utils.policy_from_checkpoint(ckpt_path=sys.argv[1])
config, _ = file_utils.config_from_checkpoint(ckpt_dict=checkpoint)
data, _ = train_utils.load_data_for_training(config, checkpoint["shape_metadata"]["all_obs_keys"])
batch = torch.utils.data.default_collate([data[i] for i in range(int(sys.argv[2]))])
model = rollout.policy
model.set_eval()
seen = model.postprocess_batch_for_training(model.process_batch_for_training(batch), None)["obs"]
with torch.no_grad():
    print(json.dumps(model.nets["policy"](seen)[:, ...].reshape(len(batch["actions"]), -1, 7)[:, -1].tolist()))
"""


@pytest.mark.parametrize("algo", ["bc", "bc_transformer"])
def test_the_sidecar_answers_what_robomimics_network_answers_to_its_own_dataset(
    python, data, demos, algo
):
    """Holds window, orientation, scale, order of the proprioception and the stacking of frames."""
    checkpoint = train(python, data, algo)
    printed = run(python, ["-c", DIRECT, str(checkpoint), str(STEPS)])
    wanted = json.loads(printed.strip().splitlines()[-1])
    policy = load_policy(f"robomimic:{checkpoint}", act_timeout=20.0)
    policy.reset(0)
    got = [policy.act(observation(demos, index)) for index in range(STEPS)]
    policy.close()
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    assert np.ptp(got, axis=0).max() > 1e-3


def test_a_policy_with_a_memory_forgets_it_at_a_reset(python, data, demos):
    policy = load_policy(f"robomimic:{train(python, data, 'bc_rnn')}", act_timeout=20.0)
    runs = []
    for _ in range(2):
        policy.reset(3)
        runs.append([policy.act(observation(demos, 0)) for _ in range(3)])
    policy.close()
    np.testing.assert_array_equal(*runs)
    assert np.abs(runs[0][0] - runs[0][1]).max() > 1e-6


def test_a_rollout_in_the_simulator_through_the_sidecar(python, data):
    policy = load_policy(f"robomimic:{train(python, data, 'bc')}", act_timeout=20.0)
    assert policy.info.id.startswith("lift_panda_robomimic_bc-")
    assert (policy.info.image_height, policy.info.horizon, policy.info.rate) == (96, 40, 10.0)
    cell = SimCell(Scene(), policy)
    result = cell.rollout(500_000)
    assert (result.outcome, result.steps) == (Outcome.FAILURE, 40)
    policy._process.kill()
    assert cell.rollout(500_000).outcome is Outcome.POLICY_ERROR
    assert cell.rollout(500_000).outcome is Outcome.FAILURE
    cell.close()


@pytest.mark.parametrize("content", [b"", b"\x80\x04no checkpoint"])
def test_a_file_that_is_no_checkpoint_is_refused(python, tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"model\.pth is no checkpoint that robomimic can load"):
        load_policy(f"robomimic:{path}")


@pytest.mark.slow
@pytest.mark.parametrize("algo", sorted(robomimic_training.RECIPES))
def test_every_algorithm_trains_and_sees(python, data, demos, algo):
    policy = load_policy(f"robomimic:{train(python, data, algo)}", act_timeout=20.0)
    actions = []
    for image in (np.zeros_like(demos.images[0]), np.full_like(demos.images[0], 255)):
        policy.reset(0)
        actions.append(policy.act(Observation(image, demos.proprio[0], 0.0)))
    policy.close()
    assert np.abs(actions[0] - actions[1]).max() > 1e-6
