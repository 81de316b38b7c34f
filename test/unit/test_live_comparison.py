"""The loop that gives two policies the same scenes until it is decided, with policies that are a table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from store_samples import make_record

from robomd_ros.core.comparison import ComparisonConfig, Verdict
from robomd_ros.core.errors import PolicyError
from robomd_ros.core.outcome import Outcome
from robomd_ros.search.live_comparison import Monitor, run_comparison

CONDITIONS = ("nominal", "cube_red", "table_blue")


class Player:
    """A policy that fails with a rate a condition, the same on the same scene; reads a few turns ahead."""

    def __init__(self, rates, salt=0, ahead=3):
        self.rates, self.salt, self.ahead, self.turns = rates, salt, ahead, []

    def __call__(self, turns):
        turns = iter(turns)
        waiting = list(itertools.islice(turns, self.ahead))
        while waiting:
            turn = waiting.pop(0)
            self.turns.append(turn)
            luck = np.random.default_rng([turn.seed, self.salt]).random()
            failed = luck < self.rates.get(turn.condition, 0.0)
            yield make_record(
                f"r{len(self.turns)}",
                turn.condition,
                Outcome.FAILURE if failed else Outcome.SUCCESS,
            )
            waiting += itertools.islice(turns, 1)


def run(a, b, pairs=300, each=False, **config):
    monitor = Monitor(CONDITIONS, ComparisonConfig(**config))
    seen = []
    run_comparison(a, b, monitor, pairs, 100, each, seen.append)
    assert seen == monitor.pairs
    return monitor


def test_stops_as_soon_as_it_is_decided():
    a, b = Player({"nominal": 0.1}), Player({"nominal": 0.1, "cube_red": 0.95})
    monitor = run(a, b)
    assert monitor.comparison.verdict is Verdict.WORSE
    assert len(monitor.pairs) < 60
    assert [(t.condition, t.seed) for t in a.turns] == [(t.condition, t.seed) for t in b.turns]


def test_alike_policies_are_no_worse_and_never_told_apart():
    a, b = Player({"nominal": 0.3}), Player({"nominal": 0.3})
    monitor = run(a, b)
    assert monitor.comparison.verdict is Verdict.NO_WORSE
    assert len(monitor.pairs) < 300
    assert all(p.difference == 0 for p in monitor.pairs)


def test_the_budget_ends_it_undecided():
    monitor = run(Player({"nominal": 0.5}), Player({"nominal": 0.5}, salt=1), pairs=12)
    assert monitor.comparison.verdict is Verdict.UNDECIDED
    assert len(monitor.pairs) == 12
    assert monitor.comparison.overall.n_a == 12


def test_overall_counts_whole_rounds():
    monitor = run(Player({}), Player({}, salt=1), pairs=11)
    assert sum(r.n_a for r in monitor.comparison.rows) == 11
    assert monitor.comparison.overall.n_a == 9


def test_each_condition_is_run_until_it_is_decided():
    a, b = Player({"cube_red": 0.02}), Player({"cube_red": 0.95})
    monitor = run(a, b, each=True, margin=0.2)
    verdicts = {r.name: r.verdict for r in monitor.comparison.rows}
    assert verdicts == {
        "nominal": Verdict.NO_WORSE, "cube_red": Verdict.WORSE, "table_blue": Verdict.NO_WORSE,
    }  # fmt: skip
    n = {r.name: r.n_a for r in monitor.comparison.rows}
    assert n["cube_red"] < n["nominal"]


def test_a_verdict_that_was_reached_stays():
    monitor = Monitor(("nominal",), ComparisonConfig())
    a, b = Player({}), Player({"nominal": 1.0})
    run_comparison(a, b, monitor, 12, 100)
    assert monitor.comparison.verdict is Verdict.WORSE
    p = monitor.comparison.overall.p_worse
    run_comparison(b, a, monitor, 1, 500)
    assert monitor.comparison.verdict is Verdict.WORSE
    assert monitor.comparison.overall.p_worse == p


class Broken(Player):
    def __call__(self, turns):
        for turn in turns:
            yield make_record(f"b{turn.seed}", turn.condition, Outcome.POLICY_ERROR)


def test_a_policy_that_breaks_down_ends_it_in_a_sentence():
    with pytest.raises(PolicyError, match="6 rollouts ended without success or failure"):
        run(Player({}), Broken({}))
