"""Which tokens are masked: once for all models on validation and test, anew in each epoch on train."""

import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.problems import Encoded
from tasks.problems.common.lists import IGNORED, as_arrow
from tasks.problems.common.text import num_unknown

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# of the chosen tokens of train: what is masked, and what becomes any other
MASKED, OTHER = 0.8, 0.1


def inputs(
    processor: "PreTrainedTokenizerBase", texts: Sequence[str], first: int, limit: int, own: Any
) -> Encoded:
    """Return texts with masks, in parts of at most `limit` tokens.

    `input_ids` list<int32>; `labels` list<int32>, what stands behind the masks, else ignored;
    `row` int64, counted from `first`, the number of the first text; `length` int32.
    """
    import pyarrow as pa

    before, after = special_tokens(processor)
    room = limit - len(before) - len(after)
    special = set(processor.all_special_ids)
    ids, labels, numbers = [], [], []
    tokens = _tokens(processor, texts)
    for number, its in enumerate(tokens, start=first):
        for start in range(0, max(len(its), 1), room):
            part = its[start : start + room]
            masked, answers = once(part, special, processor.mask_token_id, own)
            ids.append([*before, *masked, *after])
            labels.append([*([IGNORED] * len(before)), *answers, *([IGNORED] * len(after))])
            numbers.append(number)
    columns = {"input_ids": as_arrow(ids), "length": pa.array(map(len, ids), pa.int32())}
    columns |= {"labels": as_arrow(labels), "row": pa.array(numbers, pa.int64())}
    return Encoded(pa.RecordBatch.from_pydict(columns), 0, num_unknown(processor, as_arrow(tokens)))


def _tokens(processor: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of texts.

    A mask that a text spells is letters: as a token it would be one that nobody asks what stands behind it.
    """
    mask, found = processor.mask_token_id, processor(list(texts), add_special_tokens=False)["input_ids"]
    for number, text in enumerate(texts):
        if mask in found[number]:
            its = processor(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            # of a unigram model special tokens are pieces too
            found[number] = [token for token in its if token != mask]
    tokens: list[list[int]] = found
    return tokens


def once(ids: list[int], special: set[int], mask: int, own: Any) -> tuple[list[int], list[int]]:
    """Return tokens with masks and what stands behind these, drawn from the tokens alone."""
    draw = np.random.default_rng([own.seed, zlib.crc32(json.dumps(ids).encode())])
    chosen = _chosen(ids, special, own.mask_share, draw)
    masked = [mask if is_chosen else token for token, is_chosen in zip(ids, chosen, strict=True)]
    return masked, [token if is_chosen else IGNORED for token, is_chosen in zip(ids, chosen, strict=True)]


def anew(
    row: dict[str, Any], processor: "PreTrainedTokenizerBase", share: float, draw: np.random.Generator
) -> dict[str, Any]:
    """Return a row with other tokens masked."""
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    ids = [token if label == IGNORED else label for token, label in pairs]
    chosen = _chosen(ids, set(processor.all_special_ids), share, draw)
    fate, any_token = draw.random(len(ids)), draw.integers(len(processor), size=len(ids))
    seen, labels = list(ids), [IGNORED] * len(ids)
    for place in np.flatnonzero(chosen).tolist():
        labels[place] = ids[place]
        if fate[place] < MASKED:
            seen[place] = processor.mask_token_id
        elif fate[place] < MASKED + OTHER:
            seen[place] = int(any_token[place])
    return {**row, "input_ids": seen, "labels": labels}


def _chosen(ids: list[int], special: set[int], share: float, draw: np.random.Generator) -> np.ndarray:
    """Return which tokens are to be guessed: each with this probability, one at least, no special ones."""
    may = np.array([token not in special for token in ids], bool)
    chosen: np.ndarray = may & (draw.random(len(ids)) < share)
    if may.any() and not chosen.any():
        chosen[draw.choice(np.flatnonzero(may))] = True
    return chosen


def masked_tokens(data: "Dataset") -> tuple[np.ndarray, np.ndarray]:
    """Return all masked tokens, and before them the number of each one's row."""
    import pyarrow.compute as pc

    labels = data.data["labels"]
    tokens = pc.list_flatten(labels).to_numpy()
    rows = np.repeat(data.data["row"].to_numpy(), pc.list_value_length(labels).to_numpy())
    return rows[tokens != IGNORED], tokens[tokens != IGNORED]


def special_tokens(processor: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """Return the special tokens before and behind a text."""
    bare = processor("a", add_special_tokens=False)["input_ids"]
    whole = processor("a")["input_ids"]
    at = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[:at], whole[at + len(bare) :]


def as_text(ids: list[int], whole: list[int], processor: "PreTrainedTokenizerBase") -> str:
    """Return tokens as text; empty where they hold no mask, or the text makes other tokens."""
    if processor.mask_token_id not in ids:
        return ""
    text: str = processor.decode(ids, clean_up_tokenization_spaces=False)
    return text if processor(text, truncation=True)["input_ids"] == whole else ""
