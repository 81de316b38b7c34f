"""Variations change pixels, come off to the bit, and never touch the physics."""

from __future__ import annotations

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Perturbation, Variation, load_catalogue

CATALOGUE = load_catalogue("lift")
CONTINUOUS = (
    "cube_color=0.1,0.6,0.9", "table_color=0.3,0.2,0.1", "robot_color=0.9,0.5,0",
    "light_color=0.9,0.4,0.4", "light_intensity=0.4", "light_intensity=1.6", "light_direction=2,0.5",
    "cube_size=0.03,0.03,0.012", "table_size=0.3,0.6,0.025", "camera_offset=0.01,-0.02,0.02",
)  # fmt: skip
SEEN = 0.0005
"""Mean absolute change of a visible variation, of 1; the cube covers 0.7 % of the image."""

# everything of mjModel that a variation may write, each with the elements it may write to
VISUAL = {
    "geom_matid",
    "geom_rgba",
    "geom_size",
    "geom_pos",
    "geom_rbound",
    "geom_aabb",
    "geom_sameframe",
}
NOT_PHYSICS = {"light_diffuse", "light_specular", "light_dir", "cam_pos"}


def model_arrays(model) -> dict[str, np.ndarray]:
    """A copy of every array of the model but the large ones of meshes and textures."""
    found = {}
    for name in dir(model):
        value = None if name.startswith(("_", "mesh_", "tex_")) else getattr(model, name, None)
        if isinstance(value, np.ndarray):
            found[name] = value.copy()
    return found


def colliding(model) -> np.ndarray:
    """Mask of the geoms that take part in contacts."""
    return (model.geom_contype != 0) | (model.geom_conaffinity != 0)


def random_composed(n: int) -> list[Perturbation]:
    rng = np.random.default_rng(0)
    return [CATALOGUE.sample(rng) for _ in range(n)]


def test_there_are_21_named_variations_and_all_factors_are_covered(cell):
    assert len(CATALOGUE.singles) == 21
    assert set(cell.scene.appearance.factors) == set(CATALOGUE.factors)


def test_every_variation_is_seen_and_undone_to_the_bit(cell):
    scene = cell.scene
    nominal = scene.reset(3).image.astype(int)
    shown = (*CATALOGUE.singles, *(CATALOGUE.perturbation(c) for c in CONTINUOUS))
    pictures = []
    for perturbation in shown:
        cell.apply(perturbation)
        picture = scene.render()
        change = np.abs(picture - nominal).mean() / 255
        assert change > SEEN, f"{perturbation.id} changes only {change:.5f}"
        pictures.append(picture.tobytes())
        cell.apply(Perturbation())
        assert np.array_equal(scene.render(), nominal), perturbation.id
    assert len(set(pictures)) == len(shown)  # and no two look the same


def test_50_random_composed_ones_are_undone_to_the_bit(cell):
    scene = cell.scene
    nominal = scene.reset(4).image
    for perturbation in random_composed(50):
        scene.appearance.apply(perturbation)
        scene.appearance.restore()
        assert np.array_equal(scene.render(), nominal), perturbation.id


def test_a_perturbation_looks_the_same_whatever_was_shown_before(cell):
    scene = cell.scene
    scene.reset(4)
    red = CATALOGUE.perturbation("cube_red")
    scene.appearance.apply(red)
    first = scene.render()
    for perturbation in random_composed(5):
        scene.appearance.apply(perturbation)
        scene.appearance.apply(red)
        assert np.array_equal(scene.render(), first), perturbation.id


def test_physics_is_never_written_to(cell):
    model = cell.scene.model
    before, solid = model_arrays(model), colliding(model)
    assert solid.any()
    for perturbation in (*CATALOGUE.singles, *random_composed(20)):
        cell.apply(perturbation)
        for name, array in model_arrays(model).items():
            if name in VISUAL:
                assert np.array_equal(array[solid], before[name][solid]), (name, perturbation.id)
            elif name not in NOT_PHYSICS:
                assert np.array_equal(array, before[name]), (name, perturbation.id)
    cell.apply(Perturbation())
    after = model_arrays(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_physics_runs_the_same_under_any_appearance(cell):
    def motion(perturbation):
        cell.apply(perturbation)
        cell.scene.place(8)
        rng = np.random.default_rng(2)
        for _ in range(6):
            cell.scene.step(rng.uniform(-1, 1, 7))
        return cell.scene.data.qpos.copy()

    nominal = motion(Perturbation())
    for perturbation in random_composed(4):
        assert np.array_equal(motion(perturbation), nominal), perturbation.id


def test_the_cube_stands_on_the_table_at_any_size(cell):
    scene = cell.scene
    scene.reset(0)
    for half in (0.01, 0.03, 0.04):
        cell.apply(CATALOGUE.perturbation(f"cube_size={half},{half},{half}"))
        geom = scene.data.geom("cube_g0_vis")
        assert geom.xpos[2] - half == pytest.approx(0.8, abs=1e-4)


def test_the_gripper_is_painted_with_the_robot(cell):
    model = cell.scene.model
    cell.apply(CATALOGUE.perturbation("robot_green"))
    for name in ("robot0_g24_vis", "gripper0_right_hand_visual"):
        assert model.geom(name).rgba[:3].tolist() == [0, 1, 0]
        assert model.geom(name).matid[0] == -1
    assert model.geom("table_visual").matid[0] >= 0


def test_a_factor_it_cannot_show_is_refused_and_nothing_changes(cell):
    scene = cell.scene
    nominal = scene.reset(0).image
    strange = Perturbation(
        (*CATALOGUE.perturbation("cube_red").variations, Variation("object", "milk"))
    )
    with pytest.raises(InvalidArgumentError, match="milk"):
        cell.apply(strange)
    assert cell.perturbation == Perturbation()
    assert np.array_equal(scene.render(), nominal)
