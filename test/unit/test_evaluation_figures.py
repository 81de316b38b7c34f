"""Figures of an evaluation against hand-worked cases and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from robomd_ros.core.variations import load_catalogue
from robomd_ros.evaluation.cross_validation import auc_difference, kept, mean_auc
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.image_networks import NETWORKS, scores
from robomd_ros.evaluation.tables.ranking import _leave_one_out_rate


def drawn(n: int, lift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    failed = rng.random(n) < 0.4
    return rng.normal(size=n) + lift * failed, failed


def test_the_mean_auc_of_folds_is_scikit_learns_mean() -> None:
    parts = [drawn(120, 1.0, seed) for seed in range(3)]
    mean, low, high = mean_auc(parts)
    assert mean == pytest.approx(np.mean([roc_auc_score(f, s) for s, f in parts]))
    assert low < mean < high


def test_folds_of_one_outcome_are_left_out_and_none_is_nan() -> None:
    part = drawn(60, 1.0, 0)
    assert mean_auc([part, ([0.1, 0.2], [0, 0])])[0] == mean_auc([part])[0]
    assert all(np.isnan(mean_auc([([0.1], [1])])))


def test_the_interval_holds_the_true_auc_about_as_often_as_it_says() -> None:
    true = 0.7602  # Phi(1 / sqrt 2), normal scores one standard deviation apart
    inside = sum(
        low <= true <= high for _, low, high in (mean_auc([drawn(150, 1.0, s)]) for s in range(200))
    )
    assert 176 <= inside <= 199  # binomial(200, 0.95): outside this one time in 10,000


def test_a_difference_is_paired_and_none_with_itself() -> None:
    a, failed = drawn(200, 1.0, 1)
    assert auc_difference([(a, a, failed)]) == (0.0, 0.0, 0.0)
    worse = np.random.default_rng(2).normal(size=200)
    mean, low, _ = auc_difference([(a, worse, failed)])
    assert mean == pytest.approx(roc_auc_score(failed, a) - roc_auc_score(failed, worse))
    assert low > 0


def test_the_ceiling_of_a_rollout_does_not_know_its_own_outcome() -> None:
    rates = _leave_one_out_rate(["a", "a", "a", "b"], np.array([True, False, True, True]))
    assert rates.tolist() == [1.5 / 3, 2.5 / 3, 1.5 / 3, 0.5]


def test_kept_scores_are_plain_and_short() -> None:
    assert kept({"m": np.array([0.123456789])}, [True]) == {
        "scores": {"m": [0.12346]},
        "failed": [1],
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_an_image_network_learns_to_tell_red_from_blue(network: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (48, 32, 32, 3), np.uint8)
    failed = rng.random(48) < 0.5
    images[failed, ..., 0] += 150
    asked = scores(network, images[:40], failed[:40], images[40:], epochs=6)
    assert roc_auc_score(failed[40:], asked) == 1.0


def test_jobs_of_a_dataset_are_determined_and_a_smaller_one_is_a_part_of_it() -> None:
    pytest.importorskip("sim_bridge")
    lift = load_catalogue("lift")
    for kind, small, large in (
        ("catalogue", {"repeats": 2}, {"repeats": 5}),
        ("continuous", {"conditions": 30}, {"conditions": 80}),
        ("pairs", {"conditions": 0, "repeats": 1}, {"conditions": 0, "repeats": 3}),
    ):
        few = [j.rollout_id for j in Dataset(kind, "p", **small).jobs(lift)]
        many = [j.rollout_id for j in Dataset(kind, "p", **large).jobs(lift)]
        assert many[: len(few)] == few
        assert len(set(many)) == len(many)
    ceiling = Dataset("ceiling", "p", conditions=6, repeats=3).jobs(lift)
    assert len({j.perturbation.id for j in ceiling}) == 6
    assert len({j.seed for j in ceiling}) == 18
