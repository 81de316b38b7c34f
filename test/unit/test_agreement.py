"""Second looks: kappa against hand-worked cases and scikit-learn, which rollouts are drawn, and what the store keeps."""

import math
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from store_samples import make_record, make_study, same

from robomd_ros.cli import main as cli
from robomd_ros.core.agreement import Look, agreement, cohen_kappa, due, in_words, kappa_interval
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.journal import read_journal
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study, shipped_studies
from robomd_ros.report.build import build_report

S, F, INVALID = Outcome.SUCCESS, Outcome.FAILURE, Outcome.INVALID


def second(outcome, labeler="bob", stamp=9.0):
    return Label(outcome, labeler, stamp, second_look=True)


def look(first, other, number=0, labeler="bob"):
    return Look(f"r{number}", "cube_red", Label(first, "ann", 1.0), second(other, labeler))


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.4),  # p_o 35/50, p_e 0.5 * 0.6 + 0.5 * 0.4 = 0.5
        ([[45, 15], [25, 15]], 0.06 / 0.46),  # p_o 0.60, p_e 0.6 * 0.7 + 0.4 * 0.3 = 0.54
        ([[5, 0], [0, 5]], 1.0),
        ([[0, 5], [5, 0]], -1.0),
        ([[25, 25], [25, 25]], 0.0),
        ([[2, 1, 0], [0, 3, 0], [0, 1, 3]], 28 / 40),  # p_o 8/10, p_e 0.3*0.2+0.3*0.5+0.4*0.3
    ],
)
def test_kappa_worked_by_hand(table, kappa):
    table = np.array(table)
    if table.shape == (3, 3):
        kappa = (0.8 - 0.33) / (1 - 0.33)
    assert cohen_kappa(table) == pytest.approx(kappa)
    low, high = kappa_interval(table, np.random.default_rng(0))
    assert -1 <= low <= kappa + 1e-12
    assert kappa - 1e-12 <= high <= 1
    assert low < high


@pytest.mark.parametrize(
    "table", [np.zeros((0, 0)), [[0]], [[7]], [[1, 0], [0, 0]], [[9, 0], [0, 0]]]
)
def test_kappa_is_nan_where_chance_explains_all_or_nobody_looked(table):
    assert math.isnan(cohen_kappa(np.array(table)))
    assert all(map(math.isnan, kappa_interval(np.array(table), np.random.default_rng(0))))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([S, F, INVALID]), st.sampled_from([S, F, INVALID])), min_size=2
    )
)
def test_kappa_is_that_of_scikit_learn(pairs):
    found = agreement([look(a, b, n) for n, (a, b) in enumerate(pairs)])
    wanted = cohen_kappa_score([int(a) for a, _ in pairs], [int(b) for _, b in pairs])
    assert found.kappa == pytest.approx(wanted, nan_ok=True)
    assert found.looks - found.agreed == len(found.disagreements) == sum(a != b for a, b in pairs)
    assert sum(map(sum, found.table)) == len(pairs)


def test_a_handful_that_agrees_proves_little():
    few, many = np.diag([3, 3]), np.diag([300, 300])
    low, high = kappa_interval(few, np.random.default_rng(0))
    assert low < 0.75
    assert high == 1.0
    assert kappa_interval(many, np.random.default_rng(0))[0] > 0.98


def test_the_interval_of_many_is_the_large_sample_one():
    table = np.array([[400, 60], [90, 250]], float)
    p = table / table.sum()
    rows, columns, kappa = p.sum(1), p.sum(0), cohen_kappa(table)
    chance = float(rows @ columns)  # Fleiss, Cohen and Everitt 1969, eq. 13
    a = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    b = (1 - kappa) ** 2 * sum(
        p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j
    )
    error = math.sqrt((a + b - (kappa - chance * (1 - kappa)) ** 2) / table.sum()) / (1 - chance)
    low, high = kappa_interval(table, np.random.default_rng(0))
    assert (high - low) / 2 == pytest.approx(1.645 * error, rel=0.06)
    assert (high + low) / 2 == pytest.approx(kappa, abs=0.01)


def test_the_interval_covers():
    """90 % intervals of 20 pairs hold the true kappa about 90 % of the time."""
    truth = np.array([[0.45, 0.07], [0.05, 0.43]])
    kappa = cohen_kappa(1000 * truth)
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        table = rng.multinomial(20, truth.ravel()).reshape(2, 2)
        low, high = kappa_interval(table, rng)
        held += low <= kappa <= high
    assert 0.85 < held / 300 < 0.97


def test_tables_that_are_none_are_refused():
    for table in (np.ones((2, 3)), np.array([[1, -1], [0, 1]])):
        with pytest.raises(InvalidArgumentError, match="square"):
            cohen_kappa(table)


# -- which rollouts ------------------------------------------------------------------------------------------------


def judged(number, labeler="ann", outcome=S, **fields):
    record = make_record(f"r{number}", outcome=Outcome.UNKNOWN, **fields)
    return replace(record, labels=(Label(outcome, labeler, 1.0),))


def test_a_tenth_is_drawn_by_lot_and_the_same_for_everyone():
    records = [judged(n) for n in range(95)]
    drawn = due(records)
    assert len(drawn) == 10 == len(set(drawn))
    assert due(records, "bob") == drawn == due(records[::-1], "bob")
    assert due(records, seed=1) != drawn
    assert drawn != sorted(drawn, key=lambda i: int(i[1:]))
    assert len(due(records, share=1.0)) == 95
    assert due(records, share=0.0) == due([]) == []
    with pytest.raises(InvalidArgumentError, match="share"):
        due(records, share=1.5)


def test_what_was_looked_at_twice_is_not_due_again():
    records = [judged(n) for n in range(40)]
    first, *rest = due(records)
    records = [replace(r, second_looks=(second(S),)) if r.id == first else r for r in records]
    assert due(records) == rest


def test_what_the_cell_said_and_controls_are_not_judged_from_pictures():
    others = [Outcome.SAFETY_STOP, Outcome.TIMEOUT, Outcome.POLICY_ERROR]
    records = [judged(n, outcome=o) for n, o in enumerate(others)]
    records += [
        make_record("open", outcome=Outcome.UNKNOWN),
        judged(9, control=Control.ZERO_ACTION),
    ]
    assert due(records, share=1.0) == []


def test_somebody_elses_judgements_come_before_ones_own():
    records = [judged(n, "ann" if n % 2 else "bob") for n in range(20)]
    for_ann = due(records, "ann", share=1.0)
    assert all(int(i[1:]) % 2 == 0 for i in for_ann[:10])
    assert set(for_ann) == set(due(records, "bob", share=1.0))


# -- the store -----------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    made = make_study(tmp_path / "s")
    with made.store() as store:
        for n in range(4):
            store.add(make_record(f"r{n}", outcome=S))
    return made


def test_a_second_look_is_kept_and_never_in_force(study):
    with study.store() as store:
        before = store.data_hash(), store.summary()
        record = store.label("r0", second(F))
        assert (record.outcome, record.labels[-1].labeler) == (S, "sim")
        assert record.second_looks == (second(F),)
        assert (store.data_hash(), store.summary()) == before
        assert [e.label.second_look for e in store.history("r0")] == [False, True]
        assert same(store.add(record), record)
        assert same(store.add(replace(record, second_looks=())), record)
    with study.store(read_only=True) as store:
        assert same(store.get("r0"), record)
        assert store.page()[1][-1].second_looks == record.second_looks


def test_undo_takes_back_the_one_that_is_meant(study):
    with study.store() as store:
        store.label("r0", second(F))
        store.label("r0", second(INVALID, stamp=10.0))
        assert store.undo("r0", second_look=True).second_looks == (second(F),)
        assert store.undo("r0").labels == ()
        assert store.get("r0").second_looks == (second(F),)
        store.undo("r0", second_look=True)
        with pytest.raises(InvalidArgumentError, match="no second look"):
            store.undo("r0", second_look=True)
        with pytest.raises(InvalidArgumentError, match="no label yet"):
            store.label("r0", second(F))
        assert [e.label is None for e in store.history("r0")] == [False, *[False] * 2, *[True] * 3]


def test_looks_compare_with_what_was_in_force_then(study):
    with study.store() as store:
        store.label("r0", Label(F, "ann", 2.0))
        store.undo("r0")  # a wrong key: SUCCESS of "sim" is in force again
        store.label("r0", second(F))
        store.label("r0", Label(F, "ann", 20.0))  # they talked it over
        store.label("r1", second(F))
        store.label("r1", second(S, "cid", 12.0))
        store.label("r2", second(F))
        store.undo("r2", second_look=True)
        looks = {x.rollout_id: x for x in store.looks()}
        assert looks.keys() == {"r0", "r1"}
        assert (looks["r0"].first.labeler, looks["r0"].agrees) == ("sim", False)
        assert (looks["r1"].second.labeler, looks["r1"].agrees) == ("cid", True)
        found = agreement(store.looks())
    assert (found.looks, found.agreed, found.same_person) == (2, 1, 0)
    assert [x.rollout_id for x in found.disagreements] == ["r0"]


def test_a_record_is_asked_to_keep_the_two_kinds_apart():
    for fields in ({"labels": (second(S),)}, {"second_looks": (Label(S, "x", 1.0),)}):
        with pytest.raises(InvalidArgumentError, match="second looks"):
            replace(make_record("a"), **fields)


def test_second_looks_survive_the_loss_of_the_database(study):
    with study.store() as store:
        store.label("r0", second(F))
    study.database.unlink()
    store, _ = study.open_store()
    with store:
        assert store.get("r0").second_looks == (second(F),)
        assert store.get("r0").outcome is S


def test_a_second_look_turned_into_a_label_by_damage_is_found(study):
    with study.store() as store:
        store.label("r0", second(F))
        store.compact()
    with sqlite3.connect(study.database) as db:
        db.execute("DROP TRIGGER labels_are_final")
        db.execute("UPDATE labels SET second_look = 0")
    db.close()
    assert "damaged rollouts: r0" in study.check(deep=True)[0].problem


def to_schema_1(path):
    """The store as the first version made it."""
    with sqlite3.connect(path) as db:
        for statement in (
            "DROP VIEW judged", "DROP VIEW standing", "DROP VIEW second_looks",
            "DROP TRIGGER labels_are_final", "ALTER TABLE labels DROP COLUMN second_look",
            "CREATE TRIGGER labels_are_final BEFORE UPDATE ON labels "
            "BEGIN SELECT RAISE(ABORT, 'labels are appended, never overwritten'); END",
            "CREATE VIEW standing AS SELECT * FROM labels AS l WHERE l.undoes IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM labels AS u WHERE u.undoes = l.seq)",
            "CREATE VIEW judged AS SELECT r.*, coalesce((SELECT s.outcome FROM standing AS s "
            "WHERE s.rollout_id = r.id ORDER BY s.seq DESC LIMIT 1), 0) AS outcome FROM rollouts AS r",
            "PRAGMA user_version=1",
        ):  # fmt: skip
            db.execute(statement)
    db.close()


def test_a_store_of_schema_1_is_read_as_it_is_and_migrated_by_its_writer(study):
    with study.store() as store:
        store.label("r1", Label(F, "ann", 2.0))
        store.undo("r1")
        store.compact()
        before = {r.id: store.history(r.id) for r in store.records()}
    to_schema_1(study.database)
    content = study.database.read_bytes()
    with study.store(read_only=True) as store:
        assert {r.id: store.history(r.id) for r in store.records()} == before
        assert store.looks() == []
        assert store.summary().successes == 4
    assert study.check(deep=True) == []
    assert study.database.read_bytes() == content
    with study.store() as store:
        assert {r.id: store.history(r.id) for r in store.records()} == before
        store.label("r1", second(F))
        assert store._db.execute("PRAGMA user_version").fetchone()["user_version"] == 2
    assert study.check(deep=True) == []
    assert [x.rollout_id for x in study.store(read_only=True).looks()] == ["r1"]
    with sqlite3.connect(study.database) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE labels SET second_look = 0")
    db.close()


def test_a_journal_of_schema_1_brings_its_labels_back(study):
    journal = study.folder / "rollouts.journal"
    lines = [
        line.replace(b', "second_look": 0', b"") for line in journal.read_bytes().splitlines(True)
    ]
    journal.write_bytes(b"".join(lines))
    assert len(read_journal(journal)["labels"]) == 4
    study.database.unlink()
    store, findings = study.open_store()
    with store:
        assert "4 rollouts and 4 label entries" in findings[0].action
        assert store.summary().successes == 4


def test_a_reader_of_schema_1_lives_through_the_migration(study):
    with study.store() as store:
        store.compact()
    to_schema_1(study.database)
    with study.store(read_only=True) as reader:
        assert reader.summary().successes == 4
        with study.store() as writer:
            writer.label("r0", second(F))
            assert reader.get("r0").outcome is S
            assert reader.summary().successes == 4


def test_a_damaged_store_of_schema_1_is_salvaged(study):
    with study.store() as store:
        store.compact()
    to_schema_1(study.database)
    data = bytearray(study.database.read_bytes())
    with sqlite3.connect(study.database) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames'").fetchone()
    db.close()
    data[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    study.database.write_bytes(bytes(data))
    assert "damaged" in study.check()[0].problem
    store, _ = study.open_store()
    with store:
        assert store.summary().successes == 4
        store.label("r0", second(F))


def test_the_shipped_studies_open_read_only_and_can_be_gone_on_with(tmp_path):
    for name, folder in shipped_studies().items():
        with Study.open(folder).store(read_only=True) as store:
            records = store.records(with_frames=False)
            assert records
            assert store.looks() == []
        copy = Study.copy_from(name, tmp_path / name)
        with RolloutStore(copy.database) as store:
            chosen = due(records)[0]
            assert store.label(chosen, second(F)).second_looks


# -- for people ----------------------------------------------------------------------------------------------------


def test_agreement_in_words():
    assert in_words(agreement([])) == "No rollout was judged twice yet."
    assert "1 rollout was judged twice, 1 of them alike" in in_words(agreement([look(S, S)]))
    assert "not defined" in in_words(agreement([look(S, S, n) for n in range(9)]))
    said = in_words(agreement([look(S, S, 0), look(F, F, 1), look(S, F, 2, "ann")]))
    assert "2 of them alike (67 %" in said
    assert "kappa 0.40" in said
    assert "1 of them twice by one person" in said


def test_the_commands_and_the_report_tell_of_disagreements(study, capsys):
    folder = str(study.folder)
    assert cli.run(["study", "show", folder]) == 0
    assert "judged twice" not in capsys.readouterr().out
    assert "Do the labels hold" not in build_report(study.folder).read_text()
    with study.store() as store:
        store.label("r0", Label(F, "ann", 2.0))
        for number, outcome in enumerate((F, S, F)):
            store.label(f"r{number}", second(outcome, "<b>bob"))
    assert cli.run(["study", "agreement", folder, "--share", "1"]) == 0
    said = capsys.readouterr().out
    assert "3 rollouts were judged twice, 2 of them alike" in said
    assert "r2 (cube_red): SUCCESS by sim, then FAILURE by <b>bob" in said
    assert "1 more want a second look" in said
    assert cli.run(["study", "show", folder]) == 0
    assert "r2 (cube_red)" in capsys.readouterr().out
    page = build_report(study.folder).read_text()
    assert "Do the labels hold" in page
    assert "failure <small>&lt;b&gt;bob" in page
    assert cli.run(["study", "export", folder]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.endswith("second_look,second_labeler")
    assert [row.split(",")[-2] for row in rows] == ["FAILURE", "SUCCESS", "FAILURE", ""]
