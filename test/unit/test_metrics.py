import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss, roc_auc_score

from robomd_ros.core import metrics
from robomd_ros.core.baselines import SuccessTable, neighbour_rate
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue

LIFT = load_catalogue("lift")


@given(
    arrays(np.float64, 30, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])),
    arrays(np.bool_, 30),
)
def test_auc_and_brier_equal_sklearn(scores, failed):
    if failed.all() or not failed.any():
        assert math.isnan(metrics.auc(scores, failed))
    else:
        assert metrics.auc(scores, failed) == pytest.approx(roc_auc_score(failed, scores))
        assert metrics.pair_wins(scores, failed).mean() == pytest.approx(
            roc_auc_score(failed, scores)
        )
    assert metrics.brier(scores, failed) == pytest.approx(
        brier_score_loss(failed, scores, pos_label=True, labels=[False, True])
        if len(set(failed)) > 1
        else np.mean((scores - failed) ** 2)
    )


def test_ranking_accuracy_estimates_the_auc():
    rng = np.random.default_rng(0)
    failed = rng.random(200) < 0.4
    scores = failed + rng.normal(size=200)
    estimate = metrics.ranking_accuracy(scores, failed, rng, pairs=20_000)
    assert estimate == pytest.approx(metrics.auc(scores, failed), abs=0.02)


def test_ece_by_hand():
    # two bins of two: |(0 + 1) - (0.2 + 0.4)| and |(1 + 1) - (0.6 + 0.8)|, over 4
    p, failed = [0.2, 0.8, 0.4, 0.6], [False, True, True, True]
    assert metrics.ece(p, failed, bins=2) == pytest.approx((0.4 + 0.6) / 4)


def test_a_perfect_predictor_sits_on_the_floor_and_a_bad_one_above():
    rng = np.random.default_rng(1)
    p = rng.random(400)
    floor, high = metrics.ece_floor(p, rng)
    assert 0.02 < floor < high < 0.09
    perfect = [metrics.ece(p, rng.random(400) < p) for _ in range(50)]
    assert np.mean(perfect) == pytest.approx(floor, rel=0.15)
    assert metrics.ece(p, rng.random(400) < p**3) > high


def test_distribution_figures_by_hand():
    assert metrics.entropy([0.5, 0.5, 0.0]) == pytest.approx(math.log(2))
    assert metrics.entropy([1.0]) == 0.0
    assert math.isnan(metrics.entropy([0.0, 0.0]))
    assert metrics.nfm([0.51, 0.5, 0.1]) == 1
    # sum p * p / max p
    assert metrics.fsi([1.0, 0.5, 0.0]) == pytest.approx(1.25)
    assert metrics.fsi([0.0]) == 0.0
    assert math.isnan(metrics.fsi([]))


@pytest.mark.parametrize("bad", [[0.1, math.nan], [1.2, 0.0]])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(InvalidArgumentError):
        metrics.brier(bad, [True, False])


def _table(counts):
    """{"cube_red": (failures, rollouts)} -> success table."""
    perturbations, failed = [], []
    for ids, (k, n) in counts.items():
        perturbations += [LIFT.perturbation(ids)] * n
        failed += [True] * k + [False] * (n - k)
    return SuccessTable(perturbations, failed)


def test_success_table_by_hand():
    table = _table({"cube_red": (3, 4), "table_blue": (0, 9), "nominal": (0, 5)})
    asked = ["cube_red", "table_blue", "nominal", "cube_red+table_blue"]
    red, blue = 3.5 / 5, 0.5 / 10
    want = [red, blue, 0.5 / 6, 1 - (1 - red) * (1 - blue)]
    assert table.predict([LIFT.perturbation(a) for a in asked]) == pytest.approx(want)


def test_success_table_falls_back_to_factor_then_to_all():
    table = _table({"cube_red": (4, 4), "table_blue": (0, 4)})
    untried_color, continuous, untried_factor = table.predict(
        [
            LIFT.perturbation(a)
            for a in ("cube_green", "cube_color=0.1,0.2,0.3", "camera_offset=0,0,0.01")
        ]
    )
    assert untried_color == continuous == pytest.approx(4.5 / 5)
    assert untried_factor == pytest.approx(4.5 / 9)


def test_success_table_does_not_blame_the_company():
    table = _table({"table_red+robot_grey": (20, 20), "robot_grey": (0, 20)})
    assert table.rate("table_red", "table_color") > 0.9
    assert table.rate("robot_grey", "robot_color") < 0.1


def test_neighbour_rate_by_hand():
    distances = [[0.0, 1.0, 2.0], [3.0, 0.1, 0.2]]
    rate = neighbour_rate(distances, [True, True, False], neighbours=2)
    assert rate == pytest.approx([2.5 / 3, 1.5 / 3])
    assert neighbour_rate(distances, [True, True, False], 10) == pytest.approx([2.5 / 4] * 2)
