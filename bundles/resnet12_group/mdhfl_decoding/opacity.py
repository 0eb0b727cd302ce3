"""Transparent parts are laid on white; an opacity that cannot be meant is ignored."""

import numpy as np
from PIL import Image

from mdhfl_decoding.notes import listening, note
from mdhfl_decoding.pixels import Pixels, Samples
from mdhfl_decoding.scaling import to_bytes


def on_white(image: Image.Image) -> Image.Image:
    """Lay an image with opacity on white.

    Opacity that is 0 everywhere is none: a wholly transparent picture is never meant, and many cameras and programs
    leave the fourth channel empty.

    Args:
        image: of mode RGBA.

    Returns:
        Of mode RGB.
    """
    low, high = image.getchannel("A").getextrema()
    if high == 0:
        note("opacity of 0 everywhere ignored")
    elif low != 255:
        note("transparent parts laid on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def blended(colours: Pixels, opacity: Samples, *, multiplied: bool = False) -> Pixels:
    """Lay colours on white.

    Args:
        colours: (height, width, 3).
        opacity: (height, width), of any depth: scaled by itself, never with the colours.
        multiplied: the colours are multiplied with it already.
    """
    if opacity.dtype != np.uint8:
        with listening():  # its depth is not the picture's
            opacity = to_bytes(opacity)
    image = Image.fromarray(np.dstack([colours, opacity]))
    if multiplied and opacity.any():
        image = Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")
    return np.array(on_white(image), dtype=np.uint8)
