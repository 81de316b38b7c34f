"""The paper profile on a GPU: mixed precision against full precision, in one run, on the shipped study.

The towers start from random weights (asked for explicitly): the figures are about speed and about the arithmetic, not about
how good a pretrained embedding would be.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from robomd_ros.core.metrics import auc
from robomd_ros.core.study import Study, shipped_studies
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import TrainingSet
from robomd_ros.learning.paper import PaperModel
from robomd_ros.learning.paper_training import training_step

STEPS = 60
WARM = 10
BATCH = 32
EPOCHS = 12


def run() -> dict[str, Any]:
    """Seconds a step with and without mixed precision, the losses of both, and a short training's held-out AUC."""
    if not torch.cuda.is_available():
        return {"title": "paper profile on a GPU", "skipped": "no CUDA device on this machine"}
    data = _data()
    full, full_losses = _time(data, amp=False)
    mixed, mixed_losses = _time(data, amp=True)
    return {
        "title": "paper profile on a GPU, ViT-B/16 + CLIP text, random start",
        "device": torch.cuda.get_device_name(),
        "rollouts": len(data),
        "batch": BATCH,
        "full_precision_ms": 1e3 * full,
        "mixed_precision_ms": 1e3 * mixed,
        "mixed_is_faster": full / mixed,
        "largest_loss_difference": float(np.abs(full_losses - mixed_losses).max()),
        "first_loss": float(mixed_losses[0]),
        "last_loss": float(mixed_losses[-5:].mean()),
        **_train(data),
    }


def _data() -> TrainingSet:
    study = Study.open(shipped_studies()["lift_panda"])
    with study.store(read_only=True) as store:
        return TrainingSet.from_records(store.records(evidence_only=True), study.catalogue())


def _config(amp: bool) -> EmbeddingConfig:
    return EmbeddingConfig.of(
        "paper", random_weights=True, device="cuda", amp=amp, batch_size=BATCH, learning_rate=5e-5
    )


def _model(config: EmbeddingConfig) -> tuple[PaperModel, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = PaperModel.pretrained(config).to("cuda").train()
    return model, torch.optim.Adam(model.parameters(), config.learning_rate)


def _time(data: TrainingSet, amp: bool) -> tuple[float, np.ndarray]:
    model, optimizer = _model(_config(amp))
    rng, losses, start = np.random.default_rng(0), [], 0.0
    for step in range(STEPS):
        if step == WARM:
            torch.cuda.synchronize()
            start = time.perf_counter()
        rows = rng.permutation(len(data))[:BATCH]
        losses.append(training_step(model, optimizer, data[rows], rng))
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / (STEPS - WARM), np.array(losses)


def _train(data: TrainingSet) -> dict[str, Any]:
    model, optimizer = _model(_config(amp=True))
    rng = np.random.default_rng(1)
    order = rng.permutation(len(data))
    held, kept = order[: len(data) // 5], order[len(data) // 5 :]
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(kept), len(kept) // BATCH):
            training_step(model, optimizer, data[rows], rng)
    seconds = time.perf_counter() - start
    model.eval()
    with torch.inference_mode():
        logits = [
            model.failure_logits(model(data[held[i : i + 64]].inputs)).cpu().numpy()
            for i in range(0, len(held), 64)
        ]
    score = auc(np.concatenate(logits), data.failed[held])
    return {"epochs": EPOCHS, "training_s": seconds, "heldout": len(held), "heldout_auc": score}
