import numpy as np
import pytest
from helpers import synthetic_rollouts

from robomd_ros.learning.quality import (
    cluster_quality,
    continuity,
    knn_accuracy,
    light_sweep,
    similarity_to_identity,
)


def two_clusters(n=30, gap=10.0, seed=0):
    rng = np.random.default_rng(seed)
    failed = np.arange(2 * n) < n
    points = rng.normal(size=(2 * n, 4)).astype(np.float32)
    points[failed, 0] += gap
    return points, failed


def test_apart_is_better_than_mixed():
    points, failed = two_clusters()
    apart = cluster_quality(points, failed)
    mixed = cluster_quality(points, np.random.default_rng(0).permutation(failed))
    for higher in ("silhouette", "separation", "knn_accuracy_5"):
        assert apart[higher] > mixed[higher]
    assert apart["davies_bouldin"] < mixed["davies_bouldin"]


def test_separation_by_hand():
    points = np.array([[0, 1], [0, -1], [6, 1], [6, -1]], np.float32)
    quality = cluster_quality(points, np.array([True, True, False, False]))
    assert quality["separation"] == pytest.approx(6.0)


def test_a_point_is_not_its_own_neighbour():
    points = np.array([[0.0], [0.1], [5.0], [5.1]], np.float32)
    failed = np.array([True, False, True, False])
    assert knn_accuracy(points, failed)["knn_accuracy_1"] == 0.0


def test_collapsed_points_have_no_quality():
    assert cluster_quality(np.ones((6, 3), np.float32), np.arange(6) < 3) == {}


def test_similarity_by_hand():
    points = np.array([[2, 0], [1, 0], [0, 1], [0, 3], [9, 9]], np.float32)
    ids = ["a", "a", "b", "b", "once"]
    same = similarity_to_identity(points, ids)
    assert same == {"similarity_mse": pytest.approx(0), "similarity_frobenius": pytest.approx(0)}
    alike = similarity_to_identity(np.ones((4, 2), np.float32), ids[:4])
    assert alike["similarity_mse"] == pytest.approx(0.5)
    assert alike["similarity_frobenius"] == pytest.approx(np.sqrt(2))


def test_continuity_of_a_line_of_a_return_and_of_rest():
    line = continuity(np.linspace(0, 1, 12)[:, None].astype(np.float32))
    assert line == pytest.approx({"kendall": 1, "kendall_from_start": 1, "pearson": 1})
    there_and_back = np.concatenate([np.arange(7), np.arange(6)[::-1]])[:, None]
    back = continuity(there_and_back.astype(np.float32))
    assert back["kendall"] == pytest.approx(1)
    assert back["kendall_from_start"] == pytest.approx(0, abs=0.1)
    assert np.isnan(continuity(np.ones((5, 2), np.float32))["pearson"])


def test_the_sweep_goes_from_nominal_to_dark():
    sweep = light_sweep(synthetic_rollouts.catalogue(), 5)
    values = sweep.factors[sweep.factor_mask]
    assert len(values) == 5
    assert (np.diff(values) < 0).all()
    assert values[-1] == -1
    assert len(set(sweep.texts)) == 5
