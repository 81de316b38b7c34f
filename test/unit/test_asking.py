import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from linear_embedding import LinearEmbedding, record, rollouts

from robomd_ros.core import metrics
from robomd_ros.core.answers import Question
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, TooLargeError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.search.asking import Asker
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.train import train_search

LIFT = load_catalogue("lift")
RECORDS = rollouts(LIFT, 400)
HELD = tuple(r.id for r in RECORDS[::4])


def q(ids="", **other):
    return Question(LIFT.perturbation(ids), **other)


@pytest.fixture(scope="module")
def asker():
    plain = Asker(LinearEmbedding(LIFT, HELD), RECORDS, LIFT)
    known = plain.known.subset(np.array([i not in HELD for i in plain.known.ids]))
    search = train_search(known, SearchConfig(steps=8_192, n_envs=32, batch_size=256))
    return Asker(LinearEmbedding(LIFT, HELD), RECORDS, LIFT, search)


def test_an_answer_has_all_fields_and_exact_counts(asker):
    answer = asker.ask([q("cube_red")], evidence=7)[0]
    same = [r for r in RECORDS if r.perturbation.id == "cube_red"]
    assert (answer.seen, answer.rollouts) == (True, len(same))
    assert answer.failures == sum(r.outcome is Outcome.FAILURE for r in same)
    assert answer.effective_rollouts >= answer.rollouts
    assert answer.p_low <= answer.p_failure <= answer.p_high
    assert answer.trusted
    assert len(answer.evidence) == 7
    assert answer.evidence[0].distance == pytest.approx(answer.distance, abs=1e-6)
    outcomes = {r.id: r.outcome for r in RECORDS}
    assert all(e.outcome is outcomes[e.rollout_id] for e in answer.evidence)
    distances = [e.distance for e in answer.evidence]
    assert distances == sorted(distances)


def test_answers_are_ranked_and_remember_the_question(asker):
    questions = [q("nominal"), q("light_intensity=0.1+table_red"), q("cube_red")]
    answers = asker.ask(questions)
    assert [a.rank for a in answers] == [1, 2, 3]
    assert answers[0].index == 1
    assert [a.p_failure for a in answers] == sorted((a.p_failure for a in answers), reverse=True)
    assert all(questions[a.index] is a.question for a in answers)
    assert max(a.density_ratio for a in answers) == pytest.approx(1.0)
    for a in answers:
        top = max(x.log_density for x in answers)
        assert a.density_ratio == pytest.approx(math.exp(a.log_density - top))


def test_the_truth_is_found(asker):
    questions = [q("light_intensity=0.1+table_red"), q("light_intensity=1.9")]
    risky, safe = asker.ask(questions)
    assert (risky.index, safe.index) == (0, 1)
    assert risky.p_failure > 0.7 > 0.3 > safe.p_failure


def test_never_seen_questions_are_answered_and_flagged(asker):
    composed, text = sorted(
        asker.ask([q("cube_red+light_intensity=0.33"), Question(text="under a disco ball")]),
        key=lambda a: a.index,
    )
    assert not composed.seen
    assert composed.rollouts == composed.failures == 0
    assert not text.seen
    assert 0 < text.p_failure < 1


@pytest.mark.parametrize(
    "text", ["make me a coffee", "under a disco ball", "桌子是红色的", "zzz qqq"]
)
def test_a_text_about_something_else_is_flagged(asker, text):
    answer = asker.ask([Question(text=text)])[0]
    assert not answer.trusted
    assert answer.p_high - answer.p_low > 0.5


@pytest.mark.parametrize("text", ["The table is red.", "it is very dark", "a tiny cube"])
def test_a_text_about_what_was_tried_is_not(asker, text):
    assert asker.ask([Question(text=text)])[0].trusted
    both = asker.ask([Question(text=text.rstrip(".") + ". Also, a giraffe walks by.")])[0]
    assert not both.trusted


def test_far_from_everything_nothing_is_claimed(asker):
    far = LinearEmbedding(LIFT)
    far.embed = lambda inputs: np.full((len(inputs), 512), 40.0, np.float32)
    stranger = Asker(far, RECORDS, LIFT, known=asker.known, calibrations=asker.calibrations)
    answer = stranger.ask([Question(text="anything")])[0]
    assert not answer.trusted
    assert answer.distance > answer.distance_limit
    assert answer.p_high - answer.p_low > 0.8


def test_evidence_of_the_same_perturbation_narrows_the_interval(asker):
    """Successes where success is expected; a surprise may well widen it."""
    p = LIFT.perturbation("cube_size=0.02,0.02,0.02+robot_grey")
    widths = []
    for n in (0, 3, 12):
        extra = [record(10_000 + i, p, failed=False) for i in range(n)]
        answer = asker.with_records([*RECORDS, *extra]).ask([Question(p)])[0]
        widths.append(answer.p_high - answer.p_low)
        assert answer.rollouts == n
    assert widths[0] > widths[1] > widths[2]


def test_with_records_embeds_only_what_is_new_and_keeps_quality(asker):
    before = asker.embedding.embedded
    grown = asker.with_records([*RECORDS, record(9_999, Perturbation(), False)])
    assert asker.embedding.embedded == before + 1
    assert len(grown.known) == len(asker.known) + 1
    assert grown.quality is asker.quality
    np.testing.assert_array_equal(grown.known.embeddings[:-1], asker.known.embeddings)


def test_a_changed_label_changes_the_evidence(asker):
    p = RECORDS[0].perturbation
    flipped = [record(0, p, RECORDS[0].outcome is not Outcome.FAILURE), *RECORDS[1:]]
    change = asker.with_records(flipped).tally(p)[1] - asker.tally(p)[1]
    assert abs(change) == 1


def test_only_evidence_counts():
    control = record(1, Perturbation(), True, control=Control.ZERO_ACTION)
    invalid = record(2, Perturbation(), True, labels=(Label(Outcome.INVALID, "x", 0.0),))
    with pytest.raises(NotReadyError, match="no labelled rollout"):
        Asker(LinearEmbedding(LIFT), [control, invalid], LIFT)
    asker = Asker(LinearEmbedding(LIFT), [control, invalid, record(3, Perturbation(), False)], LIFT)
    assert asker.tally(Perturbation()) == (1, 0)


@pytest.mark.parametrize("outcomes", [[True], [False], [True, False], [False] * 30])
def test_very_little_evidence_still_answers(outcomes):
    records = [record(i, Perturbation(), f) for i, f in enumerate(outcomes)]
    answers = Asker(LinearEmbedding(LIFT), records, LIFT).ask([q(), q("cube_red")])
    assert all(0 < a.p_failure < 1 for a in answers)
    assert all(math.isnan(a.log_density) and math.isnan(a.density_ratio) for a in answers)


def test_quality_is_measured_on_held_out_rollouts_beside_the_baselines(asker):
    quality, held = asker.quality, asker.heldout
    assert quality.rollouts == len(HELD) == len(held.ids)
    assert quality.auc == pytest.approx(metrics.auc(held.p_failure, held.failed))
    assert quality.auc_low < quality.auc < quality.auc_high
    assert quality.auc > 0.8
    assert quality.auc > quality.auc_untrained
    assert quality.auc_search > quality.auc_untrained
    assert 0.5 < quality.auc_success_table < 1
    assert 0.5 < quality.auc_nearest < 1
    assert quality.brier < 0.25
    assert quality.calibration_error < 3 * quality.calibration_error_floor
    assert quality.coverage > 0.75
    assert ((held.p_low <= held.p_failure) & (held.p_failure <= held.p_high)).all()


def test_held_out_answers_do_not_use_their_own_outcome(asker):
    """Flip one held-out outcome: its own answer stays as it is."""
    victim = HELD[0]
    flipped = [
        record(int(r.id[1:]), r.perturbation, r.outcome is not Outcome.FAILURE,
               shade=int(r.first_frame[0, 0, 0])) if r.id == victim else r
        for r in RECORDS
    ]  # fmt: skip
    again = Asker(LinearEmbedding(LIFT, HELD), flipped, LIFT)
    plain = Asker(LinearEmbedding(LIFT, HELD), RECORDS, LIFT)
    row = plain.heldout.ids.index(victim)
    assert again.heldout.p_failure[row] == plain.heldout.p_failure[row]


def test_risk_map_holds_the_catalogue_and_other_failing_conditions(asker):
    p = LIFT.perturbation("table_red+light_intensity=0.1")
    extra = [record(20_000 + i, p, failed=True) for i in range(3)]
    risk_map = asker.with_records([*RECORDS, *extra]).risk_map()
    ids = [a.question.perturbation.id for a in risk_map.answers]
    assert {"nominal", *LIFT.variations} <= set(ids)
    assert p.id in ids
    risks = [a.p_failure for a in risk_map.answers]
    assert risks == sorted(risks, reverse=True)
    assert risk_map.entropy == pytest.approx(metrics.entropy(risks))
    assert risk_map.severity_index == pytest.approx(metrics.fsi(risks))
    assert risk_map.failure_modes == sum(a.p_low > 0.5 for a in risk_map.answers)
    assert (risk_map.policy_id, risk_map.rollouts) == ("stub", 403)
    assert risk_map.search_id == asker.search.id


def test_a_risk_map_of_chosen_perturbations(asker):
    chosen = [LIFT.perturbation("cube_red"), Perturbation()]
    assert len(asker.risk_map(chosen).answers) == 2
    many = [LIFT.sample(np.random.default_rng(i)) for i in range(300)]
    assert [a.rank for a in asker.risk_map(many).answers] == list(range(1, 301))


def test_impossible_requests_are_refused(asker):
    with pytest.raises(InvalidArgumentError, match="at least one"):
        asker.ask([])
    with pytest.raises(TooLargeError, match="at most 256"):
        asker.ask([q()] * 257)
    with pytest.raises(TooLargeError, match="at most 50"):
        asker.ask([q()], evidence=51)
    with pytest.raises(InvalidArgumentError):
        asker.ask([q()], evidence=-1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(
    st.sampled_from(["nominal", "cube_red", "cube_red+table_blue", "light_intensity=0.5"]).map(q),
    st.text(min_size=1, max_size=200).filter(str.strip).map(lambda t: Question(text=t)),
    st.integers(1, 40).map(lambda n: Question(image=np.zeros((n, 2 * n, 3), np.uint8))),
    st.integers(1, 9).map(lambda n: q("table_red", image=np.full((n, n, 3), 9, np.uint8), text="hm")),
), min_size=1, max_size=12), st.integers(0, 50))  # fmt: skip
def test_any_mixture_of_questions_is_answered(asker, questions, evidence):
    answers = asker.ask(questions, evidence)
    assert sorted(a.index for a in answers) == list(range(len(questions)))
    for a in answers:
        assert 0 <= a.p_low <= a.p_failure <= a.p_high <= 1
        assert math.isfinite(a.distance)
        assert math.isfinite(a.log_density)
        assert 0 <= a.density_ratio <= 1
        assert len(a.evidence) == evidence
