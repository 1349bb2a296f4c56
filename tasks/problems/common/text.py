"""What problems share that are given one text, or a pair of texts.

The tokenizer, model inputs, and a sequence classifier's answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Problem, Targets
from tasks.problems.common.lists import as_arrow
from tasks.shared.columns import Column, Columns, inputs, present
from tasks.shared.errors import InputError
from tasks.shared.params import Tokenize

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# rows read at once where a tokenizer is learned
AT_ONCE = 65_536
# the kinds of columns that hold what is read
READ = ("text", "tokens")

# data.columns.text_pair names the second one where there is one
TEXTS = {"text": Column("text", "input"), "text_pair": Column("text", "input", optional=True)}
# rows tokenized at once: enough for the tokenizer's threads, little enough for constant memory
BATCH = 1024


class TextProblem(Problem):
    """A problem with one text column, or two; `labels` says what a model learns of the targets."""

    task = "text-classification"
    # the Auto class of its model
    head = "AutoModelForSequenceClassification"
    served_with: Mapping[str, Any] = {"truncation": True}

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return what the model learns to answer, a value or list per row."""
        raise NotImplementedError

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> "PreTrainedTokenizerBase":
        """Load the base model's tokenizer, or learn one from the train rows.

        It cuts at its `model_max_length` wherever the model is served, as here.
        """
        from tasks.problems.common import pretrained

        return pretrained.processor(base, params, self.head, lambda: self.texts(train))

    def texts(self, train: pl.LazyFrame) -> Iterator[list[str]]:
        """Yield what a tokenizer is learned from, batch by batch: all texts and words that rows hold."""
        there = present(self.columns, train.collect_schema().names())
        names = [name for name, column in there.items() if column.kind in READ]
        for some in slices(train.select(names)):
            for name in names:
                values = some[name]
                values = values.explode(empty_as_null=False) if values.dtype == pl.List else values
                yield values.drop_nulls().to_list()

    def load_processor(self, folder: Path) -> "PreTrainedTokenizerBase":
        """Load a tokenizer as it was saved."""
        from tasks.problems.common import pretrained

        return pretrained.saved_tokenizer(folder)

    def encode(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield what `encoded` makes of some rows at a time."""
        limit = min(params.max_length, processor.model_max_length)
        for first in range(0, rows.height, BATCH):
            yield self.encoded(processor, rows[first : first + BATCH], first, targets, limit)

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return some rows as `tokens` does; first: the number of the first row."""
        inputs, is_cut = self.tokens(processor, rows, targets, limit)
        return Encoded(inputs, sum(is_cut), num_unknown(processor, inputs["input_ids"]))

    def tokens(
        self, processor: Any, rows: pl.DataFrame, targets: Targets, limit: int
    ) -> "tuple[pa.RecordBatch, list[bool]]":
        """Return model inputs of at most `limit` tokens, and whether each row was cut.

        `input_ids` list<int32>, special tokens included; `length` int32; `labels`. Two texts become one row,
        the longer one cut first. Where a tokenizer has token types other than 0, as XLNet's does, and BERT's
        for the second text, there is `token_type_ids` list<int32> too. Straight from the Rust tokenizer's
        encodings to Arrow: the Python lists that `datasets.map` wants cost more than tokenizing.
        """
        import pyarrow as pa

        texts = [rows[name].to_list() for name in read(self.columns, rows)]
        example = processor(*["a"] * len(texts))
        ids, types, is_cut = _ids(processor, texts, limit)
        if processor.split_special_tokens:
            _check_ends(ids, texts[0], processor, example["input_ids"].count(processor.eos_token_id))
        lengths = np.fromiter(map(len, ids), np.int32, len(ids))
        columns = {"input_ids": as_arrow(ids, lengths), "length": pa.array(lengths)}
        if any(example.get("token_type_ids", ())):
            columns["token_type_ids"] = as_arrow(types, lengths)
        columns["labels"] = self.labels(rows, targets)
        return pa.RecordBatch.from_pydict(columns), is_cut

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the logits (rows, labels)."""
        from tasks.problems.common import pretrained

        return pretrained.class_logits(model, batch)

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad to the longest row of the batch."""
        from transformers import DataCollatorWithPadding

        collate: Collator = DataCollatorWithPadding(processor)
        return collate


class RowsProblem(TextProblem):
    """A text problem whose rows are of one of several kinds: its param `rows` says of which."""

    @property
    def rows(self) -> Any:
        """The kind: its `columns`, its `examples`, and whatever else goes by it."""
        raise NotImplementedError

    @property
    def columns(self) -> Columns:  # type: ignore[override]
        """The columns of such rows."""
        columns: Columns = self.rows.columns
        return columns

    @property
    def examples(self) -> tuple[Mapping[str, Any], ...]:  # type: ignore[override]
        """Such rows."""
        examples: tuple[Mapping[str, Any], ...] = self.rows.examples
        return examples


def slices(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield rows in order, so many at once that memory does not go with how many there are."""
    total = rows.select(pl.len()).collect().item()
    for start in range(0, total, AT_ONCE):
        yield rows.slice(start, AT_ONCE).collect()


def num_unknown(processor: "PreTrainedTokenizerBase", ids: "pa.ListArray") -> int:
    """Return how many tokens of some rows the vocabulary does not know."""
    import pyarrow.compute as pc

    # GPT-2 calls all of them <|endoftext|> and knows every byte
    if processor.unk_token_id in (None, processor.bos_token_id, processor.eos_token_id):
        return 0
    return int(pc.sum(pc.equal(ids.flatten(), processor.unk_token_id)).as_py() or 0)


def joined(rows: pl.DataFrame, columns: Columns) -> list[str]:
    """Return the texts of each row in one, for what reads only one."""
    return rows.select(pl.concat_str(read(columns, rows), separator=" ")).to_series().to_list()


def read(columns: Columns, rows: pl.DataFrame) -> list[str]:
    """Return the names of the columns that hold what is read: of the inputs, those that are no files."""
    return [name for name in inputs(columns, rows) if columns[name].kind in READ]


def _ids(
    processor: "PreTrainedTokenizerBase",
    texts: list[list[str]],
    max_length: int,
) -> tuple[list[list[int]], Iterable[list[int]], list[bool]]:
    """Return the tokens of each row, their types, and whether it was cut.

    texts: of all rows, or the first and the second ones of all rows.
    """
    if not processor.is_fast:
        full = processor(*texts, truncation=False)["input_ids"]
        cut = processor(*texts, truncation=True, max_length=max_length)
        return cut["input_ids"], cut.get("token_type_ids", ()), [len(row) > max_length for row in full]
    tokenizer = processor.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=processor.truncation_side)
    tokenizer.encode_special_tokens = processor.split_special_tokens
    rows = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
    encodings = tokenizer.encode_batch_fast(rows)
    ids = [encoding.ids for encoding in encodings]
    # only a row that fills max_length can have been cut, and few do: ask those for their overflow
    pairs = zip(ids, encodings, strict=True)
    is_cut = [len(row) == max_length and bool(encoding.overflowing) for row, encoding in pairs]
    return ids, (encoding.type_ids for encoding in encodings), is_cut


def _check_ends(
    ids: list[list[int]],
    texts: list[str],
    processor: "PreTrainedTokenizerBase",
    ends: int,
) -> None:
    """Raise InputError when a row holds the end token more often than the tokenizer puts it there.

    The heads of BART and T5 read at each of them.
    """
    for row, text in zip(ids, texts, strict=True):
        if row.count(processor.eos_token_id) > max(ends, 1):
            spells = f"the text {text[:80]!r} spells {processor.eos_token}, by which this model ends a row"
            raise InputError(f"{spells}; take it out of the text, or name another model")
