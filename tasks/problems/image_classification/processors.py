"""What makes a picture into pixels: the base model's own image processor, if batches hold what it makes."""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.problems.common import images, pixels, pretrained
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

# pixels on each side, where nothing else is said
USUAL = 224


def processor(base: Path, size: int | None) -> "BaseImageProcessor":
    """Return the base model's image processor, or for a model from scratch one that squeezes into a square.

    size: pixels on each side; None: as the base says. Raises InputError where the base has none, its pictures
    do not all become one size, or batches would not hold what it makes of them.
    """
    if pretrained.is_from_scratch(base):
        return pixels.squeezing(base, size or getattr(pretrained.config(base), "image_size", None) or USUAL)
    made = pretrained.image_processor(base)
    if size:
        made = _squared(made, size, base)
    refuse_other_pixels(made, base)
    return made


def _squared(made: "BaseImageProcessor", side: int, base: Path) -> "BaseImageProcessor":
    """Return a processor that makes squares of so many pixels on each side.

    It squeezes where it can; else it resizes by the shortest side, and cuts out the middle. Raises InputError
    where it does neither.
    """
    square, shortest = {"height": side, "width": side}, {"shortest_edge": side}
    for size, is_cut in ((square, False), (shortest, False), (shortest, True)):
        changed = deepcopy(made)
        changed.size = size
        if is_cut:
            changed.do_center_crop = True
        if is_cut or getattr(made, "crop_size", None):
            changed.crop_size = square
        # a processor says what it cannot do with an error of any kind
        with suppress(Exception):
            found = {pixels.pixel_values(changed, images.blank(*sides)).shape[1:] for sides in pixels.SIDES}
            if found == {(side, side)}:
                return changed
    what = f"the image processor in {base} ({type(made).__name__}) makes no squares of {side} pixels"
    raise InputError(f"image_classification.image_size: {what}; leave it empty, or name another model")


def refuse_other_pixels(processor: "BaseImageProcessor", base: Path) -> None:
    """Raise InputError unless pictures become one size, and batches hold what the processor makes of them."""
    its = pixels.described(processor, base)
    with pixels.refused_in_words(processor, base):
        sizes = {pixels.pixel_values(processor, images.blank(*sides)).shape for sides in pixels.SIDES}
        beside = set(processor(images.blank(*pixels.SIDES[0]), return_tensors="np")) - {"pixel_values"}
    if beside:
        raise InputError(f"{its} gives {', '.join(sorted(beside))} beside pixels; name another model")
    if len(sizes) > 1:
        each = "makes pictures of different sizes, which cannot share a batch"
        raise InputError(f"{its} {each}; give image_classification.image_size")
    if not all(_is_same(processor, images.noise(*sides)) for sides in pixels.SIDES):
        more = "does more to a picture than to resize, cut, rescale and normalize it"
        raise InputError(f"{its} {more}; name another model")


def _is_same(processor: "BaseImageProcessor", image: Any) -> bool:
    """Return whether a batch holds what a processor makes of a picture, as near as 8 bits come."""
    factor, _ = pixels.factor_and_offset(processor)
    if not factor.all():
        return False
    batch = pixels.Collator(processor, Path())([{"pixels": pixels.as_resized(processor, image)}])
    half: np.ndarray = np.abs(factor)[:, None, None] / 2 + pixels.SAME
    apart = np.abs(batch["pixel_values"][0].numpy() - pixels.pixel_values(processor, image))
    return bool((apart <= half).all())
