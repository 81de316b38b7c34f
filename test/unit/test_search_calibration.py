from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from robomd_ros.search.calibration import (
    Calibration,
    Neighbourhood,
    Posterior,
    coverage,
    fit_calibration,
    group_alike,
)

calibrations = st.builds(
    Calibration,
    distance_limit=st.floats(0.05, 2.0),
    base=st.floats(0.1, 0.9),
    slope=st.floats(0.1, 3.0),
    offset=st.floats(-2, 2),
    strength=st.sampled_from([2.0, 4.0, 8.0, 16.0, 32.0]),
    weight=st.floats(0, 1),
    length=st.floats(0.01, 4.0),
)
logits = st.floats(-8, 8)


def around(logit, distances, failed, same=False):
    m = len(distances)
    return Neighbourhood(
        np.array([logit]),
        np.array([distances], float),
        np.full((1, m), same),
        np.array(failed, bool),
    )


def width(calibration, near):
    low, high = calibration.posterior(near).interval()
    return float((high - low)[0])


@settings(deadline=None)
@given(
    calibrations,
    logits,
    st.lists(st.tuples(st.floats(0, 5), st.booleans()), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_interval_holds_the_answer(calibration, logit, known, same):
    near = around(logit, [d for d, _ in known], [f for _, f in known], same)
    posterior = calibration.posterior(near)
    low, high = posterior.interval()
    assert 0 <= low[0] <= posterior.mean[0] <= high[0] <= 1
    assert posterior.effective[0] <= len(known) + 1e-9


@settings(deadline=None)
@given(calibrations, logits, st.integers(1, 8), st.floats(0, 0.5), st.booleans())
def test_more_of_the_same_evidence_narrows(calibration, logit, copies, distance, same):
    """A success and a failure more, at the same distance: the mean goes to the middle, the interval must not widen
    for a prior that sits there."""
    even = Calibration(**{**vars(calibration), "slope": 0.0, "offset": 0.0, "base": 0.5})
    assume(copies > 0)
    few = around(logit, [distance] * 2, [True, False], same)
    more = around(logit, [distance] * 2 * (copies + 1), [True, False] * (copies + 1), same)
    assert width(even, more) <= width(even, few) + 1e-9


@settings(deadline=None)
@given(calibrations, logits, st.lists(st.booleans(), min_size=1, max_size=30), st.floats(5.0, 50.0))
def test_far_away_is_never_more_confident(calibration, logit, failed, times):
    here = around(logit, [0.2 * calibration.distance_limit] * len(failed), failed)
    far = around(logit, [times * calibration.distance_limit] * len(failed), failed)
    # 0.9 is the width of "any rate is as likely as any other": from 0.8 on nothing is claimed any more.
    assert width(calibration, far) >= min(width(calibration, here), 0.8)


@settings(deadline=None)
@given(calibrations, st.lists(st.floats(0.0, 8.0), min_size=2, max_size=6, unique=True))
def test_the_interval_widens_with_distance(calibration, distances):
    """Prior and evidence agree on one half, so only the distance matters."""
    even = Calibration(**{**vars(calibration), "slope": 0.0, "offset": 0.0, "base": 0.5})
    widths = [width(even, around(0.0, [d, d], [True, False])) for d in sorted(distances)]
    assert all(a <= b + 1e-9 for a, b in pairwise(widths))


def test_rollouts_of_the_same_perturbation_count_fully_whatever_their_distance():
    calibration = Calibration(distance_limit=1.0, base=0.3, strength=2.0, weight=0.0)
    far = around(-5.0, [9.0] * 30, [True] * 30, same=True)
    posterior = calibration.posterior(far)
    assert posterior.effective[0] == pytest.approx(30)
    assert posterior.mean[0] > 0.9


def test_far_from_everything_the_answer_is_the_overall_rate():
    calibration = Calibration(distance_limit=0.1, base=0.4, strength=32.0, weight=1.0)
    posterior = calibration.posterior(around(8.0, [100.0] * 5, [True] * 5))
    assert posterior.mean[0] == pytest.approx(0.4, abs=1e-3)
    low, high = posterior.interval()
    assert high[0] - low[0] > 0.7


def world(n, m, sharpness, seed=0):
    """Truth: logit 2x on a line; the head answers `sharpness` times too sure."""
    rng = np.random.default_rng(seed)
    known, asked = rng.normal(size=m), rng.normal(size=n)
    truth = 2.0 * asked
    near = Neighbourhood(
        sharpness * truth,
        np.abs(asked[:, None] - known[None, :]),
        np.zeros((n, m), bool),
        rng.random(m) < expit(2.0 * known),
    )
    return near, rng.random(n) < expit(truth), truth, asked


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_fitting_undoes_an_overconfident_head(sharpness):
    near, failed, truth, asked = world(400, 150, sharpness)
    start = Calibration.default(0.2, near.failed)
    groups = group_alike(np.abs(asked[:, None] - asked[None, :]), tuple(map(str, range(400))))
    fitted = fit_calibration(start, near, failed, groups)
    assert fitted.slope * sharpness == pytest.approx(1.0, abs=0.3)
    error = np.abs(fitted.posterior(near).mean - expit(truth)).mean()
    assert error < 0.06
    assert error <= np.abs(start.posterior(near).mean - expit(truth)).mean() + 1e-9


def test_a_head_that_knows_nothing_is_ignored():
    near, failed, _, asked = world(300, 100, 1.0)
    rng = np.random.default_rng(3)
    blind = Neighbourhood(rng.normal(size=300) * 5, near.distances, near.same, near.failed)
    groups = group_alike(np.abs(asked[:, None] - asked[None, :]), tuple(map(str, range(300))))
    fitted = fit_calibration(Calibration.default(0.2, near.failed), blind, failed, groups)
    assert fitted.slope < 0.1
    assert fitted.weight > 0  # and its neighbours are heard


def test_too_little_or_one_sided_evidence_fits_nothing():
    near, failed, _, _ = world(100, 50, 1.0)
    start = Calibration.default(0.2, near.failed)
    few = np.arange(10)
    assert fit_calibration(start, near[few], failed[few], few) is start
    assert fit_calibration(start, near, np.zeros(100, bool), np.arange(100)) is start


def test_groups_are_of_one_condition_or_near_each_other():
    places = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0, 9.1, 9.2])
    ids = ("a", "b", "c", "d", "e", "f", "x", "x", "x")
    groups = group_alike(np.abs(places[:, None] - places[None, :]), ids, size=3)
    assert groups.tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize(("strength", "low", "high"), [(6.0, 0.87, 0.93), (200.0, 0.0, 0.85)])
def test_coverage_is_the_stated_share_for_true_answers_and_less_for_boasting_ones(
    strength, low, high
):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(600), 6)
    mean = rng.uniform(0.2, 0.8, 600)
    rate = rng.beta(6.0 * mean, 6.0 * (1 - mean))
    failed = rng.random(3600) < rate[groups]
    answers = Posterior(strength * mean[groups], strength * (1 - mean[groups]), np.zeros(3600))
    assert low <= coverage(answers, failed, groups) <= high
