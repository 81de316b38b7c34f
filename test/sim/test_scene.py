"""A seed determines a scene: its pixels, its physics, its outcome, in any process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from red_servo import red_centroid

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from sim_bridge import gl
from sim_bridge.scene import IMAGE_HEIGHT, IMAGE_WIDTH, Scene


def fingerprint(scene: Scene, seed: int, steps: int = 12) -> str:
    """Hash of every frame, proprioception and joint position of a rollout of random actions."""
    digest = hashlib.sha256()
    rng = np.random.default_rng(1)
    observation = scene.reset(seed)
    for _ in range(steps):
        digest.update(observation.image.tobytes() + observation.proprio.tobytes())
        observation = scene.step(rng.uniform(-1, 1, 7).astype(np.float32))
    digest.update(observation.image.tobytes() + scene.data.qpos.tobytes())
    return digest.hexdigest()


def test_same_seed_same_rollout_whatever_ran_before(cell):
    first = fingerprint(cell.scene, 5)
    fingerprint(cell.scene, 6, steps=3)
    assert fingerprint(cell.scene, 5) == first
    assert fingerprint(cell.scene, 7) != first


def test_same_seed_same_rollout_in_another_process(cell):
    code = (
        "from test_scene import fingerprint; from sim_bridge.scene import Scene;"
        "s = Scene(seed=99); print(fingerprint(s, 5))"
    )
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == fingerprint(cell.scene, 5)


def test_cube_is_placed_within_six_centimetres_and_starts_on_the_table(cell):
    places = []
    for seed in range(40):
        cell.scene.place(seed)
        places.append(cell.scene.cube_position)
        assert not cell.scene.success()
        assert not cell.scene.solved
    places = np.array(places)
    assert np.abs(places[:, :2]).max() <= 0.06
    assert np.abs(places[:, :2]).max() > 0.045  # really spread, not robosuite's 0.03
    assert np.ptp(places[:, 2]) < 1e-9


def test_image_is_right_side_up(cell):
    observation = cell.scene.reset(0)
    assert observation.image.shape == (IMAGE_HEIGHT, IMAGE_WIDTH, 3)
    assert observation.image.dtype == np.uint8
    # the robot hangs in from the top, the white table fills the bottom
    assert observation.image[-20:].mean() > 230 > observation.image[:15].mean()


@pytest.mark.parametrize("size", [(96, 96), (128, 192), (480, 640)])
def test_intrinsics_project_the_cube_onto_its_red_pixels(cell, size):
    scene = cell.scene
    k = scene.intrinsics(*size)
    for seed in range(4):
        scene.reset(seed)
        position, rotation = scene.camera_pose()
        seen = k @ rotation.T @ (scene.cube_position - position)
        assert seen[2] > 0  # in front of the optical frame
        centroid = red_centroid(scene.render(*size))
        assert np.abs(seen[:2] / seen[2] - centroid).max() < 0.01 * size[0]


def test_a_shift_of_one_pixel_in_the_intrinsics_would_be_seen(cell):
    """The projection of the cube's corners bounds its red pixels to one pixel, in both axes."""
    scene = cell.scene
    scene.reset(2)
    half = scene.model.geom("cube_g0").size
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * half
    turned = corners @ scene.data.geom("cube_g0").xmat.reshape(3, 3).T + scene.cube_position
    position, rotation = scene.camera_pose()
    k = scene.intrinsics(480, 480)
    seen = (turned - position) @ rotation @ k.T
    pixels = seen[:, :2] / seen[:, 2:]
    image = scene.render(480, 480).astype(int)
    rows, columns = np.nonzero((image[..., 0] > 1.8 * image[..., 1]) & (image[..., 0] > 40))
    box = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]])
    wanted = np.array([pixels.min(0), pixels.max(0)])
    assert np.abs(box - wanted).max() <= 1.5  # the silhouette's outermost pixels are half covered
    assert np.abs(box.mean(0) - wanted.mean(0)).max() <= 0.6


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(7, np.nan), np.zeros((1, 7))])
def test_a_malformed_action_is_refused(cell, bad):
    with pytest.raises(InvalidArgumentError, match="7 finite numbers"):
        cell.scene.step(bad)


def test_proprioception_by_name(cell):
    scene = cell.scene
    scene.reset(0)
    parts = scene.proprio(("eef_quat", "eef_pos", "joint_pos"))
    assert parts.shape == (14,)
    assert parts.dtype == np.float32
    assert np.linalg.norm(parts[:4]) == pytest.approx(1.0, abs=1e-6)
    assert parts[4:7] == pytest.approx(scene.eef_position, abs=1e-6)
    with pytest.raises(InvalidArgumentError, match="cube_pos"):
        scene.proprio(("cube_pos",))


def test_an_unknown_robot_is_refused_before_anything_is_built():
    with pytest.raises(InvalidArgumentError, match="Sawyer"):
        Scene(robot="Sawyer")


def test_no_gl_is_one_sentence_with_the_package(monkeypatch):
    monkeypatch.setattr(gl.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(UnavailableError) as caught:
        gl.choose()
    assert "libegl1 libgl1-mesa-dri" in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_osmesa_is_taken_where_egl_does_not_work(monkeypatch):
    monkeypatch.setattr(gl, "_PROBES", {"egl": lambda: False, "osmesa": lambda: True})
    assert gl.choose() == "osmesa"


def test_training_after_rendering_in_one_process() -> None:
    """Mesa's LLVM loaded before triton's crashes torch: see gl.load_triton_first."""
    code = """
from sim_bridge.scene import Scene
Scene().reset(0)
import torch
torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
import torch._dynamo
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
