"""Pictures as they are seen: rows and columns turned as a file's EXIF or TIFF tag says."""

from typing import Any, TypeVar, cast

import numpy as np
from PIL import Image

from mdhfl_decoding.notes import note

Array = TypeVar("Array", bound="np.ndarray[Any, Any]")

TAG = 274  # of EXIF and TIFF alike
HOLDERS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp", "Raw profile type xmp")  # where Pillow finds it
TURNED = "turned as its orientation says"


def orientation_of(image: Image.Image) -> int:
    """What an image says of its orientation, 1 to 8; 1, as it is stored, where it says nothing that can be read."""
    if not any(name in image.info for name in HOLDERS):
        return 1
    try:
        said = image.getexif().get(TAG, 1)
    except Exception:  # a damaged note beside a good picture: decoders raise whatever they like
        return 1
    return said if isinstance(said, int) and 1 <= said <= 8 else 1


def turned(samples: Array, orientation: int) -> Array:
    """Turn and mirror (height, width, channels) as orientation 1 to 8 says; another number turns nothing."""
    if not 2 <= orientation <= 8:
        return samples
    note(TURNED)
    seen: Any = np.swapaxes(samples, 0, 1) if orientation > 4 else samples
    if orientation in (3, 4, 7, 8):
        seen = seen[::-1]
    if orientation in (2, 3, 6, 7):
        seen = seen[:, ::-1]
    return cast(Array, np.ascontiguousarray(seen))
