"""A plan is carried out step by step; killed anywhere it goes on, and does nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mending_ports
import numpy as np
import pytest
import torch
from mending_ports import CONFIG, LIFT, WORST, Toy, toy_demos, toy_plan, toy_run

from robomd_ros.cli import main
from robomd_ros.core.comparison import Verdict
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, StorageError
from robomd_ros.core.pairing import Pair
from robomd_ros.mending.finetune import ByHand, MendingRun, Ports, measured_in
from robomd_ros.mending.result import failures_left
from robomd_ros.policies.base import PolicyInfo
from robomd_ros.policies.bc import BcPolicy, load_bc
from robomd_ros.policies.bc_finetuning import FineTuning, finetune_bc, step_weights
from robomd_ros.policies.bc_training import BcTrainer, BcTrainingConfig, DemoSet, Stage

CONDITIONS = 1 + len(LIFT.variations)


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.npz")}


def test_everything_is_done_once_and_told(tmp_path):
    toy, told = Toy(), []

    found = toy_run(tmp_path / "run", toy).run(lambda *said: told.append(said))

    assert toy.done[:3] == [f"demos {e.id}" for e in toy_plan().wanted]
    assert toy.done[3:5] == ["replay", "tune"]
    assert sum(work.startswith("old ") for work in toy.done) == CONDITIONS * CONFIG.scenes
    assert sum(work.startswith("new ") for work in toy.done) == CONDITIONS * CONFIG.scenes
    assert (tmp_path / "run/policy/policy.txt").read_text() == "5 old, 12 new"
    assert found.comparison.overall.failures_a == 3 * CONFIG.scenes
    assert found.comparison.overall.failures_b == CONFIG.scenes
    assert found.ratio == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found.comparison.paired
    assert not any(row.verdict is Verdict.WORSE for row in found.comparison.rows)
    assert ("demonstrations", 12, 12) in told
    assert ("fine-tuning", 10, 10) in told
    assert told[-1] == ("rollouts after", CONDITIONS * CONFIG.scenes, CONDITIONS * CONFIG.scenes)

    again = Toy()
    assert toy_run(tmp_path / "run", again).run() == found
    assert again.done == []


@pytest.mark.parametrize(
    "die", ["demos table_blue", "replay", "tune", "old cube_red-1", "new table_red-0"]
)
def test_killed_it_goes_on_where_it_was(tmp_path, die):
    folder = tmp_path / "run"
    if die == "demos table_blue":
        assert next(e.id for e in toy_plan().wanted) != "table_blue"
    killed = subprocess.run([sys.executable, mending_ports.__file__, str(folder), die], check=False)
    assert killed.returncode == 9
    kept = files(folder)

    toy = Toy()
    found = toy_run(folder, toy).run()

    assert toy.done[0] == die
    assert (folder / "policy/policy.txt").read_text() == "5 old, 12 new"
    assert kept.items() <= files(folder).items()
    assert found == toy_run(tmp_path / "whole", Toy()).run()
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_without_demonstrations_it_is_the_control(tmp_path):
    toy = Toy()

    found = toy_run(tmp_path / "run", toy, toy_plan(0)).run()

    assert toy.done[:2] == ["replay", "tune"]
    assert (tmp_path / "run/policy/policy.txt").read_text() == "5 old, 0 new"
    assert found.demos == {}


def test_what_was_measured_can_be_learnt_from(tmp_path):
    toy_run(tmp_path / "run", Toy()).run()

    measured = {(m.before, m.after, m.own, m.kin) for m in measured_in(tmp_path / "run", LIFT)}

    demos = {e.id: e.demos for e in toy_plan().wanted}
    assert (2, 0, demos["cube_green"], 0) in measured
    assert (0, 0, 0, demos["cube_green"]) in measured  # the other colours of the cube
    assert (0, 0, 0, 0) in measured
    with pytest.raises(StorageError):
        measured_in(tmp_path, LIFT)


def test_another_plan_wants_another_folder(tmp_path):
    toy_run(tmp_path / "run", Toy())

    with pytest.raises(InvalidArgumentError, match="another plan or with other settings"):
        toy_run(tmp_path / "run", Toy(), toy_plan(16))
    with pytest.raises(InvalidArgumentError, match="about policy toy-old, not other"):
        toy_run(tmp_path / "other", Toy(policy_id="other"))
    assert not (tmp_path / "other").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("years of work")
    with pytest.raises(InvalidArgumentError, match="not empty"):
        toy_run(tmp_path / "full", Toy())


def test_by_hand_it_says_what_is_missing_and_then_trains(tmp_path):
    folder, toy = tmp_path / "run", Toy()
    toy_demos(40, 3).save(tmp_path / "old.npz")

    def by_hand() -> MendingRun:
        return MendingRun(
            folder, toy_plan(), LIFT, CONFIG, Ports(ByHand(folder, tmp_path / "old.npz"), toy)
        )

    with pytest.raises(NotReadyError, match=r"4 as table_blue.npz") as raised:
        by_hand().run()
    assert str(folder / "demos") in str(raised.value)
    assert all(f"{name}.npz" in str(raised.value) for name in WORST)
    for name in WORST:
        toy_demos(6, 7).save(folder / "demos" / f"{name}.npz")

    assert by_hand().run() is None
    assert (folder / "policy/policy.txt").read_text() == "40 old, 18 new"


def test_by_hand_without_the_old_demonstrations_is_refused(tmp_path):
    with pytest.raises(NotReadyError, match="--replay-file"):
        ByHand(tmp_path, None).replay()


def test_scenes_are_resampled_whole():
    """Two scenes, 2 of 2 and 0 of 2 left: the ratio is 1/2, and 0 or 1 when one scene is drawn twice."""
    pairs = [Pair(c, s, True, s == 0) for c in ("a", "b") for s in (0, 1)]

    assert failures_left(pairs) == (0.5, 0.0, 1.0)
    assert np.isnan(failures_left([Pair("a", 0, False, True)])).all()


INFO = PolicyInfo("toy-0", "lift", "Panda", 96, 96, ("eef_pos", "gripper_qpos"), 7, "osc_pose", 10.0, 40)  # fmt: skip


@pytest.fixture(scope="module")
def old_policy() -> BcPolicy:
    config = BcTrainingConfig(stages=(Stage(3, 1e-3, 0.3),), batch=8)
    trainer = BcTrainer(toy_demos(4, 0, 96), INFO, config=config)
    return BcPolicy(INFO, trainer.network_config, trainer.run())


def test_finetuning_goes_on_from_the_old_weights_and_keeps_its_scales(tmp_path, old_policy):
    before = {k: v.clone() for k, v in old_policy.network.state_dict().items()}
    config = FineTuning(steps=3)

    made = finetune_bc(old_policy, toy_demos(4, 0, 96), toy_demos(2, 9, 96), config, tmp_path / "a")
    again = finetune_bc(
        old_policy, toy_demos(4, 0, 96), toy_demos(2, 9, 96), config, tmp_path / "b"
    )

    after = made.network.state_dict()
    assert all(torch.equal(v, before[k]) for k, v in old_policy.network.state_dict().items())
    for name in ("proprio_mean", "proprio_std", "grasp_mean", "grasp_std"):
        assert torch.equal(after[name], before[name])
    moved = [(after[k] - v).abs().max().item() for k, v in before.items() if k.endswith("weight")]
    assert 0 < max(moved) < 0.02  # three steps, not a new network
    assert all(torch.equal(v, after[k]) for k, v in again.network.state_dict().items())
    assert made.info.id == again.info.id != old_policy.info.id
    assert made.info.id.startswith("toy-")
    assert load_bc(tmp_path / "a").made["finetuned_from"] == "toy-0"


def test_a_control_learns_from_old_demonstrations_alone(tmp_path, old_policy):
    made = finetune_bc(old_policy, toy_demos(4, 0, 96), None, FineTuning(steps=2), tmp_path / "a")

    assert made.made["new_demos"] == 0
    assert step_weights(4, 0, FineTuning()).tolist() == [0.25] * 4


def test_half_of_what_is_drawn_is_old():
    weights = step_weights(100, 10, FineTuning(replay_share=0.5))

    assert weights[:100].sum() == pytest.approx(0.5)
    assert weights[100:].sum() == pytest.approx(0.5)


def test_demonstrations_are_joined_each_with_its_own_grasp():
    joined = DemoSet.join([toy_demos(2, 0), toy_demos(3, 50)])

    assert joined.demo.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert joined.seeds.tolist() == [0, 1, 50, 51, 52]
    with pytest.raises(InvalidArgumentError, match="different shapes"):
        DemoSet.join([toy_demos(2, 0), toy_demos(2, 0, size=9)])
    with pytest.raises(InvalidArgumentError, match="no demonstrations"):
        DemoSet.join([])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "out"], "no study in nowhere"),
        (["plan.json", "out", "--policy", "no_such"], "no policy 'no_such'"),
        (["plan.json", "out"], "about policy toy-old, not lift_panda_bc-"),
        (["bad.json", "out"], "not a collection plan"),
    ],
)
def test_bad_calls_of_finetune_are_one_sentence_and_make_nothing(
    tmp_path, monkeypatch, capsys, arguments, said
):
    monkeypatch.chdir(tmp_path)
    toy_plan().save(tmp_path / "plan.json")
    (tmp_path / "bad.json").write_text("{}")

    assert main.run(["finetune", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
