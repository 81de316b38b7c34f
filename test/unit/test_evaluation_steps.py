"""Steps of an evaluation: kept, gone on with, refused, and told apart by what they depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from robomd_ros.core.errors import (
    InvalidArgumentError,
    StorageError,
    UnavailableError,
    UnknownIdError,
)
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import (
    Result,
    Results,
    Step,
    datasets_of,
    probed_of,
    rendered_of,
    run_steps,
)
from robomd_ros.evaluation.tables import NAMES, table

HERE = "test_evaluation_steps"


def twice(studies: Path, number: int) -> dict[str, int]:
    return {"number": 2 * number, "studies": str(studies)}


def nowhere(studies: Path) -> dict[str, int]:
    raise UnavailableError("no such server.")


def broken(studies: Path) -> dict[str, int]:
    raise InvalidArgumentError("want another number.")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of this file, in the worker processes too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_each_step_is_yielded_with_its_result_its_reason_or_its_error(tmp_path: Path) -> None:
    steps = [
        Step("a/1", f"{HERE}:twice", {"number": 4}),
        Step("a/2", f"{HERE}:nowhere"),
        Step("a/3", f"{HERE}:broken"),
    ]
    ended = {step.name: result for step, result in run_steps(steps, tmp_path, 2, "abc")}
    assert ended["a/1"].value == {"number": 8, "studies": str(tmp_path)}
    assert ended["a/1"].revision == "abc"
    assert ended["a/2"].reason == "no such server."
    assert isinstance(ended["a/3"], InvalidArgumentError)


def test_what_is_kept_is_there_again_until_its_arguments_change(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    step = Step(
        "a/1", f"{HERE}:twice", {"number": 4}, {"data": Dataset("catalogue", "p", repeats=3)}
    )
    Results(path).add(step, Result(step.key, {"number": 8}, 1.5))
    again = Results(path)
    assert step in again
    assert again.value("a/1") == {"number": 8}
    assert again.under("a/") == {"1": {"number": 8}}
    assert replace(step, arguments={"number": 5}) not in again
    assert replace(step, version=2) not in again
    assert replace(step, datasets={"data": Dataset("catalogue", "p", repeats=4)}) not in again
    again.forget([step])
    assert step not in again


def test_what_could_not_run_is_said_and_tried_again(tmp_path: Path) -> None:
    step = Step("a/1", f"{HERE}:nowhere")
    results = Results(tmp_path / "results.json")
    results.add(step, Result(step.key, {}, 0.1, "no such server."))
    assert step not in results
    assert results.value("a/1") is None
    assert results.reasons("a/") == {"1": "no such server."}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": {"unknown": 1}}'])
def test_a_damaged_file_of_results_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(StorageError, match="move it away"):
        Results(path)


def test_datasets_are_collected_once_and_as_large_as_the_largest(tmp_path: Path) -> None:
    small, large = (Dataset("catalogue", "p", repeats=n) for n in (2, 5))
    steps = [Step(str(i), "x:y", {}, {"data": d}) for i, d in enumerate((small, large, small))]
    assert datasets_of(steps) == [large]


def test_the_policy_is_asked_under_the_conditions_of_the_named_roles_alone() -> None:
    small, large = (Dataset("continuous", "p", conditions=n) for n in (20, 50))
    ceiling = Dataset("ceiling", "p", conditions=5, repeats=4)
    steps = [
        Step("a", "x:y", {}, {"data": small, "repeated": ceiling}, probed=("data",)),
        Step("b", "x:y", {}, {"data": large}, probed=("data",)),
        Step("c", "x:y", {}, {"data": replace(large, conditions=90)}),
    ]
    assert probed_of(steps) == [large]
    assert probed_of(steps[2:]) == []


def test_renders_are_drawn_once_for_all_steps_that_learn_from_as_many() -> None:
    data = {"data": Dataset("continuous", "p", conditions=20)}
    steps = [Step(f"a/{n}", "x:y", {"renders": n}, data) for n in (0, 50, 50, 70)]
    assert rendered_of(steps) == [(data["data"], 50), (data["data"], 70)]


def test_what_a_step_gave_in_an_older_version_is_not_shown(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    old, kept = Step("a/old", "x:y"), Step("a/kept", "x:y")
    for step in (old, kept, Step("a/elsewhere", "x:y")):
        results.add(step, Result(step.key, {"n": 1}, 1.0))
    current = results.current([replace(old, version=2), kept])
    assert set(current.under("a/")) == {"kept", "elsewhere"}
    assert set(results.under("a/")) == {"old", "kept", "elsewhere"}


def test_a_policy_whose_checkpoint_is_elsewhere_by_now_keeps_its_row(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    value = {
        "counts": {"nominal": [0, 2], "cube_red": [1, 2]},
        "entropy": 0.0,
        "nfm": 0,
        "fsi": 0.5,
    }
    results.add(Step("policies/gone/rates", "x:y"), Result("key", value, 1.0))
    assert "| gone | 0/2" in table("policies").render(results, Plan(tmp_path, True))


def test_all_tables_have_steps_of_their_own_and_plain_arguments(tmp_path: Path) -> None:
    for quick in (True, False):
        steps = [step for name in NAMES for step in table(name).steps(Plan(tmp_path, quick))]
        assert len({step.name for step in steps}) == len(steps)
        for step in steps:
            assert step.name.split("/")[0] in NAMES
            assert json.loads(json.dumps(dict(step.arguments))) is not None
            assert set(step.probed) <= set(step.datasets)


def test_a_table_without_results_renders_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    for name in NAMES:
        assert table(name).render(Results(tmp_path / "none.json"), Plan(tmp_path, True))
    with pytest.raises(UnknownIdError, match="ranking"):
        table("ranting")
