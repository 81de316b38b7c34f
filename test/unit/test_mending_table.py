"""The fine-tuning table: who gets which demonstrations, and what its rows say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mending_ports import LIFT

from robomd_ros.core.variations import Perturbation
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Result, Results
from robomd_ros.evaluation.tables import finetuning
from robomd_ros.mending.effect import SHIPPED, Effect, Measured, expected_rate, fit_effect
from robomd_ros.mending.risks import Risk

RISKS = [
    Risk(c, p, max(0.0, p - 0.1), min(1.0, p + 0.1), 12)
    for c, p in zip(
        [Perturbation(), *LIFT.singles],
        [0.0, *np.linspace(1.0, 0.0, len(LIFT.variations))],
        strict=True,
    )
]


def test_each_arm_spends_the_same_and_never_on_the_unchanged_scene():
    worst, random, other, every = (
        finetuning.spread(RISKS, 80, under, seed)
        for under, seed in (("worst", 0), ("random", 0), ("random", 1), ("all", 0))
    )

    assert [a.sum() for a in (worst, random, other, every)] == [80] * 4
    assert not any(a[0] for a in (worst, random, other, every))
    assert np.count_nonzero(random) == np.count_nonzero(worst) < len(LIFT.variations)
    assert (random != other).any()
    assert sorted(set(every[1:])) == [3, 4]
    assert worst[1] > 0 == worst[-1]
    assert not finetuning.spread(RISKS, 0, "none", 0).any()


def arm(after: int, **more) -> dict:
    value = {
        "demos": {"cube_green": 5}, "bytes": 2_000_000, "expected": [0.2, 0.1, 0.3], "ratio": [after / 12, 0.0, 0.9],
        "overall": [12, 24, after, 24], "rows": {"cube_green": [12, 12, 0, 12], "nominal": [0, 12, after, 12]},
        "worse": [], "better": ["cube_green"], "measured": [],
    }  # fmt: skip
    return value | more


def test_rows_pool_training_seeds_and_say_what_got_worse(tmp_path):
    plan = Plan(tmp_path)
    results = Results(tmp_path / "results.json")
    for step in finetuning.steps(plan):
        if step.name == "finetuning/worst/0":
            results.add(step, Result(step.key, arm(3), 1.0))
        if step.name == "finetuning/worst/1":
            results.add(step, Result(step.key, arm(9, worse=["nominal"]), 1.0))

    lines = finetuning.render(results, plan).splitlines()

    trained = next(line for line in lines if line.startswith("| pre-trained"))
    worst = next(line for line in lines if "as `robomd plan-data` plans" in line)
    assert "0.500 [" in trained  # 12 of 24
    assert "0.250 [" in worst  # 3 + 9 of 48
    assert "**0.50** (0.25 [0.00, 0.90], 0.75 [0.00, 0.90])" in worst
    assert "nominal +0.75 | nominal |" in worst
    assert not any("control" in line for line in lines if line.startswith("|"))  # it has not run
    assert "0.125 is inside" in "\n".join(lines)
    assert "0.375 is outside" in "\n".join(lines)
    assert "| cube_green | 5 | 12/12 | 0/12 | 0/12 |" in lines


def test_nothing_run_says_so(tmp_path):
    assert finetuning.render(Results(tmp_path / "r.json"), Plan(tmp_path)) == "Not run."


def test_steps_are_one_an_arm_and_seed_and_fewer_when_quick(tmp_path):
    full, quick = (finetuning.steps(Plan(tmp_path, quick)) for quick in (False, True))

    assert len({s.name for s in full}) == len(full) == sum(len(a.seeds) for a in finetuning.ARMS.values())  # fmt: skip
    assert [s.arguments["demos"] for s in quick] == [8]


def test_the_shipped_law_is_the_one_fitted_to_the_results_that_ship():
    results = Results(Path(__file__).parents[2] / "docs" / "RESULTS.json")
    runs = finetuning.measured_runs(results)

    law = fit_effect([m for run in runs.values() for m in run], "")

    assert len(runs) == 10
    for name in ("base", "a", "b", "harm"):
        assert getattr(SHIPPED, name) == pytest.approx(getattr(law, name), abs=0.006)
    assert SHIPPED.strength == pytest.approx(law.strength, abs=0.06)


def test_a_coming_fine_tuning_is_expected_as_the_law_would_make_it():
    """A sharp law on many rollouts: half of what failed is left, and nothing else is uncertain."""
    law = Effect(base=0.5, a=0.0, b=0.0, harm=0.0, strength=50.0, source="by hand")
    run = [Measured(600, 1000, 0, 1000, 5, 0)] * 20

    mean, low, high = expected_rate(law, run, np.random.default_rng(0))

    assert mean == pytest.approx(0.3, abs=0.01)
    assert low == pytest.approx(mean - 1.645 * (0.3 * 0.7 / 51 / 20) ** 0.5, abs=0.01)
    assert high - mean == pytest.approx(mean - low, abs=0.01)
