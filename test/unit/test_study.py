import json
import os
import shutil
import sqlite3
import stat
from dataclasses import replace

import numpy as np
import pytest
from store_samples import LIFT, META, make_record, make_study, make_trace, same

from robomd_ros.core.errors import (
    BusyError,
    InvalidArgumentError,
    RobomdError,
    StorageError,
    UnknownIdError,
)
from robomd_ros.core.journal import read_journal
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.study import Study, StudyMeta, shipped_studies
from robomd_ros.recording import commit_rollout


@pytest.fixture
def study(tmp_path):
    """Twelve rollouts with recordings, some relabelled."""
    made = make_study(tmp_path / "s")
    with made.store() as store:
        for n in range(12):
            variation = ("cube_red", "table_blue", "nominal")[n % 3]
            record = make_record(f"r{n:02}", variation, Outcome(1 + n % 2), seed=n)
            commit_rollout(made, store, record, make_trace(n))
        store.label("r03", Label(Outcome.INVALID, "me", 5.0))
        store.label("r04", Label(Outcome.INVALID, "me", 6.0))
        store.undo("r04", "me", 7.0)
    return made


def contents(study):
    with study.store(read_only=True) as store:
        return {r.id: r for r in store.records()}


def equal(a, b):
    return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)


def test_a_study_opens_as_it_was_made(tmp_path):
    made = make_study(tmp_path / "s")
    opened = Study.open(tmp_path / "s")
    assert opened == made
    assert (opened.meta.name, opened.meta.task, opened.meta.schema) == ("s", "lift", 1)
    assert opened.meta.created.endswith("+00:00")
    assert opened.catalogue() == LIFT
    assert opened.check() == []
    with pytest.raises(InvalidArgumentError, match="already"):
        make_study(tmp_path / "s")
    with pytest.raises(UnknownIdError, match=r"no study\.json"):
        Study.open(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("task"),
        lambda d: d.update(task=""),
        lambda d: d.update(robot=3),
        lambda d: d.update(schema=2),
        lambda d: d.update(schema=True),
        lambda d: d.update(surprise="x"),
    ],
)
def test_a_study_json_that_is_not_ours_is_refused(tmp_path, change):
    make_study(tmp_path / "s")
    path = tmp_path / "s" / "study.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(StorageError, match=r"not a valid study\.json"):
        Study.open(tmp_path / "s")
    for text in ("", "[1]", "{", "\xff" * 9, "[" * 100_000):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(StorageError):
            Study.open(tmp_path / "s")


def test_an_own_catalogue_travels_with_the_study(tmp_path):
    study = Study.create(tmp_path / "s", replace(META, catalogue="mine.toml"))
    text = 'task = "lift"\n[factors.cube_color]\nkind = "color"\nlow = [0.0, 0.0, 0.0]\n'
    text += 'high = [1.0, 1.0, 1.0]\n[variations.cube_mauve]\nfactor = "cube_color"\nvalue = [0.5, 0.2, 0.5]\n'
    (study.folder / "mine.toml").write_text(text)
    assert list(study.catalogue().variations) == ["cube_mauve"]
    copy = Study.copy_from(study.folder, tmp_path / "copy")
    assert list(copy.catalogue().variations) == ["cube_mauve"]


def test_a_copy_holds_the_same_also_while_the_original_is_being_written(study, tmp_path):
    with study.store() as store:
        store.add(make_record("newest"))
        copy = Study.copy_from(study.folder, tmp_path / "copy")
    assert equal(contents(copy), contents(study))
    assert copy.check() == []
    with copy.store() as store:
        store.label("newest", Label(Outcome.FAILURE, "me", 1.0))
    assert contents(study)["newest"].outcome is Outcome.SUCCESS
    with pytest.raises(InvalidArgumentError, match="not empty"):
        Study.copy_from(study.folder, tmp_path / "copy")
    with pytest.raises(UnknownIdError):
        Study.copy_from("no_such_example", tmp_path / "other")


def test_a_compacted_study_is_one_file_and_opens_where_nothing_can_be_written(study):
    before = contents(study)
    with study.store() as store:
        store.compact()
    files = {p.name for p in study.folder.glob("rollouts.*")} - {"rollouts.lock"}
    assert files == {"rollouts.sqlite"}
    for path in (study.database, study.folder):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        assert equal(contents(study), before)
        assert os.listdir(study.folder).count("rollouts.sqlite-wal") == 0
    finally:
        study.folder.chmod(0o755)


def test_missing_and_damaged_recordings_are_named_and_the_rollouts_stay(study):
    before = contents(study)
    (study.recordings / "r00.mcap").unlink()
    torn = study.recordings / "r01.mcap"
    torn.write_bytes(torn.read_bytes()[:-20])
    (study.recordings / "r02.mcap").write_bytes(b"")
    named = {(f.path, f.problem.split(": ")[1]) for f in study.check()}
    wanted = {
        ("r00", "missing"),
        ("r01", "not a whole MCAP file"),
        ("r02", "not a whole MCAP file"),
    }
    assert named == {(f"recordings/{name}.mcap", problem) for name, problem in wanted}
    store, findings = study.open_store()
    store.close()
    assert len(findings) == 3
    assert all("stay" in f.action for f in findings)
    after = contents(study)
    for rollout_id, record in before.items():
        lost = rollout_id in ("r00", "r01", "r02")
        assert same(after[rollout_id], replace(record, recording="" if lost else record.recording))
    assert {p.name for p in study.quarantine.glob("*.mcap")} == {"r01.mcap", "r02.mcap"}
    assert "not a whole" in (study.quarantine / "r01.mcap.reason.txt").read_text()
    assert study.check() == []


def test_strays_and_leftovers(study):
    whole = (study.recordings / "r00.mcap").read_bytes()
    (study.recordings / "orphan.mcap").write_bytes(whole)
    (study.recordings / ".half.mcap.tmp").write_bytes(whole[:100])
    (study.folder / ".study.json.tmp").write_text("{")
    (study.recordings / "notes.txt").write_text("mine")
    (study.recordings / "folder.mcap").mkdir()
    findings = {f.path: f.action for f in study.check(repair=True)}
    assert findings == {
        ".study.json.tmp": "removed",
        "recordings/.half.mcap.tmp": "removed",
        "recordings/orphan.mcap": "moved to quarantine",
        "recordings/notes.txt": "left alone",
        "recordings/folder.mcap": "left alone",
    }
    assert (study.quarantine / "orphan.mcap").read_bytes() == whole
    (study.recordings / "orphan.mcap").write_bytes(b"another one of the same name")
    study.check(repair=True)
    assert (study.quarantine / "orphan.mcap").read_bytes() == whole
    assert (study.quarantine / "orphan.1.mcap").exists()


def judgements(study):
    with study.store(read_only=True) as store:
        ids = [r.id for r in store.records(with_frames=False)]
        return {rollout_id: store.history(rollout_id) for rollout_id in ids}


def lose(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:3000])


def overwrite(path):
    path.write_bytes(b"this was a database once" * 1000)


@pytest.mark.parametrize("harm", [lose, truncate, overwrite])
def test_every_judgement_survives_the_loss_of_the_database(study, harm):
    before, said = contents(study), judgements(study)
    harm(study.database)
    with pytest.raises(RobomdError, match=r"--repair|no rollout store"):
        study.store(read_only=True).records()
    assert study.check()[0].action == ""
    store, findings = study.open_store()
    with store:
        assert "12 rollouts and 15 label entries (lost: 12 first frames)" in findings[0].action
    assert judgements(study) == said
    for rollout_id, record in contents(study).items():
        assert same(record, replace(before[rollout_id], first_frame=None))
    assert len(list(study.recordings.glob("*.mcap"))) == 12
    assert study.check(deep=True) == []


def test_the_journal_follows_and_mends_itself(study):
    journal = study.folder / "rollouts.journal"
    whole = journal.read_bytes()
    assert whole.count(b"\n") == 12 + 15
    for broken in (
        whole[:-30],
        whole + b"{}\n[]\nnonsense\n",
        b"",
        whole.replace(b"INVALID", b"x"),
    ):
        journal.write_bytes(broken)
        study.store().close()
        kept = read_journal(journal)
        assert (len(kept["rollouts"]), len(kept["labels"])) == (12, 15)
    with study.store() as store:
        journal.unlink()
        journal.mkdir()  # it cannot be written now: no error, the database has it
        store.label("r00", Label(Outcome.FAILURE, "me", 8.0))
        journal.rmdir()
        store.label("r01", Label(Outcome.FAILURE, "me", 9.0))
        kept = read_journal(journal)
        assert (len(kept["rollouts"]), len(kept["labels"])) == (12, 17)


def test_the_journal_of_another_database_is_kept(study, tmp_path):
    other = make_study(tmp_path / "other")
    shutil.copy(other.database, study.database)
    study.store().close()
    (aside,) = study.quarantine.glob("rollouts.*.journal")
    assert len(read_journal(aside)["rollouts"]) == 12
    assert read_journal(study.folder / "rollouts.journal")["rollouts"] == []


def test_a_store_of_a_newer_version_is_never_repaired(study):
    with sqlite3.connect(study.database) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    content = study.database.read_bytes()
    with pytest.raises(StorageError, match="update it"):
        study.check(repair=True)
    assert study.database.read_bytes() == content


HISTORY = (
    Label(Outcome.SUCCESS, "sim", 1.5),
    Label(Outcome.FAILURE, "sim", 1.5),
    Label(Outcome.INVALID, "me", 5.0),
    Label(Outcome.INVALID, "me", 6.0),
)


def damage(path, at, size=200):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(np.random.default_rng(at).integers(0, 256, size, dtype=np.uint8)))


@pytest.mark.parametrize("seed", range(12))
def test_a_database_with_random_damage_still_opens_and_says_what_it_lost(study, seed):
    before = contents(study)
    with study.store() as store:
        store.compact()
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, study.database.stat().st_size - 200, 2):
        damage(study.database, int(at))
    original = study.database.read_bytes()
    findings = study.check(repair=True, deep=True)
    after = contents(study)
    if not findings:  # the damage hit unused space
        assert equal(after, before)
        return
    assert any(f.path == "rollouts.sqlite" and "read back" in f.action for f in findings), findings
    for rollout_id, record in after.items():
        wanted = before[rollout_id]
        gone = {} if record.first_frame is not None else {"first_frame": None}
        labels = record.labels if set(record.labels) <= set(HISTORY) else None
        recording = record.recording and wanted.recording
        assert same(record, replace(wanted, labels=labels, recording=recording, **gone))
    aside = next(study.quarantine.glob("rollouts.*.sqlite"))
    assert aside.read_bytes() == original
    assert aside.with_name(aside.name + ".reason.txt").exists()
    assert study.check(deep=True) == []
    with study.store() as store:
        store.add(make_record("goes-on"))


def test_repair_is_for_when_nobody_writes(study):
    with study.store():
        assert study.check() == []
        with pytest.raises(BusyError):
            study.check(repair=True)


def test_a_study_on_a_folder_that_is_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not be written"):
        Study.create(tmp_path / "file" / "s", META)
    with pytest.raises(InvalidArgumentError, match="task and a robot"):
        StudyMeta("", "Panda", "p")


def test_the_shipped_studies_are_whole(tmp_path):
    for name, folder in shipped_studies().items():
        assert {p.name for p in folder.iterdir()} <= {
            "study.json", "rollouts.sqlite", "recordings", "README.md", "probes.npz",
        }  # fmt: skip
        copy = Study.copy_from(name, tmp_path / name)
        assert copy.check(repair=False, deep=True) == []
        shutil.rmtree(copy.folder)


def test_the_database_is_plain_sqlite_with_durable_commits(study):
    with study.store() as store:
        assert store._db.execute("PRAGMA synchronous").fetchone()["synchronous"] == 2
        assert store._db.execute("PRAGMA journal_mode").fetchone()["journal_mode"] == "wal"
        assert store._db.execute("PRAGMA foreign_keys").fetchone()["foreign_keys"] == 1
    with sqlite3.connect(study.database) as db:
        assert db.execute("SELECT count(*) FROM judged WHERE outcome = 3").fetchone() == (1,)
    db.close()
