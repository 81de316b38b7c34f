"""What the embedding reads, as arrays: images, texts and factor values, each of which may be missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat, from_numpy
from torch.nn import functional

from robomd_ros.core.answers import Question
from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord, check_rgb
from robomd_ros.core.variations import Catalogue, Perturbation

MAX_SIDE = 224
"""Larger images are reduced on entry: no encoder sees more."""
_CHUNK = 64


@dataclass(frozen=True)
class Inputs:
    """N things to embed.

    Attributes:
        images: (N, H, W, 3) uint8 RGB before the policy moves; zeros where missing ((N, 1, 1, 3) if all are).
        image_mask: (N,) bool, True where there is an image.
        texts: N sentences; "" = missing.
        factors: (N, F) float32 in -1..1 of the factor's range, 0 where not applied.
        factor_mask: (N, F) bool, True where applied.
        factors_known: (N,) bool; True: a factor that is not applied is at its nominal value, False: nothing is known.
    """

    images: NDArray[np.uint8]
    image_mask: NDArray[np.bool_]
    texts: tuple[str, ...]
    factors: NDArray[np.float32]
    factor_mask: NDArray[np.bool_]
    factors_known: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        n = len(self.texts)
        if n:
            check_rgb(self.images, ndim=4)
        for name in ("images", "image_mask", "factors", "factor_mask", "factors_known"):
            if len(getattr(self, name)) != n:
                raise InvalidArgumentError(
                    f"inputs: {n} texts, but {len(getattr(self, name))} {name}; want as many."
                )
        if self.factors.ndim != 2 or self.factors.shape != self.factor_mask.shape:
            raise InvalidArgumentError(
                f"inputs: factors {self.factors.shape} and factor_mask {self.factor_mask.shape}; want both (N, F)."
            )
        if not np.isfinite(self.factors).all() or np.abs(self.factors).max(initial=0.0) > 1.001:
            raise InvalidArgumentError("inputs: factors want finite numbers in -1 .. 1.")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Inputs:
        """The rows of an index array, a mask or a slice."""
        rows = np.arange(len(self))[index]
        return Inputs(
            self.images[rows],
            self.image_mask[rows],
            tuple(self.texts[i] for i in rows),
            self.factors[rows],
            self.factor_mask[rows],
            self.factors_known[rows],
        )

    def only(self, *, image: bool = False, text: bool = False, factors: bool = False) -> Inputs:
        """The same questions with the other inputs hidden."""
        n = len(self)
        return Inputs(
            self.images if image else np.zeros((n, 1, 1, 3), np.uint8),
            self.image_mask if image else np.zeros(n, np.bool_),
            self.texts if text else ("",) * n,
            self.factors if factors else np.zeros_like(self.factors),
            self.factor_mask if factors else np.zeros_like(self.factor_mask),
            self.factors_known if factors else np.zeros(n, np.bool_),
        )

    @classmethod
    def build(
        cls,
        images: Sequence[NDArray[np.uint8] | None],
        texts: Sequence[str],
        perturbations: Sequence[Perturbation | None],
        catalogue: Catalogue,
    ) -> Inputs:
        """From lists of equal length; None = not given."""
        n = len(texts)
        factors = np.zeros((n, catalogue.dim), np.float32)
        factor_mask = np.zeros((n, catalogue.dim), np.bool_)
        for i, perturbation in enumerate(perturbations):
            if perturbation is not None:
                factors[i], factor_mask[i] = catalogue.vector(perturbation)
        return cls(
            stack_images(images),
            np.array([i is not None for i in images], np.bool_),
            tuple(t.strip() for t in texts),
            factors,
            factor_mask,
            np.array([p is not None for p in perturbations], np.bool_),
        )

    @classmethod
    def from_questions(cls, questions: Sequence[Question], catalogue: Catalogue) -> Inputs:
        """Questions as they are asked; a perturbation's own sentence is its text unless another one is given."""
        return cls.build(
            [q.image for q in questions],
            [q.sentence for q in questions],
            [q.perturbation for q in questions],
            catalogue,
        )

    @classmethod
    def from_records(cls, records: Sequence[RolloutRecord], catalogue: Catalogue) -> Inputs:
        """Rollouts: the first frame, the sentence and the values of what was applied."""
        return cls.build(
            [r.first_frame for r in records],
            [r.perturbation.sentence for r in records],
            [r.perturbation for r in records],
            catalogue,
        )


@dataclass(frozen=True)
class TrainingSet:
    """Rollouts with their outcome.

    Attributes:
        inputs: N rollouts.
        failed: (N,) bool.
        ids: N rollout ids, all different.
        perturbation_ids: N ids of what was applied.
    """

    inputs: Inputs
    failed: NDArray[np.bool_]
    ids: tuple[str, ...]
    perturbation_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "perturbation_ids", tuple(self.perturbation_ids))
        n = len(self.inputs)
        for name in ("failed", "ids", "perturbation_ids"):
            if len(getattr(self, name)) != n:
                raise InvalidArgumentError(
                    f"training set: {n} inputs, but {len(getattr(self, name))} {name}; want as many."
                )
        if len(set(self.ids)) != n:
            raise InvalidArgumentError("training set: a rollout id occurs twice.")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> TrainingSet:
        """The rows of an index array, a mask or a slice."""
        rows = np.arange(len(self))[index]
        return TrainingSet(
            self.inputs[rows],
            self.failed[rows],
            tuple(self.ids[i] for i in rows),
            tuple(self.perturbation_ids[i] for i in rows),
        )

    @classmethod
    def from_records(cls, records: Sequence[RolloutRecord], catalogue: Catalogue) -> TrainingSet:
        """The rollouts that are evidence about the policy; others are left out."""
        kept = [r for r in records if r.is_evidence]
        return cls(
            Inputs.from_records(kept, catalogue),
            np.array([r.outcome is Outcome.FAILURE for r in kept], np.bool_),
            tuple(r.id for r in kept),
            tuple(r.perturbation.id for r in kept),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of all that is learnt from."""
        x = self.inputs
        digest = hashlib.sha256(repr((self.ids, self.perturbation_ids, x.texts)).encode())
        for array in (self.failed, x.images, x.factors, x.factor_mask, x.factors_known):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Renders:
    """Frames of perturbed scenes in which no policy ran: free training data for the image encoder.

    Attributes:
        perturbations: N scenes.
        images: (N, H, W, 3) uint8 RGB.
    """

    perturbations: tuple[Perturbation, ...]
    images: NDArray[np.uint8]

    def __post_init__(self) -> None:
        object.__setattr__(self, "perturbations", tuple(self.perturbations))
        if len(self.perturbations) != len(self.images):
            raise InvalidArgumentError(
                f"renders: {len(self.perturbations)} perturbations, {len(self.images)} images; want as many."
            )
        if len(self.images):
            check_rgb(self.images, ndim=4)

    def inputs(self, catalogue: Catalogue) -> Inputs:
        """All three inputs of each render."""
        return Inputs.build(
            list(self.images),
            [p.sentence for p in self.perturbations],
            self.perturbations,
            catalogue,
        )


def resize_by_area(images: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """(N, H, W, 3) uint8 of any size to (N, 3, height, width) float32 in 0..1, each pixel the mean of its area."""
    if len(images) > _CHUNK:  # as floats the originals are four times as large
        chunks = range(0, len(images), _CHUNK)
        return cat([resize_by_area(images[i : i + _CHUNK], height, width) for i in chunks])
    tensor = from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255.0)
    return functional.interpolate(tensor, size=(height, width), mode="area")


def stack_images(images: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    """One array of images that may be missing (None) or differ in size.

    Images of one size up to MAX_SIDE are kept as they are; otherwise each is resized to MAX_SIDE x MAX_SIDE.
    """
    shapes = {i.shape for i in images if i is not None}
    if not shapes:
        return np.zeros((len(images), 1, 1, 3), np.uint8)
    for image in images:
        if image is not None:
            check_rgb(image)
            if max(image.shape[:2]) > 4096:
                raise TooLargeError(
                    f"image of {image.shape[1]}x{image.shape[0]}; at most 4096 a side."
                )
    shape = next(iter(shapes))
    keep = len(shapes) == 1 and max(shape[:2]) <= MAX_SIDE
    out = np.zeros((len(images), *(shape if keep else (MAX_SIDE, MAX_SIDE, 3))), np.uint8)
    for i, image in enumerate(images):
        if image is not None:
            out[i] = image if keep else _reduce(image)
    return out


def _reduce(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2  # here, so that the types of this file need no image library

    size = (MAX_SIDE, MAX_SIDE)
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)
