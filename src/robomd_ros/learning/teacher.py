"""Failure probability from factor values alone: soft labels for scenes in which no policy ran."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier


class FactorTeacher:
    """A forest on the factors of the labelled rollouts, the strongest cheap predictor where they are known."""

    def __init__(self, features: NDArray[np.float32], failed: NDArray[np.bool_], seed: int) -> None:
        self._forest = RandomForestClassifier(
            300, min_samples_leaf=3, max_features=0.4, random_state=seed, n_jobs=1
        )
        self._forest.fit(features, failed)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """P(failure) of (N, 2 F) factor features, (N,)."""
        return self._forest.predict_proba(features)[:, 1].astype(np.float32)
