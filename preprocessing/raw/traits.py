"""What a picture file says of itself in its header: format, mode, orientation."""

import io
import warnings

from PIL import Image

ORIENTATION = 0x0112  # tag of EXIF and TIFF
UPRIGHT = 1


def file_traits(data: bytes) -> dict[str, str]:
    """Format with mode, and an orientation other than upright; nothing where the header cannot be read.

    Args:
        data: the bytes of a file that was decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                turned = _orientation(image)
                kind = f"{image.format} {image.mode}"
    except Exception:  # what the decoder read may be beyond Pillow
        return {"file": "read by another decoder"}
    return {"file": kind, **({"orientation tag": str(turned)} if turned != UPRIGHT else {})}


def _orientation(image: Image.Image) -> int:
    tagged = "exif" in image.info or hasattr(image, "tag_v2")
    return int(image.getexif().get(ORIENTATION, UPRIGHT)) if tagged else UPRIGHT
