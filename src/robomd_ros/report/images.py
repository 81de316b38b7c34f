"""Camera images as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

LONGEST_SIDE = 144


def png_data_uri(image: NDArray[np.uint8], longest: int = LONGEST_SIDE) -> Markup:
    """A "data:image/png;base64,..." of an (H, W, 3) RGB image, shrunk so that its longest side is at most `longest`."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return Markup("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))
