import csv
import io
import os
import shutil
import subprocess
import sys

import pytest
from store_samples import LIFT, make_record, make_study, make_trace

from robomd_ros.cli import main
from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.study import Study
from robomd_ros.recording import collection, commit_rollout
from robomd_ros.recording.collection import Plan, plan_jobs


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    from rich.console import Console

    from robomd_ros.cli import study

    monkeypatch.setattr(study, "console", Console(width=140))


@pytest.fixture
def study(tmp_path):
    made = make_study(tmp_path / "studies" / "s")
    with made.store() as store:
        for n in range(6):
            variation = "cube_red" if n % 2 else "cube_color=0.2,0.3,0.4+light_intensity=0.5"
            record = make_record(f"r{n}", variation, Outcome(1 + (n > 1)))
            commit_rollout(made, store, record, make_trace(n))
        store.add(make_record("c", "nominal", Outcome.FAILURE, control=Control.ZERO_ACTION))
        store.label("r5", Label(Outcome.INVALID, "me", 2.0, 'wrong, "cube"', "grasp"))
    return made


def robomd(capfd, *arguments):
    code = main.run(["study", *map(str, arguments)])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_show_counts_with_intervals(study, capfd):
    code, out, _ = robomd(capfd, "show", study.folder)
    assert code == 0
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line
    ]
    assert ["cube_red", "1", "2", "0.50", "0.12 – 0.88", "1"] in rows
    assert ["continuous (1 conditions)", "2", "3", "0.67", "0.25 – 0.92", ""] in rows
    assert ["light_intensity", "2", "3", "0.67", "0.25 – 0.92"] in rows
    assert "1 negative controls (0 of them succeeded, want 0)" in out
    assert "sim (6), me (1)" in out
    assert "cube_color=0.2" in robomd(capfd, "show", study.folder, "--all")[1]


def test_export_is_csv_that_comes_back(study, capfd, tmp_path):
    code, out, _ = robomd(capfd, "export", study.folder)
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(out))}
    assert (code, len(rows)) == (0, 7)
    assert rows["r5"]["outcome"] == "INVALID"
    assert rows["r5"]["reason"] == 'wrong, "cube"'
    assert rows["r5"]["labels"] == "2"
    assert rows["c"]["control"] == "ZERO_ACTION"
    code, out, _ = robomd(capfd, "export", study.folder, tmp_path / "o.csv")
    assert (code, (tmp_path / "o.csv").read_text().count("\n")) == (0, 8)
    code, _, err = robomd(capfd, "export", study.folder, tmp_path / "no" / "o.csv")
    assert code == 1
    assert "could not be written" in err


def test_check_says_what_is_wrong_and_mends_it(study, capfd):
    assert robomd(capfd, "check", study.folder)[:2] == (0, "whole\n")
    (study.recordings / "r0.mcap").unlink()
    code, out, err = robomd(capfd, "check", study.folder)
    assert code == 1
    assert "recordings/r0.mcap: recording of rollout r0: missing" in out
    assert "--repair" in err
    assert len(err.splitlines()) == 1
    code, out, _ = robomd(capfd, "check", study.folder, "--repair")
    assert code == 0
    assert out.endswith("mended\n")
    assert robomd(capfd, "check", study.folder)[1] == "whole\n"


def test_list_and_copy(study, capfd, tmp_path):
    shutil.copytree(study.folder, study.folder.parent / "broken")
    (study.folder.parent / "broken" / "study.json").write_text("{")
    code, out, _ = robomd(capfd, "list", study.folder.parent)
    assert code == 0
    assert "s: 7 rollouts of bc-test (lift, Panda)" in out
    assert "not a valid study.json" in out
    code, out, _ = robomd(capfd, "copy", study.folder, tmp_path / "copy")
    assert code == 0
    assert Study.open(tmp_path / "copy").check() == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "/nowhere"), "no study in /nowhere"),
        (("copy", "no_such", "/tmp/x"), "no study in no_such"),
        (("collect", "/tmp/x", "--policy", "no_such"), "no_such"),
        (
            ("collect", "/tmp/x", "--policy", "lift_panda_bc", "--task", "stack"),
            "was made for lift with Panda, not stack",
        ),
        (("compact", "lift_panda"), "robomd study copy lift_panda"),
        (("check", "lift_panda", "--repair"), "robomd study copy lift_panda"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(capfd, arguments, sentence):
    code, _, err = robomd(capfd, *arguments)
    assert code == 1
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_shipped_study_is_half_continuous_and_no_control_succeeds(capfd):
    assert robomd(capfd, "check", "lift_panda")[:2] == (0, "whole\n")
    code, out, _ = robomd(capfd, "export", "lift_panda")
    rows = list(csv.DictReader(io.StringIO(out)))
    evidence = [
        r for r in rows if r["control"] == "NONE" and r["outcome"] in ("SUCCESS", "FAILURE")
    ]
    continuous = {r["perturbation_id"] for r in evidence if "=" in r["perturbation_id"]}
    assert code == 0
    assert len(evidence) >= 500
    assert len(continuous) >= len(evidence) / 2
    controls = [r["outcome"] for r in rows if r["control"] == "ZERO_ACTION"]
    assert len(controls) >= 2
    assert set(controls) == {"FAILURE"}


def test_every_command_has_help(capfd):
    for command in (
        "list",
        "show",
        "check",
        "export",
        "copy",
        "compact",
        "collect",
        "record",
        "import",
    ):
        code, out, _ = robomd(capfd, command, "--help")
        assert code == 0
        assert "Usage" in out


def test_a_plan_has_the_parts_that_were_asked_for():
    jobs = plan_jobs(LIFT, Plan(604, per_variation=12))
    assert len({job.rollout_id for job in jobs}) == len(jobs)
    named = [j for j in jobs if "=" not in j.perturbation.id and not j.control]
    continuous = [j for j in jobs if "=" in j.perturbation.id]
    assert len(continuous) == 340 == len({j.perturbation.id for j in continuous})
    assert sum(j.perturbation.id == "table_red" for j in named) == 12
    assert sum(bool(j.control) for j in jobs) >= 2
    assert jobs == plan_jobs(LIFT, Plan(604, per_variation=12))
    other = plan_jobs(LIFT, Plan(604, per_variation=12, seed=1))
    assert not {j.rollout_id for j in jobs} & {j.rollout_id for j in other}
    half = plan_jobs(LIFT, Plan(440))
    assert sum("=" in j.perturbation.id for j in half) == 220
    for wrong in (
        {"rollouts": 0},
        {"rollouts": 5, "continuous_share": 2.0},
        {"rollouts": 5, "seed": 5},
    ):
        with pytest.raises(InvalidArgumentError):
            Plan(**wrong)


def test_without_the_simulator_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sim_bridge.collect", None)
    with pytest.raises(UnavailableError, match=r"pip install \./sim_bridge"):
        collection.simulator()


@pytest.mark.sim
def test_a_collection_is_killed_goes_on_and_can_be_recorded_again(tmp_path, monkeypatch):
    folder = tmp_path / "s"
    policies = os.path.join(os.path.dirname(__file__), os.pardir, "sim")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([policies, *sys.path]))
    arguments = [
        "study", "collect", str(folder), "--policy", "python:red_servo:servo", "--rollouts", "2",
        "--per-variation", "0", "--workers", "1", "--no-recordings",
    ]  # fmt: skip
    command = [sys.executable, "-m", "robomd_ros.cli.main", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (folder / "study.json").exists():
            with Study.open(folder).store(read_only=True) as store:
                if store.revision()[0]:
                    break
        try:
            first.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            continue
    first.kill()
    first.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Study.open(folder).store(read_only=True) as store:
        records = store.records()
    assert len(records) == 9  # 2 continuous, 5 nominal, 2 controls
    assert [r.outcome for r in records if r.control] == [Outcome.FAILURE] * 2
    assert not any(r.recording for r in records)
    again = [*command[:4], "record", str(folder), records[0].id, "--policy", arguments[4]]
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Study.open(folder).store(read_only=True) as store:
        assert store.get(records[0].id).recording == f"{records[0].id}.mcap"
    assert Study.open(folder).check(deep=True) == []
