"""Train pictures as an epoch sees them: mirrored, cut, in other colours, partly greyed, mixed."""

import numpy as np
from PIL import Image, ImageEnhance

from tasks.problems.image_classification.params import Augment

# of the longer to the shorter side of what is cut out, at most
RATIO = 4 / 3
# the share of the area that is greyed
ERASED = (0.02, 0.2)
GREY = 127


def augment(pixels: np.ndarray, params: Augment, draw: np.random.Generator) -> np.ndarray:
    """Return a picture (channels, height, width) uint8 changed as the params say, by what is drawn."""
    if params.crop < 1:
        pixels = _cut(pixels, params.crop, draw)
    if params.flip and draw.random() < 1 / 2:
        pixels = pixels[:, :, ::-1]
    if params.color:
        pixels = _coloured(pixels, params.color, draw)
    if draw.random() < params.erase:
        pixels = _erased(pixels, draw)
    return np.ascontiguousarray(pixels)


def _cut(pixels: np.ndarray, least: float, draw: np.random.Generator) -> np.ndarray:
    """Return a part as large as the whole: as torchvision's RandomResizedCrop (Szegedy et al. 2015)."""
    _, height, width = pixels.shape
    area, ratio = draw.uniform(least, 1), np.exp(draw.uniform(-np.log(RATIO), np.log(RATIO)))
    its_width = min(width, max(1, round(width * np.sqrt(area * ratio))))
    its_height = min(height, max(1, round(height * np.sqrt(area / ratio))))
    left, top = draw.integers(width - its_width + 1), draw.integers(height - its_height + 1)
    box = (left, top, left + its_width, top + its_height)
    return _as_array(_as_image(pixels).resize((width, height), Image.Resampling.BILINEAR, box))


def _coloured(pixels: np.ndarray, most: float, draw: np.random.Generator) -> np.ndarray:
    image = _as_image(pixels)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(draw.uniform(1 - most, 1 + most))
    return _as_array(image)


def _erased(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return a picture with a grey rectangle in it (Zhong et al. 2020)."""
    _, height, width = pixels.shape
    area, ratio = draw.uniform(*ERASED), np.exp(draw.uniform(-1, 1))
    its_width = min(width, max(1, round(width * np.sqrt(area * ratio))))
    its_height = min(height, max(1, round(height * np.sqrt(area / ratio))))
    left, top = draw.integers(width - its_width + 1), draw.integers(height - its_height + 1)
    erased = pixels.copy()
    erased[:, top : top + its_height, left : left + its_width] = GREY
    return erased


def _as_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.transpose(1, 2, 0))


def _as_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)
