"""The session loop against a small world in memory: nodes that vanish, labels that come late, policies that break."""

import threading

import numpy as np
import pytest

from robomd_ros.core.errors import (
    CancelledByUserError,
    DeadlineError,
    NotReadyError,
    PolicyError,
    StorageError,
    UnavailableError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.search.session import Plan, SessionConfig, SessionPlanner
from robomd_ros.search.session_loop import Past, SessionLoop, State

LIFT = load_catalogue("lift")


class World:
    """A cell, a labeler, a store and trainers that work, except where `broken` says otherwise."""

    def __init__(self):
        self.stored, self.applied, self.trained = [], None, 0
        self.broken = {}  # port -> list of errors to raise, one a call
        self.outcome_of = lambda plan: Outcome.FAILURE if plan.control else Outcome.SUCCESS
        self.rng = np.random.default_rng(0)

    def _may_break(self, port):
        if self.broken.get(port):
            raise self.broken[port].pop(0)

    def history(self):
        self._may_break("history")
        return list(self.stored)

    def suggest(self, strategy, count, seed):
        self._may_break("suggest")
        return [LIFT.sample(self.rng) for _ in range(count)]

    def apply(self, perturbation):
        self._may_break("apply")
        self.applied = perturbation

    def roll_out(self, rollout_id, plan):
        assert self.applied.id == plan.perturbation.id
        self._may_break("before_roll_out")
        self.stored.append(Past(rollout_id, plan, self.outcome_of(plan)))
        self._may_break("after_roll_out")

    def outcome(self, rollout_id):
        self._may_break("outcome")
        for past in self.stored:
            if past.rollout_id == rollout_id:
                return past.outcome
        raise UnknownIdError("no label")

    def train(self, seed, progress):
        self._may_break("train")
        progress("training 50 %")
        self.trained += 1
        return "trained"


def session(world, rollouts=12, said=None, cancelled=lambda: False, session_id="s1", **kwargs):
    said = [] if said is None else said
    planner = SessionPlanner(SessionConfig(rollouts=rollouts, initial=4, nominal=1))
    options = {"patience": 2.0, "retry_period": 0.01, **kwargs}
    loop = SessionLoop(planner, world, LIFT, session_id, said.append, cancelled, **options)
    return loop, said


def test_runs_to_its_budget_and_trains():
    world = World()
    loop, _ = session(world, train_every=5)
    status = loop.run()
    assert status.state is State.DONE
    assert status.done == len(world.stored) == 12
    assert (status.successes, status.failures) == (11, 0)
    assert world.trained == 4  # before, after 5, after 10, at the end
    assert "budget" in status.message
    assert len({p.rollout_id for p in world.stored}) == 12
    assert [p.plan.control for p in world.stored].count(Control.ZERO_ACTION) == 1


@pytest.mark.parametrize("port", ["history", "apply", "before_roll_out", "outcome"])
def test_waits_for_what_went_away_and_says_so(port):
    world = World()
    world.broken[port] = [UnavailableError("nobody there")] * 3
    loop, said = session(world)
    assert loop.run().state is State.DONE
    waiting = [s for s in said if s.state is State.WAITING]
    assert len(waiting) == 3
    assert all("nobody there" in s.message for s in waiting)


def test_gives_up_after_its_patience_and_can_be_resumed():
    world = World()
    loop, _ = session(world, patience=0.1)
    world.broken["apply"] = []
    world.outcome_of = lambda plan: (
        (
            world.broken["apply"].extend([UnavailableError("cell is gone")] * 1000)
            if len(world.stored) == 5
            else None
        )
        or (Outcome.FAILURE if plan.control else Outcome.SUCCESS)
    )
    with pytest.raises(UnavailableError):
        loop.run()
    assert loop.status.state is State.FAILED
    done = loop.status.done
    assert 0 < done < 12
    world.broken.clear()
    again, _ = session(world)
    status = again.run()
    assert status.state is State.DONE
    assert status.done == 12
    mine = {p.rollout_id.rsplit("-", 2)[1] for p in world.stored}
    assert len(mine) == 12
    assert len({p.rollout_id for p in world.stored}) == len(world.stored)


def test_other_sessions_are_history_not_progress():
    world = World()
    session(world)[0].run()
    status = session(world, session_id="s2")[0].run()
    assert status.done == 12
    assert len(world.stored) == 24


def test_nobody_suggests_and_the_space_is_filled():
    world = World()
    world.broken["suggest"] = [NotReadyError("nothing trained")] * 100
    loop, said = session(world)
    assert loop.run().done == 12
    assert len({p.plan.perturbation.id for p in world.stored}) > 8
    assert any("filling the space" in s.message for s in said)


def test_a_training_that_fails_does_not_end_the_session():
    world = World()
    world.broken["train"] = [NotReadyError("too few failures"), UnavailableError("killed")]
    loop, said = session(world, train_every=6)
    assert loop.run().state is State.DONE
    assert any("too few failures" in s.message for s in said)


def test_policy_errors_end_the_session_after_three_in_a_row():
    world = World()
    world.outcome_of = lambda plan: Outcome.FAILURE if plan.control else Outcome.POLICY_ERROR
    world.broken["after_roll_out"] = []
    loop, _ = session(world)
    with pytest.raises(PolicyError, match="preflight"):
        loop.run()
    assert loop.status.not_evidence == 3


def test_a_rollout_that_ended_with_an_error_still_counts_as_what_it_was():
    world = World()
    world.broken["after_roll_out"] = [PolicyError("late")]
    loop, _ = session(world)
    assert loop.run().done == len(world.stored) == 12


def test_a_rollout_cut_off_by_a_dead_cell_is_tried_again():
    world = World()
    world.broken["before_roll_out"] = [DeadlineError("no result")]
    loop, _ = session(world)
    assert loop.run().done == 12
    assert world.stored[0].rollout_id.endswith("-2")


def test_a_control_that_succeeds_ends_the_session():
    world = World()
    world.outcome_of = lambda plan: Outcome.SUCCESS
    loop, _ = session(world)
    status = loop.run()
    assert status.done == 1
    assert "negative control" in status.message


def test_cancel_is_heard_while_waiting():
    world = World()
    stop = threading.Event()
    world.broken["apply"] = [UnavailableError("gone")] * 10_000
    loop, said = session(world, cancelled=stop.is_set, patience=60.0)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(CancelledByUserError):
        loop.run()
    assert said[-1].state is State.PAUSED


def test_a_full_disk_pauses_the_session_beyond_its_patience():
    world = World()
    started = []
    roll_out = world.roll_out
    world.roll_out = lambda rollout_id, plan: (
        started.append(rollout_id),
        roll_out(rollout_id, plan),
    )
    world.broken["outcome"] = [StorageError("disk full while writing s")] * 30
    loop, said = session(world, patience=0.05)
    assert loop.run().state is State.DONE
    assert len(started) == 12
    waiting = [s for s in said if s.state is State.WAITING]
    assert len(waiting) == 30
    assert all("disk full" in s.message for s in waiting)


def test_a_rollout_that_the_labeler_lost_is_rolled_out_again():
    world = World()
    world.broken["outcome"] = [UnavailableError("killed"), UnknownIdError("not stored")]
    loop, _ = session(world)
    assert loop.run().done == 12
    assert [p.rollout_id for p in world.stored[:2]] == ["s1-0000-1", "s1-0000-2"]


def test_a_full_disk_is_waited_for_until_cancelled():
    world = World()
    stop = threading.Event()
    world.broken["outcome"] = [StorageError("disk full")] * 10_000
    loop, said = session(world, cancelled=stop.is_set, patience=0.01)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(CancelledByUserError):
        loop.run()
    assert (said[-1].state, len(world.stored)) == (State.PAUSED, 1)


def test_a_session_does_not_swallow_one_whose_id_begins_alike():
    world = World()
    session(world, session_id="run-2")[0].run()
    world.stored.append(Past("run-x-y", Plan(Perturbation(), "manual", 0), Outcome.SUCCESS))
    assert session(world, session_id="run")[0].run().done == 12
    assert len(world.stored) == 25


def test_numbers_are_resumed_in_order():
    world = World()
    failing, fine = LIFT.perturbation("cube_red"), LIFT.perturbation("cube_blue")
    for number in (10_000, 9_999):
        plan = Plan(fine if number == 9_999 else failing, "search", 0)
        world.stored.append(Past(f"s1-{number}-1", plan, Outcome.SUCCESS))
    loop, _ = session(world, rollouts=3)
    recorded = []
    record = loop.planner.record
    loop.planner.record = lambda plan, outcome: (recorded.append(plan), record(plan, outcome))
    loop.run()
    assert [p.perturbation for p in recorded[:2]] == [fine, failing]
    assert world.stored[-1].rollout_id == "s1-10001-2"


def test_a_rollout_that_was_broken_off_spends_nothing_when_resumed():
    world = World()
    session(world)[0].run()
    for index in (3, 11):
        past = world.stored[index]
        world.stored[index] = Past(past.rollout_id, past.plan, Outcome.INVALID)
    status = session(world)[0].run()
    assert (status.done, len(world.stored)) == (12, 14)
    ids = [p.rollout_id for p in world.stored]
    assert ids[-2:] == ["s1-0011-13", "s1-0012-14"]
    assert session(world)[0].run().done == 12
    assert len(world.stored) == 14


def test_a_refused_variation_is_not_asked_for_again():
    world = World()
    loop, said = session(world)
    asked = []
    plain = world.apply

    def apply(perturbation):
        asked.append(perturbation.id)
        if len(asked) == 4:
            raise CancelledByUserError("ada has no such lamp.")
        plain(perturbation)

    world.apply = apply
    status = loop.run()
    assert status.state is State.DONE
    assert status.done == len(world.stored) == 12
    assert asked[3] not in asked[4:]
    assert any("no such lamp" in s.message for s in said)


def test_three_refusals_in_a_row_pause_the_session():
    world = World()
    world.broken["apply"] = [CancelledByUserError(f"no, {i}.") for i in range(3)]
    loop, _ = session(world)
    with pytest.raises(CancelledByUserError, match="no, 2"):
        loop.run()
    assert loop.status.state is State.PAUSED
    assert not world.stored


def test_by_hand_only_named_variations_are_chosen():
    world = World()
    world.broken["suggest"] = [NotReadyError("nothing trained")] * 100
    loop, _ = session(world, by_hand=True)
    loop.run()
    ids = {v for p in world.stored for v in p.plan.perturbation.ids}
    assert ids
    assert not [i for i in ids if "=" in i]
