"""A plan is carried out with the real policy in the simulator, tiny, and killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal

from robomd_ros.cli import main
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import load_catalogue
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.loader import load_policy
from sim_bridge.demos import DemoConfig
from sim_bridge.varied_demos import Wish, collect_varied

SMALL = """
task = "lift"
[factors.cube_color]
kind = "color"
low = [0.0, 0.0, 0.0]
high = [1.0, 1.0, 1.0]
[factors.light_color]
kind = "color"
low = [0.0, 0.0, 0.0]
high = [1.0, 1.0, 1.0]
[variations.cube_green]
factor = "cube_color"
value = [0.0, 1.0, 0.0]
[variations.light_grey]
factor = "light_color"
value = [0.501, 0.501, 0.501]
"""
"""Two variations instead of 21."""


def small_study(folder: Path) -> Study:
    """Green failed, grey light did not."""
    policy = load_policy("lift_panda_bc")
    meta = StudyMeta("lift", "Panda", policy.info.id, catalogue="small.toml")
    study = Study.create(folder, meta)
    (folder / "small.toml").write_text(SMALL)
    catalogue = study.catalogue()
    with study.store() as store:
        for k in range(8):
            for name in ("cube_green", "light_grey", "nominal"):
                label = Label(Outcome(1 + (name == "cube_green")), "test", 1.0)
                store.add(
                    RolloutRecord(
                        f"{name}{k}", catalogue.perturbation(name), "lift", "Panda", meta.policy_id,
                        seed=k, labels=(label,),
                    )
                )  # fmt: skip
    return study


def command(study: Path, out: Path) -> list[str]:
    options = [
        "--demos",
        "4",
        "--least",
        "2",
        "--scenes",
        "1",
        "--steps",
        "20",
        "--replay",
        "2",
        "--workers",
        "1",
    ]
    return ["finetune", str(study), str(out), *options]


def killed_after_the_first_demonstrations(arguments: list[str], out: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "robomd_ros.cli.main", *arguments], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("demos/*.npz")) and process.poll() is None:
        assert time.monotonic() < deadline
        os.sched_yield()
    assert process.poll() is None, "it ended before it was killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_study_is_mended_end_to_end_though_it_was_killed(tmp_path, capsys):
    study, out = small_study(tmp_path / "study"), tmp_path / "run"
    arguments = command(study.folder, out)
    killed_after_the_first_demonstrations(arguments, out)
    made = {p: p.stat().st_mtime_ns for p in out.glob("demos/*.npz")}

    assert main.run(arguments) == 0

    shown = capsys.readouterr().out
    assert "Failures over 3 conditions" in shown
    assert {p: p.stat().st_mtime_ns for p in made} == made
    old, new = load_policy("lift_panda_bc"), load_policy(str(out / "policy"))
    assert new.info.id != old.info.id
    assert new.made["new_demos"] == 4
    assert new.made["replayed"] == 2
    assert new.made["demos"] == old.made["demos"]  # to be replayed when it is fine-tuned once more
    for name, policy in (("before", old), ("after", new)):
        with Study.open(out / name).store(read_only=True) as store:
            records = store.records(evidence_only=True, with_frames=False)
        assert {r.perturbation.id for r in records} == {"nominal", "cube_green", "light_grey"}
        assert {r.policy_id for r in records} == {policy.info.id}
        assert len(records) == 3


def test_a_demonstration_is_made_under_its_variation_and_is_the_same_again():
    lift = load_catalogue("lift")
    wishes = [Wish(lift.perturbation(name), 1, 1_300_000) for name in ("nominal", "table_red")]

    plain, red = collect_varied(DemoConfig(), wishes)
    again = next(collect_varied(DemoConfig(), wishes[1:]))

    assert isinstance(red, DemoSet)
    assert_array_equal(plain.actions[0], red.actions[0])  # the expert does not look
    shift = red.images[0].astype(int) - plain.images[0].astype(int)
    assert np.abs(shift).mean(axis=(0, 1)).max() > 5
    for name in DemoSet.__dataclass_fields__:
        assert_array_equal(getattr(red, name), getattr(again, name))
