"""Model inputs in which each token stands for a part of its row, and has that part's tag as its label."""

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Encoded, Targets
from tasks.problems.common.lists import IGNORED, as_arrow
from tasks.problems.token_classification.entities import Entity, tag
from tasks.problems.token_classification.rows import NOTHING, Part, Spans, Tags
from tasks.shared.tagged import OUTSIDE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    return Encoded(pa.RecordBatch.from_pydict(columns), truncated, lost=lost)


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
