"""The statistics LeRobot keeps of each feature, an episode and all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_MAX_FRAMES, _MAX_SIDE = 100, 150

Stats = Mapping[str, NDArray[Any]]


def of_vectors(values: NDArray[Any]) -> Stats:
    """Of (N, D) numbers, each (D,), and "count" (1,)."""
    numbers = np.asarray(values, np.float64)
    return {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": numbers.mean(axis=0),
        "std": numbers.std(axis=0),
        "count": np.array([len(numbers)]),
        **{name: np.quantile(numbers, q, axis=0) for name, q in QUANTILES.items()},
    }


def of_frames(frames: NDArray[np.uint8]) -> Stats:
    """Of the channels, in 0..1, each (3, 1, 1), from some frames made smaller; "count" is the number of these."""
    every = np.linspace(0, len(frames) - 1, min(len(frames), _MAX_FRAMES)).round().astype(int)
    stride = max(1, max(frames.shape[1:3]) // _MAX_SIDE)
    sample = frames[every, ::stride, ::stride].reshape(-1, 3) / 255.0
    found = {
        name: value.reshape(3, 1, 1)
        for name, value in of_vectors(sample).items()
        if name != "count"
    }
    return {**found, "count": np.array([len(every)])}


def together(parts: Sequence[Stats]) -> Stats:
    """Of several episodes. Quantiles are the weighted mean of the episodes' ones, as LeRobot does it."""
    counts = np.array([part["count"][0] for part in parts], np.float64)

    def weighted(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        stacked = np.stack(values)
        return np.average(stacked, axis=0, weights=counts)

    mean = weighted([part["mean"] for part in parts])
    spread = weighted([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(spread),
        "count": np.array([int(counts.sum())]),
        **{name: weighted([part[name] for part in parts]) for name in QUANTILES},
    }
