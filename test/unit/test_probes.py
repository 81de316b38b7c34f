import io
import math

import numpy as np
import pytest
from store_samples import LIFT, make_study

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.probes import DIM, ProbeTable, by_answers, probe_numbers
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Perturbation

ALIKE = math.log(0.05 / 0.25)
RED, GREEN = LIFT.perturbation("cube_red"), LIFT.perturbation("cube_green")
CONTINUOUS = LIFT.perturbation("cube_color=0.2,0.3,0.4+light_intensity=0.5")
TABLE = ProbeTable(
    "bc-test",
    {
        "nominal": np.full(DIM, ALIKE, np.float32),
        "cube_red": np.array([0.5, -0.25, -1.0], np.float32),
        CONTINUOUS.id: np.array([1.0, 0.5, 0.25], np.float32),
    },
)


def answers(scenes=2, moments=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (scenes, moments, 7))


def moved(by):
    """The same answers, each with its first component moved."""
    there = answers()
    there[:, :, 0] += by
    return there


def test_answers_like_the_usual_ones_are_the_least():
    assert probe_numbers(answers(), answers()) == pytest.approx(ALIKE, abs=1e-6)


def test_the_numbers_grow_with_the_distance_whatever_its_direction():
    rows = [probe_numbers(moved(by), answers()) for by in (0.0, 0.1, -0.5, 2.0)]
    assert (np.diff(rows, axis=0) > 0).all()


def test_numbers_by_hand():
    """A mean over scenes of logarithms, each moment for itself."""
    asked, nominal = np.zeros((2, 2, 7)), np.zeros((2, 2, 7))
    asked[0, 0, :2] = 0.12, 0.16  # 0.2 away: log(0.25 / 0.25)
    asked[1, 0, 2] = -0.45  # log(0.5 / 0.25)
    nominal[:, 1, 5] = 0.95  # log(1 / 0.25)
    wanted = [math.log(2) / 2, math.log(4)]
    assert probe_numbers(asked, nominal) == pytest.approx(wanted, abs=1e-6)


def test_the_gripper_does_not_count():
    there = answers()
    there[:, :, -1] *= -1
    assert probe_numbers(there, answers()) == pytest.approx(ALIKE, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "nominal", "what"),
    [
        (answers(scenes=2), answers(scenes=3), "shape"),
        (answers()[0], answers()[0], "shape"),
        (answers()[:0], answers()[:0], "shape"),
        (moved(np.nan), answers(), "finite"),
        (answers(), moved(np.inf), "finite"),
    ],
)
def test_what_is_no_pair_of_answers_is_refused(asked, nominal, what):
    with pytest.raises(InvalidArgumentError, match=what):
        probe_numbers(asked, nominal)


@pytest.mark.parametrize("row", [np.zeros(DIM - 1), np.array([0.0, np.nan, 0.0]), np.zeros((1, 3))])
def test_a_row_that_is_no_probe_is_refused(row):
    with pytest.raises(InvalidArgumentError, match="cube_red"):
        ProbeTable("bc-test", {"cube_red": row})


def test_whom_nobody_asked_about_is_unknown():
    rows = TABLE.of([RED, GREEN, Perturbation()])
    assert rows.shape == (3, DIM)
    assert rows[0] == pytest.approx([0.5, -0.25, -1.0])
    assert np.isnan(rows[1]).all()
    assert TABLE.of([]).shape == (0, DIM)
    assert [p in TABLE for p in (RED, GREEN, CONTINUOUS)] == [True, False, True]


def test_more_rows_are_a_new_table_and_newer_ones_win():
    one = np.ones(DIM, np.float32)
    more = TABLE.with_rows({"cube_green": one, "cube_red": one})
    assert more.policy_id == TABLE.policy_id
    assert more.of([GREEN, RED]) == pytest.approx(1.0)
    assert len(more) == len(TABLE) + 1
    assert GREEN not in TABLE


def test_the_most_changed_answers_come_first_and_unknown_ones_not_at_all():
    ranked = by_answers(TABLE, [Perturbation(), GREEN, RED, CONTINUOUS])
    assert [p for p, _ in ranked] == [CONTINUOUS, RED, Perturbation()]
    assert [mean for _, mean in ranked] == pytest.approx([1.75 / 3, -0.25, ALIKE], abs=1e-6)


@pytest.mark.parametrize("table", [TABLE, ProbeTable("bc-test", {})], ids=["some", "empty"])
def test_saved_and_loaded_it_is_the_same(tmp_path, table):
    table.save(tmp_path / "probes.npz")
    loaded = ProbeTable.load(tmp_path / "probes.npz")
    assert loaded.policy_id == table.policy_id
    assert list(loaded.numbers) == list(table.numbers)
    assert all(np.array_equal(loaded.numbers[i], row) for i, row in table.numbers.items())


def test_no_file_is_no_table(tmp_path):
    assert ProbeTable.load(tmp_path / "probes.npz") is None


def packed(**arrays):
    data = io.BytesIO()
    np.savez(data, **{"policy_id": np.array("p"), **arrays})
    return data.getvalue()


def saved(tmp_path):
    TABLE.save(tmp_path / "whole.npz")
    return (tmp_path / "whole.npz").read_bytes()


DAMAGES = {
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"garbage" * 50,
    "cut": lambda whole: whole[: len(whole) // 2],
    "without its last byte": lambda whole: whole[:-1],
    "one byte": lambda whole: (
        whole[:100] + bytes([whole[100] ^ 0xFF]) + whole[101:]
    ),  # of the policy id
    "objects": lambda whole: packed(ids=np.array(["a", None]), numbers=np.zeros((2, DIM))),
    "no ids": lambda whole: packed(numbers=np.zeros((1, DIM))),
    "too few rows": lambda whole: packed(ids=np.array(["a", "b"]), numbers=np.zeros((1, DIM))),
    "other moments": lambda whole: packed(ids=np.array(["a"]), numbers=np.zeros((1, DIM + 1))),
    "no numbers": lambda whole: packed(ids=np.array(["a"]), numbers=np.full((1, DIM), np.nan)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_one_is_told_what_to_do(tmp_path, damage):
    whole, path = saved(tmp_path), tmp_path / "probes.npz"
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.raises(StorageError, match=r"probes\.npz is no file of probes.*robomd probe"):
        ProbeTable.load(path)


def test_a_copy_of_a_study_has_its_probes(tmp_path):
    study = make_study(tmp_path / "s")
    TABLE.save(study.probes)
    copy = Study.copy_from(study.folder, tmp_path / "copy")
    assert copy.probes.read_bytes() == study.probes.read_bytes()
    assert copy.check() == []
