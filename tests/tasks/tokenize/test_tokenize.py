"""Model inputs: the tokenizer's own, cut where it cuts, in order, labelled, and the same bytes every time."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from datasets import Dataset
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from tasks import problems
from tasks.ingest import content_id
from tasks.problems.common.text import BATCH
from tasks.shared import base_models
from tasks.shared.files import digests, read_json
from tasks.shared.params import Model, Tokenize
from tasks.shared.params.split import SPLITS
from tasks.shared.paths import Paths
from tasks.tokenize import tokenize
from tests.support.project import ROOT

PROBLEM = problems.load("text_classification")
TEXTS = [
    "Where is my order?",
    "",
    " ",
    "naïve café, ZÜRICH  and\nnew\tlines",
    "日本語 😀 ❤️ \u200b",
    "[CLS] [SEP] [MASK]",
    "supercalifragilistic" * 8,
    "a " * 300,
    "I want my money back for order 4711, it never arrived!",
    "ok",
]


def write_splits(folder: Path, texts: list[str], labels: list[str]) -> Path:
    """Write three equal splits as split writes them."""
    paths = Paths(folder)
    paths.splits.mkdir(parents=True, exist_ok=True)
    rows = pl.DataFrame({"id": [content_id(text.encode()) for text in texts], "text": texts, "label": labels})
    for name in SPLITS:
        rows.write_parquet(paths.split(name))
    return paths.splits


def run(folder: Path, model: Path, splits: Path, max_length: int = 16) -> dict[str, Any]:
    """Tokenize into `folder` and return the metrics."""
    base = base_models.resolve(Model(name=str(model)))
    paths = Paths(folder)
    paths.splits = splits
    tokenize(Tokenize(max_length=max_length), base, PROBLEM, paths)
    metrics: dict[str, Any] = read_json(paths.metric("tokenize"))
    return metrics


def ids(folder: Path, split: str = "train") -> list[list[int]]:
    with pa.ipc.open_stream(folder / f"data/tokens/{split}.arrow") as reader:
        found: list[list[int]] = reader.read_all()["input_ids"].to_pylist()
    return found


def load(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("max_length", [4, 16, 128])
def test_the_tokens_are_what_the_tokenizer_itself_gives(
    tmp_path: Path, tiny_model: Path, max_length: int
) -> None:
    texts = [*TEXTS, *pl.read_csv(ROOT / "data/raw/tickets.csv")["text"].to_list()]
    splits = write_splits(
        tmp_path / "splits", texts, ["a", "b"] * (len(texts) // 2) + ["a"] * (len(texts) % 2)
    )
    run(tmp_path, tiny_model, splits, max_length)
    expected = load(tiny_model)(texts, truncation=True, max_length=max_length)["input_ids"]
    assert all(ids(tmp_path, split) == expected for split in SPLITS)


def test_the_saved_tokenizer_cuts_at_the_same_place_wherever_it_serves(
    tmp_path: Path, tiny_model: Path
) -> None:
    run(tmp_path, tiny_model, write_splits(tmp_path / "splits", TEXTS, ["a", "b"] * 5))
    served = load(tmp_path / "data/tokens/tokenizer")
    assert served.model_max_length == 16
    assert served(TEXTS, truncation=True)["input_ids"] == ids(tmp_path)


def test_a_tokenizer_that_cuts_on_the_left_still_does(tmp_path: Path, tiny_model: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    (model / "tokenizer_config.json").write_text(
        json.dumps({**config, "truncation_side": "left"}), encoding="utf-8"
    )
    run(tmp_path, model, write_splits(tmp_path / "splits", TEXTS, ["a", "b"] * 5), max_length=8)
    assert ids(tmp_path) == load(model)(TEXTS, truncation=True, max_length=8)["input_ids"]


def test_a_tokenizer_without_a_rust_half_gives_its_own_tokens_too() -> None:
    processor = ByT5Tokenizer()
    rows = pl.DataFrame({"text": TEXTS, "label": ["a"] * len(TEXTS)})
    (encoded,) = PROBLEM.encode(processor, rows, {"labels": ["a"]}, Tokenize(max_length=20))
    assert (
        encoded.inputs["input_ids"].to_pylist()
        == processor(TEXTS, truncation=True, max_length=20)["input_ids"]
    )
    assert encoded.truncated == sum(len(text.encode()) + 1 > 20 for text in TEXTS)


def test_rows_keep_their_order_across_batches(tmp_path: Path, tiny_model: Path) -> None:
    texts = [str(i) for i in range(BATCH + 10)]
    run(
        tmp_path,
        tiny_model,
        write_splits(tmp_path / "splits", texts, [str(i % 7) for i in range(len(texts))]),
    )
    assert ids(tmp_path) == load(tiny_model)(texts)["input_ids"]
    assert Dataset.from_file(str(tmp_path / "data/tokens/train.arrow"))["labels"][:] == [
        i % 7 for i in range(len(texts))
    ]


def test_a_row_that_just_fits_is_not_counted_as_cut(tmp_path: Path, tiny_model: Path) -> None:
    # and two special tokens
    texts = ["order " * count for count in (13, 14, 15, 30)]
    assert [len(row) for row in load(tiny_model)(texts)["input_ids"]] == [15, 16, 17, 32]
    metrics = run(tmp_path, tiny_model, write_splits(tmp_path / "splits", texts, ["a", "b"] * 2))
    assert metrics["train"]["truncated_share"] == 0.5
    assert metrics["train"]["tokens"] == 15 + 3 * 16
    assert metrics["train"]["length"] == {"p5": 15, "p50": 16, "p95": 16, "p99": 16, "p100": 16}


def test_the_share_of_unknown_tokens_is_told(tmp_path: Path, tiny_model: Path) -> None:
    metrics = run(tmp_path, tiny_model, write_splits(tmp_path / "splits", ["order", "日"], ["a", "b"]))
    assert metrics["train"]["unknown_share"] == pytest.approx(1 / 6, abs=1e-6)
    assert metrics["example"]["text"] == "order"
    assert metrics["example"]["tokens"] == ["[CLS]", "order", "[SEP]"]


def test_the_files_are_what_datasets_maps_into_memory(tmp_path: Path, tiny_model: Path) -> None:
    run(tmp_path, tiny_model, write_splits(tmp_path / "splits", TEXTS, ["b", "a"] * 5))
    rows = Dataset.from_file(str(tmp_path / "data/tokens/validation.arrow"))
    assert rows.data.schema.types == [pa.list_(pa.int32()), pa.int32(), pa.int64()]
    assert rows.column_names == ["input_ids", "length", "labels"]
    assert rows["labels"][:4] == [1, 0, 1, 0]
    assert rows["length"][:] == [len(row) for row in rows["input_ids"]]
    assert np.max(rows["length"]) == 16


def test_two_runs_write_the_same_bytes(tmp_path: Path, tiny_model: Path) -> None:
    splits = write_splits(tmp_path / "splits", TEXTS, ["a", "b"] * 5)
    for folder in ("one", "two"):
        run(tmp_path / folder, tiny_model, splits)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


# labels


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["2", "10", "1", "-3"], ["-3", "1", "2", "10"]),
        (["b", "A", "a", "10", "2"], ["10", "2", "A", "a", "b"]),
        (["1.5", "10", "2"], ["1.5", "10", "2"]),
    ],
)
def test_labels_are_in_the_order_of_their_numbers_or_else_of_their_spelling(
    labels: list[str], order: list[str]
) -> None:
    assert PROBLEM.learn_targets(pl.DataFrame({"label": labels * 3})) == {"labels": order}


def test_labels_that_are_the_same_number_have_one_order() -> None:
    labels = ["1", "01", "001", "0001", "2", "02"]
    for first in range(6):
        turned = labels[first:] + labels[:first]
        assert PROBLEM.learn_targets(pl.DataFrame({"label": turned})) == {
            "labels": sorted(labels, key=lambda one: (int(one), one))
        }


def test_the_label_map_is_that_of_train_and_numbers_every_split(tmp_path: Path, tiny_model: Path) -> None:
    splits = write_splits(tmp_path / "splits", ["x", "y", "z"], ["10", "9", "2"])
    pl.read_parquet(splits / "train.parquet").filter(pl.col("label") != "2").write_parquet(
        splits / "test.parquet"
    )
    run(tmp_path, tiny_model, splits)
    assert read_json(tmp_path / "data/tokens/targets.json") == {"labels": ["2", "9", "10"]}
    assert Dataset.from_file(str(tmp_path / "data/tokens/train.arrow"))["labels"][:] == [2, 1, 0]
    assert Dataset.from_file(str(tmp_path / "data/tokens/test.arrow"))["labels"][:] == [2, 1]


# what the model reads


def test_rows_are_cut_at_what_the_model_reads_when_that_is_less_and_that_is_said(
    tmp_path: Path, tiny_model: Path
) -> None:
    splits = write_splits(tmp_path / "splits", ["a " * 300, "ok"], ["a", "b"])
    metrics = run(tmp_path, tiny_model, splits, max_length=129)
    assert metrics["train"]["length"]["p100"] == 128
    assert metrics["warnings"] == [
        "rows are cut at 128 tokens, not at tokenize.max_length 129: the model and its tokenizer read no more",
    ]
    assert load(tmp_path / "data/tokens/tokenizer").model_max_length == 128
    assert "warnings" not in run(tmp_path / "fits", tiny_model, splits, max_length=128)
