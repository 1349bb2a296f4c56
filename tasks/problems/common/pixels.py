"""Pictures as a model's pixels: what an image processor makes of them, model inputs, batches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems.common import images, pretrained
from tasks.problems.common.brief import brief
from tasks.problems.common.kept import there
from tasks.shared.errors import InputError, is_memory_full

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import BaseImageProcessor

# pictures read at once
BATCH = 256
# pixels on each side of what is counted as one
PATCH = 16
# width and height of pictures by which a processor is tried
SIDES = ((64, 48), (48, 64), (300, 200))
# of an image processor what makes its colours
COLOURS = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "resample")
# of the last each channel has another number
TRIED = ("black", "white", "orange")
# how far numbers may be apart, by rounding
SAME = 1e-4
# of a picture: channels, height, width
AXES = 3


def squeezing(base: Path, side: int | Sequence[int]) -> "BaseImageProcessor":
    """Return an image processor that squeezes into a square, in the colours that the base expects.

    side: pixels on each side, or height and width. Raises InputError where a base with weights has none, or
    one that changes colours in a way of its own.
    """
    from transformers import ViTImageProcessorPil

    height, width = (side, side) if isinstance(side, int) else side
    square = {"height": height, "width": width}
    if pretrained.is_from_scratch(base):
        return ViTImageProcessorPil(size=square)
    its = pretrained.image_processor(base)
    made = ViTImageProcessorPil(size=square, **{name: getattr(its, name, None) for name in COLOURS})
    with refused_in_words(its, base):
        is_same = all(np.allclose(_middle(made, colour), _middle(its, colour), atol=SAME) for colour in TRIED)
    if not is_same:
        more = "does more to colours than to rescale and normalize them"
        raise InputError(f"{described(its, base)} {more}; name another model")
    return made


def described(processor: "BaseImageProcessor", base: Path) -> str:
    """Return what a sentence calls a base's image processor."""
    return f"model.name: the image processor in {base} ({type(processor).__name__})"


def refused_in_words(processor: "BaseImageProcessor", base: Path) -> AbstractContextManager[None]:
    """Return a context that raises InputError for whatever a processor raises that wants other pictures."""
    what = f"{described(processor, base)} makes no pixels of a picture"
    return pretrained.in_words(what, remedy="name another model")


def pixel_values(processor: "BaseImageProcessor", image: Any) -> np.ndarray:
    """Return what a processor makes of a picture: (channels, height, width) float32."""
    made = processor(image, return_tensors="np")
    if "pixel_values" not in made:
        raise ValueError(f"it gives {', '.join(made)}")
    found: np.ndarray = made["pixel_values"][0].astype(np.float32)
    if found.ndim != AXES:
        raise ValueError(f"it gives {found.shape} numbers, not channels of rows of pixels")
    return found


@lru_cache(maxsize=8)
def factor_and_offset(processor: "BaseImageProcessor") -> tuple[np.ndarray, np.ndarray]:
    """Return what a processor multiplies 8 bits by, and what it adds, of each channel: (channels,) float32.

    As it makes them of black and of white: some rescale otherwise, or normalize twice.
    """
    black, white = (_middle(processor, colour) for colour in ("black", "white"))
    return ((white - black) / 255).astype(np.float32), black.astype(np.float32)


def _middle(processor: "BaseImageProcessor", colour: str) -> np.ndarray:
    """Return what a processor makes of a colour: (channels,) float64."""
    made = pixel_values(processor, images.blank(*SIDES[0], colour))
    # at the edges may be what pads it
    middle: np.ndarray = made[:, made.shape[1] // 2, made.shape[2] // 2].astype(np.float64)
    return middle


def as_resized(processor: "BaseImageProcessor", image: Any) -> np.ndarray:
    """Return a picture as the processor resizes and cuts it: (channels, height, width) uint8."""
    size = _plain_size(processor)
    if size is not None:
        # what the processor would do, without its checks, which take ten times as long
        resized: np.ndarray = np.asarray(image.resize(size, processor.resample)).transpose(2, 0, 1)
        return resized
    factor, offset = (its[:, None, None] for its in factor_and_offset(processor))
    bits = (pixel_values(processor, image) - offset) / factor
    found: np.ndarray = np.clip(np.rint(bits), 0, 255).astype(np.uint8)
    return found


def _read(processor: "BaseImageProcessor", file: Path) -> np.ndarray:
    """Return a kept picture as `as_resized` does; raise InputError for one that the processor cannot take."""
    image = images.load(file)
    try:
        return as_resized(processor, image)
    except Exception as error:
        # a processor raises whatever it likes of a picture that is too small
        if is_memory_full(error):
            raise
        size = f"{file}, {image.width} x {image.height} pixels"
        what = f"{size}: take its row out, or name another model; {type(processor).__name__} cannot take it"
        raise InputError(brief(what, error)) from None


@lru_cache(maxsize=8)
def _plain_size(processor: "BaseImageProcessor") -> tuple[int, int] | None:
    """Return the width and height to which a processor squeezes pictures, where it does nothing else."""
    from transformers.image_processing_backends import PilBackend

    size, kind = processor.size or {}, type(processor)
    # whether it is another's
    is_plain = kind._preprocess is PilBackend._preprocess  # noqa: SLF001
    is_plain = is_plain and kind.resize is PilBackend.resize
    others = any(
        getattr(processor, name, None) for name in ("do_center_crop", "do_pad", "do_convert_annotations")
    )
    # without a way to resample, ours and Pillow's own are different ones
    if not is_plain or others or not processor.do_resize or processor.resample is None:
        return None
    if not size.get("height") or not size.get("width"):
        return None
    return size["width"], size["height"]


@lru_cache(maxsize=8)
def shape(processor: "BaseImageProcessor") -> tuple[int, ...]:
    """Return the shape of pictures as the model is given them: (channels, height, width)."""
    return as_resized(processor, images.blank(64, 48)).shape


def size(processor: "BaseImageProcessor") -> int:
    """Return how many bytes a picture takes as the model is given it, before it is rescaled."""
    return math.prod(shape(processor))


def patches(processor: "BaseImageProcessor") -> int:
    """Return how many patches of 16 x 16 pixels a picture has, one at least."""
    _, height, width = shape(processor)
    return max(1, height // PATCH * (width // PATCH))


def encoded(
    processor: "BaseImageProcessor", names: pl.Series, folder: Path
) -> Iterator["tuple[dict[str, pa.Array], int]"]:
    """Yield `image` (the file below `folder`), `pixels` and `length` of each picture, some at a time.

    pixels: (channels, height, width) uint8 in a row, where that takes less room than the file; else null, and
    it is read when it is needed. length: in patches of 16 x 16 pixels. Also yields how many these are.
    """
    import pyarrow as pa

    room, length = size(processor), patches(processor)

    def pixels(name: str) -> bytes | None:
        file = there(folder / name)
        return None if file.stat().st_size < room else _read(processor, file).tobytes()

    with ThreadPoolExecutor() as threads:
        for some in names.to_frame("image").iter_slices(BATCH):
            its = some["image"].to_list()
            columns = {
                "image": pa.array(its, pa.string()),
                "pixels": pa.array(threads.map(pixels, its), pa.large_binary()),
                "length": pa.array([length] * len(its), pa.int32()),
            }
            yield columns, len(its)


def array(processor: "BaseImageProcessor", row: Mapping[str, Any], folder: Path) -> np.ndarray:
    """Return an encoded picture: (channels, height, width) uint8."""
    if isinstance(row.get("pixels"), np.ndarray):
        found: np.ndarray = row["pixels"]
        return found
    if row.get("pixels") is None:
        return _read(processor, folder / row["image"])
    return np.frombuffer(row["pixels"], np.uint8).reshape(shape(processor))


@dataclass
class Collator:
    """Makes a batch of encoded pictures: pixel_values (rows, channels, height, width), and their labels.

    In the numbers that the processor gives. Rows that are to be mixed with the one behind them say with
    which share of their own; their labels are then (rows, 3): both labels and that share.
    """

    processor: Any
    folder: Path

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return tensors."""
        import torch

        arrays = [array(self.processor, row, self.folder) for row in rows]
        factor, offset = (
            torch.from_numpy(its)[None, :, None, None] for its in factor_and_offset(self.processor)
        )
        pixels = torch.from_numpy(np.stack(arrays)).float().mul_(factor).add_(offset)
        batch = {"pixel_values": pixels}
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        if "mixed" in rows[0]:
            shares = torch.tensor([row["mixed"] for row in rows], dtype=torch.float32)
            across = shares[:, None, None, None]
            batch["pixel_values"] = across * pixels + (1 - across) * pixels.roll(-1, 0)
            both = batch["labels"].float(), batch["labels"].roll(-1, 0).float()
            batch["labels"] = torch.stack([*both, shares], dim=1)
        return batch
