from collections import Counter

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.search.session import SessionConfig, SessionPlanner

LIFT = load_catalogue("lift")


def chance(seed=0):
    rng = np.random.default_rng(seed)
    return lambda strategy, count: [LIFT.sample(rng) for _ in range(count)]


def drive(planner, outcome_of, suggest):
    plans = []
    while (plan := planner.next(suggest)) is not None:
        planner.record(plan, outcome_of(plan))
        plans.append(plan)
    return plans


def success_unless(failing):
    def outcome_of(plan):
        fails = plan.control is Control.ZERO_ACTION or failing(plan.perturbation)
        return Outcome.FAILURE if fails else Outcome.SUCCESS

    return outcome_of


def test_starts_with_the_negative_control_and_the_control_arm():
    planner = SessionPlanner(SessionConfig(rollouts=30, nominal=3, initial=8))
    plans = drive(planner, success_unless(lambda p: False), chance())
    assert [p.control for p in plans[:2]] == [Control.ZERO_ACTION, Control.NONE]
    assert [p.perturbation.id for p in plans[1:4]] == ["nominal"] * 3
    assert {p.purpose for p in plans[1:9]} == {"initial"}
    assert len(plans) == 30


def test_a_control_that_succeeds_stops_the_session():
    planner = SessionPlanner(SessionConfig(rollouts=30))
    plans = drive(planner, lambda plan: Outcome.SUCCESS, chance())
    assert len(plans) == 1
    assert "negative control" in planner.stop_reason()


def test_a_control_that_was_no_evidence_is_run_again():
    planner = SessionPlanner(SessionConfig(rollouts=5))
    planner.record(planner.next(chance()), Outcome.TIMEOUT)
    assert planner.next(chance()).control is Control.ZERO_ACTION


def test_shares_are_kept():
    config = SessionConfig(rollouts=400, initial=0, nominal=0)
    plans = drive(SessionPlanner(config), success_unless(lambda p: False), chance())
    n = Counter(p.purpose for p in plans)
    assert n["search"] / 399 == pytest.approx(0.5, abs=0.01)
    assert n["learn"] / 399 == pytest.approx(0.25, abs=0.01)
    assert n["random"] / 399 == pytest.approx(0.25, abs=0.01)


def test_a_failure_is_confirmed_by_repeats_within_the_share():
    config = SessionConfig(rollouts=100, initial=10)
    planner = SessionPlanner(config)
    plans = drive(planner, success_unless(lambda p: "cube_color" in str(p.variations)), chance())
    ids = Counter(p.perturbation.id for p in plans if p.control is Control.NONE)
    assert planner.confirmed
    assert all(ids[i] >= config.repeats and "cube_color" in i for i in planner.confirmed)
    assert sum(p.purpose == "confirm" for p in plans) <= 1 + 0.35 * len(plans)


def test_one_failure_is_not_a_failing_condition():
    planner = SessionPlanner(SessionConfig(rollouts=10, nominal=0, initial=0, confirm_share=0.0))
    drive(planner, success_unless(lambda p: True), chance())
    assert planner.confirmed == []


def test_history_counts_as_evidence_and_towards_confirmation():
    planner = SessionPlanner(SessionConfig(rollouts=10, nominal=0, initial=3))
    red = LIFT.perturbation("table_red")
    for _ in range(3):
        planner.add_history(red, Outcome.FAILURE)
    planner.add_history(red, Outcome.INVALID)
    assert planner.confirmed == ["table_red"]
    planner.record(planner.next(chance()), Outcome.FAILURE)  # the zero-action control
    assert planner.next(chance()).purpose != "initial"


def test_resumes_where_it_was():
    config = SessionConfig(rollouts=40, initial=10)
    outcome_of = success_unless(lambda p: len(p.variations) > 3)
    whole = drive(SessionPlanner(config, seed=5), outcome_of, chance(7))
    again = SessionPlanner(config, seed=5)
    for plan in whole[:17]:
        again.record(plan, outcome_of(plan))
    rest = drive(again, outcome_of, chance(8))
    assert len(rest) == 23
    assert [p.seed for p in rest] == [p.seed for p in whole[17:]]


def test_patience_stops_a_session_that_finds_nothing():
    config = SessionConfig(rollouts=500, nominal=0, initial=0, patience=20)
    planner = SessionPlanner(config)
    assert len(drive(planner, success_unless(lambda p: False), chance())) == 21
    assert "no new failing condition" in planner.stop_reason()


def test_without_suggestions_the_nominal_scene_is_run():
    planner = SessionPlanner(SessionConfig(rollouts=3, nominal=0, initial=0))
    plans = drive(planner, success_unless(lambda p: False), lambda s, n: [])
    assert {p.perturbation for p in plans} == {Perturbation()}


@pytest.mark.parametrize(
    "bad", [{"rollouts": 0}, {"search_share": 0.9}, {"repeats": 0}, {"confirm_probability": 1.0}]
)
def test_bad_config_is_refused(bad):
    with pytest.raises(InvalidArgumentError):
        SessionConfig(**bad)
