"""search_service: owns the search policy and the calibration; answers how likely the policy fails."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robomd_msgs.action import TrainSearch
from robomd_msgs.msg import LabeledRollout, RiskMap
from robomd_msgs.srv import QueryFailureLikelihood, SuggestNext
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.conversions import (
    answer_to_msg,
    perturbation_from_msg,
    perturbation_to_msg,
    questions_from_msg,
    risk_map_to_msg,
)
from robomd_ros.adapters.live_image import LiveImage
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.adapters.store_view import open_study
from robomd_ros.core.answers import MAX_EVIDENCE
from robomd_ros.core.errors import (
    InvalidArgumentError,
    NotReadyError,
    RobomdError,
    TooLargeError,
)
from robomd_ros.core.variations import Perturbation
from robomd_ros.search.asking import Asker, saved_models
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.fit import fit_search
from robomd_ros.search.suggest import suggest

MAX_SUGGESTIONS = 64
_ALGORITHMS = ("ppo", "a2c", "sac", "discrete_ppo")


@dataclass(frozen=True)
class SearchServiceConfig:
    """Parameters of search_service."""

    study: str = parameter("", "folder of the study")
    algorithm: str = parameter("ppo", "search policy", choices=_ALGORITHMS)
    by_hand: bool = parameter(
        False, "a person sets the variations up: suggest only those the catalogue has a name for"
    )
    refresh: float = parameter(
        5.0,
        "what is new in the study becomes part of the answers after this long",
        low=0.5,
        high=3600.0,
        unit="s",
    )


class SearchServiceNode(RobomdNode):
    """Answers from the embedding, the known rollouts and the search policy; keeps answering while it trains.

    Between trainings new rollouts become evidence without a new model, so the risk map moves with every label. The study is
    looked at every `refresh` seconds: rollouts and labels of other cells count, too, and models that somebody else trained
    are taken once embedding and search belong together.

    Serves: robomd/query_failure_likelihood, robomd/suggest_next, robomd/train_search.
    Subscribes: robomd/labeled_rollout, camera/image_raw (for use_live_image).
    Publishes: robomd/risk_map (latched, and again every 2 s).
    Parameters: SearchServiceConfig.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("search_service", **kwargs)
        self._config = declare(self, SearchServiceConfig)
        self._asker: Asker | None = None
        self._map: RiskMap | None = None
        self._tried: dict[str, Perturbation] = {}
        self._revision = (0, 0)
        self._state = "loading"
        self._live = LiveImage(self)
        self._worker = self.worker("search")
        self._publisher = self.create_publisher(RiskMap, names.RISK_MAP, qos.LATCHED)
        self.listen(LabeledRollout, names.LABELED_ROLLOUT, self._on_labeled, qos.EVENTS)
        self.serve(
            QueryFailureLikelihood,
            names.QUERY_FAILURE_LIKELIHOOD,
            self._query,
            group=self.reentrant,
        )
        self.serve(SuggestNext, names.SUGGEST_NEXT, self._suggest, group=self.reentrant)
        self._action = self.serve_action(TrainSearch, names.TRAIN_SEARCH, self._train, self._worker)
        self.every(2.0, self._republish)
        self.every(self._config.refresh, self._refresh_later)
        self._worker.submit(self.guard, self._load)

    # -- the model ------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            self._take(Asker.from_study(open_study(self._config.study).folder))
        except RobomdError as error:
            self._state = str(error)
            self.get_logger().info(f"nothing to load: {error}")

    def _take(self, asker: Asker) -> RiskMap:
        self._asker = asker
        self._state = "ready"
        self._map = risk_map_to_msg(asker.risk_map(), open_study(self._config.study).meta.name)
        self._publisher.publish(self._map)
        return self._map

    def _republish(self) -> None:
        if self._map is not None:
            self._publisher.publish(self._map)

    def _on_labeled(self, msg: LabeledRollout) -> None:
        perturbation = perturbation_from_msg(msg.perturbation)
        self._tried[perturbation.id] = perturbation

    def _refresh_later(self) -> None:
        if not self._worker.jobs:
            self._worker.submit(self.guard, self._refresh)

    def _refresh(self) -> None:
        """Take in what is new in the study, whoever wrote it."""
        try:
            study = open_study(self._config.study)
            saved = saved_models(study.models)
            asker = self._asker
            if saved is not None and (asker is None or saved != asker.model_ids):
                asker = Asker.from_study(study)
            if asker is None:
                return
            with study.store(read_only=True) as store:
                revision = store.revision()
                if asker is self._asker and revision == self._revision:
                    return
                records = store.records(evidence_only=True)
        except NotReadyError:  # no study, or no label in it
            return
        self._take(asker.with_records(records))
        self._revision = revision

    # -- services -------------------------------------------------------------------------------------------------

    def _ready(self) -> Asker:
        if self._asker is None:
            raise NotReadyError(
                f"nothing is trained yet ({self._state}); run robomd/diagnose, or robomd/train_embedding "
                "and then robomd/train_search."
            )
        return self._asker

    def _query(
        self, request: QueryFailureLikelihood.Request, response: QueryFailureLikelihood.Response
    ) -> None:
        if request.evidence > MAX_EVIDENCE:
            raise TooLargeError(f"evidence {request.evidence}; at most {MAX_EVIDENCE}.")
        catalogue = open_study(self._config.study).catalogue()
        questions = questions_from_msg(request.questions, catalogue, self._live.newest(request))
        asker = self._ready()
        answers = asker.ask(questions, evidence=int(request.evidence) or 5)
        response.answers = [answer_to_msg(answer) for answer in answers]
        response.embedding_id = asker.embedding.id
        response.search_id = asker.search.id if asker.search is not None else ""

    def _suggest(self, request: SuggestNext.Request, response: SuggestNext.Response) -> None:
        if not 1 <= request.count <= MAX_SUGGESTIONS:
            error = TooLargeError if request.count else InvalidArgumentError
            raise error(f"count {request.count}: want 1 to {MAX_SUGGESTIONS}.")
        asker, seed = self._asker, int(request.seed)
        tried = {**({p.id: p for p in asker.tried} if asker is not None else {}), **self._tried}
        catalogue = open_study(self._config.study).catalogue()
        found = suggest(
            asker,
            catalogue,
            list(tried.values()),
            request.strategy or SuggestNext.Request.SEARCH,
            int(request.count),
            np.random.default_rng(None if seed < 0 else seed),
            self._config.by_hand,
        )
        response.perturbations = [
            perturbation_to_msg(s.perturbation, catalogue.task) for s in found
        ]
        response.p_failure = array("d", [float(s.p_failure) for s in found])
        response.scores = array("d", [float(s.score) for s in found])
        response.reasons = [s.reason for s in found]

    # -- training -------------------------------------------------------------------------------------------------

    def _train(
        self,
        goal: TrainSearch.Goal,
        result: TrainSearch.Result,
        feedback: Callable[[Any], None],
        cancelled: Callable[[], bool],
    ) -> None:
        options = {"steps": int(goal.steps)} if goal.steps else {}
        config = SearchConfig(algorithm=goal.algorithm or self._config.algorithm, **options)

        def progress(phase: str, fraction: float, mean_reward: float = math.nan) -> None:
            self._state = f"training: {phase} {100 * fraction:.0f} %"
            feedback(
                TrainSearch.Feedback(
                    phase=phase, progress=float(fraction), mean_reward=float(mean_reward)
                )
            )

        try:
            asker = fit_search(
                open_study(self._config.study).folder,
                config,
                seed=max(0, int(goal.seed)),
                progress=progress,
                cancelled=cancelled,
            )
        finally:
            self._state = "ready" if self._asker is not None else "not trained"
        result.risk_map = self._take(asker)
        result.search_id = asker.search.id if asker.search is not None else ""
        quality = asker.quality
        result.auc_search = float(quality.auc_search)
        result.auc_untrained = float(quality.auc_untrained)
        result.auc_head = float(quality.auc)
        result.auc_success_table = float(quality.auc_success_table)
        result.heldout = int(quality.rollouts)

    def health(self) -> Health:
        """What the answers rest on."""
        asker = self._asker
        if asker is None:
            return Health(WARN, self._state)
        values: dict[str, object] = {
            "embedding": asker.embedding.id,
            "search": asker.search.id if asker.search is not None else "",
            "rollouts": len(asker.known),
            "auc": asker.quality.auc,
        }
        return Health(0, self._state, values)


def main() -> None:
    """Entry point."""
    sys.exit(run(SearchServiceNode))


if __name__ == "__main__":
    main()
