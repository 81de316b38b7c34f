"""LeRobot's own ACT, Diffusion and SmolVLA, tiny and with random weights, through the sidecar of its own environment."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from robomd_ros.core.errors import PolicyError, UnavailableError
from robomd_ros.policies.base import Observation
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.loader import load_policy
from robomd_ros.policies.sidecar import sidecar_environment
from robomd_ros.policies.sidecars import child, lerobot_training
from robomd_ros.policies.sidecars.environment import python_of
from robomd_ros.policies.sidecars.kinds import kind_of

SCRIPT = Path(__file__).parent / "helpers" / "lerobot_tiny.py"
IMAGE = np.arange(32 * 32 * 3).astype(np.uint8).reshape(32, 32, 3)
PROPRIO = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 1.0, 0.0, 0.04, -0.04], np.float32)
SEEN = Observation(IMAGE, PROPRIO, 0.0)


@pytest.fixture(scope="module")
def run():
    """Run the helper in LeRobot's environment; skips where that is not there."""
    try:
        python = python_of(kind_of("lerobot"))
    except UnavailableError as error:
        pytest.skip(str(error))

    def call(*arguments, script=SCRIPT):
        done = subprocess.run(
            [str(python), str(script), *map(str, arguments)],
            capture_output=True, text=True, check=False, env=sidecar_environment({"HF_HUB_OFFLINE": "1"}),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return call


@pytest.fixture(scope="module")
def policies(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    run("make", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["act", "diffusion", "smolvla"])
def test_the_sidecar_answers_as_lerobots_own_loop(policies, kind):
    expected = json.loads((policies / kind / "expected.json").read_text())
    policy = load_policy(f"lerobot:{policies / kind}", act_timeout=20.0)
    try:
        for _ in range(2):
            policy.reset(5)
            answers = np.stack([policy.act(SEEN) for _ in range(3)])
            np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert policy.info.id.startswith("tiny-")
        with pytest.raises(PolicyError, match="its mapping says"):
            policy.act(Observation(IMAGE, PROPRIO[:4], 0.0))
        assert np.abs(policy.act(SEEN)).max() > 0.0
    finally:
        policy.close()


@pytest.mark.slow
def test_what_does_not_fit_is_refused_with_a_sentence(run, policies, tmp_path):
    def spoilt(name, change):
        folder = tmp_path / name
        shutil.copytree(policies / "act", folder)
        change(folder)
        return folder

    def said(**changes):
        def change(folder):
            data = json.loads((folder / "robomd.json").read_text())
            data["info"].update(changes.pop("info", {}))
            (folder / "robomd.json").write_text(json.dumps(data | changes))

        return change

    def mapped(**changes):
        observation = json.loads((policies / "act" / "robomd.json").read_text())["observation"]
        return said(observation={k: v for k, v in (observation | changes).items() if v})

    def other_sizes(folder):
        config = json.loads((folder / "config.json").read_text()) | {"dim_model": 64}
        (folder / "config.json").write_text(json.dumps(config))

    cases = {
        "no_mapping": (lambda f: (f / "robomd.json").unlink(), "observation.images.front (3, 32, 32)"),
        "no_weights": (lambda f: (f / "model.safetensors").unlink(), "is no LeRobot policy"),
        "other_weights": (other_sizes, "no policy that this LeRobot can load"),
        "no_processor": (lambda f: (f / "policy_preprocessor.json").unlink(), "can load: "),
        "no_config": (lambda f: (f / "config.json").write_text("{}"), "can load: "),
        "few_keys": (mapped(**{"observation.images.wrist": None}), "the policy takes"),
        "short_state": (
            mapped(**{"observation.state": {"proprio": ["eef_pos"]}}),
            "observation.state does not give shape (6,)",
        ),
        "actions": (said(info={"action_dim": 4}), "the policy gives (7,)"),
        "chunk": (said(chunk_steps=3), "n_action_steps"),
    }  # fmt: skip
    folders = [spoilt(name, change) for name, (change, _) in cases.items()]
    sentences = json.loads(run("refuse", child.__file__, *folders).splitlines()[-1])

    assert set(sentences) == set(cases)
    for name, (_, part) in cases.items():
        assert part in sentences[name], (name, sentences[name])
        assert sentences[name].startswith(("PolicyError: ", "InvalidArgumentError: "))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diffusion", "act"])
def test_a_policy_trained_here_by_lerobots_classes_runs(run, tmp_path, kind):
    """A few steps on noise: the data goes through the mapping that the policy runs with, and the folder is whole."""
    rng = np.random.default_rng(0)
    demos = DemoSet(
        rng.integers(0, 256, (12, 32, 32, 3), np.uint8),
        rng.normal(size=(12, 9)).astype(np.float32),
        rng.uniform(-1, 1, (12, 7)).astype(np.float32),
        np.repeat([0, 1], 6),
        np.zeros((2, 3), np.float32),
        np.array([1, 2]),
    )
    demos.save(tmp_path / "demos.npz")
    mapping = json.loads(run("mapping"))
    mapping["observation"] = {
        lerobot_training.IMAGE: {"image": "camera", "window": [0, 4, 24, 24]},
        lerobot_training.STATE: {"proprio": ["eef_pos", "gripper_qpos"]},
    }
    request = {
        "data": str(tmp_path / "demos.npz"),
        "out": str(tmp_path / kind),
        "policy": kind,
        "seed": 0,
        "steps": 2,
        "minutes": 0,
    }
    (tmp_path / "request.json").write_text(json.dumps(request | {"mapping": mapping}))
    said = json.loads(
        run(tmp_path / "request.json", script=lerobot_training.__file__).splitlines()[-1]
    )
    policy = load_policy(f"lerobot:{tmp_path / kind}", act_timeout=20.0)
    try:
        policy.reset(1)
        assert (said["step"], policy.act(SEEN).shape) == (2, (7,))
    finally:
        policy.close()
