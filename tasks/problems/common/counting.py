"""What a generated text and its reference add to BLEU, chrF and ROUGE (tasks/shared/statistics.py)."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from tasks.shared import statistics
from tasks.shared.statistics import Statistic, Statistics

METRICS = ("exact_match", "bleu", "chrf", "rouge_1", "rouge_2", "rouge_l")

# letters and digits of any script, where rouge-score knows those of English alone
WORD = re.compile(r"[^\W_]+")
# of letters in chrF (Popović 2015)
ORDERS = 6


def measured(said: Sequence[str], right: Sequence[str], tokenizer: str) -> Statistics:
    """Return exact match, BLEU and chrF as sacrebleu counts them, and ROUGE; all from 0 to 1.

    tokenizer: how sacrebleu tells words apart.
    """
    equal = [one.split() == other.split() for one, other in zip(said, right, strict=True)]
    found = {"exact_match": Statistic("accuracy", pl.DataFrame({"correct": equal}))}
    for name, its in {"bleu": bleu(said, right, tokenizer), "chrf": chrf(said, right)}.items():
        columns = [f"{name}_{column}" for column in statistics.METRICS[name].takes]
        found[name] = Statistic(name, pl.DataFrame(np.array(its, np.int64), schema=columns))
    shared = pl.DataFrame([rouge(*pair) for pair in zip(said, right, strict=True)])
    for name in shared.columns:
        found[name] = Statistic("mean", shared.select(name))
    return found


def bleu(predicted: Sequence[str], actual: Sequence[str], tokenizer: str) -> list[list[int]]:
    """Return for each pair words predicted and actual, and hits and all of 1 to 4 words in a row.

    tokenizer: a name of sacrebleu's. Source: Papineni et al. 2002.
    """
    from sacrebleu.metrics import BLEU

    score = BLEU(tokenize=tokenizer, effective_order=True).sentence_score
    found = []
    for said, right in zip(predicted, actual, strict=True):
        its = score(said, [right])
        found.append([its.sys_len, its.ref_len, *its.counts, *its.totals])
    return found


def chrf(predicted: Sequence[str], actual: Sequence[str]) -> list[list[int]]:
    """Return for each pair sequences of 1 to 6 letters, without blanks: predicted, actual, both."""
    found = []
    for pair in zip(predicted, actual, strict=True):
        said, right = ("".join(text.split()) for text in pair)
        counts: list[int] = []
        for order in range(1, ORDERS + 1):
            here, there = _sequences(said, order), _sequences(right, order)
            # as sacrebleu counts: what cannot be a hit is not predicted
            counts += [here.total() if there else 0, there.total(), (here & there).total()]
        found.append(counts)
    return found


def rouge(predicted: str, actual: str) -> dict[str, float]:
    """Return F1 of words, pairs of words, and the longest common subsequence (Lin 2004), without stemming."""
    said, right = (WORD.findall(text.lower()) for text in (predicted, actual))
    found = {}
    for order in (1, 2):
        here, there = _sequences(said, order), _sequences(right, order)
        found[f"rouge_{order}"] = _f1((here & there).total(), here.total(), there.total())
    return found | {"rouge_l": _f1(_longest_common(said, right), len(said), len(right))}


def _sequences(parts: Sequence[str], order: int) -> "Counter[tuple[str, ...]]":
    return Counter(tuple(parts[start : start + order]) for start in range(len(parts) - order + 1))


def _f1(hits: int, predicted: int, actual: int) -> float:
    return 2 * hits / (predicted + actual) if hits else 0.0


def _longest_common(said: list[str], right: list[str]) -> int:
    """Return the length of the longest common subsequence, by rows of bits (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(right):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(right)) - 1
    left = every
    for word in said:
        here = left & places.get(word, 0)
        left = ((left + here) | (left - here)) & every
    return len(right) - left.bit_count()
