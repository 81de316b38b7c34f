import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic_rollouts

from robomd_ros.core.answers import Question
from robomd_ros.core.errors import (
    CancelledByUserError,
    InvalidArgumentError,
    NotReadyError,
    StorageError,
)
from robomd_ros.core.metrics import auc
from robomd_ros.core.variations import Catalogue, Factor, Perturbation, Variation
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Inputs, Renders, TrainingSet
from robomd_ros.learning.progress import Progress
from robomd_ros.learning.quality import INPUTS
from robomd_ros.learning.train import train_embedding

LIFT = synthetic_rollouts.catalogue()
CONFIG = EmbeddingConfig(epochs=20, batch_size=64)


@pytest.fixture(scope="module")
def data():
    return TrainingSet.from_records(synthetic_rollouts.rollouts(240, sharpness=5).records, LIFT)


@pytest.fixture(scope="module")
def trained(data):
    return train_embedding(
        data, CONFIG, seed=3, catalogue=LIFT, heldout_ids=frozenset(data.ids[160:])
    )


def test_it_ranks_rollouts_it_never_saw(data, trained):
    truth = synthetic_rollouts.rollouts(240, sharpness=5).truth[160:]
    ceiling = auc(truth, data.failed[160:])
    assert trained.quality["auc_all"] > 0.5 + 0.5 * (ceiling - 0.5)
    assert set(trained.facts.training_ids) == set(data.ids[:160])
    assert set(trained.facts.heldout_ids) == set(data.ids[160:])


@pytest.mark.parametrize("shown", INPUTS.values(), ids=INPUTS)
def test_every_subset_of_the_inputs_is_answered(data, trained, shown):
    points = trained.embed(data.inputs[slice(0, 9)].only(**shown))
    assert points.shape == (9, 512)
    assert points.dtype == np.float32
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(trained.failure_logits(points)).all()


def test_factors_alone_order_dark_above_bright(trained):
    scenes = [LIFT.perturbation(f"light_intensity={v}") for v in (0.1, 1.0)]
    x = Inputs.from_questions([Question(s) for s in scenes], LIFT)
    dark, bright = trained.failure_logits(trained.embed(x))
    assert dark > bright


def test_an_unapplied_factor_is_its_nominal_value(trained):
    x = Inputs.from_questions(
        [Question(Perturbation()), Question(LIFT.perturbation("light_intensity=1"))], LIFT
    ).only(factors=True)
    features = trained.model.factor_features(x)
    values = features[:, : LIFT.dim]
    assert np.allclose(values[0], values[1], atol=1e-6)
    unknown = replace(x, factors_known=np.zeros(2, np.bool_))
    assert not np.allclose(trained.embed(x), trained.embed(unknown))


def test_a_question_is_answered_alike_in_any_company(data, trained):
    x = data.inputs[slice(0, 100)]
    assert trained.embed(x)[70:73] == pytest.approx(
        trained.embed(x[np.array([70, 71, 72])]), abs=1e-5
    )
    assert trained.embed(x[slice(0, 0)]).shape == (0, 512)


def test_two_threads_may_ask_at_once(data, trained):
    parts = [data.inputs[slice(i, i + 20)] for i in range(0, 160, 20)]
    with ThreadPoolExecutor(4) as pool:
        together = np.concatenate(list(pool.map(trained.embed, parts)))
    assert together == pytest.approx(trained.embed(data.inputs[slice(0, 160)]), abs=1e-5)


def test_camera_images_of_another_size_are_read(trained):
    small = synthetic_rollouts.picture(Perturbation(), np.random.default_rng(0), 64)
    large = np.kron(small, np.ones((10, 10, 1), np.uint8))[:480]
    x = Inputs.from_questions([Question(image=large), Question(image=small)], LIFT)
    assert np.isfinite(trained.embed(x)).all()


def test_same_seed_same_embedding(data):
    config = replace(CONFIG, epochs=2)
    few = data[slice(0, 80)]
    a, b = (train_embedding(few, config, seed=5, catalogue=LIFT) for _ in range(2))
    assert a.id == b.id
    assert np.array_equal(a.embed(few.inputs), b.embed(few.inputs))
    assert train_embedding(few, config, seed=6, catalogue=LIFT).id != a.id


def test_warm_start_keeps_the_image_encoder(data, trained):
    config = replace(CONFIG, epochs=2)
    phases = set()
    again = train_embedding(
        data[slice(0, 80)], config, seed=0, catalogue=LIFT, warm_start=trained,
        progress=lambda phase, fraction, loss: phases.add(phase),
    )  # fmt: skip
    assert phases == {"data", "train", "metrics"}
    old, new = trained.model.images.state_dict(), again.model.images.state_dict()
    assert all(np.array_equal(old[k], new[k]) for k in old)
    assert again.id != trained.id


def test_renders_are_learnt_from(data):
    rng = np.random.default_rng(0)
    scenes = [LIFT.sample(rng) for _ in range(30)]
    renders = Renders(scenes, np.stack([synthetic_rollouts.picture(p, rng) for p in scenes]))
    config, few = replace(CONFIG, epochs=2), data[slice(0, 80)]
    plain, more = (
        train_embedding(few, config, seed=0, catalogue=LIFT, renders=r) for r in (None, renders)
    )
    assert plain.id != more.id


def test_saved_and_loaded_it_is_the_same(data, trained, tmp_path):
    trained.save(tmp_path)
    loaded = Embedding.load(tmp_path)
    assert loaded.id == trained.id
    assert loaded.config == trained.config
    assert loaded.facts == trained.facts
    assert loaded.quality == pytest.approx(trained.quality, nan_ok=True)
    assert np.array_equal(loaded.embed(data.inputs), trained.embed(data.inputs))
    header = json.loads((tmp_path / "embedding.json").read_text())
    assert header["seed"] == 3
    assert header["data_hash"] == data[slice(0, 160)].hash
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "embedding.json",
        "embedding.safetensors",
    ]


def test_saved_and_loaded_its_risk_is_the_same(data, trained, tmp_path):
    trained.save(tmp_path)
    loaded = Embedding.load(tmp_path)
    assert loaded.risk.layout.surfaces == trained.risk.layout.surfaces
    seen = data.inputs.factors, data.inputs.factor_mask
    before, after = (e.risk.given(*seen, data.failed).logits(*seen) for e in (trained, loaded))
    assert np.array_equal(before, after)


@pytest.mark.parametrize("damage", ["cut", "garbage", "schema", "config"])
def test_a_damaged_file_is_named(trained, tmp_path, damage):
    trained.save(tmp_path)
    path = tmp_path / "embedding.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "garbage": b"\x80\x04" + content[2:],
            "schema": content.replace(rb"\"schema\": 2", rb"\"schema\": 7"),
            "config": content.replace(rb"\"margin\"", rb"\"morgin\""),
        }[damage]
    )
    with pytest.raises(StorageError, match="train again"):
        Embedding.load(tmp_path)


def test_nothing_there_is_not_ready(tmp_path):
    with pytest.raises(NotReadyError, match="train it first"):
        Embedding.load(tmp_path / "none")


def test_a_folder_that_cannot_be_is_a_storage_error(trained, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError):
        trained.save(tmp_path / "models")


def test_another_catalogue_is_refused(trained):
    x = Inputs.from_questions([Question(text="Hello.")], _labels_only())
    with pytest.raises(InvalidArgumentError, match="factor values"):
        trained.embed(x)


def test_too_few_failures(data):
    successes = data[~data.failed]
    with pytest.raises(NotReadyError, match="0 failures"):
        train_embedding(successes, CONFIG, seed=0, catalogue=LIFT)


def test_a_training_can_be_cancelled(data):
    asked = iter([False] * 3 + [True] * 1000)
    with pytest.raises(CancelledByUserError):
        train_embedding(data, CONFIG, seed=0, catalogue=LIFT, cancelled=lambda: next(asked))


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(NotReadyError, match="old model stays"):
        Progress().loss("train", 0.5, float("nan"))


def test_outcomes_with_unknown_factors_are_learnt_from(data):
    few = data[slice(0, 80)]
    known = ~few.failed  # of the failures only image and text are known
    inputs = replace(
        few.inputs,
        factors_known=known,
        factors=few.inputs.factors * known[:, None],
        factor_mask=few.inputs.factor_mask & known[:, None],
    )
    config = replace(CONFIG, epochs=2)
    embedding = train_embedding(replace(few, inputs=inputs), config, seed=0, catalogue=LIFT)
    assert np.isfinite(embedding.embed(inputs)).all()


def test_labels_without_numbers_are_learnt_by_text_and_image(data):
    catalogue = _labels_only()
    milk, bread = catalogue.singles
    rng = np.random.default_rng(0)
    failed = rng.random(80) < 0.5
    scenes = [milk if f else bread for f in failed]
    pictures = list(rng.integers(0, 256, (80, 40, 50, 3)).astype(np.uint8))
    inputs = Inputs.build(pictures, [s.sentence for s in scenes], scenes, catalogue)
    ids = tuple(map(str, range(80)))
    labelled = TrainingSet(inputs, failed, ids, tuple(s.id for s in scenes))
    embedding = train_embedding(labelled, CONFIG, seed=0, catalogue=catalogue)
    asked = Inputs.from_questions([Question(milk), Question(bread)], catalogue)
    risky, safe = embedding.failure_logits(embedding.embed(asked))
    assert risky > safe


@pytest.mark.parametrize(
    "settings",
    [{"profile": "huge"}, {"margin": float("nan")}, {"image_size": 8}, {"modality_dropout": 1.0},
     {"learning_rate": -1.0}, {"threads": 0}],
)  # fmt: skip
def test_senseless_settings_are_refused(settings):
    with pytest.raises(InvalidArgumentError):
        EmbeddingConfig(**settings)


def test_config_survives_json():
    config = EmbeddingConfig.of("paper", epochs=3)
    assert EmbeddingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def _labels_only() -> Catalogue:
    factor = Factor("object", "label")
    named = {n: Variation("object", n, (), f"Put the {n} there.") for n in ("milk", "bread")}
    return Catalogue("real", {"object": factor}, named)
