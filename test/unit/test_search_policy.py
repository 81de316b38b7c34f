import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate

from robomd_ros.core.errors import (
    CancelledByUserError,
    InvalidArgumentError,
    NotReadyError,
    StorageError,
)
from robomd_ros.core.metrics import auc
from robomd_ros.core.variations import load_catalogue
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.known import KnownSet
from robomd_ros.search.policy import SearchPolicy
from robomd_ros.search.train import train_search

LIFT = load_catalogue("lift")
QUICK = SearchConfig(steps=6_000, n_envs=32, batch_size=256)


def clusters(m=200, seed=0):
    """Failures lie to one side of the nominal scene, nearer to the middle than many successes."""
    rng = np.random.default_rng(seed)
    failed = rng.random(m) < 0.3
    embeddings = 0.2 * rng.normal(size=(m, 512))
    embeddings[:, :2] += np.where(failed[:, None], (1.5, 0.5), (-1.0, 1.5))
    names = ["nominal" if i % 9 == 0 else list(LIFT.variations)[i % 21] for i in range(m)]
    return KnownSet(embeddings, failed, tuple(map(str, range(m))), tuple(names))


@pytest.fixture(scope="module")
def trained():
    return train_search(clusters(), QUICK, seed=3)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_trained_density_ranks_new_points_and_the_untrained_one_does_not(algorithm):
    policy = train_search(clusters(), replace(QUICK, algorithm=algorithm, steps=12_000), seed=1)
    new = clusters(seed=5)
    learnt = auc(policy.log_density(new.embeddings), new.failed)
    control = auc(policy.log_density_untrained(new.embeddings), new.failed)
    assert learnt > 0.95
    assert control < 0.8


def test_sac_learns_to_fail_although_a_failure_ends_the_virtual_rollout():
    config = SearchConfig(algorithm="sac", steps=6_000, n_envs=16, batch_size=128)
    policy = train_search(clusters(), config, seed=0)
    assert auc(policy.log_density(clusters().embeddings), clusters().failed) > 0.85


def test_same_seed_same_policy_another_seed_another():
    config = replace(QUICK, steps=2_048)
    first, again, other = (train_search(clusters(), config, seed=s) for s in (0, 0, 1))
    assert first.id == again.id
    assert first.id != other.id
    np.testing.assert_array_equal(
        first.log_density(clusters().embeddings), again.log_density(clusters().embeddings)
    )


def test_training_leaves_the_global_generators_alone():
    np.random.seed(5)
    torch.manual_seed(5)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    train_search(clusters(), replace(QUICK, steps=2_048), seed=0)
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.random.get_rng_state())


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_density_integrates_to_one(algorithm):
    config = SearchConfig(algorithm=algorithm, dims=1, steps=256, n_envs=8, box=2.0, batch_size=64)
    policy = train_search(clusters(), config, seed=0)
    grid = np.linspace(-1.9999, 1.9999, 20_001) if algorithm == "sac" else np.linspace(-9, 9, 5_001)
    density = np.exp(policy.log_density_untrained(policy.projection.lift(grid[:, None])))
    assert integrate.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)


def test_proposals_follow_the_density(trained):
    points = trained.propose(400, np.random.default_rng(0))
    nearest, _ = clusters().nearest(points)
    assert points.shape == (400, 512)
    assert clusters().failed[nearest].mean() > 0.6 > 2 * clusters().failed.mean()


def test_saved_and_loaded_it_answers_the_same(trained, tmp_path):
    trained.save(tmp_path)
    loaded = SearchPolicy.load(tmp_path)
    points = clusters(seed=9).embeddings
    assert loaded.id == trained.id
    assert loaded.config == trained.config
    assert loaded.facts == trained.facts
    np.testing.assert_array_equal(loaded.log_density(points), trained.log_density(points))
    np.testing.assert_array_equal(
        loaded.log_density_untrained(points), trained.log_density_untrained(points)
    )
    assert json.loads((tmp_path / "search.json").read_text())["id"] == trained.id
    assert sorted(p.name for p in tmp_path.iterdir()) == ["search.json", "search.safetensors"]


def test_damaged_files_are_named(trained, tmp_path):
    with pytest.raises(NotReadyError, match="train it first"):
        SearchPolicy.load(tmp_path)
    trained.save(tmp_path)
    path = tmp_path / "search.safetensors"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 0x40
    for content in (b"", whole[:100], whole[:-50], bytes(flipped), b"\0" * 1000):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="damaged"):
            SearchPolicy.load(tmp_path)


def test_discrete_search_puts_its_mass_on_what_fails():
    perturbations = [p.id for p in LIFT.singles for _ in range(6)]
    failing = {"cube_tiny", "table_red"}
    failed = np.array([p in failing for p in perturbations])
    embeddings = np.random.default_rng(0).normal(size=(len(failed), 512))
    known = KnownSet(embeddings, failed, tuple(map(str, range(len(failed)))), tuple(perturbations))
    config = SearchConfig(algorithm="discrete_ppo", steps=12_000, n_envs=32, batch_size=256)
    policy = train_search(known, config, seed=0, catalogue=LIFT)
    mass = policy.log_mass()
    assert set(mass) == set(LIFT.variations)
    assert sum(np.exp(list(mass.values()))) == pytest.approx(1.0)
    assert sum(np.exp(mass[i]) for i in failing) > 0.8
    assert auc(policy.log_density(policy.actions.embeddings), [i in failing for i in mass]) == 1.0


def test_discrete_search_survives_the_disk(tmp_path):
    known = clusters()
    config = SearchConfig(algorithm="discrete_ppo", steps=512, n_envs=16, batch_size=128)
    policy = train_search(known, config, catalogue=LIFT)
    policy.save(tmp_path)
    assert SearchPolicy.load(tmp_path).log_mass() == policy.log_mass()


def test_cancel_and_progress():
    seen = []
    with pytest.raises(CancelledByUserError):
        train_search(
            clusters(), QUICK,
            progress=lambda *a: seen.append(a),
            cancelled=lambda: len(seen) >= 2,
        )  # fmt: skip
    assert [s[0] for s in seen] == ["train", "train"]
    assert 0 < seen[0][1] < seen[1][1] < 1


def test_without_a_failure_there_is_nothing_to_search():
    known = clusters()
    safe = KnownSet(known.embeddings, np.zeros(len(known), bool), known.ids, known.perturbation_ids)
    with pytest.raises(NotReadyError, match="none failed"):
        train_search(safe, QUICK)


@pytest.mark.parametrize(
    "wrong",
    [{"algorithm": "dqn"}, {"space": "x"}, {"steps": 0}, {"gamma": float("nan")}, {"net": ()}, {"repeat_penalty": -1.0}],
)  # fmt: skip
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InvalidArgumentError):
        SearchConfig(**wrong)


def test_config_round_trip():
    config = SearchConfig(algorithm="a2c", net=(8, 8), shaping=True)
    assert SearchConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(InvalidArgumentError, match="gama"):
        SearchConfig.from_json({"gama": 1})


def test_full_space_and_published_settings_run():
    for config in (
        replace(SearchConfig.published(), steps=64),
        SearchConfig(space="full", steps=512, n_envs=16, batch_size=128),
    ):
        policy = train_search(clusters(), config)
        assert policy.log_density(clusters().embeddings).shape == (200,)
        assert np.isfinite(policy.log_density(clusters().embeddings)).all()
