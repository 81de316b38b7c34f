"""The tables of continuous and unseen variations, on hand-made rollouts."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from linear_embedding import rollouts

from robomd_ros.core.variations import load_catalogue
from robomd_ros.evaluation.tables import continuous, unseen

LIFT = load_catalogue("lift")
RECORDS = rollouts(LIFT, 240)
CONTINUOUS = [r for r in RECORDS if "=" in r.perturbation.id]
NAMED = [r for r in RECORDS if "=" not in r.perturbation.id]


def test_a_sentence_without_its_numbers_keeps_its_words():
    said = LIFT.perturbation("cube_color=0.5,0.02,0.1+light_intensity=0.4").sentence
    words = continuous.without_numbers(said)
    assert "dark red" in words
    assert not any(c.isdigit() for c in words)


def test_the_ceiling_of_certain_and_of_even_rates():
    n = np.full(40, 20)
    assert continuous._auc_of_true_rates(np.repeat([0, 20], 20), n)[0] > 0.97
    even = np.random.default_rng(0).binomial(n, 0.5)
    value, within = continuous._auc_of_true_rates(even, n)
    assert value < 0.65
    assert within > 0.9


def test_plain_predictors_rank_what_they_can():
    scores = continuous.plain_scores(CONTINUOUS[:100], CONTINUOUS[100:], LIFT, 0)
    assert set(scores) == {"count", "active", "logistic", "forest", "gp", "ensemble"}
    assert scores["count"][0] == len(CONTINUOUS[100].perturbation.variations)


@pytest.mark.parametrize("kind", unseen.KINDS)
def test_what_is_left_out_is_not_learnt_from(kind):
    pairs = [r for r in RECORDS if len(r.perturbation.variations) > 1][:30]
    read = {"catalogue": NAMED, "continuous": CONTINUOUS, "ceiling": CONTINUOUS[:20], "pairs": pairs}  # fmt: skip
    parts = unseen._PARTS[kind](LIFT, read)
    assert parts
    for name, known, asked, repeated in parts:
        assert asked
        assert not {r.id for r in known} & {r.id for r in (*asked, *repeated)}
        if kind == "factors":
            assert all(v.factor != name for r in known for v in r.perturbation.variations)
        if kind.startswith("variations"):
            assert all(name not in r.perturbation.ids for r in known)
            assert {r.perturbation.id for r in asked} == {name}
        if kind == "pairs":
            left = {r.perturbation.id for r in asked}
            assert not left & {r.perturbation.id for r in known}


def test_a_summary_counts_a_tie_as_wrong():
    part = {
        "name": "a", "scores": np.array([0.2, 0.2, 0.9]), "table": np.full(3, 0.5), "failed": np.array([False, True, True]),
        "width": np.full(3, 0.1), "coverage": float("nan"), "conditions": 0,
        "scores_probed": np.array([0.5, 0.6, 0.9]), "width_probed": np.full(3, 0.2), "coverage_probed": float("nan"),
    }  # fmt: skip
    found = unseen._summary([part], together=True)
    assert (found["auc"][0], found["probed"][0], found["probed_minus_auc"][0]) == (0.75, 1.0, 0.25)
    assert (found["width"], found["width_probed"]) == pytest.approx((0.1, 0.2))
    assert (found["agreement"], found["table_agreement"]) == (0.5, 0.0)
    assert np.isnan(found["coverage"])
