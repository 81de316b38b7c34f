import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.search.known import KnownSet, NearestIndex


def known(m=60, d=512, seed=0, perturbation="cube_red"):
    rng = np.random.default_rng(seed)
    return KnownSet(
        rng.normal(size=(m, d)).astype(np.float32),
        rng.random(m) < 0.4,
        tuple(f"r{i}" for i in range(m)),
        (perturbation,) * m,
    )


def test_nearest_equals_sklearn():
    k = known()
    points = np.random.default_rng(1).normal(size=(200, 512)).astype(np.float32)
    index, distance = k.nearest(points)
    want_distance, want = NearestNeighbors(n_neighbors=1).fit(k.embeddings).kneighbors(points)
    np.testing.assert_array_equal(index, want[:, 0])
    np.testing.assert_allclose(distance, want_distance[:, 0], rtol=1e-5)
    np.testing.assert_allclose(
        k.index.distances(points).min(axis=1), want_distance[:, 0], rtol=1e-5
    )


def test_a_known_point_is_its_own_nearest_far_from_the_origin():
    # |a|^2 - 2ae + |e|^2 loses all digits here; the answer must not
    points = 1000 + 0.01 * np.arange(20, dtype=np.float32)[:, None]
    _, distance = NearestIndex(points).nearest(points)
    np.testing.assert_array_equal(distance, 0.0)


def test_leave_one_out_distances():
    k = known(m=50)
    distances, _ = NearestNeighbors(n_neighbors=2).fit(k.embeddings).kneighbors(k.embeddings)
    np.testing.assert_allclose(k.leave_one_out_distances(), distances[:, 1], rtol=1e-5)
    assert known(m=1).leave_one_out_distances().size == 0


def test_reduction_is_pca_with_one_scale():
    k = known()
    projection = k.reduced(8)
    points = projection.apply(k.embeddings)
    theirs = PCA(8, svd_solver="full").fit_transform(k.embeddings)
    np.testing.assert_allclose(np.abs(points * projection.scale), np.abs(theirs), atol=1e-3)
    assert np.sqrt(np.mean(points**2)) == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(projection.apply(projection.lift(points)), points, atol=1e-4)


def test_reduction_of_few_or_equal_points_stays_finite():
    for k in (
        known(m=3),
        KnownSet(np.ones((4, 512)), np.zeros(4, bool), tuple("abcd"), ("x",) * 4),
    ):
        points = k.reduced(8).apply(k.embeddings)
        assert np.isfinite(points).all()
        assert points.shape[1] <= 8


def test_episodes_start_at_nominal_else_at_success():
    k = known(perturbation="nominal")
    np.testing.assert_allclose(k.start(), k.embeddings.mean(axis=0), rtol=1e-5)
    k = known()
    np.testing.assert_allclose(k.start(), k.embeddings[~k.failed].mean(axis=0), rtol=1e-5)


def test_bad_sets_are_refused():
    with pytest.raises(InvalidArgumentError, match="as many outcomes"):
        KnownSet(np.zeros((3, 4)), np.zeros(2, bool), ("a", "b", "c"), ("x",) * 3)
    with pytest.raises(InvalidArgumentError, match="finite"):
        KnownSet(np.full((1, 4), np.nan), np.zeros(1, bool), ("a",), ("x",))
    with pytest.raises(NotReadyError):
        KnownSet(np.zeros((0, 512)), np.zeros(0, bool), (), ()).nearest(np.zeros((1, 512)))
