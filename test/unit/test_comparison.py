"""Verdicts on two sets of rollouts: what is compared with what, the correction, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from store_samples import make_record

from robomd_ros.core.comparison import (
    OVERALL,
    ComparisonConfig,
    Row,
    Verdict,
    compare,
    decide,
)
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.pairing import CONTINUOUS, Trial, halves, match, trials


def some(condition, failures, n, first_seed=0):
    return [Trial(condition, first_seed + k, k < failures) for k in range(n)]


def by_name(found):
    return {row.name: row for row in found.rows}


def test_pairs_are_compared_scene_by_scene():
    a = some("nominal", 0, 20) + some("cube_red", 1, 20)
    b = some("cube_red", 18, 20) + some("nominal", 1, 20)
    found = compare(a, b)
    assert found.paired
    rows = by_name(found)
    assert rows["cube_red"].verdict is Verdict.WORSE
    assert rows["cube_red"].difference == pytest.approx(17 / 20)
    assert rows["cube_red"].p_worse == pytest.approx(0.5**17)
    assert rows["nominal"].verdict is Verdict.UNDECIDED
    assert (rows["nominal"].failures_b, rows["nominal"].n_b) == (1, 20)
    # both conditions share the scenes 0 to 19: the overall test flips 20 scenes, of which scene 0 has +1, 17 others +1
    assert found.overall.p_worse == pytest.approx(0.5**18)
    assert found.verdict is Verdict.WORSE
    mirrored = compare(b, a)
    assert by_name(mirrored)["cube_red"].verdict is Verdict.BETTER
    assert mirrored.verdict is Verdict.BETTER
    assert (mirrored.overall.low, mirrored.overall.high) == pytest.approx(
        (-found.overall.high, -found.overall.low)
    )


def test_one_condition_worse_makes_the_whole_worse_though_overall_is_better():
    a = [t for c in ("a", "b", "c", "d") for t in some(c, 20, 24)] + some("x", 0, 24)
    b = [t for c in ("a", "b", "c", "d") for t in some(c, 2, 24)] + some("x", 24, 24)
    found = compare(a, b)
    assert found.overall.verdict is Verdict.BETTER
    assert by_name(found)["x"].verdict is Verdict.WORSE
    assert found.verdict is Verdict.WORSE


def test_no_worse_wants_enough_rollouts():
    few, many = some("nominal", 3, 20), some("nominal", 3, 60)
    assert compare(few, few).verdict is Verdict.UNDECIDED
    assert compare(many, many).verdict is Verdict.NO_WORSE
    assert compare(many, many, ComparisonConfig(margin=0.01)).verdict is Verdict.UNDECIDED
    worse = [Trial(t.condition, t.seed, t.failed or t.seed % 5 == 4) for t in many]
    assert compare(many, worse).verdict is Verdict.WORSE


def test_without_shared_seeds_it_is_fishers_test_and_says_so():
    a, b = some("nominal", 2, 12), some("nominal", 8, 12, first_seed=100)
    found = compare(a, b)
    assert not found.paired
    assert "Unpaired: 0 of 12" in found.notes[0]
    assert found.overall.p_worse == pytest.approx(
        stats.fisher_exact([[8, 4], [2, 10]], "greater").pvalue
    )
    assert (found.overall.n_a, found.overall.n_b) == (12, 12)
    not_seeded = compare([Trial("nominal", -1, t.failed) for t in a], [Trial("nominal", -1, t.failed) for t in b])  # fmt: skip
    assert not_seeded.overall == found.overall


def test_anytime_without_seeds_matches_rollouts_as_they_came():
    a, b = some("nominal", 0, 14), some("nominal", 12, 12, first_seed=100)
    found = compare(a, b, ComparisonConfig(anytime=True))
    assert found.verdict is Verdict.WORSE
    assert (found.overall.n_a, found.overall.n_b) == (12, 12)


def test_continuous_conditions_share_a_row():
    conditions = [f"light_intensity={x}" for x in (0.1, 0.2, 0.3, 0.4)]
    a = [Trial(c, k, False) for k, c in enumerate(conditions)] + some("nominal", 0, 4, 50)
    b = [Trial(c, k, True) for k, c in enumerate(conditions)] + some("nominal", 0, 4, 50)
    rows = by_name(compare(a, b))
    assert rows[CONTINUOUS].failures_b == rows[CONTINUOUS].n_b == 4
    assert rows[CONTINUOUS].p_worse == pytest.approx(1 / 16)


def test_what_has_no_partner_is_left_out_and_said():
    a = some("nominal", 1, 10) + some("only_a", 1, 5)
    b = some("nominal", 1, 8)
    found = compare(a, b)
    assert [r.name for r in found.rows] == ["nominal"]
    assert found.overall.n_a == 8
    assert "1 conditions that only one" in found.notes[0]
    assert "2 rollouts without a partner" in found.notes[1]


def test_repeats_of_a_scene_are_matched_in_turn():
    a = [Trial("nominal", 0, False), Trial("nominal", 0, True)]
    b = [Trial("nominal", 0, True), Trial("nominal", 0, True), Trial("nominal", 0, True)]
    assert [p.difference for p in match(a, b)] == [1, 0]


def test_shared_scenes_widen_the_overall_interval():
    """Ten conditions on the same ten scenes, half of the scenes lost in all conditions: ten findings and not a hundred."""
    a = [Trial(f"c{c}", s, False) for c in range(10) for s in range(10)]
    shared = [Trial(f"c{c}", s, s < 5) for c in range(10) for s in range(10)]
    own_a = [Trial(t.condition, k, t.failed) for k, t in enumerate(a)]
    own_b = [Trial(t.condition, k, t.failed) for k, t in enumerate(shared)]
    together, apart = compare(a, shared).overall, compare(own_a, own_b).overall
    assert together.difference == apart.difference == 0.5
    assert together.high - together.low > 2.5 * (apart.high - apart.low)
    assert together.p_worse == pytest.approx(0.5**5)


def test_one_scene_proves_nothing_of_others():
    one = [Trial(f"c{k}", 7, False) for k in range(100)]
    found = compare(one, one)
    assert (found.overall.low, found.overall.high) == (-1.0, 1.0)
    assert found.verdict is Verdict.UNDECIDED
    own = [Trial(f"c{k}", k, False) for k in range(100)]
    assert compare(own, own).verdict is Verdict.NO_WORSE


def test_verdicts_are_corrected_for_their_number():
    def row(name, p, p_no_worse=1.0):
        return Row(name, 0, 10, 5, 10, 0.5, 0.1, 0.9, p, 1.0, p_no_worse)

    config = ComparisonConfig(alpha=0.05)
    alone = decide([row("x", 0.02)], row(OVERALL, 0.02), config)
    assert (alone.rows[0].verdict, alone.overall.verdict) == (Verdict.WORSE, Verdict.WORSE)
    # of three: half of alpha for the rows, Holm: 2 p times 3, then 2, then 1 has to be 0.025 or less
    found = decide([row("x", 0.004), row("y", 0.006), row("z", 0.02)], row(OVERALL, 0.02), config)
    assert [r.verdict is Verdict.WORSE for r in found.rows] == [True, True, False]
    assert found.overall.verdict is Verdict.UNDECIDED
    everywhere = decide([row("x", 1.0, 0.001), row("y", 1.0, 0.002)], row(OVERALL, 1.0), config)
    assert everywhere.verdict is Verdict.NO_WORSE


@pytest.mark.parametrize("anytime", [False, True])
def test_a_policy_against_its_like_is_hardly_ever_told_apart(anytime):
    """The whole procedure, 6 conditions on 12 shared scenes of unlike difficulty, on alike policies."""
    rng, n, config = np.random.default_rng(7), 150, ComparisonConfig(alpha=0.1, anytime=anytime)
    wrong = 0
    for _ in range(n):
        rate = np.clip(rng.uniform(0, 1, 6)[:, None] + rng.uniform(-0.4, 0.4, 12), 0, 1)
        a, b = (
            [
                Trial(f"c{c}", s, bool(rng.random() < rate[c, s]))
                for c in range(6)
                for s in range(12)
            ]
            for _ in range(2)
        )
        found = compare(a, b, config)
        wrong += any(r.verdict in (Verdict.WORSE, Verdict.BETTER) for r in (*found.rows, found.overall))  # fmt: skip
    assert wrong <= stats.binom.isf(1e-6, n, 0.1)


def test_the_two_halves_of_a_policy():
    early, late = halves(some("nominal", 1, 5) + some("cube_red", 0, 4))
    assert [(t.condition, t.seed) for t in early] == [("nominal", 0), ("nominal", 1), ("nominal", 2), ("cube_red", 0), ("cube_red", 1)]  # fmt: skip
    assert len(late) == 4


def test_only_evidence_that_was_not_chosen_by_its_outcome_counts():
    records = [
        make_record("a", outcome=Outcome.FAILURE, seed=3),
        make_record("b", outcome=Outcome.UNKNOWN),
        make_record("c", outcome=Outcome.INVALID),
        make_record("d", outcome=Outcome.FAILURE, control=Control.ZERO_ACTION),
        make_record("e", outcome=Outcome.FAILURE, purpose="confirm"),
        make_record("f", outcome=Outcome.FAILURE, purpose="search"),
    ]
    assert trials(records) == [Trial("cube_red", 3, True)]


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([], some("nominal", 1, 2), "A has no labelled rollout"),
        (some("nominal", 1, 2), [], "B has no labelled rollout"),
        (some("nominal", 1, 2), some("cube_red", 1, 2), "no condition in common"),
    ],
)
def test_nothing_to_compare_is_refused(a, b, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        compare(a, b)


@pytest.mark.parametrize(
    "settings", [{"alpha": math.nan}, {"alpha": 0.0}, {"margin": math.nan}, {"margin": 1.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InvalidArgumentError, match="want a number"):
        ComparisonConfig(**settings)
