"""One label per text: intents, topics, sentiment. Served by the `text-classification` pipeline."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Encoded, Scored
from tasks.shared.errors import InputError
from tasks.shared.params import Evaluate, Ingest, Tokenize

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

BATCH = 1024  # rows tokenized at once: enough for the tokenizer's threads, little enough for constant memory


class TextClassification:
    """Rows are (text, label)."""

    task = "text-classification"
    columns = ("text", "label")
    scores = ("accuracy", "macro_f1", "weighted_f1")
    headline = "macro_f1"

    def validate(self, table: pl.DataFrame, params: Ingest) -> tuple[pl.DataFrame, dict[int, str]]:
        """Reject texts and labels that are missing or blank, and texts that are too long."""
        import pandera.polars as pa
        from pandera.errors import SchemaErrors

        def blank(data: Any) -> Any:
            return data.lazyframe.select(pl.col(data.key).str.strip_chars().str.len_bytes() > 0)

        def short(data: Any) -> Any:
            return data.lazyframe.select(pl.col(data.key).str.len_chars() <= params.max_chars)

        not_blank = pa.Check(blank, error="blank")
        not_long = pa.Check(short, error=f"longer than ingest.max_chars {params.max_chars}")
        schema = pa.DataFrameSchema(
            {"text": pa.Column(pl.String, [not_blank, not_long]), "label": pa.Column(pl.String, [not_blank])},
        )
        table = table.with_columns(pl.col("text").cast(pl.String))
        try:
            schema.validate(table, lazy=True)
        except SchemaErrors as errors:
            cases = errors.failure_cases.filter(pl.col("index").is_not_null()).sort("index", "column", "check")
            reasons: dict[int, str] = {}
            for column, check, index in cases.select("column", "check", "index").iter_rows():
                reasons.setdefault(int(index), f"{column}: {'missing' if check == 'not_nullable' else check}")
            usable = pl.Series([index not in reasons for index in range(table.height)], dtype=pl.Boolean)
            return table.filter(usable), reasons
        return table, {}

    def content(self, table: pl.DataFrame) -> list[bytes]:
        """Return each text with its white space folded: a trailing blank does not make another message."""
        return [" ".join(text.split()).encode() for text in table["text"]]

    def describe(self, table: pl.DataFrame) -> dict[str, Any]:
        """Return label counts (most frequent first) and percentiles of the text lengths in characters."""
        counts = table["label"].value_counts().sort(["count", "label"], descending=[True, False])
        lengths = table["text"].str.len_chars()
        return {
            "labels": dict(counts.iter_rows()),
            "chars": {f"p{q}": int(lengths.quantile(q / 100, "nearest") or 0) for q in (5, 50, 95, 99, 100)},
        }

    def inputs(self, table: pl.DataFrame) -> list[Any]:
        """Return the texts."""
        return table["text"].to_list()

    def show(self, table: pl.DataFrame) -> list[str]:
        """Return the texts."""
        return table["text"].to_list()

    def processor(self, folder: Path, params: Tokenize) -> "PreTrainedTokenizerBase":
        """Load the base model's tokenizer; it cuts at its `model_max_length` wherever the model is served, as here."""
        from tasks.problems.common import pretrained

        return pretrained.tokenizer(folder, params.max_length)

    def load_processor(self, folder: Path) -> "PreTrainedTokenizerBase":
        """Load a tokenizer as it was saved."""
        from tasks.problems.common import pretrained

        return pretrained.saved_tokenizer(folder)

    def encode(self, processor: "PreTrainedTokenizerBase", table: pl.DataFrame, params: Tokenize) -> Iterator[Encoded]:
        """Yield `input_ids` list<int32> and `length` int32, special tokens included, cut to what the model reads.

        Where a tokenizer has token types other than 0, as XLNet's does, there is `token_type_ids` list<int32> too.
        Straight from the Rust tokenizer's encodings to Arrow: building the Python lists that `datasets.map` wants costs more than tokenizing.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        unknown_id = processor.unk_token_id
        if unknown_id in (processor.bos_token_id, processor.eos_token_id):
            # GPT-2 calls all of them <|endoftext|> and knows every byte
            unknown_id = None
        max_length = min(params.max_length, processor.model_max_length)
        typed = any(processor("a").get("token_type_ids", ()))
        for texts in (batch["text"].to_list() for batch in table.iter_slices(BATCH)):
            ids, types, truncated = self._ids(processor, texts, max_length)
            if processor.split_special_tokens:
                _check_ends(ids, texts, processor)
            lengths = np.fromiter(map(len, ids), np.int32, len(ids))
            inputs = {"input_ids": _lists(ids, lengths), "length": pa.array(lengths)}
            if typed:
                inputs["token_type_ids"] = _lists(types, lengths)
            unknown = 0
            if unknown_id is not None:
                unknown = pc.sum(pc.equal(inputs["input_ids"].flatten(), unknown_id)).as_py() or 0
            yield Encoded(pa.RecordBatch.from_pydict(inputs), truncated, unknown)

    def _ids(self, processor: "PreTrainedTokenizerBase", texts: list[str], max_length: int) -> tuple[list[list[int]], Iterable[list[int]], int]:
        """Return the token ids of each text, their types (when they are asked for), and how many texts were cut."""
        if not processor.is_fast:
            full = processor(texts, truncation=False)["input_ids"]
            cut = processor(texts, truncation=True, max_length=max_length)
            return cut["input_ids"], cut.get("token_type_ids", ()), sum(len(row) > max_length for row in full)
        tokenizer = processor.backend_tokenizer
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length, direction=processor.truncation_side)
        tokenizer.encode_special_tokens = processor.split_special_tokens
        encodings = tokenizer.encode_batch_fast(texts)
        ids = [encoding.ids for encoding in encodings]
        # only a row that fills max_length can have been cut, and few do: ask those for their overflow
        truncated = sum(1 for row, encoding in zip(ids, encodings, strict=True) if len(row) == max_length and encoding.overflowing)
        return ids, (encoding.type_ids for encoding in encodings), truncated

    def example(self, processor: "PreTrainedTokenizerBase", table: pl.DataFrame, params: Tokenize) -> dict[str, Any]:
        """Return the first text and its tokens."""
        text = table["text"][0]
        ids = self._ids(processor, [text], min(params.max_length, processor.model_max_length))[0][0]
        return {"text": text, "tokens": processor.convert_ids_to_tokens(ids), "input_ids": ids}

    def model(self, folder: Path, labels: Sequence[str], processor: "PreTrainedTokenizerBase") -> "tuple[PreTrainedModel, list[str]]":
        """Load a sequence classifier in fp32; what its folder lacks is drawn from the current torch seed."""
        from tasks.problems.common import pretrained

        model, said = pretrained.classifier(folder, labels)
        pretrained.fit(model, processor)
        return model, said

    def collator(self, processor: "PreTrainedTokenizerBase") -> Callable[[list[dict[str, Any]]], Mapping[str, Any]]:
        """Pad to the longest row of the batch."""
        from transformers import DataCollatorWithPadding

        collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]] = DataCollatorWithPadding(processor)
        return collate

    def reduce_logits(self, logits: Any, labels: Any) -> Any:  # noqa: ARG002
        """Keep the winning label (n,) instead of the logits (n, number of labels), the first of what BART answers."""
        logits = logits[0] if isinstance(logits, tuple) else logits
        return logits.argmax(dim=-1)

    def compute_metrics(self, prediction: "EvalPrediction") -> dict[str, float]:
        """Return accuracy and F1 of the validation split."""
        from tasks.problems.common import metrics

        return metrics.compute(np.asarray(prediction.predictions), np.asarray(prediction.label_ids))

    def score(self, logits: np.ndarray, rows: pl.DataFrame, labels: Sequence[str], params: Evaluate) -> Scored:
        """Return accuracy, F1, calibration error, their bootstrap intervals, per-class scores, and the predictions."""
        from tasks.problems.common import metrics

        index = {label: position for position, label in enumerate(labels)}
        actual = np.array([index[label] for label in rows["label"]])
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        confidence = (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)
        predicted = logits.argmax(axis=1)
        scores = metrics.classification(predicted, actual, confidence, labels, params)
        names = np.array(labels, dtype=object)
        predictions = pl.DataFrame({"id": rows["id"], "actual": names[actual], "predicted": names[predicted], "confidence": confidence})
        reliability = metrics.reliability(predicted == actual, confidence)
        return Scored(scores, predictions.with_columns(pl.col("actual", "predicted").cast(pl.String)), reliability)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, labels: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the scores of always saying the most frequent label, and of TF-IDF (words 1-2, letters 2-5) with a linear SVM."""
        from sklearn.dummy import DummyClassifier
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline, make_union
        from sklearn.svm import LinearSVC

        from tasks.problems.common import metrics

        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        index = {label: position for position, label in enumerate(labels)}
        actual = np.array([index[label] for label in test["label"]])
        scores = {}
        for name, model in {
            "majority": DummyClassifier(strategy="most_frequent"),
            "tfidf_linear": make_pipeline(make_union(words, letters), LinearSVC(random_state=0)),
        }.items():
            model.fit(train["text"].to_list(), [index[label] for label in train["label"]])
            scores[name] = metrics.compute(model.predict(test["text"].to_list()), actual)
        return scores


def _check_ends(ids: list[list[int]], texts: list[str], processor: "PreTrainedTokenizerBase") -> None:
    """Raise InputError when a row holds the end token twice: the heads of BART and T5 read at each of them."""
    for row, text in zip(ids, texts, strict=True):
        if row.count(processor.eos_token_id) > 1:
            spells = f"the text {text[:80]!r} spells {processor.eos_token}, by which this model ends a row"
            raise InputError(f"{spells}; take it out of the text, or name another model")


def _lists(rows: Iterable[list[int]], lengths: np.ndarray) -> "pa.ListArray":
    """Return rows of the given lengths (n,) as list<int32>."""
    import pyarrow as pa

    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    flat = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


PROBLEM = TextClassification()
