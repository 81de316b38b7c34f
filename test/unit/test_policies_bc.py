"""The BC network, its trainer, and a policy folder."""

import json

import numpy as np
import pytest
import torch

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, StorageError
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.bc import BcConfig, BcPolicy, SpatialSoftmax, load_bc, prepare_image
from robomd_ros.policies.bc_training import (
    BcTrainer,
    BcTrainingConfig,
    DemoSet,
    Stage,
    _ahead,
    augment,
)
from robomd_ros.policies.loader import list_policies, load_policy

INFO = PolicyInfo(
    "toy", "lift", "Panda", 96, 96, ("eef_pos", "gripper_qpos"), 7, "osc_pose", 10.0, 40
)
SHORT = BcTrainingConfig(stages=(Stage(3, 1e-3, 0.3), Stage(2, 5e-4, 0.3, 0.2)), batch=8)


def toy_demos(seed: int = 0, steps: int = 24) -> DemoSet:
    rng = np.random.default_rng(seed)
    return DemoSet(
        rng.integers(0, 255, (steps, 96, 96, 3), dtype=np.uint8),
        rng.normal(size=(steps, 5)).astype(np.float32),
        rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        np.repeat([0, 1], steps // 2),
        rng.normal(size=(2, 3)).astype(np.float32),
        np.array([7, 8]),
    )


def toy_policy(seed: int = 0) -> BcPolicy:
    config = BcTrainingConfig(SHORT.stages, SHORT.batch, seed=seed)
    trainer = BcTrainer(toy_demos(), INFO, config=config)
    return BcPolicy(INFO, trainer.network_config, trainer.run(), {"why": "test"})


def first_observation() -> Observation:
    demos = toy_demos()
    return Observation(demos.images[0], demos.proprio[0], 0.0)


def test_spatial_softmax_finds_a_bright_pixel():
    features = torch.zeros(1, 1, 9, 9)
    features[0, 0, 2, 6] = 100.0
    x, y = SpatialSoftmax(9, 0.4)(features)[0]
    assert x.item() == pytest.approx(0.5, abs=1e-4)
    assert y.item() == pytest.approx(-0.5, abs=1e-4)


def test_same_seed_same_weights_other_seed_others():
    first, again, other = toy_policy(0), toy_policy(0), toy_policy(1)
    weights = [p.network.head[0].weight for p in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_fits_what_it_sees():
    demos = toy_demos()
    config = BcTrainingConfig(stages=(Stage(60, 3e-3, 0.1),), batch=24)
    trainer = BcTrainer(demos, INFO, config=config)
    before = trainer._loss(config.stages[0])[1].item()
    trainer.run().train()
    assert trainer._loss(config.stages[0])[1].item() < 0.5 * before


def test_a_point_counts_while_it_is_still_ahead_and_the_last_one_always():
    demos = toy_demos()
    grip = np.full(24, -1.0)
    grip[4:9] = 1.0  # the first demo grasps at step 4 and places at 9, the second grasps at 20
    grip[20:] = 1.0
    demos.actions[:, -1] = grip
    ahead = _ahead(demos, 2)
    assert ahead[:, 1].all()
    assert np.flatnonzero(~ahead[:, 0]).tolist() == [*range(4, 12), *range(20, 24)]
    assert _ahead(demos, 1).all()


def test_demonstrations_with_other_points_than_the_network_are_refused():
    with pytest.raises(InvalidArgumentError, match="2 points want three each"):
        BcTrainer(toy_demos(), INFO, BcConfig(points=2))


def test_folder_round_trip_keeps_every_action(tmp_path):
    policy = toy_policy()
    policy.save(tmp_path / "toy")
    loaded = load_policy(str(tmp_path / "toy"))
    assert loaded.info == INFO
    assert loaded.made == {"why": "test"}
    np.testing.assert_allclose(
        loaded.act(first_observation()), policy.act(first_observation()), atol=1e-5
    )


def test_act_is_deterministic_bounded_and_keeps_the_threads():
    policy, threads = toy_policy(), torch.get_num_threads()
    action = policy.act(first_observation())
    assert action.shape == (7,)
    assert action.dtype == np.float32
    assert np.abs(action).max() <= 1.0
    np.testing.assert_array_equal(action, policy.act(first_observation()))
    assert torch.get_num_threads() == threads


def test_a_larger_image_is_resized_by_area():
    small = toy_demos().images[0]
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    config = toy_policy().config
    assert torch.equal(prepare_image(large, INFO, config), prepare_image(small, INFO, config))


@pytest.mark.parametrize(
    ("image", "proprio", "said"),
    [
        (np.zeros((96, 96, 3), np.float32), np.zeros(5, np.float32), "uint8"),
        (np.zeros((96, 96), np.uint8), np.zeros(5, np.float32), "(96, 96)"),
        (np.zeros((96, 96, 3), np.uint8), np.zeros(9, np.float32), "eef_pos, gripper_qpos"),
        (np.zeros((96, 96, 3), np.uint8), np.full(5, np.nan, np.float32), "finite"),
    ],
)
def test_what_does_not_fit_is_a_policy_error(image, proprio, said):
    with pytest.raises(PolicyError, match="toy") as error:
        toy_policy().act(Observation(image, proprio, 0.0))
    assert said in str(error.value)


def test_weights_that_are_not_finite_are_a_policy_error():
    policy = toy_policy()
    with torch.no_grad():
        policy.network.head[-1].bias.fill_(float("nan"))
    with pytest.raises(PolicyError, match="not finite"):
        policy.act(first_observation())


def _cut_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _other_schema(folder):
    data = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(data | {"schema": 99}))


def _other_sizes(folder):
    data = json.loads((folder / "policy.json").read_text())
    data["config"]["hidden"] = 128
    (folder / "policy.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    "harm",
    [
        _cut_weights,
        _other_schema,
        _other_sizes,
        lambda folder: (folder / "weights.safetensors").unlink(),
        lambda folder: (folder / "policy.json").write_text("[]"),
        lambda folder: (folder / "policy.json").write_text("{"),
    ],
)
def test_a_damaged_folder_is_a_storage_error(tmp_path, harm):
    toy_policy().save(tmp_path)
    harm(tmp_path)
    with pytest.raises(StorageError, match=tmp_path.name):
        load_bc(tmp_path)


def test_augmentation_is_seeded_and_keeps_the_range():
    image = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    stage = Stage(1, 1e-3, 0.5, 0.5)
    a, b = (augment(image, stage, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.min() >= 0.0
    assert a.max() <= 1.0
    assert not torch.equal(a, image)


def test_demos_round_trip_and_refuse_another_file(tmp_path):
    demos = toy_demos()
    demos.save(tmp_path / "demos.npz")
    np.testing.assert_array_equal(DemoSet.load(tmp_path / "demos.npz").actions, demos.actions)
    (tmp_path / "no.npz").write_bytes(b"no zip at all")
    with pytest.raises(StorageError, match=r"no\.npz"):
        DemoSet.load(tmp_path / "no.npz")


@pytest.mark.parametrize("name", list_policies())
def test_shipped_policies_load_and_act(name):
    policy = load_policy(name)
    info = policy.info
    policy.reset(0)
    image = np.full((info.image_height, info.image_width, 3), 90, np.uint8)
    size = policy.network.proprio_mean.numel()
    action = policy.act(Observation(image, np.zeros(size, np.float32), 0.0))
    assert action.shape == (info.action_dim,)
    assert name.startswith(f"{info.task}_{info.robot.lower()}")


def test_swapped_channels_keep_each_pixels_values_and_faded_ones_come_nearer_to_grey():
    images = torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    seed = lambda: torch.Generator().manual_seed(1)  # noqa: E731

    swapped = augment(images, Stage(1, 1e-3, 0.0, swap=0.5), seed())
    faded = augment(images, Stage(1, 1e-3, 0.0, fade=0.8), seed())

    assert (swapped.sort(1).values - images.sort(1).values).abs().max() < 0.06  # but for the noise
    moved = (swapped - images).flatten(1).abs().max(1).values > 0.1
    assert (
        0.3 < moved.float().mean() < 0.55
    )  # of the half that is shuffled a sixth comes out as it was
    spread = faded.std(1).mean() / images.std(1).mean()
    assert 0.5 < spread < 0.75  # 1 - 0.8 / 2
    assert (faded.mean(1) - images.mean(1)).abs().max() < 0.06
