"""What can be chosen about the embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError

PROFILES = ("compact", "paper")

_DEFAULTS: Mapping[str, Mapping[str, float | int]] = {
    "compact": {"image_size": 64, "epochs": 20, "batch_size": 128, "learning_rate": 2e-3},
    "paper": {"image_size": 224, "epochs": 100, "batch_size": 8, "learning_rate": 1e-5},
}


@dataclass(frozen=True)
class EmbeddingConfig:
    """Settings of one training. Fields that are 0 are replaced by the profile's default on construction.

    Attributes:
        profile: "compact" (small encoders, CPU) or "paper" (ViT-B/16 + CLIP text, Sec. 3.2).
        image_size: side the images are resized to by area [px].
        epochs: passes over the rollouts.
        batch_size: rollouts a step.
        learning_rate: of Adam.
        weight_decay: of AdamW.
        margin: of the contrastive term, Eq. (1).
        contrastive_weight: of Eq. (1) beside the cross entropy; 0 switches it off.
        balance_classes: weigh the pairs of Eq. (1) so that a rare class counts as much as a frequent one.
        normalize: put embeddings on the unit sphere, so that distances lie in 0..2 and the margin has a scale.
        modality_dropout: share of the scenes of a batch of which one or two inputs are hidden during training.
        min_per_class: successes, and failures, without which training is refused.
        threads: CPU threads of a training; more than one is slower on a machine that other nodes share.
        amp: mixed precision where the device is a GPU.
        device: "cpu", "cuda", ...
        image_weights, text_weights: paper profile: files (.safetensors or a weights-only .pt/.pth); "" = the libraries' caches.
        allow_download: paper profile: fetch weights that are not in the cache.
        random_weights: paper profile: start from random towers, for tests.
    """

    profile: str = "compact"
    image_size: int = 0
    epochs: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    weight_decay: float = 1e-2
    margin: float = 1.0
    contrastive_weight: float = 0.3
    balance_classes: bool = True
    normalize: bool = True
    modality_dropout: float = 0.5
    min_per_class: int = 5
    threads: int = 1
    amp: bool = True
    device: str = "cpu"
    image_weights: str = ""
    text_weights: str = ""
    allow_download: bool = False
    random_weights: bool = False

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise InvalidArgumentError(
                f"embedding profile {self.profile[:40]!r}: want one of {PROFILES}."
            )
        for name, value in _DEFAULTS[self.profile].items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        for name, low, high in (
            ("image_size", 32, 640), ("epochs", 1, 10_000), ("batch_size", 2, 65_536),
            ("learning_rate", 1e-8, 1.0), ("weight_decay", 0.0, 1.0), ("margin", 0.0, 1e6),
            ("contrastive_weight", 0.0, 1e6), ("modality_dropout", 0.0, 0.95), ("min_per_class", 1, 10_000), ("threads", 1, 256),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidArgumentError(
                    f"embedding {name} = {value}: want a number in {low} .. {high}."
                )

    @classmethod
    def of(cls, profile: str, **changes: Any) -> EmbeddingConfig:
        """A profile's own settings with some changed.

        The paper's are those of its published code but for the weight of Eq. (1): at 1 the embedding collapsed from a
        random start (docs/embedding.md).
        """
        own = (
            {
                "weight_decay": 0.0,
                "contrastive_weight": 0.1,
                "balance_classes": False,
                "normalize": False,
                "modality_dropout": 0.3,
            }
            if profile == "paper"
            else {}
        )
        return cls(profile=profile, **{**own, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EmbeddingConfig:
        """The inverse of `to_dict`; an unknown key is an error."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise InvalidArgumentError(f"embedding config: unknown settings {sorted(unknown)}.")
        return cls(**values)
