"""A question about the policy, and the answer to it: the fields of robomd_msgs/FailureLikelihood."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import check_rgb
from robomd_ros.core.variations import Perturbation

MAX_QUESTIONS = 256
MAX_TEXT = 2000
MAX_IMAGE_SIDE = 4096
MAX_EVIDENCE = 50


@dataclass(frozen=True)
class Question:
    """One thing asked about: a set of variations, a free text, an image, or several of them together.

    Attributes:
        perturbation: None = not said (an image or a text alone); the empty perturbation = the nominal scene.
        text: replaces the perturbation's own sentence where given.
        image: (H, W, 3) uint8 RGB before the policy moves.
    """

    perturbation: Perturbation | None = None
    text: str = ""
    image: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise TooLargeError(
                f"text of {len(self.text)} characters; at most {MAX_TEXT}: one sentence is enough."
            )
        if self.image is not None:
            check_rgb(self.image)
            if max(self.image.shape[:2]) > MAX_IMAGE_SIDE:
                raise TooLargeError(
                    f"image of {self.image.shape[1]}x{self.image.shape[0]}; at most {MAX_IMAGE_SIDE} a side."
                )
        if self.perturbation is None and not self.text.strip() and self.image is None:
            raise InvalidArgumentError(
                "empty question: give variation ids, nominal, a text or an image."
            )

    @property
    def sentence(self) -> str:
        """What the text encoder reads; "" = no text."""
        return self.text or (self.perturbation.sentence if self.perturbation is not None else "")


@dataclass(frozen=True)
class Evidence:
    """A known rollout near the question."""

    rollout_id: str
    outcome: Outcome
    distance: float


@dataclass(frozen=True)
class Answer:
    """How likely the policy fails; see robomd_msgs/FailureLikelihood for each field's meaning and unit."""

    question: Question
    index: int
    p_failure: float
    p_low: float
    p_high: float
    log_density: float
    density_ratio: float
    log_density_untrained: float
    distance: float
    distance_limit: float
    seen: bool
    rollouts: int
    failures: int
    effective_rollouts: float
    evidence: tuple[Evidence, ...] = ()
    rank: int = 0

    @property
    def trusted(self) -> bool:
        """The embedding is as near to a known one as known ones are to each other."""
        return self.distance <= self.distance_limit


@dataclass(frozen=True)
class Quality:
    """How good answers were on rollouts the models had not seen. NaN = not measured."""

    auc: float = float("nan")
    auc_low: float = float("nan")
    auc_high: float = float("nan")
    auc_search: float = float("nan")
    auc_untrained: float = float("nan")
    auc_success_table: float = float("nan")
    auc_nearest: float = float("nan")
    auc_classifier: float = float("nan")
    brier: float = float("nan")
    calibration_error: float = float("nan")
    calibration_error_floor: float = float("nan")
    coverage: float = float("nan")
    rollouts: int = 0


@dataclass(frozen=True)
class RiskMap:
    """Where the policy fails, as far as is known: the catalogue's answers, riskiest first, and how good they are.

    `entropy`, `failure_modes` (NFM) and `severity_index` (FSI) are the paper's, Sec. 4.2; see search/risk_map.py.
    """

    answers: tuple[Answer, ...]
    quality: Quality = field(default_factory=Quality)
    entropy: float = float("nan")
    failure_modes: int = 0
    severity_index: float = float("nan")
    rollouts: int = 0
    policy_id: str = ""
    embedding_id: str = ""
    search_id: str = ""
