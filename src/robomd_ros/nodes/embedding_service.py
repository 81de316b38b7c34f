"""embedding_service: owns the embedding; trains it, and places questions in it."""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomd_msgs.action import TrainEmbedding
from robomd_msgs.srv import EmbedObservation
from robomd_ros.adapters import names
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.conversions import key_values, questions_from_msg
from robomd_ros.adapters.live_image import LiveImage
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.adapters.store_view import open_study
from robomd_ros.core.errors import NotReadyError, RobomdError
from robomd_ros.learning.config import PROFILES, EmbeddingConfig
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Inputs
from robomd_ros.search.fit import fit_embedding

_LOOK = 5.0
"""Seconds between two looks for an embedding that somebody else trained."""


@dataclass(frozen=True)
class EmbeddingServiceConfig:
    """Parameters of embedding_service."""

    study: str = parameter("", "folder of the study")
    profile: str = parameter("compact", "encoders to train", choices=PROFILES)
    image_weights: str = parameter("", "paper profile: ViT-B/16 weights; empty = torch's cache")
    text_weights: str = parameter("", "paper profile: CLIP weights; empty = open_clip's cache")
    allow_download: bool = parameter(False, "paper profile: fetch weights that are not there")
    device: str = parameter("cpu", "torch device of the training and the answers")


class EmbeddingServiceNode(RobomdNode):
    """Learns the embedding from the study's rollouts and answers with it; keeps answering while it learns.

    Serves: robomd/embed, robomd/train_embedding.
    Subscribes: camera/image_raw (for use_live_image).
    Parameters: EmbeddingServiceConfig.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("embedding_service", **kwargs)
        self._config = declare(self, EmbeddingServiceConfig)
        self._embedding: Embedding | None = None
        self._lock = threading.Lock()
        self._state = "loading"
        self._live = LiveImage(self)
        torch_worker = self._worker = self.worker("torch")
        self.serve(EmbedObservation, names.EMBED, self._embed, group=self.reentrant)
        self._action = self.serve_action(
            TrainEmbedding, names.TRAIN_EMBEDDING, self._train, torch_worker
        )
        torch_worker.submit(self.guard, self._load)
        self.every(_LOOK, self._look)

    def _look(self) -> None:
        """Take an embedding that somebody else trained on this study: another cell, or `robomd train`."""
        saved = Embedding.saved_id(Path(self._config.study) / "models")
        known = self._embedding.id if self._embedding is not None else ""
        if saved not in ("", known) and not self._worker.jobs:
            self._worker.submit(self.guard, self._load)

    def _load(self) -> None:
        try:
            self._embedding = Embedding.load(open_study(self._config.study).models)
            self._state = "ready"
        except RobomdError as error:
            self._state = str(error)
            self.get_logger().info(f"nothing to load: {error}")

    def _embed(
        self, request: EmbedObservation.Request, response: EmbedObservation.Response
    ) -> None:
        catalogue = open_study(self._config.study).catalogue()
        questions = questions_from_msg(request.questions, catalogue, self._live.newest(request))
        embedding = self._embedding
        if embedding is None:
            raise NotReadyError(f"no embedding yet ({self._state}); call robomd/train_embedding.")
        with self._lock:
            points = embedding.embed(Inputs.from_questions(questions, catalogue))
            logits = embedding.failure_logits(points)
        response.embedding_id = embedding.id
        response.dim = int(points.shape[1])
        response.embeddings = array("f", points.tobytes())
        response.failure_logits = array("d", logits.astype("float64").tobytes())

    def _train(
        self,
        goal: TrainEmbedding.Goal,
        result: TrainEmbedding.Result,
        feedback: Callable[[Any], None],
        cancelled: Callable[[], bool],
    ) -> None:
        config = EmbeddingConfig.of(
            goal.profile or self._config.profile,
            epochs=int(goal.epochs),
            image_weights=self._config.image_weights,
            text_weights=self._config.text_weights,
            allow_download=self._config.allow_download,
            device=self._config.device,
        )

        def progress(phase: str, fraction: float, loss: float) -> None:
            self._state = f"training: {phase} {100 * fraction:.0f} %"
            feedback(
                TrainEmbedding.Feedback(phase=phase, progress=float(fraction), loss=float(loss))
            )

        try:
            embedding = fit_embedding(
                open_study(self._config.study).folder,
                config,
                seed=max(0, int(goal.seed)),
                progress=progress,
                cancelled=cancelled,
            )
            self._embedding = embedding
        finally:
            self._state = "ready" if self._embedding is not None else "not trained"
        result.embedding_id = embedding.id
        result.rollouts = len(embedding.facts.training_ids)
        result.metrics = key_values(dict(embedding.quality))

    def health(self) -> Health:
        """What the model does now."""
        embedding = self._embedding
        values: dict[str, object] = {"embedding": embedding.id if embedding else ""}
        return Health(0 if embedding is not None else WARN, self._state, values)


def main() -> None:
    """Entry point."""
    sys.exit(run(EmbeddingServiceNode))


if __name__ == "__main__":
    main()
