"""The numbers of the report, from synthetic rollouts whose failures follow a stated rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from report_synthetic import LIFT, answer, record, risk_map, rollouts, view

from robomd_ros.core.answers import Quality
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.study import StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.report import conditions, factors
from robomd_ros.report.data import Verdict
from robomd_ros.report.summary import summarize
from robomd_ros.report.view import HeldOut, ModelView, project, reliability

META = StudyMeta("lift", "Panda", "bc", "a study")
F, S = Outcome.FAILURE, Outcome.SUCCESS


@pytest.fixture(scope="module")
def records():
    return rollouts()


@pytest.fixture(scope="module")
def trained(records):
    return summarize(META, records, LIFT, view(records))


def many(perturbation_id, outcomes, start=0, **more):
    rng = np.random.default_rng(0)
    scene = LIFT.perturbation(perturbation_id)
    return [record(start + i, scene, o, rng, **more) for i, o in enumerate(outcomes)]


def test_only_successes_and_failures_of_the_policy_are_evidence(records, trained):
    tally = trained.tally
    assert tally.evidence.n == sum(r.is_evidence for r in records)
    assert (tally.invalid, tally.safety, tally.timeouts, tally.unlabelled) == (2, 1, 1, 1)
    assert (tally.controls, tally.controls_succeeded) == (1, 0)
    assert tally.not_evidence == 5
    assert tally.rollouts == len(records)


def test_the_label_in_force_counts():
    relabelled = many("cube_red", [F])[0]
    relabelled = replace(relabelled, labels=(*relabelled.labels, Label(S, "operator", 1.0)))
    assert conditions.rate_of([relabelled]).failures == 0


def test_ranking_is_by_model_and_holds_catalogue_and_unchanged_scene(trained):
    risks = [c.p for c in trained.ranking if math.isfinite(c.p)]
    assert risks == sorted(risks, reverse=True)
    assert {c.id for c in trained.ranking} == {*LIFT.variations, "nominal"}
    assert sum(c.trusted is False for c in trained.ranking) == 1


def test_ranking_without_model_is_by_the_lower_end_of_what_was_seen():
    once, often = many("cube_red", [F]), many("cube_tiny", [F] * 9 + [S], start=10)
    ranking = summarize(META, once + often, LIFT).ranking
    assert [c.id for c in ranking[:2]] == ["cube_tiny", "cube_red"]  # 9 of 10 says more than 1 of 1


def test_one_failure_is_a_finding_and_three_are_a_condition():
    nominal = conditions.rate(0, 20)
    assert conditions.verdict(conditions.rate(1, 1), nominal) is Verdict.OPEN
    assert conditions.verdict(conditions.rate(3, 3), nominal) is Verdict.FAILS
    assert conditions.verdict(conditions.rate(6, 24), nominal) is Verdict.WORSE
    assert conditions.verdict(conditions.rate(0, 10), nominal) is Verdict.WORKS
    assert conditions.verdict(conditions.rate(0, 0), nominal) is Verdict.UNTESTED


def test_confirmed_holds_conditions_outside_the_catalogue(trained):
    found = {c.id: c for c in trained.confirmed}["cube_grey+light_blue"]
    assert found.rate.failures == found.rate.n == 5
    assert not found.in_catalogue
    assert found.swatches == ("#808080", "#0000ff")
    assert trained.failed_once > 0


def test_intervals_hold_their_rate_and_untested_ones_are_nan(trained):
    for c in trained.ranking:
        assert c.rate.low <= c.rate.value <= c.rate.high
    empty = conditions.rate(0, 0)
    assert math.isnan(empty.value)
    assert math.isnan(empty.low)


def test_values_leave_out_what_was_chosen_for_failing(records, trained):
    used = factors.varied(records, LIFT)
    assert {r.purpose for r in used} == {"random"}
    assert trained.value_rollouts == len(used)
    for row in trained.value_tiles:  # every rollout is in exactly one cell of each row
        assert row.unchanged.n + sum(t.rate.n for t in row.tiles) == len(used)


@pytest.mark.parametrize(
    ("rgb", "where"),
    [((1, 0, 0), 0), ((1, 0, 0.1), 0), ((1, 1, 0), 1), ((0, 1, 0), 2), ((0, 1, 1), 3), ((0, 0, 1), 4), ((1, 0, 1), 5), ((0.1,) * 3, 6), ((0.9,) * 3, 7)],
)  # fmt: skip
def test_hue_bins(rgb, where):
    assert factors.hue_bin(rgb) == where


def test_range_ends_fall_into_the_outer_bins():
    low, high = many("light_intensity=0.1", [F]), many("light_intensity=2", [S], start=5)
    (row,) = factors.value_tiles(low + high, LIFT)
    assert [t.rate.n for t in row.tiles] == [1, 0, 0, 0, 1]


def test_demonstrations_follow_the_stated_rule(trained):
    assert [conditions.demonstrations(p) for p in (1.0, 0.81, 0.8, 0.5, 0.01)] == [
        25,
        25,
        20,
        15,
        5,
    ]
    assert 0 < len(trained.demands) <= conditions.MAX_DEMANDS
    lows = [d.condition.rate.low for d in trained.demands]
    assert lows == sorted(lows, reverse=True)
    assert not any(d.confirm_first for d in trained.demands)


def test_predicted_failures_are_asked_for_only_after_confirmation():
    rng = np.random.default_rng(0)
    scene = LIFT.perturbation("table_red")
    mapped = replace(risk_map([]), answers=(answer(scene, 0, [], p_low=0.7, p_high=1.0),))
    data = summarize(META, [record(0, scene, F, rng)], LIFT, ModelView(mapped))
    assert [(d.condition.id, d.confirm_first) for d in data.demands] == [("table_red", True)]


def test_galleries_tell_surprises_by_held_out_predictions(records, trained):
    by_title = {g.title: g.thumbnails for g in trained.galleries}
    assert all(t.failed and t.p < 0.4 for t in by_title["Surprising failures"])
    assert all(not t.failed and t.p > 0.6 for t in by_title["Surprising successes"])
    assert by_title["Riskiest failures"][0].p > 0.9
    assert [g.title for g in summarize(META, records, LIFT).galleries] == ["Riskiest failures"]


def test_reliability_bins_share_the_rollouts_out():
    p = np.linspace(0, 1, 101)
    bins = reliability(HeldOut(tuple(map(str, range(101))), p, p > 0.5))
    assert sum(b.rate.n for b in bins) == 101
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
    assert bins[0].rate.value == 0.0
    assert bins[-1].rate.value == 1.0
    assert reliability(HeldOut()) == ()


def test_projection_finds_the_plane_of_the_data():
    rng = np.random.default_rng(1)
    flat = np.zeros((50, 12))
    flat[:, 3], flat[:, 7] = 5 * rng.normal(size=50), rng.normal(size=50)
    mapped = project(flat, [False] * 50, ["a"] * 50, flat[:4])
    assert sum(mapped.explained) == pytest.approx(1.0)
    assert mapped.proposals[2] == pytest.approx((mapped.points[2].x, mapped.points[2].y))
    assert project(flat[:2], [False] * 2, ["a"] * 2) is None
    assert project(np.ones((9, 4)), [False] * 9, ["a"] * 9) is None


def test_the_answer_says_when_the_table_is_as_good(records):
    def said(ours, table):
        quality = Quality(
            auc=ours,
            auc_low=ours - 0.02,
            auc_high=ours + 0.02,
            auc_success_table=table,
            rollouts=99,
        )
        return summarize(META, records, LIFT, view(records, quality=quality)).answer[1]

    assert "worse than the plain success table" in said(0.80, 0.95)
    assert "not shown to beat the plain success table" in said(0.90, 0.91)
    assert "; on 99 held-out ones" in said(0.95, 0.80)
    assert "better than the plain success table" in said(0.95, 0.80)
    assert "not been checked" in said(math.nan, 0.9)


def test_the_answer_names_the_worst_and_the_unchanged_scene(trained):
    where, _, todo = trained.answer
    worst = trained.confirmed[0]
    assert f"{worst.title} (" in where
    assert "with nothing changed it failed 0\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}10" in where
    assert "demonstrations" in todo
    assert "try cube tiny + table red next" in todo


def test_nothing_run_and_nothing_trained_still_give_an_answer():
    data = summarize(META, [], LIFT)
    assert len(data.answer) == 3
    assert "Nothing can be said yet" in data.answer[0]
    assert data.identity.policies == ("bc",)
    assert any("No model is trained" in note for note in data.missing)


def test_what_spoils_a_study_is_said():
    rng = np.random.default_rng(0)
    control = record(0, Perturbation(), S, rng, "control", control=Control.ZERO_ACTION)
    other = record(1, Perturbation(), S, rng, policy_id="another", first_frame=None)
    notes = " ".join(summarize(META, [control, other], LIFT).missing)
    assert "negative controls SUCCEEDED" in notes
    assert "More than one policy" in notes
    assert "1 rollout without a camera image" in notes


def test_raw_figures_follow_the_papers_definitions():
    data = summarize(
        META,
        many("table_red", [F] * 6) + many("cube_tiny", [F] * 6, 10) + many("cube_red", [S] * 6, 20),
        LIFT,
    )
    d = data.distribution
    assert d.entropy == pytest.approx(math.log(2))
    assert d.entropy_max == pytest.approx(math.log(3))
    assert d.failure_modes == 2
    assert d.severity_index == pytest.approx(2.0)
    assert not d.from_model


def test_a_policy_that_fails_with_nothing_changed_is_called_that():
    data = summarize(META, many("nominal", [F] * 5), LIFT)
    assert "fails already with nothing changed (5" in data.answer[0]
    assert "preflight" in data.answer[2]


def test_the_map_draws_a_share_of_very_many_rollouts():
    rng = np.random.default_rng(2)
    mapped = project(rng.normal(size=(4000, 4)), [True] * 4000, ["a"] * 4000)
    assert len(mapped.points) <= 1500
    assert mapped.known == 4000
