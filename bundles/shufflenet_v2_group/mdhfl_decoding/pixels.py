"""What a decoder gives: pixels, or a reason why not."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
Samples = NDArray[Any]  # (height, width, channels), of any number type


class UnreadableImageError(ValueError):
    """One picture cannot be read; the others can."""
