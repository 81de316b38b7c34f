"""Images as policies take them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def resize_area(image: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """Resize by area, as a camera with larger pixels would see it: (H, W, 3) uint8 -> (3, height, width) uint8."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if pixels.shape[1:] == (height, width):
        return pixels
    resized = torch.nn.functional.interpolate(
        pixels[None].float(), size=(height, width), mode="area"
    )
    return resized[0].round().to(torch.uint8)
