"""The report of a study whose models were really trained, for one epoch and a few virtual steps."""

import math

import numpy as np
import pytest
from report_synthetic import rollouts

from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.report.build import build_report
from robomd_ros.report.from_asker import SUGGESTIONS, view_of
from robomd_ros.report.summary import summarize
from robomd_ros.report.view import PROPOSALS
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.fit import fit_study


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = Study.create(tmp_path_factory.mktemp("study") / "s", StudyMeta("lift", "Panda", "bc"))
    records = rollouts(each=2, continuous=16)
    with study.store() as store:
        for r in records:
            store.add(r)
    small = SearchConfig(steps=256, n_envs=8, n_steps=8, batch_size=64, epochs=1)
    return study, records, fit_study(study.folder, EmbeddingConfig(epochs=1), small)


def test_the_view_holds_what_the_asker_knows(trained):
    study, records, asker = trained
    view = view_of(asker, study.catalogue(), records, np.random.default_rng(0))
    mapped = view.embedding_map
    assert len(mapped.points) == len(asker.known) == sum(r.is_evidence for r in records)
    assert [p.failed for p in mapped.points] == asker.known.failed.tolist()
    assert len(mapped.proposals) == PROPOSALS
    assert set(view.held_out.ids) == set(asker.embedding.facts.heldout_ids)
    outcomes = {r.id: r.outcome.name == "FAILURE" for r in records}
    assert all(
        outcomes[i] == bool(f) for i, f in zip(view.held_out.ids, view.held_out.failed, strict=True)
    )
    assert 0 < len(view.next_tries) <= sum(SUGGESTIONS.values())
    assert view.facts["search"] == asker.search.id
    learnt = asker.embedding.facts
    shown = view.embedding_figures
    assert (shown.known, shown.held_out) == (len(learnt.training_ids), len(learnt.heldout_ids))
    values = [v for row in shown.rows for v in (row.known, row.held_out) if math.isfinite(v)]
    measured = [v for v in asker.embedding.quality.values() if math.isfinite(v)]
    assert sorted(values) == sorted(measured)
    assert {row.better for row in shown.rows} == {"lower", "higher"}, "a figure has no words"

    data = summarize(study.meta, records, study.catalogue(), view)
    ours = next(s for s in data.scorers if s.name.startswith("P(failure)"))
    assert ours.auc == asker.quality.auc
    assert all(math.isfinite(c.p) for c in data.ranking)
    assert sum(b.rate.n for b in data.reliability) == asker.quality.rollouts


def test_the_report_of_a_trained_study(trained):
    study, _, asker = trained
    page = build_report(study.folder).read_text(encoding="utf-8")
    assert asker.embedding.id in page
    assert asker.search.id in page
    assert "How far to trust the predictions" in page
    assert "Silhouette" in page
    assert "Davies–Bouldin" in page
    assert build_report(study.folder, asker=asker).read_text(encoding="utf-8") == page
