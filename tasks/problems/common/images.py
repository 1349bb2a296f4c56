"""Pictures: which files are any, what is kept of them, and how they become a model's pixels.

Only Pillow reads them, and of its formats only those that start no other program and load no code.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tasks.problems import Media, Unusable
from tasks.problems.common.brief import brief
from tasks.problems.common.kept import there
from tasks.shared.params import Ingest

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# a file of these that holds one upright picture of 8-bit grey or RGB stays as it is
PLAIN = {"BMP": ".bmp", "JPEG": ".jpg", "PNG": ".png", "PPM": ".ppm", "TIFF": ".tif", "WEBP": ".webp"}
# the EXIF tag; 1 is upright
ORIENTATION = 0x0112
UPRIGHT = 1
# by its shortest side such a picture would be resized to millions of pixels
LONGEST = 100
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
WHITE = (255, 255, 255, 255)
# ours is asked first
Image.MAX_IMAGE_PIXELS = None


def keep(content: bytes, params: Ingest) -> Media:
    """Return what is kept of a file: itself, or a PNG of what a person would see in it.

    That is its first picture, upright, on white, in 8 bits. Raises Unusable where it is no picture, a
    damaged one, a line, or one of more than `ingest.max_pixels`.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises of a file that is none
        raise Unusable(brief("no picture that can be read", error)) from None
    if image.width * image.height > params.max_pixels:
        size = f"{image.width} x {image.height} pixels"
        raise Unusable(f"{size}, more than ingest.max_pixels {params.max_pixels}")
    if max(image.size) > LONGEST * min(image.size):
        size = f"{image.width} x {image.height} pixels"
        raise Unusable(f"{size}, a line: one side is more than {LONGEST} times the other")
    try:
        image.load()
        changes = list(_changes(image))
        facts = {"width": image.width, "height": image.height}
        if not changes:
            return Media(content, PLAIN[image.format or ""], dict(facts))
        plain = _plain(image)
    except (Unusable, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises of a damaged file
        raise Unusable(brief("a damaged picture", error)) from None
    written = io.BytesIO()
    plain.save(written, "PNG")
    return Media(
        written.getvalue(), ".png", {"width": plain.width, "height": plain.height}, ", ".join(changes)
    )


def _changes(image: Image.Image) -> Sequence[str]:
    """Return what makes a picture no plain one."""
    changes = []
    if getattr(image, "n_frames", 1) > 1:
        changes.append("the first of several pictures")
    if image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT:
        changes.append("turned upright")
    if image.has_transparency_data:
        changes.append("laid on white")
    elif image.mode not in ("L", "RGB"):
        changes.append(f"{image.mode} in 8 bits")
    if image.format not in PLAIN and not changes:
        changes.append(f"{image.format} as PNG")
    return changes


def _plain(image: Image.Image) -> Image.Image:
    """Return an upright picture in 8-bit RGB or grey."""
    if image.mode == "F":
        raise Unusable("numbers with a decimal point, of which nobody says what is black and what white")
    image.seek(0)
    turned = ImageOps.exif_transpose(image)
    if turned.mode in SIXTEEN_BIT:
        return Image.fromarray((np.clip(np.asarray(turned), 0, 65535) // 257).astype(np.uint8))
    if turned.has_transparency_data:
        above = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, WHITE), above).convert("RGB")
    return turned.convert("L" if turned.mode == "1" else "RGB")


def load(file: Path) -> Image.Image:
    """Return a kept picture in RGB; raise InputError where it is gone."""
    with Image.open(there(file), formats=FORMATS) as image:
        return image.convert("RGB")


def blank(width: int, height: int, colour: str = "black") -> Image.Image:
    """Return a picture of one colour in RGB."""
    return Image.new("RGB", (width, height), colour)


def noise(width: int, height: int) -> Image.Image:
    """Return a picture in RGB whose pixels are all of another colour, the same one each time."""
    drawn = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(drawn)
