"""An embedding without learning, for tests of what is built on one: factor values, turned into 512 numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.learning.inputs import Inputs


class LinearEmbedding:
    """Dark light and a red table fail, and the head knows it; a text alone lies far from everything."""

    dim = 512
    id = "linear-0"
    risk = None

    def __init__(self, catalogue: Catalogue, heldout_ids: tuple[str, ...] = ()) -> None:
        rng = np.random.default_rng(0)
        self._map = rng.normal(size=(2 * catalogue.dim, self.dim)).astype(np.float32) / 20
        self._direction = np.linalg.pinv(self._map).astype(np.float32)
        risky = [catalogue.perturbation(i) for i in ("light_intensity=0.1", "table_red")]
        values = np.stack([np.concatenate(catalogue.vector(p)) for p in risky])
        self._risk = values.sum(axis=0).astype(np.float32)
        self.facts = SimpleNamespace(heldout_ids=heldout_ids)
        self.embedded = 0

    def embed(self, inputs: Inputs) -> np.ndarray:
        self.embedded += len(inputs)
        x = np.concatenate([inputs.factors, inputs.factor_mask], axis=1).astype(np.float32)
        out = x @ self._map
        if inputs.image_mask.any():  # where the cube lies moves the picture a little
            seen = inputs.image_mask[:, None] * inputs.images[:, 0, 0, :1] / 255.0
            out = out + 0.02 * (seen.astype(np.float32) - 0.5)
        out[~inputs.factors_known & ~inputs.image_mask] += 10.0
        return out.astype(np.float32)

    def failure_logits(self, embeddings: np.ndarray) -> np.ndarray:
        return (embeddings @ self._direction @ self._risk - 2.0).astype(np.float32)


def record(
    i: int, perturbation: Perturbation, failed: bool, shade: int = 128, **fields
) -> RolloutRecord:
    label = Label(Outcome.FAILURE if failed else Outcome.SUCCESS, "sim", float(i))
    frame = np.full((4, 4, 3), shade, np.uint8)
    fields = {"labels": (label,), "first_frame": frame, **fields}
    return RolloutRecord(f"r{i}", perturbation, "lift", "Panda", "stub", **fields)


def rollouts(catalogue: Catalogue, n: int, seed: int = 0) -> list[RolloutRecord]:
    """A third singles, the rest continuous; outcomes follow the head but are noisy."""
    rng = np.random.default_rng(seed)
    embedding = LinearEmbedding(catalogue)
    singles = (Perturbation(), *catalogue.singles)
    records = []
    for i in range(n):
        p = singles[int(rng.integers(len(singles)))] if i % 3 == 0 else catalogue.sample(rng, 0.3)
        x = Inputs.build([None], [""], [p], catalogue)
        logit = 2.0 * float(embedding.failure_logits(embedding.embed(x))[0])
        failed = bool(rng.random() < 1 / (1 + np.exp(-logit)))
        records.append(record(i, p, failed, shade=int(rng.integers(256))))
    return records
