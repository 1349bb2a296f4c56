"""Tokens that stand for parts of their row: with a part's tag as label, and put together to entities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Encoded, Targets
from tasks.problems.common.lists import IGNORED, as_arrow
from tasks.problems.common.text import num_unknown
from tasks.problems.token_classification.entities import Entity, grouped, tag
from tasks.problems.token_classification.rows import NOTHING, Part, Spans, Tags
from tasks.shared.tagged import OUTSIDE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def put_blanks_before_words(processor: "PreTrainedTokenizerBase") -> None:
    """Have a byte-pair tokenizer read words that stand alone as it read them in texts."""
    from tokenizers.pre_tokenizers import ByteLevel

    splits = processor.backend_tokenizer.pre_tokenizer
    if isinstance(splits, ByteLevel) and not splits.add_prefix_space:
        splits.add_prefix_space = True
        processor.backend_tokenizer.pre_tokenizer = splits
        processor.add_prefix_space = processor.init_kwargs["add_prefix_space"] = True


def inputs(
    processor: "PreTrainedTokenizerBase",
    rows: Tags | Spans,
    batch: pl.DataFrame,
    targets: Targets,
    limit: int,
) -> Encoded:
    """Return some rows as model inputs of at most `limit` tokens.

    `input_ids` list<int32>; `starts` and `ends` list<int32>, which words, or characters, each token stands
    for; `labels` list<int32>, ignored where it stands for nothing; `size` int32, how many words, or
    characters, a row has; `length` int32.
    """
    import pyarrow as pa

    said: Any = rows
    given, target = rows.columns
    texts, entities = batch[given].to_list(), rows.entities(batch[target])
    how = {"is_split_into_words": isinstance(rows, Tags), "return_offsets_mapping": True}
    whole = processor(texts, **how)["input_ids"]
    cut = processor(texts, **how, truncation=True, max_length=limit)
    parts = [said.parts(cut, row, text) for row, text in enumerate(texts)]
    columns = {"input_ids": as_arrow(cut["input_ids"])}
    # XLNet's alone are other than 0
    if any(map(any, cut.get("token_type_ids", ()))):
        columns["token_type_ids"] = as_arrow(cut["token_type_ids"])
    columns["length"] = pa.array(map(len, cut["input_ids"]), pa.int32())
    columns["starts"] = as_arrow([[start for start, _ in its] for its in parts])
    columns["ends"] = as_arrow([[end for _, end in its] for its in parts])
    columns["size"] = pa.array(map(len, texts), pa.int32())
    columns["labels"] = as_arrow([_labels(*pair, targets) for pair in zip(parts, entities, strict=True)])
    truncated = sum(len(one) > len(other) for one, other in zip(whole, cut["input_ids"], strict=True))
    lost = sum(map(said.num_lost, parts, texts, entities))
    unknown = num_unknown(processor, columns["input_ids"])
    return Encoded(pa.RecordBatch.from_pydict(columns), truncated, unknown, lost=lost)


def _labels(parts: list[Part], entities: list[Entity], targets: Targets) -> list[int]:
    """Return the number of each token's tag; a type that is not in train counts as none."""
    number = {label: index for index, label in enumerate(targets["labels"])}
    found, last = [], None
    for start, end in parts:
        if (start, end) == NOTHING:
            found.append(IGNORED)
            continue
        its = next((entity for entity in entities if entity.start < end and entity.end > start), None)
        said = OUTSIDE if its is None else tag(its.type, begins=its != last, has_prefix=targets["has_prefix"])
        found.append(number.get(said, number[OUTSIDE]))
        last = its
    return found


def entities(
    parts: Sequence[Part], shares: np.ndarray, labels: Sequence[str]
) -> tuple[list[Entity], dict[str, float]]:
    """Return the entities that parts of a row are tagged as, and how sure that is.

    shares (parts, labels): how likely each tag is. `confidence`: the probability of the least sure tag;
    `margin`: how far ahead of the second the closest one is.
    """
    tags = [labels[number] for number in shares.argmax(axis=1)]
    found = grouped((*part, tag) for part, tag in zip(parts, tags, strict=True))
    best = np.sort(shares, axis=1)[:, -2:] if len(parts) else np.ones((1, 2))
    margin = float((best[:, -1] - best[:, -2]).min())
    return found, {"confidence": float(best[:, -1].min()), "margin": margin}
