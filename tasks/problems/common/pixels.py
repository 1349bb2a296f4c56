"""Pictures as a model's pixels: the base model's image processor, model inputs, batches, augmentation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems.common import images, pretrained
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import BaseImageProcessor

BATCH = 256  # pictures read at once
PATCH = 16  # pixels on each side of what is counted as one
USUAL = 224  # pixels on each side, where nothing else is said


def processor(base: Path, size: int | None) -> "BaseImageProcessor":
    """Return the base model's image processor, or for a model from scratch one that squeezes into a square.

    size: pixels on each side; None: as the base says. Raises InputError where the base has none, or its
    pictures do not all become one size.
    """
    if pretrained.is_from_scratch(base):
        return squeezing(base, size or getattr(pretrained.config(base), "image_size", None) or USUAL)
    made = pretrained.image_processor(base)
    if size:
        square = {"height": size, "width": size}
        made.size, made.crop_size = square, square if getattr(made, "crop_size", None) else None
    shapes = {_array(made, images.blank(*sides)).shape for sides in ((64, 48), (48, 64), (300, 200))}
    if len(shapes) > 1:
        each = "makes pictures of different sizes, which cannot share a batch"
        raise InputError(f"model.name: the image processor in {base} {each}; give image_size")
    return made


def squeezing(base: Path, side: int) -> "BaseImageProcessor":
    """Return an image processor that squeezes into a square, in the colours that the base expects.

    Raises InputError where a base with weights has none.
    """
    from transformers import ViTImageProcessorPil

    colours = {}
    if not pretrained.is_from_scratch(base):
        its = pretrained.image_processor(base)
        colours = {name: getattr(its, name) for name in ("image_mean", "image_std", "resample")}
    return ViTImageProcessorPil(size={"height": side, "width": side}, **colours)


def _array(processor: "BaseImageProcessor", image: Any) -> np.ndarray:
    """Return a picture as the processor resizes and crops it: (channels, height, width) uint8."""
    size = _plain_size(processor)
    if size is not None:
        # what the processor would do, without its checks, which take ten times as long
        resized: np.ndarray = np.asarray(image.resize(size, processor.resample)).transpose(2, 0, 1)
        return resized
    made = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    found: np.ndarray = np.clip(np.rint(made), 0, 255).astype(np.uint8)
    return found


@lru_cache(maxsize=8)
def _plain_size(processor: "BaseImageProcessor") -> tuple[int, int] | None:
    """Return the width and height to which a processor squeezes pictures, where it does nothing else."""
    from transformers.image_processing_backends import PilBackend

    size = processor.size or {}
    is_plain = type(processor)._preprocess is PilBackend._preprocess  # noqa: SLF001 (whether it is another)
    others = any(
        getattr(processor, name, None) for name in ("do_center_crop", "do_pad", "do_convert_annotations")
    )
    if not is_plain or others or not processor.do_resize or not size.get("height") or not size.get("width"):
        return None
    return size["width"], size["height"]


@lru_cache(maxsize=8)
def shape(processor: "BaseImageProcessor") -> tuple[int, ...]:
    """Return the shape of pictures as the model is given them: (channels, height, width)."""
    return _array(processor, images.blank(64, 48)).shape


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
        if (folder / name).stat().st_size < room:
            return None
        return _array(processor, images.load(folder / name)).tobytes()

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
        return _array(processor, images.load(folder / row["image"]))
    return np.frombuffer(row["pixels"], np.uint8).reshape(shape(processor))


@dataclass
class Collator:
    """Makes a batch of encoded pictures: pixel_values (rows, channels, height, width), and their labels.

    As the processor rescales and normalizes. Rows that are to be mixed with the one behind them say with
    which share of their own; their labels are then (rows, 3): both labels and that share.
    """

    processor: Any
    folder: Path

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return tensors."""
        import torch

        arrays = [array(self.processor, row, self.folder) for row in rows]
        pixels = torch.from_numpy(np.stack(arrays)).float()
        if self.processor.do_rescale:
            pixels *= self.processor.rescale_factor
        if self.processor.do_normalize:
            mean, spread = (
                torch.tensor(its)[None, :, None, None]
                for its in (self.processor.image_mean, self.processor.image_std)
            )
            pixels = (pixels - mean) / spread
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
