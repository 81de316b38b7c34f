"""A policy that is asked and not run: what comes of it, what it leaves as it was, what is kept of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from red_servo import RedServo, servo

from robomd_ros.cli import main
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, PolicyError
from robomd_ros.core.probes import DIM, MOMENTS, ProbeTable
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.recording.probing import known_probes, missing_probes, run_probes
from sim_bridge.cell import SimCell
from sim_bridge.prober import FIRST_SCENE, Prober

ALIKE = math.log(0.05 / 0.25)
SHIPPED = "lift_panda_bc"


@pytest.fixture(scope="module")
def prober(cell):
    return Prober(cell, scenes=1)


def test_the_unchanged_scene_is_answered_as_ever(prober):
    assert prober.ask(Perturbation()) == pytest.approx(ALIKE, abs=1e-6)


def test_what_hides_the_cube_changes_the_answers_and_what_does_not_hardly(prober, catalogue):
    green, *harmless = (
        prober.ask(catalogue.perturbation(p)) for p in ("cube_green", "table_long", "light_grey")
    )
    assert green.shape == (len(MOMENTS),)
    for numbers in harmless:
        assert (green > numbers + 0.5).all()


def test_asked_again_it_answers_the_same_whatever_it_was_asked_between(prober, catalogue):
    dark = catalogue.perturbation("light_intensity=0.3")
    first = prober.ask(dark)
    prober.ask(catalogue.perturbation("cube_green+camera_offset=0.02,0,0.02"))
    assert np.array_equal(prober.ask(dark), first)


def test_another_prober_of_the_same_cell_gives_the_same(cell, prober, catalogue):
    """So that workers may share the conditions."""
    cell.apply(catalogue.perturbation("cube_green"))
    cell.rollout(3)
    tried = catalogue.perturbation("cube_big+light_red")
    assert np.array_equal(Prober(cell, scenes=1).ask(tried), prober.ask(tried))


def test_asking_changes_no_rollout_and_takes_nothing_back(cell, prober, catalogue):
    applied = catalogue.perturbation("light_grey")
    cell.apply(applied)
    before = cell.rollout(2)
    clock = cell.now
    prober.ask(catalogue.perturbation("cube_size=0.012,0.012,0.012"))
    assert cell.perturbation == applied
    assert cell.now >= clock
    after = cell.rollout(2)
    assert after.outcome is before.outcome
    assert np.array_equal(after.trace.actions, before.trace.actions)
    assert np.array_equal(after.trace.frames, before.trace.frames)


def test_nothing_moves_while_it_is_asked(cell):
    cell.reset(5)
    pose, clock = cell.scene.pose, cell.now
    assert np.abs(cell.answer(5)).max() <= 1.0
    assert np.array_equal(cell.scene.pose, pose)
    assert cell.now == clock


class Fussy(RedServo):
    """Does nothing in the first scene, and notes in which it is asked."""

    def reset(self, seed):
        super().reset(seed)
        self.seed = seed
        self.seeds = {*getattr(self, "seeds", ()), seed}

    def act(self, observation):
        return super().act(observation) if self.seed != FIRST_SCENE else np.zeros(4, np.float32)


def test_scenes_where_it_succeeds_are_asked_about_first(cell):
    fussy = Fussy()
    prober = Prober(SimCell(cell.scene, fussy), scenes=2)
    fussy.seeds.clear()
    prober.ask(Perturbation())
    assert fussy.seeds == {FIRST_SCENE + 1, FIRST_SCENE + 2}


def test_nobody_answers_without_a_policy(cell):
    empty = SimCell(cell.scene)
    with pytest.raises(NotReadyError, match="nobody answers"):
        Prober(empty)
    with pytest.raises(NotReadyError, match="nobody answers"):
        empty.answer(0)


def test_after_an_error_of_the_policy_the_scene_is_what_it_was(cell, catalogue):
    broken = SimCell(cell.scene, servo())
    prober = Prober(broken, scenes=1)
    applied = catalogue.perturbation("light_grey")
    broken.apply(applied)
    broken.policy.act = None
    with pytest.raises(PolicyError, match="red_servo failed"):
        prober.ask(catalogue.perturbation("cube_red"))
    assert broken.perturbation == applied


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / "s", StudyMeta("lift", "Panda", _id_of_shipped()))


def _id_of_shipped():
    from robomd_ros.policies.loader import load_policy

    policy = load_policy(SHIPPED)
    try:
        return policy.info.id
    finally:
        policy.close()


def test_only_what_is_missing_is_asked_and_each_once(study, catalogue):
    red, green = (catalogue.perturbation(p) for p in ("cube_red", "cube_green"))
    row = np.zeros(DIM, np.float32)
    ProbeTable(study.meta.policy_id, {"cube_red": row}).save(study.probes)
    assert missing_probes(study, [green, red, green]) == [green]
    assert list(run_probes(study, [red], SHIPPED)) == []
    ProbeTable("another", {"cube_red": row}).save(study.probes)
    assert missing_probes(study, [red]) == [red]
    assert len(known_probes(study)) == 0


def test_another_policy_is_not_asked(study, catalogue):
    with pytest.raises(InvalidArgumentError, match="red_servo"):
        next(run_probes(study, [catalogue.perturbation("cube_red")], "python:red_servo:servo"))
    assert not study.probes.exists()


def test_what_was_asked_is_kept_however_it_ends_and_the_command_asks_the_rest(
    study, catalogue, capfd
):
    """With the shipped policy, and the catalogue alone: seconds."""
    asking = run_probes(study, catalogue.singles[:5], SHIPPED)
    first = next(asking)
    asking.close()
    kept = known_probes(study)
    assert list(kept.numbers) == [first.id] == [catalogue.singles[0].id]

    command = ["probe", str(study.folder), "--random", "0", "--workers", "1", "--json"]
    assert main.run(command) == 0
    said = json.loads(capfd.readouterr().out)
    conditions = 1 + len(catalogue.singles)
    assert (said["asked"], said["known"]) == (conditions - 1, conditions)
    assert set(said["named"]) == {p.id for p in catalogue.singles}
    numbers = known_probes(study).numbers
    assert np.array_equal(numbers[first.id], kept.numbers[first.id])
    assert numbers["nominal"] == pytest.approx(ALIKE, abs=1e-6)

    assert main.run(command) == 0
    again = json.loads(capfd.readouterr().out)
    assert (again["asked"], again["known"]) == (0, conditions)
    assert again["named"] == said["named"]
    assert main.run(command[:-1]) == 0
    assert f"{conditions} known" in capfd.readouterr().out
