"""Pixels of pictures: what batches hold is what each family's own image processor makes of a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from tasks.problems.common import images, pixels
from tasks.problems.image_classification import processors
from tasks.shared.errors import InputError

# of the families that classify pictures: all whose image processor makes squares of any picture
SQUARE = (
    "BeitImageProcessorPil",
    "BitImageProcessorPil",
    "CLIPImageProcessorPil",
    "ConvNextImageProcessorPil",
    "DeiTImageProcessorPil",
    "EfficientNetImageProcessorPil",
    "LevitImageProcessorPil",
    "MobileNetV1ImageProcessorPil",
    "MobileNetV2ImageProcessorPil",
    "MobileViTImageProcessorPil",
    "PerceiverImageProcessorPil",
    "PoolFormerImageProcessorPil",
    "PvtImageProcessorPil",
    "SegformerImageProcessorPil",
    "SiglipImageProcessorPil",
    "ViTImageProcessorPil",
)
# as configs of the hub may set them
OTHERWISE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 96}}),
    ("DonutImageProcessorPil", {"size": {"height": 64, "width": 48}}),
    ("EfficientNetImageProcessorPil", {"include_top": False}),
    ("EfficientNetImageProcessorPil", {"rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("MobileViTImageProcessorPil", {"do_normalize": True}),
    ("PerceiverImageProcessorPil", {"size": {"height": 40, "width": 40}, "do_rescale": False}),
    ("ViTImageProcessorPil", {"image_mean": [0.1, 0.5, 0.9], "image_std": [0.2, 0.3, 0.4], "resample": 0}),
)
REFUSED = {
    "Gemma3ImageProcessorPil": "gives num_crops beside pixels",
    "ImageGPTImageProcessorPil": "makes no pixels of a picture: ValueError: Clusters must be provided",
    "Siglip2ImageProcessorPil": "makes no pixels of a picture: ValueError: it gives",
    "TextNetImageProcessorPil": "pictures of different sizes, which cannot share a batch; give image_class",
}
SIDES = ((300, 200), (31, 97), (9, 7))


def saved(folder: Path, kind: str, **how: Any) -> Any:
    made = getattr(transformers, kind)(**how)
    made.save_pretrained(folder)
    return made


def refuse_other_numbers(processor: Any, wanted: Any, folder: Path) -> None:
    """Compare a batch of files with what a processor makes of them."""
    for number, sides in enumerate(SIDES):
        image = images.noise(*sides)
        image.save(folder / f"{number}.png")
        batch = pixels.Collator(processor, folder)([{"image": f"{number}.png", "pixels": None}])
        made = wanted(image, return_tensors="pt")["pixel_values"]
        assert batch["pixel_values"].shape == made.shape
        assert torch.allclose(batch["pixel_values"], made, atol=1e-5)


def test_of_every_family_that_classifies_pictures_it_is_known_whether_its_pixels_are_right() -> None:
    kinds = {
        IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {}).get("pil")
        for kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    }
    # of None a model brings another family's, and timm is not installed
    assert kinds - {None, "TimmWrapperImageProcessor"} == {*SQUARE, *dict(OTHERWISE), *REFUSED}


@pytest.mark.parametrize(("kind", "how"), [*((kind, {}) for kind in SQUARE), *OTHERWISE])
def test_batches_hold_what_the_base_s_own_processor_makes_of_a_picture(
    kind: str, how: dict[str, Any], tmp_path: Path
) -> None:
    made = saved(tmp_path, kind, **how)
    refuse_other_numbers(processors.processor(tmp_path, None), made, tmp_path)


@pytest.mark.parametrize("kind", sorted({*SQUARE, "TextNetImageProcessorPil"}))
def test_every_family_s_pictures_become_squares_of_image_size_as_it_is_served(
    kind: str, tmp_path: Path
) -> None:
    saved(tmp_path, kind)
    processor = processors.processor(tmp_path, 40)
    processor.save_pretrained(tmp_path / "package")
    served = transformers.AutoImageProcessor.from_pretrained(tmp_path / "package", backend="pil")
    refuse_other_numbers(processor, served, tmp_path)
    assert pixels.shape(processor) == (3, 40, 40)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_processor_whose_pictures_cannot_be_a_batch_is_refused(kind: str, tmp_path: Path) -> None:
    saved(tmp_path, kind)
    with pytest.raises(InputError, match=f"{kind}.*{REFUSED[kind]}"):
        processors.processor(tmp_path, None)


def test_a_processor_that_makes_no_squares_is_refused_with_image_size(tmp_path: Path) -> None:
    saved(tmp_path, "Siglip2ImageProcessorPil")
    with pytest.raises(InputError, match=r"image_size: .*Siglip2.* makes no squares of 32 pixels; leave it"):
        processors.processor(tmp_path, 32)


@pytest.mark.parametrize("kind", SQUARE)
def test_a_picture_of_one_pixel_is_taken(kind: str, tmp_path: Path) -> None:
    saved(tmp_path, kind)
    processor = processors.processor(tmp_path, None)
    images.blank(1, 1, "orange").save(tmp_path / "1.png")
    made = pixels.array(processor, {"image": "1.png", "pixels": None}, tmp_path)
    assert made.shape == pixels.shape(processor)


class Choosy(transformers.ViTImageProcessorPil):
    """Takes no small pictures."""

    def resize(self, image: np.ndarray, *given: Any, **named: Any) -> np.ndarray:
        if image.shape[1] < 2:
            raise ValueError("too small")
        return super().resize(image, *given, **named)


def test_a_picture_that_a_processor_cannot_take_is_named(tmp_path: Path) -> None:
    images.blank(1, 1).save(tmp_path / "1.png")
    wanted = r"1.png, 1 x 1 pixels: take its row out, or name another model; Choosy cannot take it: too small"
    with pytest.raises(InputError, match=wanted):
        pixels.array(Choosy(), {"image": "1.png", "pixels": None}, tmp_path)


class Full(transformers.ViTImageProcessorPil):
    """Finds no memory for a picture."""

    def resize(self, image: np.ndarray, *given: Any, **named: Any) -> np.ndarray:
        raise MemoryError


def test_memory_that_is_full_is_no_fault_of_a_picture(tmp_path: Path) -> None:
    images.blank(9, 9).save(tmp_path / "1.png")
    with pytest.raises(MemoryError):
        pixels.array(Full(), {"image": "1.png", "pixels": None}, tmp_path)


class OwnContrast(transformers.ViTImageProcessorPil):
    """Normalizes each picture by its own mean."""

    def normalize(self, image: np.ndarray, mean: Any, std: Any, **_: Any) -> np.ndarray:
        return super().normalize(image, image.mean((1, 2)) / 2, std)


def test_a_processor_that_makes_other_numbers_than_batches_would_hold_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"OwnContrast.* does more to a picture than to resize, cut, rescale"
    ):
        processors.refuse_other_pixels(OwnContrast(), Path("base"))


def test_squares_of_a_base_have_its_colours_or_it_is_refused(tmp_path: Path) -> None:
    how = {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}
    made = saved(tmp_path, "ViltImageProcessorPil", **how)
    processor = pixels.squeezing(tmp_path, 64)
    image = images.blank(64, 64, "orange")
    mine = pixels.Collator(processor, tmp_path)([{"pixels": pixels.as_resized(processor, image)}])
    wanted = made(image, return_tensors="pt")["pixel_values"][0, :, 9, 9]
    assert torch.allclose(mine["pixel_values"][0, :, 9, 9], wanted, atol=1e-5)
    # the second changes red for blue, of which black and white show nothing
    for kind in ("EfficientNet", "MobileViT"):
        saved(tmp_path, f"{kind}ImageProcessorPil")
        with pytest.raises(InputError, match=rf"{kind}.* does more to colours than to rescale and normalize"):
            pixels.squeezing(tmp_path, 64)
