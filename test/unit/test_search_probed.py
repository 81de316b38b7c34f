"""A policy that is asked: what its answers say of outcomes where factor values say nothing."""

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import special

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from linear_embedding import LinearEmbedding, record

from robomd_ros.core.answers import Question
from robomd_ros.core.metrics import auc
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.probes import DIM, ProbeTable
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.learning.risk import Layout, RiskPrior
from robomd_ros.search.asking import Asker
from robomd_ros.search.probed import MIN_ROLLOUTS, ProbedPrior, vectors
from robomd_ros.search.suggest import candidates, suggest

LIFT = load_catalogue("lift")


def scenes(n, seed):
    """So many different ones."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < n:
        p = LIFT.sample(rng, 0.3)
        found[p.id] = p
    return list(found.values())


def change(perturbation):
    """How far the policy's answers are from the usual ones: what no factor value tells."""
    return np.random.default_rng(zlib.crc32(perturbation.id.encode())).normal()


def risk_of(perturbations):
    return special.expit(3.0 * np.array([change(p) for p in perturbations]) - 0.5)


def table(perturbations, policy_id="stub"):
    rows = {p.id: np.full(DIM, change(p), np.float32) for p in perturbations}
    return ProbeTable(policy_id, rows)


def rollouts(perturbations, first=0):
    failed = np.random.default_rng(first + 1).random(len(perturbations)) < risk_of(perturbations)
    return [
        record(first + i, p, bool(f)) for i, (p, f) in enumerate(zip(perturbations, failed, strict=True))
    ]  # fmt: skip


def failures(records):
    return np.array([r.outcome is Outcome.FAILURE for r in records])


TRIED, NEW, UNASKED = scenes(160, 0), scenes(120, 1), scenes(40, 2)
RECORDS = rollouts(TRIED)
TABLE = table([*TRIED, *NEW])
HELD = tuple(r.id for r in RECORDS[::4])


def asker_with(probes, records=RECORDS):
    embedding = LinearEmbedding(LIFT, HELD)
    embedding.risk = PLAIN
    return Asker(embedding, records, LIFT, probes=probes)


def learnt(probe):
    seen = vectors(TABLE, LIFT, TRIED) if probe else plain(TRIED)
    return RiskPrior.learn(Layout.of(LIFT, probe=probe), *seen, failures(RECORDS))


def plain(perturbations):
    pairs = [LIFT.vector(p) for p in perturbations]
    return np.stack([v for v, _ in pairs]), np.stack([m for _, m in pairs])


PLAIN = learnt(0)


@pytest.fixture(scope="module")
def prior():
    return learnt(DIM)


@pytest.fixture(scope="module")
def asked():
    return asker_with(TABLE)


@pytest.fixture(scope="module")
def unasked():
    return asker_with(None)


def means(asker, perturbations):
    return asker.posterior([Question(p) for p in perturbations]).mean


def test_what_only_the_probe_tells_is_found_with_it_and_not_without(prior):
    truth = risk_of(NEW) > 0.5
    with_probe = prior.given(*vectors(TABLE, LIFT, TRIED), failures(RECORDS))
    without = PLAIN.given(*plain(TRIED), failures(RECORDS))
    assert auc(with_probe.logits(*vectors(TABLE, LIFT, NEW)), truth) > 0.95
    assert auc(without.logits(*plain(NEW)), truth) < 0.7


def test_taking_rollouts_out_of_an_answer_is_the_answer_without_them(prior):
    repeated = np.concatenate([np.arange(60), [0, 0, 1]])  # scenes 0 and 1 were run again
    scenes_, y = [TRIED[i] for i in repeated], failures(RECORDS)[repeated]
    same = (repeated[:, None] == np.arange(3)).T
    risk = prior.given(*vectors(TABLE, LIFT, scenes_), y)
    mean, variance = risk.latent(*vectors(TABLE, LIFT, TRIED[:3]), without=same)
    for i in range(3):
        left = [p for p, out in zip(scenes_, same[i], strict=True) if not out]
        again = prior.given(*vectors(TABLE, LIFT, left), y[~same[i]])
        wanted = again.latent(*vectors(TABLE, LIFT, TRIED[i : i + 1]))
        assert mean[i] == pytest.approx(wanted[0][0], rel=0.05, abs=0.1)
        assert variance[i] == pytest.approx(wanted[1][0], rel=0.1)


def test_covariance_holds_the_variances(prior):
    risk = prior.given(*vectors(TABLE, LIFT, TRIED[:50]), failures(RECORDS[:50]))
    covariance = risk.covariance(*vectors(TABLE, LIFT, NEW[:4]))
    _, variance = risk.latent(*vectors(TABLE, LIFT, NEW[:4]))
    assert np.diag(covariance) == pytest.approx(variance, rel=1e-4)


def test_nothing_is_learnt_from_too_few_rollouts_or_outcomes_of_one_kind():
    failed = np.arange(len(TRIED)) % 2 > 0
    few = table(TRIED[: MIN_ROLLOUTS - 1])
    assert ProbedPrior.learn(few, LIFT, TRIED, failed) is None
    enough = table(TRIED[:MIN_ROLLOUTS])
    assert ProbedPrior.learn(enough, LIFT, TRIED, failed) is not None
    failed[:MIN_ROLLOUTS] = True  # the others, of which there is no probe, ended otherwise
    assert ProbedPrior.learn(enough, LIFT, TRIED, failed) is None


def test_questions_with_a_probe_are_answered_better(asked, unasked):
    truth = risk_of(NEW)
    errors = [np.square(means(a, NEW) - truth).mean() for a in (asked, unasked)]
    assert errors[0] < errors[1] / 2
    assert asked.quality.auc > unasked.quality.auc + 0.15


def test_questions_without_a_probe_are_answered_as_if_nobody_had_been_asked(asked, unasked):
    image = np.zeros((4, 4, 3), np.uint8)
    others = [*map(Question, UNASKED), Question(UNASKED[0], image=image), Question(image=image)]
    one, other = (a.posterior(others) for a in (asked, unasked))
    assert np.array_equal(one.alpha, other.alpha)
    assert np.array_equal(one.beta, other.beta)


def test_a_question_is_answered_alike_in_any_company(asked):
    together = means(asked, [UNASKED[0], NEW[0], UNASKED[1], NEW[1]])
    assert together[[1, 3]] == pytest.approx(means(asked, NEW[:2]))
    assert together[[0, 2]] == pytest.approx(means(asked, UNASKED[:2]))


def test_held_out_answers_do_not_use_their_own_outcome(asked):
    """Flip one held-out outcome: its own answer stays as it is."""
    flipped = [record(0, TRIED[0], not failures(RECORDS)[0]), *RECORDS[1:]]
    again = asker_with(TABLE, flipped)
    assert again.heldout.ids[0] == RECORDS[0].id
    assert again.heldout.failed[0] != asked.heldout.failed[0]
    assert again.heldout.p_failure[0] == asked.heldout.p_failure[0]


@pytest.mark.parametrize("probes", [table(TRIED, "another"), ProbeTable("stub", {})])
def test_probes_of_another_policy_or_of_nothing_say_nothing(unasked, probes):
    asker = asker_with(probes)
    assert asker.probed == []
    assert np.array_equal(means(asker, NEW), means(unasked, NEW))
    assert np.array_equal(asker.heldout.p_failure, unasked.heldout.p_failure)


def test_what_was_learnt_is_kept_with_other_evidence(asked):
    few = asked.with_records(RECORDS[: MIN_ROLLOUTS - 1])  # too few to learn it from
    assert few.probed == asked.probed
    assert auc(means(few, NEW), risk_of(NEW) > 0.5) > 0.95
    p = NEW[0]
    more = asked.with_records([*RECORDS, *(record(900 + i, p, True) for i in range(5))])
    assert means(more, [p])[0] > means(asked, [p])[0]


def test_evidence_none_of_which_has_a_probe_is_evidence(asked):
    others = asked.with_records(rollouts(UNASKED, first=500))
    assert np.isfinite(means(others, [*NEW[:3], *UNASKED[:3]])).all()


def test_held_out_rollouts_none_of_which_has_a_probe_are_measured_as_ever(unasked):
    trained = [p for r, p in zip(RECORDS, TRIED, strict=True) if r.id not in HELD]
    asker = asker_with(table([*trained, *NEW]))
    assert np.array_equal(asker.heldout.p_failure, unasked.heldout.p_failure)
    assert auc(means(asker, NEW), risk_of(NEW) > 0.5) > 0.95


def test_answers_are_as_good_as_is_said_where_factor_values_alone_say_nothing():
    """As in the paper profile, whose embedding has no risk."""
    asker = Asker(LinearEmbedding(LIFT, HELD), RECORDS, LIFT, probes=TABLE)
    truth = risk_of(NEW) > 0.5
    assert auc(means(asker, NEW), truth) == pytest.approx(asker.quality.auc, abs=0.15)


def test_a_probe_of_a_variation_that_the_catalogue_lost_is_left_alone():
    gone = {"cube_mauve": np.zeros(DIM, np.float32)}
    asker = asker_with(TABLE.with_rows(gone))
    assert {p.id for p in asker.probed} == set(TABLE.numbers)


def test_doubt_counts_the_probe_where_all_have_one(asked, unasked):
    mixed = [NEW[0], UNASKED[0]]
    assert np.array_equal(asked.doubt(mixed), unasked.doubt(mixed))
    assert not np.allclose(asked.doubt(NEW[:2]), unasked.doubt(NEW[:2]), rtol=0.1)


def test_what_the_policy_was_asked_comes_first_among_the_candidates():
    rng = np.random.default_rng
    some = [*scenes(30, 3), Perturbation()]
    ids = {p.id for p in candidates(LIFT, rng(0), probed=some)}
    assert {p.id for p in some[:-1]} <= ids
    assert "nominal" not in ids
    assert len(ids) > 300
    many = scenes(500, 4)
    free = {p.id for p in candidates(LIFT, rng(0), probed=many) if "=" in p.id}
    assert free <= {p.id for p in many}
    assert len(free) == 400


def test_by_hand_it_does_not(asked):
    found = candidates(LIFT, np.random.default_rng(0), by_hand=True, probed=scenes(30, 3))
    assert not [p for p in found if "=" in p.id]
    shown = suggest(asked, LIFT, [], "search", 8, np.random.default_rng(0), by_hand=True)
    assert not [s for s in shown if "=" in s.perturbation.id]


def test_a_search_finds_what_only_the_probe_tells(asked, unasked):
    """Among what it was asked: of the rest nothing is known."""

    def truth(asker):
        found = suggest(asker, LIFT, asker.tried, "search", 12, np.random.default_rng(0))
        return np.mean(risk_of([s.perturbation for s in found]))

    assert truth(asked) > truth(unasked) + 0.2


def test_chance_does_not_draw_again_what_was_tried_because_the_policy_was_asked_about_it(asked):
    tried = [p for p in asked.tried if "=" in p.id]
    assert {p.id for p in tried} & {p.id for p in asked.probed}
    found = suggest(asked, LIFT, tried, "random", 64, np.random.default_rng(0))
    assert not {s.perturbation.id for s in found} & {p.id for p in tried}
