"""How much two camera images differ: is a variation that was applied really there?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_change(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two (H, W, 3) images, 0..1; NaN when their sizes differ."""
    if image.shape != reference.shape:
        return float("nan")
    return float(_difference(image, reference).mean()) / 255.0


def changed_pixels(
    image: NDArray[np.uint8], reference: NDArray[np.uint8], pixel_change: float
) -> NDArray[np.bool_]:
    """(H, W): where a channel of two images of one size changed by more than `pixel_change` (0..1)."""
    changed: NDArray[np.bool_] = _difference(image, reference).max(axis=2) > 255.0 * pixel_change
    return changed


def changed_share(
    image: NDArray[np.uint8], reference: NDArray[np.uint8], pixel_change: float
) -> float:
    """Share of pixels of which a channel changed by more than `pixel_change` (0..1).

    A small object moves the mean by less than the camera's noise does, but its own pixels by much more. NaN when the
    sizes differ.
    """
    if image.shape != reference.shape:
        return float("nan")
    return float(changed_pixels(image, reference, pixel_change).mean())


def _difference(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(image, reference) - np.minimum(image, reference)
