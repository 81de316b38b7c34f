"""The paper profile with random towers, asked for explicitly: no weights are on a test machine."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from robomd_ros.core.errors import NotReadyError, StorageError
from robomd_ros.core.variations import load_catalogue
from robomd_ros.learning import paper_weights
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, TrainingSet
from robomd_ros.learning.paper import PaperModel
from robomd_ros.learning.paper_training import hide, training_step
from robomd_ros.learning.train import train_embedding

LIFT = load_catalogue("lift")
RANDOM = EmbeddingConfig.of("paper", random_weights=True, learning_rate=1e-4, modality_dropout=0.0)


def batch(n=4):
    rng = np.random.default_rng(0)
    scenes = [LIFT.sample(rng) for _ in range(n)]
    images = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in scenes]
    inputs = Inputs.build(images, [p.sentence for p in scenes], scenes, LIFT)
    failed = np.arange(n) % 2 == 0
    return TrainingSet(inputs, failed, tuple(map(str, range(n))), tuple(p.id for p in scenes))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return PaperModel.pretrained(RANDOM)


def test_shapes_and_missing_inputs(model):
    data = batch(2)
    with torch.inference_mode():
        points = model.eval()(data.inputs)
        assert points.shape == (2, 512)
        assert model.failure_logits(points).shape == (2,)
        text, image = model(data.inputs.only(text=True)), model(data.inputs.only(image=True))
    assert torch.isfinite(text).all()
    assert not torch.allclose(text, points)
    assert not torch.allclose(image, points)


def test_the_towers_are_the_papers(model):
    assert sum(p.numel() for p in model.image.parameters()) == pytest.approx(86.2e6, rel=0.01)
    assert sum(p.numel() for p in model.text.parameters()) == pytest.approx(63.4e6, rel=0.01)


def test_a_step_reaches_both_towers_and_lowers_the_loss(model):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), RANDOM.learning_rate)
    data, rng = batch(2), np.random.default_rng(0)
    first = training_step(model, optimizer, data, rng)
    for name, tower in (("image", model.image), ("text", model.text)):
        grads = [p.grad for p in tower.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in grads) > 0, name
    assert model.text.token_embedding.weight.grad is not None
    assert training_step(model, optimizer, data, rng) < first


def test_hiding_never_hides_both():
    inputs = batch(64).inputs
    hidden = hide(inputs, 1.0, np.random.default_rng(0))
    has_text = np.array([bool(t) for t in hidden.texts])
    assert (hidden.image_mask ^ has_text).all()
    assert 10 < hidden.image_mask.sum() < 54


def test_absent_weights_are_an_error_that_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(paper_weights, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(NotReadyError, match="--download"):
        train_embedding(batch(20), EmbeddingConfig.of("paper"), seed=0, catalogue=LIFT)
    with pytest.raises(NotReadyError, match="compact"):
        paper_weights.text_state(EmbeddingConfig.of("paper"))


def test_weights_from_files(tmp_path, model):
    text, image = tmp_path / "clip.safetensors", tmp_path / "vit.safetensors"
    save_file({f"text.{k}": v for k, v in model.text.state_dict().items()}, str(text))
    save_file(
        {k: v for k, v in model.image.state_dict().items() if not k.startswith("heads.")},
        str(image),
    )
    config = EmbeddingConfig.of("paper", image_weights=str(image), text_weights=str(text))
    again = PaperModel.pretrained(config)
    torch.testing.assert_close(again.text.text_projection, model.text.text_projection)
    torch.testing.assert_close(again.image.conv_proj.weight, model.image.conv_proj.weight)
    with pytest.raises(StorageError, match="does not fit"):
        PaperModel.pretrained(
            EmbeddingConfig.of("paper", image_weights=str(text), text_weights=str(text))
        )


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"x": object()}, path)
    with pytest.raises(StorageError, match="not a readable weight file"):
        paper_weights.image_state(EmbeddingConfig.of("paper", image_weights=str(path)))
