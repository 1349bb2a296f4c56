"""Visual question answering: easy-VQA's rows, pictures that many questions share, ViLT's patches, what is served."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from PIL import Image
from transformers import AutoModelForVisualQuestionAnswering, ViltConfig, ViTImageProcessorPil

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.problems.visual_question_answering import patches, serve
from tasks.problems.visual_question_answering.batches import Collator
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest, Model, Params, Split, Tokenize
from tasks.shared.paths import Paths
from tasks.split import split
from tests.support.families import SIZES
from tests.support.pictures import picture
from tests.support.project import SHARED

EASY_VQA = SHARED / "easy_vqa"
# as in examples/easy_vqa.yaml
COLUMNS = {"column_names": ["question", "label", "image"], "media_path": "images/{}.png"}
FILES = {"train_file": "train/questions.json", "test_file": "test/questions.json"}
WORDS = Tokenize.model_validate({"max_length": 16, "train": {"kind": "wordpiece"}})
VILT = {"type": "vilt", **SIZES, "patch_size": 8}
# a loss at which all that was learned is known
LEARNED = 0.02
QUESTIONS = ("what colour is it?", "is it red?")


def problem(**own: Any) -> Problem:
    params = Params.model_validate({"problem": "visual_question_answering", "visual_question_answering": own})
    return problems.load("visual_question_answering", params.own)


def base(kind: dict[str, Any] | None = None) -> Path:
    return base_models.fetch(Model(name=None, from_scratch=kind or VILT))


def questions(folder: Path) -> tuple[Problem, pl.DataFrame]:
    """Return a problem whose media lie in a folder, and six questions about three pictures there."""
    its = problem(image_size=24)
    its.media = folder
    rows = []
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number))
        answers = (("red", "green", "blue")[number], "no" if number else "yes")
        for question, answer in zip(QUESTIONS, answers, strict=True):
            rows.append({"image": f"{number}.png", "question": question, "label": answer})
    return its, pl.DataFrame(rows)


def easy_vqa(folder: Path, count: int = 40) -> Path:
    """Copy the first questions of both splits and their pictures."""
    for side in ("train", "test"):
        asked = json.loads((EASY_VQA / side / "questions.json").read_text("utf-8"))[:count]
        (folder / side / "images").mkdir(parents=True)
        (folder / side / "questions.json").write_text(json.dumps(asked), encoding="utf-8")
        for number in {number for _, _, number in asked}:
            shutil.copy(EASY_VQA / side / f"images/{number}.png", folder / side / "images")
    return folder


@pytest.mark.shared
def test_a_list_of_question_answer_and_number_is_a_row_with_the_picture_of_its_own_split(
    tmp_path: Path,
) -> None:
    data, paths = Data(path=str(easy_vqa(tmp_path / "raw")), **COLUMNS, **FILES), Paths(tmp_path)
    ingest(data, Ingest(max_rejected=0), problem(), paths)
    rows = pl.read_parquet(paths.ingested / "rows.parquet")
    for side in ("train", "test"):
        asked = json.loads((tmp_path / "raw" / side / "questions.json").read_text("utf-8"))
        its = rows.filter(source_split=side)
        assert its.select("question", "label").rows() == [(question, answer) for question, answer, _ in asked]
        for name, (_, _, number) in zip(its["image"], asked, strict=True):
            its_file = tmp_path / "raw" / side / f"images/{number}.png"
            assert (paths.media / name).read_bytes() == its_file.read_bytes()
    # numbers begin anew in test, and are other pictures there
    train, test = (set(rows.filter(source_split=side)["image"]) for side in ("train", "test"))
    assert not train & test
    # many questions are about one picture, which is kept once
    kept = [file for file in paths.media.rglob("*") if file.is_file()]
    assert len(kept) == len(train | test) < rows.height
    assert read_json(paths.metric("ingest"))["columns"]["image"]["files"] == len(kept)


@pytest.mark.shared
def test_a_question_without_its_picture_is_a_rejected_row(tmp_path: Path) -> None:
    folder = easy_vqa(tmp_path / "raw")
    (folder / "test/images/0.png").unlink()
    data, paths = Data(path=str(folder), **COLUMNS, **FILES), Paths(tmp_path)
    ingest(data, Ingest(max_rejected=0.9), problem(), paths)
    rejects = [
        json.loads(line) for line in (paths.ingested / "rejected.jsonl").read_text("utf-8").splitlines()
    ]
    assert rejects
    assert {reject["reason"] for reject in rejects} == {"image: there is no such file: 0.png"}
    # that of train is another
    assert {reject["file"].split("/")[0] for reject in rejects} == {"test"}


@pytest.mark.shared
def test_questions_about_one_picture_stand_on_one_side(tmp_path: Path) -> None:
    data, paths = Data(path=str(easy_vqa(tmp_path / "raw", 80)), **COLUMNS), Paths(tmp_path)
    ingest(data, Ingest(labels=["no", "yes"]), problem(), paths)
    by_picture = {"method": "by_group", "group_column": "image"}
    shares = {"validation_share": 0.3, "test_share": 0.3}
    split(Split.model_validate(by_picture | shares), problem().columns, paths)
    sides = [set(pl.read_parquet(paths.split(name))["image"]) for name in ("train", "validation", "test")]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_a_picture_is_read_once_for_all_questions_about_it(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    processor = its.processor(base(), rows.lazy(), WORDS)
    (made,) = its.encode(processor, rows, its.learn_targets(rows), WORDS)
    collate = its.collator(processor)
    assert isinstance(collate, Collator)
    batch = collate(made.inputs.to_pylist())
    assert collate.pictures.read.cache_info().misses == 3
    assert batch["pixel_values"].shape == (6, 3, 24, 24)
    assert torch.equal(batch["pixel_values"][0], batch["pixel_values"][1])
    collate(made.inputs.to_pylist()[:1])
    assert collate.pictures.read.cache_info().misses == 3


def test_unknown_words_are_counted_among_the_words(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    processor = its.processor(base(), rows.lazy(), WORDS)
    (made,) = its.encode(processor, rows, its.learn_targets(rows), WORDS)
    # one patch of 16 x 16 pixels in 24 x 24
    assert made.tokens == sum(made.inputs["length"].to_pylist()) - rows.height


def test_patches_in_order_are_answered_as_transformers_answers_them_shuffled() -> None:
    torch.manual_seed(0)
    settings = ViltConfig(**SIZES, vocab_size=30, image_size=24, patch_size=8, num_labels=5)
    model = AutoModelForVisualQuestionAnswering.from_config(settings).eval()
    # places are all zeros until they are learned
    torch.nn.init.normal_(model.vilt.embeddings.position_embeddings)
    words = {"input_ids": torch.arange(8).reshape(2, 4), "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    batches = [{**words, "pixel_values": torch.randn(2, 3, *size)} for size in ((24, 24), (32, 16))]
    with torch.inference_mode():
        theirs = [model(**batch).logits for batch in batches]
        patches.keep_order(model)
        ours = [model(**batch).logits for batch in batches]
        again = [model(**batch).logits for batch in batches]
    for one, other, third in zip(theirs, ours, again, strict=True):
        torch.testing.assert_close(one, other)
        assert torch.equal(other, third)


@pytest.mark.slow
def test_the_colour_of_a_picture_is_learned_and_served_with_nothing_but_transformers(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    processor, targets = its.processor(base(), rows.lazy(), WORDS), its.learn_targets(rows)
    torch.manual_seed(0)
    model, _ = its.model(base(), processor, targets)
    assert model.config.image_size == 24
    (made,) = its.encode(processor, rows, targets, WORDS)
    batch = its.collator(processor)(made.inputs.to_pylist())
    labels, optimizer = batch.pop("labels"), torch.optim.AdamW(model.parameters(), 2e-3)
    loss = its.loss(rows, targets, Params().train)
    assert loss is not None
    for _ in range(1000):
        optimizer.zero_grad()
        missed = loss(model(**batch), labels)
        missed.backward()
        optimizer.step()
        # how soon depends on the machine's sums
        if missed.item() < LEARNED:
            break
    with torch.inference_mode():
        found = its.predict(model.eval(), processor, batch, targets)
    assert [one["predicted"] for one in found] == rows["label"].to_list()
    folder = tmp_path / "package"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    asked = its.asked(folder, rows, rows)
    served = serve.answer(*serve.load(str(folder)), asked, batch_size=4)
    assert all(its.agrees(answers, one) for answers, one in zip(served, found, strict=True))
    assert not its.agrees(served[0], found[2])
    # a package is a base like any other
    again = its.processor(folder, rows.lazy(), Tokenize(max_length=16))
    assert again.image_processor.to_dict() == processor.image_processor.to_dict()
    other = its.model(folder, again, targets)[0].eval()
    assert torch.equal(other(**batch).logits, model(**batch).logits)


def test_pictures_are_of_the_colours_that_a_base_with_weights_expects(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    processor, targets = its.processor(base(), rows.lazy(), WORDS), its.learn_targets(rows)
    folder = tmp_path / "base"
    its.model(base(), processor, targets)[0].save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    ViTImageProcessorPil(image_mean=[0.1, 0.2, 0.3], size={"shortest_edge": 32}).save_pretrained(folder)
    made = problem().processor(folder, rows.lazy(), Tokenize(max_length=16)).image_processor
    assert list(made.image_mean) == [0.1, 0.2, 0.3]
    assert dict(made.size) == {"height": 24, "width": 24}
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="has no image processor that can be loaded"):
        problem().processor(folder, rows.lazy(), Tokenize(max_length=16))


def test_a_model_that_writes_its_answers_is_refused(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    with pytest.raises(InputError, match="a blip does not choose among known answers"):
        its.processor(base({"type": "blip"}), rows.lazy(), WORDS)


def test_a_served_picture_is_shown_upright_and_in_colours(tmp_path: Path) -> None:
    its, rows = questions(tmp_path)
    processor, targets = its.processor(base(), rows.lazy(), WORDS), its.learn_targets(rows)
    model = its.model(base(), processor, targets)[0].eval()
    grey = Image.new("L", (30, 20), 90)
    turned = grey.getexif()
    turned[0x0112] = 6
    grey.save(tmp_path / "turned.jpg", exif=turned)
    grey.convert("RGB").rotate(-90, expand=True).save(tmp_path / "upright.png")
    asked = [{"image": str(tmp_path / name), "question": "?"} for name in ("turned.jpg", "upright.png")]
    first, second = serve.answer(processor, model, asked, top_k=1)
    assert first == second
    assert len(first) == 1
