"""Every task of the simulator: what it shows, where things lie, that its expert does it, and that looks are not physics."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from test_appearance import NOT_PHYSICS, SEEN, VISUAL, colliding, model_arrays
from test_scene import fingerprint

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.variations import Perturbation, load_catalogue
from sim_bridge.demos import demonstrate
from sim_bridge.scene import Scene
from sim_bridge.tasks import TASKS, get_task

OURS = [name for name in TASKS if name not in ("lift", "threading")]  # lift has tests of its own
SEEDS = range(700_000, 700_002)
MIMICGEN = importlib.util.find_spec("mimicgen") is not None


@pytest.fixture(scope="module", params=[*OURS, *(["threading"] if MIMICGEN else [])])
def scene(request):
    made = Scene(task=request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def catalogue(scene):
    return load_catalogue(scene.task)


def perturbations(catalogue, n):
    rng = np.random.default_rng(0)
    return (*catalogue.singles, *(catalogue.sample(rng) for _ in range(n)))


def test_it_shows_the_factors_of_its_catalogue(scene, catalogue):
    assert catalogue.task == scene.task
    assert set(scene.appearance.factors) == set(catalogue.factors)


def test_same_seed_same_rollout_whatever_ran_before(scene):
    first = fingerprint(scene, 5)
    fingerprint(scene, 6, steps=3)
    assert fingerprint(scene, 5) == first
    assert fingerprint(scene, 7) != first


def test_things_lie_in_their_spots_and_nothing_is_solved_by_standing_still(scene):
    task = get_task(scene.task)
    drawn = []
    for seed in range(20):
        scene.place(seed)
        assert not scene.solved
        joints = [scene.model.body(f"{name}_{_ROOT[scene.task]}").jntadr[0] for name in task.spots]
        drawn.append([scene.data.joint(j).qpos[:2].copy() for j in joints])
    for spot, places in zip(task.spots.values(), np.swapaxes(drawn, 0, 1), strict=True):
        low, high = np.array([spot.x, spot.y]).T
        assert (places >= low).all()
        assert (places <= high).all()
        assert (np.ptp(places, axis=0) >= 0.6 * (high - low)).all()
    for _ in range(6):
        scene.step(np.zeros(7))
    assert not scene.success()


_ROOT = {"stack": "main", "can": "main", "square": "main", "threading": "root"}


def test_every_variation_is_seen_and_undone_to_the_bit(scene, catalogue):
    nominal = scene.reset(3).image.astype(int)
    pictures = set()
    for perturbation in catalogue.singles:
        scene.appearance.apply(perturbation)
        picture = scene.render()
        change = np.abs(picture - nominal).mean() / 255
        assert change > SEEN, f"{perturbation.id} changes only {change:.5f}"
        pictures.add(picture.tobytes())
    assert len(pictures) == len(catalogue.singles)  # no two look the same
    for perturbation in perturbations(catalogue, 20):
        scene.appearance.apply(perturbation)
        scene.appearance.restore()
        assert np.array_equal(scene.render(), nominal), perturbation.id


def test_physics_is_never_written_to(scene, catalogue):
    model = scene.model
    before, solid = model_arrays(model), colliding(model)
    for perturbation in perturbations(catalogue, 20):
        scene.appearance.apply(perturbation)
        for name, array in model_arrays(model).items():
            if name in VISUAL:
                assert np.array_equal(array[solid], before[name][solid]), (name, perturbation.id)
            elif name not in NOT_PHYSICS:
                assert np.array_equal(array, before[name]), (name, perturbation.id)
    scene.appearance.apply(Perturbation())
    after = model_arrays(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_stretched_bin_stays_on_its_footing_and_keeps_its_walls_together():
    scene = Scene(task="can")
    walls = scene.appearance._visual("bin2")
    nominal = scene.model.geom_pos[walls] - scene.model.geom_size[walls]
    scene.appearance.apply(load_catalogue("can").perturbation("box_size=0.15,0.3,0.06"))
    pos, size = scene.model.geom_pos[walls], scene.model.geom_size[walls]
    assert (pos - size).min(0) == pytest.approx([-0.15, -0.3, nominal[:, 2].min()])
    assert (pos + size).max(0)[:2] == pytest.approx([0.15, 0.3])
    scene.close()


def check_demonstrations(scene):
    expert = get_task(scene.task).expert()
    demos = [demonstrate(scene, expert, seed, noise=0.15) for seed in SEEDS]
    assert all(demo is not None for demo in demos)
    for demo in demos:
        assert demo.grasp.shape == (6,)
        grasps = demo.actions[:, 6] > 0
        assert demo.grasp[:3] == pytest.approx(demo.proprio[grasps.argmax(), :3], abs=1e-5)
        assert np.linalg.norm(demo.grasp[3:] - demo.grasp[:3]) > 0.05  # it was carried


def test_the_expert_succeeds_also_when_pushed_and_marks_its_points(scene):
    if scene.task == "threading":
        pytest.skip("has no expert")
    check_demonstrations(scene)


@pytest.mark.parametrize("name", OURS)
def test_the_expert_succeeds_with_the_other_arm(name):
    scene = Scene(task=name, robot="UR5e")
    check_demonstrations(scene)
    scene.close()


def test_an_unknown_task_or_thing_is_refused():
    with pytest.raises(InvalidArgumentError, match="fold_laundry"):
        Scene(task="fold_laundry")
    scene = Scene(task="stack")
    with pytest.raises(InvalidArgumentError, match="can"):
        scene.position("can")
    scene.close()


@pytest.mark.skipif(MIMICGEN, reason="MimicGen is installed here")
def test_threading_without_mimicgen_says_how_to_get_it():
    with pytest.raises(UnavailableError, match="git clone"):
        Scene(task="threading")


def test_there_is_no_expert_for_threading_and_it_says_so():
    with pytest.raises(InvalidArgumentError, match="no scripted expert for task threading"):
        get_task("threading").expert()
