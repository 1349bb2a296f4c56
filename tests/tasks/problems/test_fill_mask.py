"""Fill-mask: which tokens are masked, on test always the same, on train others in each epoch."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from datasets import Dataset

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.problems.common import predicting, pretrained
from tasks.problems.fill_mask import FillMask
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import sha256
from tasks.shared.params import Data, Model, Params, Tokenize
from tasks.shared.paths import Paths
from tasks.shared.statistics import values
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train
from tests.support import families
from tests.support.rows import write
from tests.support.way import TICKETS

IGNORED = -100


def problem(**own: Any) -> Problem:
    return problems.load("fill_mask", Params.model_validate({"problem": "fill_mask", "fill_mask": own}).own)


def encoded(
    folder: Path, texts: list[str], max_length: int = 64, **own: Any
) -> tuple[list[dict[str, Any]], Any]:
    processor = pretrained.tokenizer(folder, max_length)
    found = problem(**own).encode(
        processor, pl.DataFrame({"text": texts}), {}, Tokenize(max_length=max_length)
    )
    return [row for batch in found for row in batch.inputs.to_pylist()], processor


def whole(row: dict[str, Any]) -> list[int]:
    """Return the tokens that stood there before some were masked."""
    return [
        token if label == IGNORED else label
        for token, label in zip(row["input_ids"], row["labels"], strict=True)
    ]


def texts() -> list[str]:
    return pl.read_csv(TICKETS)["text"].head(300).to_list()


def test_so_many_tokens_are_masked_and_no_special_ones(tiny_model: Path) -> None:
    rows, processor = encoded(tiny_model, texts(), mask_share=0.3)
    assert [whole(row) for row in rows[:5]] == processor(texts()[:5], truncation=True, max_length=64)[
        "input_ids"
    ]
    masked = [label != IGNORED for row in rows for label in row["labels"]]
    tokens = [token for row in rows for token in whole(row) if token not in processor.all_special_ids]
    assert sum(masked) / len(tokens) == pytest.approx(0.3, abs=0.02)
    for row in rows:
        asked = [
            token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED
        ]
        assert asked
        assert set(asked) == {processor.mask_token_id}


@pytest.mark.parametrize(
    ("kind", "letters"),
    [("bert", "wordpiece"), ("roberta", "unigram"), ("roberta", "bpe"), ("electra", "character")],
)
def test_a_mask_that_a_row_spells_is_letters_and_the_pipeline_answers_alike(
    kind: str, letters: str, tmp_path: Path
) -> None:
    from transformers import pipeline

    scratch = {"type": kind, **families.FROM_SCRATCH[kind][0]}
    base = base_models.fetch(base_models.resolve(Model(name=None, from_scratch=scratch)))
    its = problem(mask_share=0.3)
    some = pl.DataFrame({"text": texts()[:60]})
    params = Tokenize.model_validate({"max_length": 128, "train": {"kind": letters, "vocab_size": 400}})
    processor = its.processor(base, some.lazy(), params)
    spelled = [f"where is {processor.mask_token} my order", f"{processor.mask_token}", *texts()[:20], "hello"]
    (found,) = its.encode(processor, pl.DataFrame({"text": spelled}), {}, params)
    rows = found.inputs.to_pylist()
    for row in rows:
        assert row["input_ids"].count(processor.mask_token_id) == sum(
            label != IGNORED for label in row["labels"]
        )
    torch.manual_seed(0)
    model = its.model(base, processor, {})[0].eval()
    serve = pipeline("fill-mask", model=model, tokenizer=processor, **its.served_with)
    with torch.inference_mode():
        said = its.predict(model, processor, its.collator(processor)(rows), {})
    asked = [
        (text, one)
        for text, one in zip(its.asked(tmp_path, some, pl.DataFrame(said)), said, strict=True)
        if text
    ]
    assert asked
    assert all(its.agrees(serve(text), one) for text, one in asked)


def test_a_long_text_is_read_in_parts_without_a_loss(tiny_model: Path) -> None:
    long = " ".join(texts()[:5])
    rows, processor = encoded(tiny_model, ["hello", long], max_length=16)
    assert [row["row"] for row in rows] == [0] + [1] * (len(rows) - 1)
    assert max(row["length"] for row in rows) == 16
    read = [token for row in rows[1:] for token in whole(row)[1:-1]]
    assert read == processor(long, add_special_tokens=False)["input_ids"]


def test_each_epoch_masks_other_tokens_and_the_same_whenever_it_is_drawn(tiny_model: Path) -> None:
    rows, processor = encoded(tiny_model, texts())

    def seen(epoch: int) -> list[dict[str, Any]]:
        return [
            problem().augment(row, processor, np.random.default_rng([42, epoch, number]))
            for number, row in enumerate(rows)
        ]

    first, second = seen(0), seen(1)
    assert first == seen(0)
    assert first != second
    assert [whole(row) for row in first] == [whole(row) for row in second] == [whole(row) for row in rows]
    fates = []
    for row in first:
        for token, label in zip(row["input_ids"], row["labels"], strict=True):
            if label != IGNORED:
                fates.append(
                    "mask" if token == processor.mask_token_id else "same" if token == label else "other"
                )
    shares = [fates.count(fate) / len(fates) for fate in ("mask", "other", "same")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.04)


def test_perplexity_is_of_the_masked_tokens(tiny_model: Path) -> None:
    rows, processor = encoded(tiny_model, ["please help me with my order again"])
    batch = problem().collator(processor)(rows)
    size = len(processor)
    (said,) = problem().predict(None, processor, batch, {}, torch.zeros(1, rows[0]["length"], size))
    assert said["nats"] / said["tokens"] == pytest.approx(np.log(size))
    found = problem().gather([said, said], {})
    measured = values(problem().measure(pl.DataFrame([found]), pl.DataFrame({"text": ["x"]}), {}))
    assert measured["perplexity"] == pytest.approx(size)


def test_the_baseline_guesses_tokens_as_often_as_they_are_masked_in_train() -> None:
    train_rows = Dataset.from_dict({"labels": [[5, IGNORED, 5], [6]], "row": [0, 1]})
    test_rows = Dataset.from_dict({"labels": [[5, 7], [IGNORED], [6]], "row": [0, 1, 0]})
    (found,) = problem().token_baselines(train_rows, test_rows, 2).values()
    assert found.select("tokens", "hits").rows() == [(3, 1), (0, 0)]
    assert found["nats"].to_list() == pytest.approx([-np.log(3 / 6) - np.log(1 / 6) - np.log(2 / 6), 0])


def test_the_served_text_makes_the_tokens_that_were_asked(tiny_model: Path) -> None:
    rows, processor = encoded(tiny_model, texts()[:50])
    batch = problem().collator(processor)(rows)
    logits = torch.zeros(*batch["input_ids"].shape, len(processor))
    said = problem().predict(None, processor, batch, {}, logits)
    served = [(one["masked"], row) for one, row in zip(said, rows, strict=True) if one["masked"]]
    assert len(served) > 10
    for text, row in served:
        assert processor(text)["input_ids"] == row["input_ids"]
        assert processor.mask_token in text
    assert all(len(json.loads(one["filled"])) == one["tokens"] for one in said)


def test_a_large_vocabulary_is_asked_for_few_texts_at_once_to_the_same_answers(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, processor = encoded(tiny_model, texts()[:50])
    batch = problem().collator(processor)(rows[:50])
    model = problem().model(tiny_model, processor, {})[0].eval()
    sizes: list[int] = []
    model.register_forward_hook(lambda *made: sizes.append(len(made[-1].logits)))
    with torch.inference_mode():
        at_once = problem().predict(model, processor, batch, {})
        monkeypatch.setattr(predicting, "MOST_LOGITS", 20 * batch["input_ids"].shape[1] * len(processor))
        apart = problem().predict(model, processor, batch, {})
    assert sizes == [50, 20, 20, 10]
    for one, other in zip(at_once, apart, strict=True):
        assert one["nats"] == pytest.approx(other["nats"], rel=1e-5)
        assert (one["tokens"], one["masked"]) == (other["tokens"], other["masked"])


def test_a_model_without_a_mask_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    families.gpt2(tmp_path, tiny_model)
    with pytest.raises(InputError, match="has no mask token; name a model that was trained to fill masks"):
        encoded(tmp_path, ["hello"])


def test_a_text_file_is_read_by_its_paragraphs(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("First Citizen:\r\nSpeak.\r\n\r\n\r\nAll:\nWe know't,\u2028we know't.".encode())
    rows = list(problem().read(file, Data()) or ())
    assert rows == [{"text": "First Citizen:\nSpeak."}, {"text": "All:\nWe know't,\u2028we know't."}]
    assert problem().read(tmp_path / "a.csv", Data()) is None


class Interrupted(FillMask):
    """Asks training to end, as whoever ends a run does, when it sees its fiftieth row: within the second epoch."""

    seen = 0

    def augment(self, row: dict[str, Any], *given: Any) -> dict[str, Any]:
        self.seen += 1
        if self.seen == 50:
            signal.raise_signal(signal.SIGTERM)
        return super().augment(row, *given)


@pytest.mark.slow
def test_an_interrupted_training_goes_on_with_the_same_masks_to_the_same_bytes(
    tiny_model: Path, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    data = {"path": str(write(tmp_path / "rows.jsonl", FillMask.columns))}
    model = base_models.resolve(Model(name=str(tiny_model))).model_dump()
    changes = {"num_train_epochs": 3.0, "per_device_train_batch_size": 4}
    params = Params.model_validate({"problem": "fill_mask", "data": data, "model": model, "train": changes})
    ingest(params.data, params.ingest, problem(), paths)
    split(params.split, FillMask.columns, paths)
    tokenize(params.tokenize, params.model, problem(), paths)

    train(params.train, base_models.fetch(params.model), problem(), paths, tmp_path / "undisturbed")
    expected = sha256(paths.checkpoint / "model.safetensors")
    (paths.checkpoint / "model.safetensors").unlink()
    with pytest.raises(SystemExit):
        train(
            params.train,
            base_models.fetch(params.model),
            Interrupted(problem().params),
            paths,
            tmp_path / "resume",
        )
    assert list((tmp_path / "resume").glob("checkpoint-*"))
    train(params.train, base_models.fetch(params.model), problem(), paths, tmp_path / "resume")
    assert sha256(paths.checkpoint / "model.safetensors") == expected


def test_another_token_than_the_measured_one_is_only_right_where_both_are_as_likely() -> None:
    predicted = {"filled": json.dumps([[7, 0.0005]])}
    for token, score, is_alike in (
        (7, 0.0009, True),
        (8, 0.0009, False),
        (8, 0.000502, True),
        (7, 0.002, False),
    ):
        served = [{"token": token, "score": score}]
        assert problems.load("fill_mask").agrees(served, predicted) == is_alike
