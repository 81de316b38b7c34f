import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import LIFT, make_record, make_study, make_trace, same

from robomd_ros.core.errors import (
    BusyError,
    InvalidArgumentError,
    NotReadyError,
    StorageError,
    TooLargeError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import PURPOSES, RolloutRecord
from robomd_ros.core.store import Counts, RolloutStore

JUDGED = [o for o in Outcome if o is not Outcome.UNKNOWN]
TEXT = st.text(max_size=40).filter(lambda t: t.isprintable() or "\n" in t)
LABELS = st.builds(
    Label, st.sampled_from(JUDGED), TEXT, st.floats(0, 4e9, allow_nan=False), TEXT, TEXT
)


@st.composite
def perturbations(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    named = draw(st.sampled_from(list(LIFT.variations)))
    return LIFT.perturbation(named) if draw(st.booleans()) else LIFT.sample(rng)


@st.composite
def rollouts(draw):
    shape = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count = st.integers(0, 2**40)
    return RolloutRecord(
        id=draw(st.text("abcdefXYZ019-_", min_size=1, max_size=64)),
        perturbation=draw(perturbations()),
        task="lift",
        robot=draw(TEXT),
        policy_id=draw(TEXT),
        purpose=draw(st.sampled_from(PURPOSES)),
        control=draw(st.sampled_from(Control)),
        seed=draw(st.integers(-1, 2**63 - 1)),
        started=draw(st.floats(0, 4e9)),
        duration=draw(st.floats(-0.0, 1e6)),
        steps=draw(count),
        frames=draw(count),
        frames_expected=draw(count),
        first_frame=None if shape is None else rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        recording=draw(st.sampled_from(["", "a.mcap"])),
        labels=tuple(draw(st.lists(LABELS, max_size=4))),
        facts=draw(st.dictionaries(TEXT, TEXT, max_size=4)),
    )


@pytest.fixture
def store(tmp_path):
    with RolloutStore(tmp_path / "rollouts.sqlite") as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(record=rollouts())
def test_a_record_comes_back_as_it_was_also_from_another_connection(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("store") / "rollouts.sqlite"
    with RolloutStore(path) as store:
        assert same(store.add(record), record)
        assert same(store.add(record), record)
        assert len(store.records()) == 1
    with RolloutStore(path, read_only=True) as again:
        assert same(again.get(record.id), record)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=st.lists(st.none() | LABELS, max_size=25))
def test_history_only_grows_and_the_label_in_force_follows_a_stack(tmp_path_factory, actions):
    with RolloutStore(tmp_path_factory.mktemp("store") / "rollouts.sqlite") as store:
        store.add(make_record("a", outcome=Outcome.UNKNOWN))
        stack, before = [], []
        for action in actions:
            if action is not None:
                stack.append(action)
                record = store.label("a", action)
            elif stack:
                stack.pop()
                record = store.undo("a", "someone", 3.0)
            else:
                with pytest.raises(InvalidArgumentError, match="no label"):
                    store.undo("a")
                continue
            assert record.labels == tuple(stack)
            history = store.history("a")
            said = [entry.label for entry in history]
            assert said[: len(before)] == before
            assert len(said) == len(before) + 1
            assert [e.label for e in history if e.label and not e.undone] == stack
            before = said


def test_labels_cannot_be_changed_even_by_hand(store):
    store.add(make_record("a"))
    with sqlite3.connect(store.path) as by_hand:
        for statement in (
            "UPDATE labels SET outcome = 2",
            "DELETE FROM labels",
            "DELETE FROM rollouts",
        ):
            with pytest.raises(sqlite3.IntegrityError, match=r"appended|never"):
                by_hand.execute(statement)
    by_hand.close()


def test_the_same_id_with_other_content_is_refused(store):
    frame = make_trace().frames[0]
    record = make_record("a", frame=frame)
    store.add(record)
    for other in (
        replace(record, seed=5),
        replace(record, perturbation=LIFT.perturbation("cube_blue")),
        replace(record, first_frame=255 - frame),
        replace(record, first_frame=None),
    ):
        with pytest.raises(InvalidArgumentError, match="other content"):
            store.add(other)
    with pytest.raises(InvalidArgumentError, match="other labels"):
        store.add(replace(record, labels=(Label(Outcome.FAILURE, "me", 1.0),)))
    assert same(store.get("a"), record)


def test_adding_again_after_a_relabel_changes_nothing(store):
    record = make_record("a")
    store.add(record)
    relabelled = store.label("a", Label(Outcome.FAILURE, "me", 2.0))
    assert store.add(record).outcome is Outcome.FAILURE
    assert same(store.add(relabelled), relabelled)
    assert len(store.history("a")) == 2


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"duration": float("nan")}, InvalidArgumentError),
        ({"started": float("inf")}, InvalidArgumentError),
        ({"seed": 2**63}, InvalidArgumentError),
        ({"seed": -2}, InvalidArgumentError),
        ({"frames": 1.5}, InvalidArgumentError),
        ({"facts": {"a": 1}}, InvalidArgumentError),
        ({"facts": {"a": "\ud800"}}, InvalidArgumentError),
        ({"facts": {"a": "x" * 20_000}}, TooLargeError),
        ({"facts": {str(n): "" for n in range(100)}}, TooLargeError),
    ],
)
def test_fields_that_cannot_be_kept_are_refused_and_nothing_is_stored(store, fields, error):
    with pytest.raises(error):
        store.add(make_record("a", **fields))
    assert store.summary().total == 0


def test_labels_that_say_nothing_and_unknown_rollouts_are_refused(store):
    store.add(make_record("a"))
    with pytest.raises(InvalidArgumentError, match="undo"):
        store.label("a", Label(Outcome.UNKNOWN, "me", 1.0))
    for call in (store.get, store.undo, store.history):
        with pytest.raises(UnknownIdError, match="no rollout 'b'"):
            call("b")
    with pytest.raises(UnknownIdError):
        store.label("b", Label(Outcome.SUCCESS, "me", 1.0))
    assert store.revision() == (1, 1)


def fill(store):
    outcomes = [Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE, Outcome.INVALID, Outcome.UNKNOWN]
    for at, outcome in enumerate(outcomes * 2):
        variation = "cube_red" if at < 5 else "table_blue"
        store.add(make_record(f"r{at}", variation, outcome, frame=make_trace(at).frames[0]))
    store.add(make_record("c", "nominal", Outcome.FAILURE, control=Control.ZERO_ACTION))


def test_counts_pages_and_filters(store):
    fill(store)
    each = Counts(successes=1, failures=2, unlabeled=1, not_evidence=1)
    assert store.counts() == {"cube_red": each, "table_blue": each, "nominal": Counts(controls=1)}
    assert store.summary() == Counts(2, 4, 2, 2, 1)
    assert (store.summary().total, store.summary().evidence) == (11, 6)
    assert [r.id for r in store.records(evidence_only=True)] == ["r0", "r1", "r2", "r5", "r6", "r7"]
    assert [r.id for r in store.records(perturbation_id="table_blue")] == [
        f"r{n}" for n in range(5, 10)
    ]
    assert store.records(policy_id="other") == []
    assert all(r.first_frame is None for r in store.records(with_frames=False))
    total, rows = store.page(1, 2, "cube_red", Outcome.FAILURE)
    assert (total, [r.id for r in rows]) == (2, ["r1"])
    assert [r.id for r in store.page(0, 3)[1]] == ["c", "r9", "r8"]
    for offset, limit in ((-1, 5), (0, 0), (0, 501)):
        with pytest.raises(InvalidArgumentError):
            store.page(offset, limit)


def test_the_data_hash_is_of_the_evidence_alone(store, tmp_path):
    fill(store)
    before = store.data_hash()
    store.add(make_record("later", outcome=Outcome.UNKNOWN))
    store.add(make_record("control", "nominal", Outcome.SUCCESS, control=Control.ZERO_ACTION))
    assert store.data_hash() == before
    store.label("r0", Label(Outcome.FAILURE, "me", 9.0))
    changed = store.data_hash()
    store.undo("r0")
    assert changed != before == store.data_hash()
    with RolloutStore(tmp_path / "other.sqlite") as other:
        for record in reversed(store.records()):
            other.add(replace(record, id=f"x{record.id}", started=77.0))
        assert other.data_hash() == before


def test_a_second_writer_is_sent_away_and_a_reader_is_not(tmp_path):
    path = tmp_path / "rollouts.sqlite"
    with pytest.raises(NotReadyError, match="nothing was recorded"):
        RolloutStore(path, read_only=True)
    with RolloutStore(path) as store:
        store.add(make_record("a"))
        with pytest.raises(BusyError, match="writer already"):
            RolloutStore(path)
        with RolloutStore(path, read_only=True) as reader:
            assert reader.get("a").outcome is Outcome.SUCCESS
            with pytest.raises(StorageError, match="read-only"):
                reader.label("a", Label(Outcome.FAILURE, "me", 1.0))
    RolloutStore(path).close()


def test_many_threads_write_through_one_store(store):
    def work(worker):
        for n in range(10):
            store.add(make_record(f"t{worker}-{n}"))
            store.label(f"t{worker}-{n}", Label(Outcome.FAILURE, f"w{worker}", float(n)))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.revision() == (40, 80)
    assert store.summary() == Counts(failures=40)


READER = """
import sys
from robomd_ros.core.store import RolloutStore
store, seen = RolloutStore(sys.argv[1], read_only=True), 0
print("ready", flush=True)
while seen < 60:
    records = store.records()
    assert len(records) >= seen, "a rollout vanished"
    assert all(r.labels and r.first_frame is not None for r in records), "half a rollout"
    seen = len(records)
"""


def test_two_readers_in_other_processes_see_only_whole_rollouts(tmp_path):
    with make_study(tmp_path / "s").store() as store:
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", READER, store.path], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        for n in range(60):
            store.add(make_record(f"r{n}", frame=make_trace(n).frames[0]))
        assert [reader.wait(60) for reader in readers] == [0, 0]
    for reader in readers:
        reader.stdout.close()


def test_a_store_of_a_newer_version_and_a_foreign_file_are_named(tmp_path):
    path = tmp_path / "rollouts.sqlite"
    RolloutStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StorageError, match=r"schema 99.*update"):
        RolloutStore(path)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(StorageError, match="no rollout store"):
        RolloutStore(foreign)


def test_a_safety_stop_never_becomes_evidence(tmp_path):
    stopped = Label(Outcome.SAFETY_STOP, "ur5e_driver", 1.0, "protective stop")
    with RolloutStore(tmp_path / "rollouts.sqlite") as store:
        rollout_id = store.add(replace(make_record("a"), labels=(stopped,))).id
        for outcome in (Outcome.FAILURE, Outcome.SUCCESS):
            with pytest.raises(InvalidArgumentError, match="safety stop"):
                store.label(rollout_id, Label(outcome, "ada", 2.0))
        store.undo(rollout_id, "ada", 3.0)
        with pytest.raises(InvalidArgumentError, match="safety stop"):
            store.label(rollout_id, Label(Outcome.FAILURE, "ada", 4.0))
        again = store.label(rollout_id, Label(Outcome.INVALID, "ada", 5.0))
        assert again.outcome is Outcome.INVALID
