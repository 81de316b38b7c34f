"""The whole way with the real embedding, trained briefly: rollouts on the disk in, a trained study out."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from synthetic_rollouts import catalogue
from synthetic_rollouts import rollouts as synthetic

from robomd_ros.core.answers import Question
from robomd_ros.core.errors import CancelledByUserError, NotReadyError, StorageError, UnknownIdError
from robomd_ros.core.probes import DIM, ProbeTable
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.search.asking import Asker
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.fit import fit_embedding, fit_search, fit_study, heldout_ids

BRIEF = EmbeddingConfig(epochs=3)
QUICK = SearchConfig(steps=2_048, n_envs=32, batch_size=256)
RECORDS = synthetic(150, seed=4).records


def make_study(folder, records=RECORDS):
    study = Study.create(folder, StudyMeta("lift", "Panda", "synthetic"))
    with study.store() as store:
        for r in records:
            store.add(r)
    return study


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("fit") / "study")
    phases = []
    asker = fit_study(
        study.folder, BRIEF, QUICK, seed=1, progress=lambda *report: phases.append(report)
    )
    return study, asker, phases


def test_a_fitted_study_answers_and_opens_again_the_same(trained):
    study, asker, phases = trained
    assert {p for p, *_ in phases} >= {"train", "embed", "save", "calibrate"}
    assert all(0 <= fraction <= 1 for _, fraction, _ in phases)
    again = Asker.from_study(study.folder)
    assert (again.embedding.id, again.search.id) == (asker.embedding.id, asker.search.id)
    assert again.quality == asker.quality
    question = Question(catalogue().perturbation("table_red"))
    assert again.ask([question]) == asker.ask([question])
    assert len(asker.risk_map().answers) >= 22


def test_no_model_saw_the_held_out_rollouts(trained):
    _, asker, _ = trained
    held = heldout_ids(RECORDS)
    assert set(asker.embedding.facts.heldout_ids) == held
    assert not held & set(asker.embedding.facts.training_ids)
    assert asker.search.facts["known"] == len(RECORDS) - len(held)
    assert asker.quality.rollouts == len(held)


def test_the_split_is_steady_and_of_the_stated_size():
    many = synthetic(600, seed=9).records
    held = heldout_ids(many)
    assert 0.14 < len(held) / len(many) < 0.26
    assert heldout_ids(many[:100]) == held & {r.id for r in many[:100]}
    kept = replace(many[0], purpose="heldout")
    assert kept.id in heldout_ids([kept], share=0.0)


def test_a_search_of_another_embedding_is_not_used(trained, tmp_path):
    study, asker, _ = trained
    copy = Study.copy_from(study.folder, tmp_path / "copy")
    fit_embedding(copy.folder, BRIEF, seed=7)
    asker.search.save(copy.models)
    assert Asker.from_study(copy).search is None


def test_a_fitted_study_uses_what_the_policy_was_asked(trained, tmp_path):
    study, asker, _ = trained
    copy = Study.copy_from(study.folder, tmp_path / "copy")
    asker.embedding.save(copy.models)
    said = {r.perturbation.id: np.zeros(DIM, np.float32) for r in RECORDS}
    ProbeTable(RECORDS[0].policy_id, said).save(copy.probes)
    assert {p.id for p in fit_search(copy.folder, QUICK).probed} == set(said)


def test_what_is_missing_or_damaged_is_said(tmp_path):
    with pytest.raises(UnknownIdError):
        fit_search(tmp_path)
    study = make_study(tmp_path / "s", RECORDS[:4])
    with pytest.raises(NotReadyError, match="train it first"):
        fit_search(study.folder)
    with pytest.raises(NotReadyError):
        fit_embedding(study.folder, BRIEF)
    with pytest.raises(NotReadyError):
        Asker.from_study(study.folder)


def test_damaged_models_and_cancelled_trainings_leave_the_rest(trained, tmp_path):
    study, asker, _ = trained
    copy = Study.copy_from(study.folder, tmp_path / "copy")
    asker.embedding.save(copy.models)
    asker.search.save(copy.models)
    with pytest.raises(CancelledByUserError):
        fit_search(copy.folder, QUICK, cancelled=lambda: True)
    assert Asker.from_study(copy).search.id == asker.search.id
    (copy.models / "search.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(StorageError, match="damaged"):
        Asker.from_study(copy)


def test_an_image_alone_is_answered(trained):
    _, asker, _ = trained
    image = np.zeros((84, 84, 3), np.uint8)
    answer = asker.ask([Question(image=image)])[0]
    assert 0 < answer.p_failure < 1
