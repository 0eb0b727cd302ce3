"""What a decoder gives: pixels, or a reason why not."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
Samples = NDArray[np.generic]  # (height, width, channels), of any number type


class UnreadableImageError(ValueError):
    """One picture cannot be read; the others can."""
