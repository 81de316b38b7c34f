"""The known embeddings E with their outcomes, and the space the search moves in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.core.variations import NOMINAL

Floats = NDArray[np.float32]
_CHUNK = 4096


class NearestIndex:
    """Nearest neighbours among fixed points, many questions in one matrix product."""

    def __init__(self, points: ArrayLike) -> None:
        """Take the points, (M, D) with M >= 1."""
        self.points: Floats = np.ascontiguousarray(points, np.float32)
        # Centred: far from the origin the products lose the digits that tell neighbours apart.
        self._centre = self.points.mean(axis=0)
        centred = self.points - self._centre
        self._transposed = np.ascontiguousarray(centred.T)
        self._half_squares = 0.5 * np.einsum("md,md->m", centred, centred)

    def nearest(self, points: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
        """Index and Euclidean distance of the nearest one.

        |a - e|^2 is smallest where a.e - |e|^2 / 2 is largest: one product, no (N, M, D) array.

        Args:
            points: (N, D).

        Returns:
            index (N,) and distance (N,).
        """
        a = np.asarray(points, np.float32)
        index = np.argmax((a - self._centre) @ self._transposed - self._half_squares, axis=1)
        difference = a - self.points[index]  # exact again: the product form cancels badly near 0
        return index, np.sqrt(np.einsum("nd,nd->n", difference, difference))

    def distances(self, points: ArrayLike) -> NDArray[np.float64]:
        """All Euclidean distances, (N, M), in double precision."""
        a, e = np.asarray(points, np.float64), self.points.astype(np.float64)
        squares = (a * a).sum(1)[:, None] + (e * e).sum(1)[None, :] - 2.0 * (a @ e.T)
        return np.sqrt(np.maximum(squares, 0.0))


@dataclass(frozen=True)
class Projection:
    """An affine map from the embedding to the space of the search, with one scale for all coordinates.

    Attributes:
        mean: (D,) of the known embeddings.
        components: (d, D) orthonormal rows.
        scale: RMS coordinate of the known embeddings; 1 in the new unit.
    """

    mean: Floats
    components: Floats
    scale: float

    def apply(self, embeddings: ArrayLike) -> Floats:
        """(N, D) embeddings to (N, d) points."""
        return (np.asarray(embeddings, np.float32) - self.mean) @ self.components.T / self.scale

    def lift(self, points: ArrayLike) -> Floats:
        """(N, d) points to the (N, D) embeddings in the plane of the components."""
        return np.asarray(points, np.float32) * self.scale @ self.components + self.mean


@dataclass(frozen=True)
class KnownSet:
    """The rollouts the search may visit.

    Attributes:
        embeddings: (M, D) float32.
        failed: (M,) bool.
        ids: M rollout ids.
        perturbation_ids: M perturbation ids.
    """

    embeddings: Floats
    failed: NDArray[np.bool_]
    ids: tuple[str, ...]
    perturbation_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        embeddings = np.asarray(self.embeddings, np.float32)
        failed = np.asarray(self.failed, np.bool_)
        if embeddings.ndim != 2 or not np.all(np.isfinite(embeddings)):
            raise InvalidArgumentError(
                f"embeddings: want a finite (M, D) array, got shape {embeddings.shape}."
            )
        if {failed.shape, (len(self.ids),), (len(self.perturbation_ids),)} != {(len(embeddings),)}:
            raise InvalidArgumentError(
                f"{len(embeddings)} embeddings want as many outcomes, ids and perturbation ids, got "
                f"{len(failed)}, {len(self.ids)} and {len(self.perturbation_ids)}."
            )
        object.__setattr__(self, "embeddings", embeddings)
        object.__setattr__(self, "failed", failed)

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def index(self) -> NearestIndex:
        """Nearest-neighbour index over the embeddings."""
        if not len(self):
            raise NotReadyError("no rollout is known yet: run and label some first.")
        return NearestIndex(self.embeddings)

    def nearest(self, points: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
        """Index (N,) and Euclidean distance (N,) of the known embedding nearest to each of (N, D) points."""
        return self.index.nearest(points)

    def leave_one_out_distances(self) -> NDArray[np.float64]:
        """(M,) distance of each known embedding to the nearest other one; empty when M < 2."""
        if len(self) < 2:
            return np.zeros(0)
        out = np.empty(len(self))
        for start in range(0, len(self), _CHUNK):
            block = self.index.distances(self.embeddings[start : start + _CHUNK])
            rows = np.arange(len(block))
            block[rows, start + rows] = np.inf
            out[start : start + _CHUNK] = block.min(axis=1)
        return out

    def start(self) -> Floats:
        """(D,) where every virtual rollout begins: the nominal scene, else the mean success, else the mean."""
        self._check_not_empty()
        for mask in (np.array([p == NOMINAL for p in self.perturbation_ids]), ~self.failed):
            if mask.any():
                return self.embeddings[mask].mean(axis=0)
        return self.embeddings.mean(axis=0)

    def reduced(self, dims: int) -> Projection:
        """The leading `dims` principal components (fewer when the set has fewer), one global scale."""
        self._check_not_empty()
        mean = self.embeddings.mean(axis=0)
        _, _, rows = np.linalg.svd(self.embeddings - mean, full_matrices=False)
        components = rows[: min(dims, len(rows))]
        return self._scaled(mean, components)

    def full(self) -> Projection:
        """All dimensions, centred, one global scale."""
        self._check_not_empty()
        return self._scaled(
            self.embeddings.mean(axis=0), np.eye(self.embeddings.shape[1], dtype=np.float32)
        )

    def subset(self, keep: Sequence[int] | NDArray) -> KnownSet:
        """The rollouts at these indices (or where the bool mask is set)."""
        rows = np.arange(len(self))[np.asarray(keep)]
        return KnownSet(
            self.embeddings[rows],
            self.failed[rows],
            tuple(self.ids[i] for i in rows),
            tuple(self.perturbation_ids[i] for i in rows),
        )

    def _scaled(self, mean: Floats, components: Floats) -> Projection:
        coordinates = (self.embeddings - mean) @ components.T
        rms = float(np.sqrt(np.mean(np.square(coordinates, dtype=np.float64))))
        return Projection(mean, components, rms if rms > 1e-12 else 1.0)

    def _check_not_empty(self) -> None:
        if not len(self):
            raise NotReadyError("no rollout is known yet: run and label some first.")
