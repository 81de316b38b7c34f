"""A study becomes a collection plan: what is worth demonstrating, what it should bring, and what cannot be planned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from store_samples import make_record, make_study

from robomd_ros.cli import main
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, StorageError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import StudyMeta
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.mending.effect import SHIPPED, Effect, Measured, fit_effect
from robomd_ros.mending.plan import Budget, DataPlan, make_plan
from robomd_ros.mending.risks import Risk, risks_of_rollouts

LIFT = load_catalogue("lift")
META = StudyMeta("lift", "Panda", "p")
HALVING = Effect(base=1.0, a=1.0, b=0.0, harm=0.0, strength=50.0, source="by hand")
"""n demonstrations leave 1 / (1 + n) of the failures."""


def risk(name: str, p: float, width: float = 0.1) -> Risk:
    return Risk(LIFT.perturbation(name), p, max(0.0, p - width / 2), min(1.0, p + width / 2), 12)


def planned(budget: Budget, *risks: Risk, effect: Effect = HALVING) -> DataPlan:
    return make_plan(risks, budget, META, "by hand", effect)


def demos_of(plan: DataPlan) -> dict[str, int]:
    return {e.id: e.demos for e in plan.entries if e.demos}


THREE = risk("nominal", 0.0), risk("cube_green", 1.0), risk("table_blue", 0.5)


def test_each_demonstration_goes_where_it_brings_most():
    """By hand: green 1 -> 1/2 (gain 1/2), blue 1/2 -> 1/4 (1/4), green 1/2 -> 1/3 (1/6); then blue 1/4 -> 1/6 (1/12)."""
    plan = planned(Budget(3, least=1), *THREE)

    assert demos_of(plan) == {"cube_green": 2, "table_blue": 1}
    assert {e.id: e.after for e in plan.entries} == pytest.approx(
        {"cube_green": 1 / 3, "table_blue": 1 / 4, "nominal": 0.0}
    )
    assert plan.before[0] == pytest.approx(1.5 / 3)
    assert plan.after[0] == pytest.approx((1 / 3 + 1 / 4) / 3)
    assert plan.gain[0] == pytest.approx((1.5 - 7 / 12) / 3)
    assert (plan.demos, plan.cost) == (3, 3.0)


def test_what_is_dear_to_set_up_is_set_up_later():
    """Blue's first demonstration brings 1/4, and costs 1 + 3: 1/16 for one, less than green's third, 1/3 -> 1/4."""
    dear = planned(Budget(3, least=1, setup_of={"table_color": 3.0}), *THREE)
    later = planned(Budget(9, least=1, setup_of={"table_blue": 3.0}), *THREE)

    assert demos_of(dear) == {"cube_green": 3}
    assert demos_of(later) == {"cube_green": 4, "table_blue": 2}
    assert later.cost == 9.0


def test_a_variation_gets_the_least_or_nothing():
    plan = planned(Budget(10, least=4), *THREE)

    assert demos_of(plan) == {"cube_green": 6, "table_blue": 4}
    assert demos_of(planned(Budget(3, least=4), *THREE)) == {}


def test_what_cannot_be_set_up_is_left_out_and_the_unchanged_scene_is_never_asked_for():
    bad = risk("nominal", 1.0), *THREE[1:]

    assert demos_of(planned(Budget(5, least=1, without=("cube_color",)), *bad)) == {"table_blue": 5}


def test_other_values_of_a_factor_profit():
    """With b = 1 and a = 0 only others' demonstrations count: a demonstration under green is made for red's sake."""
    kin = Effect(base=1.0, a=0.0, b=1.0, harm=0.0, strength=50.0, source="by hand")
    plan = planned(Budget(1, least=1), risk("cube_green", 0.2), risk("cube_red", 1.0), risk("table_red", 1.0), effect=kin)  # fmt: skip

    assert demos_of(plan) == {"cube_green": 1}
    assert {e.id: e.after for e in plan.entries} == pytest.approx(
        {"cube_green": 0.2, "cube_red": 0.5, "table_red": 1.0}
    )


def test_harm_is_expected_too():
    harmful = Effect(base=1.0, a=1.0, b=0.0, harm=0.1, strength=50.0, source="by hand")

    plan = planned(Budget(1, least=1), risk("nominal", 0.0), risk("cube_red", 0.5), effect=harmful)

    assert {e.id: e.after for e in plan.entries} == pytest.approx(
        {"nominal": 0.1, "cube_red": 0.25 + 0.05}
    )


def test_the_interval_of_the_whole_holds_what_happens():
    """Truth drawn as the plan assumes it: 90 % of the outcomes lie in the interval, of single conditions and of the mean."""
    rng = np.random.default_rng(3)
    law = Effect(base=0.6, a=0.5, b=0.1, harm=0.02, strength=10.0, source="by hand")
    names = ["nominal", *LIFT.variations]
    risks = [
        Risk(LIFT.perturbation(n), p, *np.clip([p - 0.15, p + 0.15], 0, 1), 12)
        for n, p in zip(names, rng.uniform(0.05, 0.95, len(names)), strict=True)
    ]
    plan = planned(Budget(60), *risks, effect=law)
    by_id = {e.id: e for e in plan.entries}
    inside, inside_mean, rounds = 0, 0, 200
    demos = np.array([by_id[n].demos for n in names])
    factors = [LIFT.variations[n].factor if n in LIFT.variations else "" for n in names]
    kin = [sum(d for d, g, m in zip(demos, factors, names, strict=True) if g == f and m != n) for n, f in zip(names, factors, strict=True)]  # fmt: skip
    for _ in range(rounds):
        now = np.array([r.draw(rng, 1)[0] for r in risks])
        then = law.draw(law.after(now, demos, kin), rng)
        inside += sum(by_id[n].after_low <= t <= by_id[n].after_high for n, t in zip(names, then, strict=True))  # fmt: skip
        inside_mean += plan.after[1] <= then.mean() <= plan.after[2]

    assert 0.86 < inside / (rounds * len(names)) < 0.94
    assert 0.83 < inside_mean / rounds < 0.96


def test_the_effect_is_found_again_in_what_it_made():
    rng = np.random.default_rng(5)
    law = Effect(base=0.6, a=0.7, b=0.15, harm=0.03, strength=12.0, source="truth")
    measured = []
    for _ in range(1000):
        p, own, kin = (rng.choice(x) for x in ([0.02, 0.4, 0.95], [0, 4, 10], [0, 8, 16]))
        q = law.draw(law.after([p], [own], [kin]), rng)[0]
        measured.append(
            Measured(int(rng.binomial(24, p)), 24, int(rng.binomial(24, q)), 24, int(own), int(kin))
        )

    found = fit_effect(measured, "synthetic")

    for own, kin in ((0, 0), (4, 0), (8, 8)):
        for p in (0.05, 0.9):
            assert found.after(p, own, kin) == pytest.approx(law.after(p, own, kin), abs=0.05)
    assert 6 < found.strength < 24


def test_too_little_measured_is_no_effect():
    with pytest.raises(NotReadyError, match="at least 20"):
        fit_effect([Measured(1, 2, 1, 2, 0, 0)] * 19, "x")


def test_without_models_the_rollouts_speak_and_an_untried_condition_is_unsure():
    """Green 3 of 4 and blue 0 of 3: overall (3 + 0.5) / 8, which counts as one rollout everywhere."""
    records = [make_record(f"g{i}", "cube_green", Outcome(1 + (i < 3))) for i in range(4)]
    records += [make_record(f"b{i}", "table_blue", Outcome.SUCCESS) for i in range(3)]
    wanted = [LIFT.perturbation(n) for n in ("cube_green", "table_blue", "robot_red")]

    green, blue, red = risks_of_rollouts(records, wanted)

    overall = 3.5 / 8
    assert green.p == pytest.approx((3 + overall) / 5)
    assert blue.p == pytest.approx(overall / 4)
    assert red.p == pytest.approx(overall)
    assert (red.rollouts, red.unsure, green.unsure) == (0, True, True)
    assert blue.low < blue.p < blue.high < red.high
    with pytest.raises(NotReadyError, match="no labelled rollout"):
        risks_of_rollouts([], wanted)


def test_a_plan_is_read_back_as_it_was(tmp_path):
    plan = planned(Budget(20), *THREE, effect=SHIPPED)
    plan.save(tmp_path / "plan.json")

    assert DataPlan.load(tmp_path / "plan.json") == plan
    damaged = json.loads(plan.to_json())
    damaged["entries"][0]["demos"] = "many"
    (tmp_path / "bad.json").write_text(json.dumps(damaged))
    (tmp_path / "text.json").write_text("no")
    for name in ("bad.json", "text.json", "none.json"):
        with pytest.raises(StorageError, match="not a collection plan"):
            DataPlan.load(tmp_path / name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Budget(-1),
        lambda: Budget(10, least=0),
        lambda: Budget(10, setup=-1.0),
        lambda: Budget(10, setup_of={"cube_color": float("nan")}),
        lambda: planned(Budget(10)),
        lambda: planned(Budget(10, without=("cub_color",)), *THREE),
        lambda: Effect(0.5, 0.5, float("nan"), 0.0, 8.0, ""),
        lambda: Effect(0.5, 0.5, 0.1, 0.0, 0.0, ""),
    ],
)
def test_what_cannot_be_is_one_sentence(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.fixture
def study(tmp_path):
    made = make_study(tmp_path / "s")
    with made.store() as store:
        for i in range(6):
            store.add(make_record(f"g{i}", "cube_green", Outcome.FAILURE))
            store.add(make_record(f"n{i}", "nominal", Outcome.SUCCESS))
    return made


def test_plan_data_prints_a_table_and_writes_json(study, tmp_path, capsys):
    out = tmp_path / "plan.json"

    assert main.run(["plan-data", str(study.folder), "--demos", "6", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert main.run(["plan-data", str(study.folder), "--demos", "6", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)

    assert "6 demonstrations under" in shown
    assert "6/6" in shown
    assert "no model is trained" in shown
    assert "ten fine-tunings" in shown
    assert printed["demos"] == 6
    assert DataPlan.load(out) == DataPlan.from_dict(printed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cost", "table_color"], "want NAME=DEMONSTRATIONS"),
        (["--cost", "table_color=dear"], "want NAME=DEMONSTRATIONS"),
        (["--without", "tablecolor"], "no variation or factor tablecolor"),
        (["--learnt-from", "nowhere"], "not a collection plan"),
    ],
)
def test_bad_options_of_plan_data_are_one_sentence(study, arguments, said, capsys):
    assert main.run(["plan-data", str(study.folder), *arguments]) == 1
    assert said in capsys.readouterr().err


def test_plan_data_of_nothing(tmp_path, capsys):
    make_study(tmp_path / "empty")

    assert main.run(["plan-data", str(tmp_path / "empty")]) == 1
    assert "no labelled rollout" in capsys.readouterr().err
    assert main.run(["plan-data", str(tmp_path / "none")]) == 1
    assert "no study in" in capsys.readouterr().err


def test_the_unchanged_scene_is_a_condition_of_its_own():
    assert Perturbation().id == "nominal"
    plan = planned(Budget(8), *THREE)
    assert [e.id for e in plan.entries][-1] == "nominal"
