"""Image classification: real pictures, augmentation that a resumed training sees again, mixed labels."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers

from tasks import problems
from tasks.ingest import ingest
from tasks.problems.common import losses, pixels
from tasks.problems.image_classification import processors
from tasks.problems.image_classification.augmentation import augment
from tasks.problems.image_classification.params import Augment
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import digests, read_json
from tasks.shared.params import Model, Params
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train
from tests.support.pictures import picture
from tests.support.project import SHARED
from tests.support.six_stages import through

SMALL = {"type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
EASY_VQA, TRASHNET = SHARED / "easy_vqa", SHARED / "trashnet_subset"


def params(path: Path, own: dict[str, Any] | None = None, **changes: Any) -> Params:
    own = {"image_size": 24, **(own or {})}
    given = {"problem": "image_classification", "image_classification": own, "data": {"path": str(path)}}
    sizes = {"name": None, "revision": None, "from_scratch": SMALL}
    return Params.model_validate({**given, "model": sizes, **changes})


def ingested(its: Params, folder: Path) -> pl.DataFrame:
    problem = problems.load(its.problem, its.own)
    ingest(its.data, its.ingest, problem, Paths(folder))
    split(its.split, problem.columns, Paths(folder))
    return pl.read_parquet(folder / "data/ingested/rows.parquet")


def trained(its: Params, folder: Path) -> dict[str, str]:
    """Train on what stands in a folder, and return the digests of the checkpoint."""
    problem, paths = problems.load(its.problem, its.own), Paths(folder)
    tokenize(its.tokenize, its.model, problem, paths)
    train(its.train, base_models.fetch(base_models.resolve(its.model)), problem, paths, folder / "resume")
    return digests(paths.checkpoint)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Pictures of three colours in a folder each."""
    for number in range(60):
        file = tmp_path / "raw" / "rgb"[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    return tmp_path / "raw"


WAYS = {
    "flip": {"flip": True},
    "crop": {"crop": 0.3},
    "color": {"color": 0.5},
    "erase": {"erase": 1.0},
}


@pytest.mark.parametrize("way", WAYS)
def test_augmented_pictures_differ_by_what_is_drawn_and_by_nothing_else(way: str) -> None:
    pixels_ = np.random.default_rng(0).integers(0, 255, (3, 16, 12), np.uint8)
    its = Augment(**WAYS[way])
    seen = [augment(pixels_, its, np.random.default_rng(number)) for number in range(20)]
    again = [augment(pixels_, its, np.random.default_rng(number)) for number in range(20)]
    assert all(np.array_equal(one, other) for one, other in zip(seen, again, strict=True))
    assert {one.shape for one in seen} == {(3, 16, 12)}
    assert {one.dtype for one in seen} == {np.dtype(np.uint8)}
    assert len({one.tobytes() for one in seen}) > 1
    assert any(np.array_equal(one, pixels_[:, :, ::-1]) for one in seen) == (way == "flip")


@pytest.mark.slow
def test_an_epoch_sees_other_pictures_and_a_second_training_the_same(raw: Path, tmp_path: Path) -> None:
    own = {"augment": {"flip": True, "crop": 0.5, "color": 0.2, "erase": 0.3, "mixup": 0.4}}
    its = params(raw, own, train={"num_train_epochs": 2})
    ingested(its, tmp_path)
    assert trained(its, tmp_path) == trained(its, tmp_path)
    plain = params(raw, train={"num_train_epochs": 2})
    assert trained(plain, tmp_path) != trained(its, tmp_path)


def test_mixed_pictures_are_learned_as_both_labels_by_their_shares() -> None:
    logits = torch.randn(4, 3)
    one = losses.CrossEntropy([1.0, 1.0, 1.0])
    labels, others = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 0])
    mixed = torch.stack([labels.float(), others.float(), torch.full((4,), 0.25)], dim=1)
    wanted = 0.25 * one({"logits": logits}, labels) + 0.75 * one({"logits": logits}, others)
    assert losses.Mixed(one)({"logits": logits}, mixed) == pytest.approx(wanted.item())
    # as the Trainer counts what a batch holds
    assert losses.Mixed(one)({"logits": logits}, mixed, mixed.numel()) == pytest.approx(wanted.item())
    assert losses.Mixed(one)({"logits": logits}, labels) == pytest.approx(
        one({"logits": logits}, labels).item()
    )


def test_pixels_are_kept_where_they_take_less_room_than_the_file(raw: Path, tmp_path: Path) -> None:
    its = params(raw)
    rows = ingested(its, tmp_path)
    for size, are_kept in ((8, True), (64, False)):
        processor = processors.processor(_blueprint(), size)
        ((columns, count),) = pixels.encoded(processor, rows["image"], tmp_path / "data/media")
        assert count == 60
        assert (columns["pixels"].null_count == 0) == are_kept
        row = {name: values[0].as_py() for name, values in columns.items()}
        found = pixels.array(processor, row, tmp_path / "data/media")
        assert np.array_equal(found, pixels.array(processor, row | {"pixels": None}, tmp_path / "data/media"))


def _blueprint() -> Path:
    return base_models.fetch(params(Path()).model)


def test_a_base_without_an_image_processor_is_refused(raw: Path, tmp_path: Path, tiny_model: Path) -> None:
    its = params(raw, {"image_size": None}, model={"name": str(tiny_model), "revision": None})
    ingested(its, tmp_path)
    with pytest.raises(InputError, match="has no image processor that can be loaded"):
        trained(its.model_copy(update={"model": base_models.resolve(its.model)}), tmp_path)


def test_a_model_that_reads_no_pictures_is_refused_with_those_that_do() -> None:
    from flows.engine.prepare import refuse_unknown_names

    with pytest.raises(InputError, match="transformers has no AutoModelForImageClassification for a bert"):
        refuse_unknown_names(params(Path("raw"), model={"name": None, "from_scratch": {"type": "bert"}}))


@pytest.mark.slow
def test_a_fine_tuned_model_is_a_base_for_other_labels(raw: Path, tmp_path: Path) -> None:
    its = params(raw, train={"max_steps": 2})
    ingested(its, tmp_path)
    trained(its, tmp_path)
    (tmp_path / "models/checkpoint").rename(tmp_path / "base")
    other = params(
        raw,
        {"image_size": None},
        model={"name": str(tmp_path / "base"), "revision": None},
        train={"max_steps": 2},
        ingest={"labels": ["r", "g"]},
    )
    ingested(other, tmp_path)
    trained(other.model_copy(update={"model": base_models.resolve(other.model)}), tmp_path)
    said = read_json(tmp_path / "metrics/train.json")["warnings"]
    assert any("a new head" in sentence for sentence in said)
    assert read_json(tmp_path / "models/checkpoint/preprocessor_config.json")["size"] == {
        "height": 24,
        "width": 24,
    }


@pytest.mark.shared
def test_trashnet_folders_are_labels(tmp_path: Path) -> None:
    rows = ingested(params(TRASHNET / "images"), tmp_path)
    assert rows.height == 126
    assert rows["label"].n_unique() == 6
    assert set(zip(rows["image_width"], rows["image_height"], strict=True)) == {(384, 512)}


@pytest.mark.shared
def test_trashnet_lists_name_pictures_and_count_labels_from_one(tmp_path: Path) -> None:
    data = {
        "path": str(TRASHNET),
        "train_file": "splits/one-indexed-files-notrash_train.txt",
        "validation_file": "splits/one-indexed-files-notrash_val.txt",
        "test_file": "splits/one-indexed-files-notrash_test.txt",
        "format": "csv",
        "delimiter": " ",
        "header": False,
        "column_names": ["image", "label"],
        "media_path": "../images/{material}/{}",
    }
    # the lists are of all 2,527 pictures, of which 126 are here
    its = params(TRASHNET, data=data, ingest={"max_rejected": 0.99}, split={"method": "predefined"})
    rows = ingested(its, tmp_path)
    assert rows.height == 126
    pairs = set(rows.select("label", "material").rows())
    assert pairs == {
        ("1", "glass"),
        ("2", "paper"),
        ("3", "cardboard"),
        ("4", "plastic"),
        ("5", "metal"),
        ("6", "trash"),
    }


@pytest.mark.slow
@pytest.mark.shared
def test_easy_vqa_answers_are_labels_of_pictures_whose_numbers_begin_anew(tmp_path: Path) -> None:
    data = {
        "path": str(EASY_VQA),
        "train_file": "train/questions.json",
        "test_file": "test/questions.json",
        "column_names": ["question", "label", "image"],
        "media_path": "images/{}.png",
    }
    shapes = ["circle", "rectangle", "triangle"]
    its = params(EASY_VQA, data=data, ingest={"labels": shapes}, split={"method": "predefined"})
    rows = ingested(its, tmp_path)
    assert set(rows["label"]) == set(shapes)
    first = rows.filter(pl.col("source_media").is_in(["train/images/0.png", "test/images/0.png"]))
    assert first["image"].n_unique() == 2
    assert rows["source_media"].n_unique() >= rows["image"].n_unique()


BASES: dict[str, tuple[Any, Any]] = {
    "ViT": (
        transformers.ViTConfig(**TINY, image_size=32, patch_size=8),
        transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}),
    ),
    # its processor normalizes twice
    "EfficientNet": (
        transformers.EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128),
        transformers.EfficientNetImageProcessorPil(size={"height": 32, "width": 32}),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BASES)
def test_a_base_with_weights_is_fine_tuned_and_its_package_repeats_every_prediction(
    kind: str, tmp_path: Path
) -> None:
    settings, processor = BASES[kind]
    getattr(transformers, f"{kind}ForImageClassification")(settings).save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    rows = [{"image": f"{number}.png", "label": "rgb"[number % 3]} for number in range(60)]
    for number, row in enumerate(rows):
        (tmp_path / row["image"]).write_bytes(picture(number))
    _, paths = through(tmp_path, tmp_path / "base", rows, problem="image_classification")
    test = pl.read_parquet(paths.split("test"))
    assert read_json(paths.metric("package"))["predictions_repeated"] == test.height > 0


LEVIT = {"hidden_sizes": [16, 32, 48], "num_attention_heads": [1, 2, 3], "depths": [1, 1, 1]}
TAUGHT = {
    "DeiT": transformers.DeiTConfig(**TINY, image_size=64),
    "Levit": transformers.LevitConfig(**LEVIT, image_size=64),
}


@pytest.mark.parametrize("kind", TAUGHT)
def test_a_base_that_a_teacher_taught_is_trained_without_the_head_for_it(kind: str, tmp_path: Path) -> None:
    whole = getattr(transformers, f"{kind}ForImageClassificationWithTeacher")(TAUGHT[kind])
    whole.save_pretrained(tmp_path)
    model, _ = problems.load("image_classification").model(tmp_path, None, {"labels": ["a", "b", "c"]})
    answered = model(pixel_values=torch.zeros(2, 3, 64, 64), labels=torch.tensor([0, 2]))
    assert answered.logits.shape == (2, 3)
    answered.loss.backward()
    model.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again/config.json")["architectures"] == [f"{kind}ForImageClassification"]


def test_a_model_that_takes_no_labels_is_refused() -> None:
    base = base_models.fetch(Model(name=None, from_scratch={"type": "pp_lcnet"}))
    with pytest.raises(InputError, match="a PPLCNetForImageClassification takes no labels, so it cannot be"):
        problems.load("image_classification").model(base, None, {"labels": ["a", "b"]})


def test_a_model_from_scratch_is_of_the_size_that_its_pictures_have() -> None:
    sizes = {"type": "vit", **TINY, "patch_size": 8}
    for side, wanted in ((None, 224), (24, 24)):
        its = params(
            Path(), {"image_size": side}, model={"name": None, "revision": None, "from_scratch": sizes}
        )
        problem, base = problems.load(its.problem, its.own), base_models.fetch(its.model)
        processor = problem.processor(base, pl.LazyFrame(), its.tokenize)
        model, _ = problem.model(base, processor, {"labels": ["a", "b"]})
        assert model.config.image_size == wanted
        pixels_ = problem.collator(processor)([{"pixels": np.zeros((3, wanted, wanted), np.uint8)}])
        assert model(**pixels_).logits.shape == (1, 2)


def test_a_model_from_scratch_may_have_pictures_that_are_no_squares() -> None:
    sizes = {"type": "vit", **TINY, "patch_size": 8, "image_size": [16, 24]}
    its = params(Path(), {"image_size": None}, model={"name": None, "revision": None, "from_scratch": sizes})
    problem, base = problems.load(its.problem, its.own), base_models.fetch(its.model)
    processor = problem.processor(base, pl.LazyFrame(), its.tokenize)
    assert pixels.shape(processor) == (3, 16, 24)
    model, _ = problem.model(base, processor, {"labels": ["a", "b"]})
    pixels_ = problem.collator(processor)([{"pixels": np.zeros((3, 16, 24), np.uint8)}])
    assert model(**pixels_).logits.shape == (1, 2)


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    processor = processors.processor(_blueprint(), 24)
    with pytest.raises(InputError, match=r"a.png is gone, which ingest had kept; run the same command again"):
        list(pixels.encoded(processor, pl.Series(["a.png"]), tmp_path))
    with pytest.raises(InputError, match=r"a.png is gone, which ingest had kept; run the same command again"):
        pixels.Collator(processor, tmp_path)([{"image": "a.png", "pixels": None}])
