"""Pictures that tests make: what is on one can be told from its colour."""

import io

import numpy as np
from PIL import Image

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
SIDE = 24


def picture(number: int) -> bytes:
    """Return a PNG, another one for each number: its topic's colour with a darker corner somewhere."""
    draw = np.random.default_rng(number)
    pixels = np.full((SIDE, SIDE, 3), COLOURS[number % len(COLOURS)], np.uint8)
    pixels = np.clip(pixels + draw.integers(-30, 30, pixels.shape), 0, 255).astype(np.uint8)
    return saved(Image.fromarray(pixels))


def saved(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    """Return the file of a picture."""
    written = io.BytesIO()
    image.save(written, kind, **how)
    return written.getvalue()
