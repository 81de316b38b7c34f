"""`robomd compare` on studies: exit codes that CI can rely on, what is refused, JSON."""

from __future__ import annotations

import json

import pytest
from store_samples import make_record, make_study

from robomd_ros.cli import main
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.study import Study, StudyMeta


@pytest.fixture
def study(tmp_path):
    """A function that makes a study of so many failures of n a condition, on scenes from `first_seed` on."""

    def make(name, first_seed=0, n=24, **failures):
        made = make_study(tmp_path / name)
        with made.store() as store:
            for condition, failed in failures.items():
                for k in range(n):
                    outcome = Outcome.FAILURE if k < failed else Outcome.SUCCESS
                    store.add(
                        make_record(f"{condition}{k}", condition, outcome, seed=first_seed + k)
                    )
        return made.folder

    return make


def robomd(capfd, *arguments):
    code = main.run([*map(str, arguments)])
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("after", "code", "verdict"),
    [
        ({"nominal": 1, "cube_red": 1}, 0, "better"),
        ({"nominal": 1, "cube_red": 12}, 0, "no worse"),
        ({"nominal": 3, "cube_red": 12}, 2, "undecided"),
        ({"nominal": 1, "cube_red": 24}, 1, "worse"),
        ({"nominal": 13, "cube_red": 1}, 1, "worse"),
    ],
)
def test_the_exit_code_is_the_verdict_on_b(study, capfd, after, code, verdict):
    a = study("a", nominal=1, cube_red=12)
    b = study("b", **after)
    margin = ("--margin", 0.05) if verdict == "undecided" else ()
    got, out, err = robomd(capfd, "compare", a, b, "--json", *margin)
    assert (got, json.loads(out)["verdict"]) == (code, verdict)
    assert not err


def test_the_table_shows_conditions_intervals_and_what_was_done(study, capfd):
    code, out, _ = robomd(capfd, "compare", study("a", nominal=1, cube_red=2), study("b", nominal=1, cube_red=20))  # fmt: skip
    assert code == 1
    row = next(line for line in out.splitlines() if line.strip().startswith("cube_red")).split()
    assert row[1:3] == ["2/24", "20/24"]
    assert row[-1] == "worse"
    assert "worse under cube_red" in out
    assert "alpha 0.05, exact McNemar" in out
    assert "Control: A's later half" in out


def test_json_has_every_interval_and_no_nan(study, capfd):
    out = robomd(capfd, "compare", study("a", nominal=1), study("b", nominal=1), "--json")[1]
    found = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert found["a"] == "bc-test (a)"
    assert found["overall"]["interval_a"] == pytest.approx([0.00738, 0.20244], abs=1e-4)  # Wilson
    assert found["config"] == {"alpha": 0.05, "margin": 0.1, "anytime": False}
    assert found["paired"] is True


def test_only_some_conditions(study, capfd):
    a, b = study("a", nominal=1, cube_red=2), study("b", nominal=1, cube_red=20)
    assert robomd(capfd, "compare", a, b, "--only", "nominal", "--margin", "0.2")[0] == 0
    code, _, err = robomd(capfd, "compare", a, b, "--only", "cube_purple")
    assert code == 3
    assert "no variation 'cube_purple'" in err


def test_looking_again_costs_power_and_nothing_else(study, capfd):
    a, b = study("a", n=12, nominal=0), study("b", n=12, nominal=6)
    assert robomd(capfd, "compare", a, b)[0] == 1
    code, out, _ = robomd(capfd, "compare", a, b, "--anytime")
    assert code == 2
    assert "anytime-valid" in out


def test_scenes_that_are_not_shared_are_said(study, capfd):
    code, out, _ = robomd(capfd, "compare", study("a", nominal=1), study("b", 500, nominal=14))
    assert code == 1
    assert "Unpaired: 0 of 24" in out
    assert "exact Fisher" in out


def test_what_is_no_evidence_is_left_out_and_counted(study, capfd):
    a, b = study("a", nominal=1), study("b", nominal=1)
    with Study.open(b).store() as store:
        store.add(make_record("u", "nominal", Outcome.UNKNOWN))
        store.add(make_record("s", "nominal", Outcome.FAILURE, purpose="search"))
    _, out, _ = robomd(capfd, "compare", a, b)
    assert "1 rollouts of B have no label and are left out." in out
    assert "1 rollouts of B were chosen by their outcome and are left out." in out


def test_a_study_that_drifted_is_told(study, capfd, tmp_path):
    drifted = make_study(tmp_path / "b")
    with drifted.store() as store:
        for k in range(24):
            store.add(make_record(f"r{k}", "nominal", Outcome(1 + (k >= 12)), seed=k))
    _, out, _ = robomd(capfd, "compare", study("a", nominal=1), drifted.folder)
    assert "B's later half against its earlier one +1.00" in out
    assert "something else than the policy changed" in out
    assert "A's later half against its earlier one -0.08 (-0.35 to +0.17), even." in out


def refused(study, tmp_path):
    """Folders that cannot be compared, and why."""
    a = study("a", n=2, nominal=1)
    other = Study.create(tmp_path / "stack", StudyMeta("stack", "Panda", "bc"))
    arm = Study.create(tmp_path / "ur", StudyMeta("lift", "UR5e", "bc"))
    lied = study("lied", n=2, nominal=1)
    with Study.open(lied).store() as store:
        store.add(make_record("z", "nominal", Outcome.SUCCESS, control=Control.ZERO_ACTION))
    return [
        ((a, other.folder), "A is of task lift, B of stack"),
        ((a, arm.folder), "A is of robot Panda, B of UR5e"),
        ((a, study("empty")), "B has no labelled rollout"),
        ((a, study("red", n=2, cube_red=1)), "no condition in common (A: nominal; B: cube_red)"),
        ((a, lied), "1 of 1 negative controls of B succeeded"),
        ((a, "/nowhere"), "no study in /nowhere"),
        ((a, a, "--alpha", "nan"), "alpha nan"),
        ((a, a, "--margin", "nan"), "margin nan"),
    ]


def test_errors_are_one_sentence_and_exit_code_3(study, tmp_path, capfd):
    for arguments, sentence in refused(study, tmp_path):
        code, _, err = robomd(capfd, "compare", *arguments)
        assert (code, len(err.splitlines())) == (3, 1), err
        assert sentence in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a",),
        ("a", "b", "--alpha", "x"),
        ("a", "b", "--no-such"),
        ("a", "b", "--live", "--budget", "1"),
    ],
)
def test_wrong_usage_is_no_verdict(capfd, arguments):
    assert robomd(capfd, "compare", *arguments)[0] == 3


def test_help_is_no_trouble(capfd):
    code, out, _ = robomd(capfd, "compare", "--help")
    assert code == 0
    assert "2: undecided" in " ".join(out.split())


@pytest.mark.parametrize("command", ["compare", "minimize"])
def test_policies_that_do_not_fit_cost_no_rollout(capfd, command):
    live = ("lift_panda_bc", "lift_ur5e_bc", "--live")
    arguments = live if command == "compare" else ("cube_blue", "--policy", "lift_ur5e_bc")
    code, _, err = robomd(capfd, command, *arguments)
    assert code == (3 if command == "compare" else 1)
    assert "not for lift on Panda" in err


def test_a_combination_that_cannot_be_is_refused_before_anything_starts(capfd):
    for what, sentence in (("cube_purple", "no variation"), ("cube_red+cube_blue", "both change")):
        code, _, err = robomd(capfd, "minimize", what, "--policy", "lift_panda_bc")
        assert code == 1
        assert sentence in err
