"""Bulk rollouts in processes: the same records as in one process, in the order of the jobs, workers may die."""

from __future__ import annotations

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError, RobomdError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Perturbation
from sim_bridge.collect import CellSpec, collect, run_job
from sim_bridge.jobs import make_job, plan_catalogue, plan_continuous


def test_processes_give_what_one_process_gives(cell, catalogue):
    jobs = [
        make_job(catalogue.perturbation(p), seed, "initial")
        for seed in (0, 1)
        for p in ("nominal", "cube_green", "light_blue+camera_offset=0.01,0,0.02")
    ]
    jobs.append(make_job(Perturbation(), 3, "control", Control.ZERO_ACTION))
    far = list(collect(jobs, CellSpec("python:red_servo:servo"), workers=2))
    assert [record.id for record, _ in far] == [job.rollout_id for job in jobs]
    for job, (record, trace) in zip(jobs, far, strict=True):
        here, here_trace = run_job(cell, job)
        assert record.outcome is here.outcome, job
        assert (record.steps, record.duration, record.seed) == (here.steps, here.duration, job.seed)
        assert np.array_equal(trace.frames, here_trace.frames)
        assert np.array_equal(trace.actions, here_trace.actions)
        assert np.array_equal(trace.stamps, here_trace.stamps)
        assert np.array_equal(trace.joint_positions, here_trace.joint_positions)
        assert np.array_equal(record.first_frame, trace.frames[0])
        assert record.labels[0].labeler == "sim"
        assert record.facts["robosuite"]
    assert {r.outcome for r, _ in far} == {Outcome.SUCCESS, Outcome.FAILURE}
    assert not far[-1][0].is_evidence


def test_a_worker_that_dies_is_told_and_its_job_tried_once_more():
    jobs = [make_job(Perturbation(), seed, "manual") for seed in (0, 13, 2)]
    told: list[str] = []
    done = list(collect(jobs, CellSpec("python:red_servo:dies"), workers=1, on_problem=told.append))
    assert [record.seed for record, _ in done] == [0, 2]
    assert len(told) == 2
    assert "exit code 9" in told[0]
    assert "tried again" in told[0]
    assert "left out" in told[1]


def test_a_cell_that_cannot_be_built_says_why():
    jobs = [make_job(Perturbation(), 0, "manual")]
    with pytest.raises(RobomdError, match="no_such_policy"):
        list(collect(jobs, CellSpec("no_such_policy"), workers=1))


def test_two_jobs_with_one_id_are_refused():
    job = make_job(Perturbation(), 0, "manual")
    with pytest.raises(InvalidArgumentError, match="rollout_id"):
        list(collect([job, job], CellSpec("")))


def test_plans_hold_nominal_ones_and_negative_controls_and_are_reproducible(catalogue):
    named = plan_catalogue(catalogue, 3)
    assert len(named) == 22 * 3 + 2
    assert {j.perturbation.id for j in named} == {"nominal", *catalogue.variations}
    free = plan_continuous(catalogue, 40, seed=1)
    assert free == plan_continuous(catalogue, 40, seed=1)
    assert free != plan_continuous(catalogue, 40, seed=2)
    for plan in (named, free):
        assert len({j.rollout_id for j in plan}) == len(plan)
        assert sum(j.control is Control.ZERO_ACTION for j in plan) >= 2
        assert sum(j.perturbation.id == "nominal" and not j.control for j in plan) >= 3
    with pytest.raises(InvalidArgumentError):
        plan_catalogue(catalogue, 0)
