"""Texts about pictures: prompts and answers as a model is given them, and what it writes, alone and beside others."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import transformers as hf

from tasks import problems
from tasks.problems import Problem
from tasks.problems.common import predicting
from tasks.problems.image_text_to_text import serve
from tasks.problems.image_text_to_text.batches import NOTHING
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.params import Model, Params, Tokenize
from tests.support.families import SIZES
from tests.support.pictures import picture

WORDS = Tokenize.model_validate({"max_length": 24, "train": {"kind": "wordpiece"}})
ASKED = ("what colour is it?", "is it red?")
COLOURS = ("red", "green", "blue")
SMALL = {"image_size": 24, "patch_size": 8, "vision_layers": 1, "max_new_tokens": 6}


def problem(**own: Any) -> Problem:
    params = Params.model_validate({"problem": "image_text_to_text", "image_text_to_text": SMALL | own})
    return problems.load("image_text_to_text", params.own)


def base(kind: str = "git") -> Path:
    sizes = SIZES if kind == "git" else {}
    return base_models.fetch(Model(name=None, from_scratch={"type": kind, **sizes}))


def answers(folder: Path) -> tuple[Problem, pl.DataFrame]:
    """Return a problem whose media lie in a folder, and two answers about each of three pictures there."""
    its = problem()
    its.media = folder
    rows = []
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}.png").write_bytes(picture(number))
        said = (f"it is {colour}", "no" if number else "yes")
        for text, answer in zip(ASKED, said, strict=True):
            rows.append({"image": f"{number}.png", "text": text, "answer": answer})
    return its, pl.DataFrame(rows)


def test_an_answer_stands_behind_its_prompt_and_alone_is_learned(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    processor = its.processor(base(), rows.lazy(), WORDS)
    (made,) = its.encode(processor, rows, {}, WORDS)
    encoded, words = made.inputs.to_pylist(), processor.tokenizer
    start, end = serve.ends(words)
    assert encoded[0]["input_ids"][0] == start
    assert words.decode(encoded[0]["input_ids"][1:]) == ASKED[0].replace("?", " ?")
    assert words.decode(encoded[0]["labels"][:-1]) == "it is red"
    assert {row["labels"][-1] for row in encoded} == {end}
    batch = its.collator(processor)(encoded)
    for row, ids, labels in zip(encoded, batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        prompt, both = len(row["input_ids"]), len(row["input_ids"]) + len(row["labels"])
        assert ids[:both] == [*row["input_ids"], *row["labels"]]
        assert labels[prompt:both] == row["labels"]
        assert {*labels[:prompt], *labels[both:]} == {NOTHING}
    asked = its.collator(processor)([{name: row[name] for name in ("image", "input_ids")} for row in encoded])
    assert "labels" not in asked
    assert asked["attention_mask"].sum(dim=1).tolist() == [len(row["input_ids"]) for row in encoded]


def test_long_prompts_and_answers_are_cut_and_counted(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    long = rows.with_columns(text=pl.lit("is it red? " * 20), answer=pl.lit("it is red " * 20))
    processor = its.processor(base(), long.lazy(), WORDS)
    (made,) = its.encode(processor, long[:2], {}, WORDS)
    # a row whose prompt and answer are cut is one
    assert made.truncated == 2
    for row in made.inputs.to_pylist():
        assert (len(row["input_ids"]), len(row["labels"])) == (24 - 6, 6)
        assert row["labels"][-1] == serve.ends(processor.tokenizer)[1]
    with pytest.raises(InputError, match="24 of 24 tokens leave none for a prompt"):
        problem(max_new_tokens=24).processor(base(), rows.lazy(), WORDS)


def test_what_is_learned_is_written_and_served_with_nothing_but_transformers(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    processor = its.processor(base(), rows.lazy(), WORDS)
    torch.manual_seed(0)
    model, _ = its.model(base(), processor, {})
    (made,) = its.encode(processor, rows, {}, WORDS)
    encoded = made.inputs.to_pylist()
    batch, optimizer = its.collator(processor)(encoded), torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()
    names = predicting.given(its, made.inputs.schema.names)
    given = its.collator(processor)([{name: row[name] for name in names} for row in encoded])
    found = its.predict(model, processor, given, {})
    assert [one["predicted"] for one in found] == rows["answer"].to_list()
    model.save_pretrained(tmp_path / "package")
    processor.save_pretrained(tmp_path / "package")
    asked = its.asked(tmp_path / "package", rows, rows)
    served = serve.answer(*serve.load(str(tmp_path / "package")), asked, batch_size=4)
    assert served == rows["answer"].to_list()
    pipeline = hf.pipeline("image-text-to-text", model=str(tmp_path / "package"))
    (one,) = pipeline(images=asked[1]["image"], text=asked[1]["text"], return_full_text=False)
    assert one["generated_text"].strip() == rows["answer"][1]


def test_the_prompt_alone_is_a_baseline(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    found = its.baselines(rows, rows, {})
    assert found["majority"]["predicted"].to_list() == ["no"] * 6
    assert found["prompt_alone"]["predicted"].to_list() == ["it is blue", "no"] * 3
    assert its.baselines(rows.drop("text"), rows.drop("text"), {}).keys() == {"majority"}


def test_a_model_that_is_no_git_is_refused(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    with pytest.raises(InputError, match="a vilt is not known to write about pictures here"):
        its.processor(base("vilt"), rows.lazy(), WORDS)


def test_label_smoothing_is_refused(tmp_path: Path) -> None:
    its, rows = answers(tmp_path)
    params = Params.model_validate({"train": {"label_smoothing_factor": 0.1}})
    with pytest.raises(InputError, match="label_smoothing_factor"):
        its.loss(rows, {}, params.train)
