"""What anyone says of text without a neural network: how often a letter follows the three before it."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tasks.problems.text_generation.documents import of_rows

ORDER = 3
# to each count (Lidstone 1920)
ADDED = 0.1


def nats(train: Sequence[str], test: Sequence[str], order: int = ORDER) -> list[list[float]]:
    """Return of each test text, for each of its letters, the negative log of its probability.

    Each text is read from its start. What train has no letter of shares one place in the vocabulary.
    """
    alphabet = {
        letter: number for number, letter in enumerate(sorted(set().union(*map(set, train))), start=2)
    }
    # 0 stands before a text, 1 for letters that train does not have
    unseen = any(not alphabet.keys() >= set(text) for text in test)
    size = len(alphabet) + unseen
    counted, before = _counts(_codes(train, alphabet, order), len(alphabet) + 2, order)
    found = []
    for text in test:
        keys, contexts = _keys(_codes([text], alphabet, order), len(alphabet) + 2, order)
        hits, of = _look_up(counted, keys), _look_up(before, contexts)
        found.append((-np.log((hits + ADDED) / (of + ADDED * size))).tolist())
    return found


def _codes(texts: Sequence[str], alphabet: dict[str, int], order: int) -> np.ndarray:
    """Return the letters of texts as numbers (n,), each text after `order` zeros."""
    codes: list[int] = []
    for text in texts:
        codes += [0] * order
        codes += [alphabet.get(letter, 1) for letter in text]
    return np.array(codes, np.int64)


def _keys(codes: np.ndarray, base: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each letter with those before it, and for those alone, (letters,) each."""
    contexts = np.zeros(len(codes) - order, np.int64)
    for back in range(order, 0, -1):
        contexts = contexts * base + codes[order - back : len(codes) - back]
    letters = codes[order:]
    is_letter = letters > 0
    return (contexts * base + letters)[is_letter], contexts[is_letter]


def _counts(
    codes: np.ndarray, base: int, order: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    keys, contexts = _keys(codes, base, order)
    return np.unique(keys, return_counts=True), np.unique(contexts, return_counts=True)


def _look_up(counted: tuple[np.ndarray, np.ndarray], keys: np.ndarray) -> np.ndarray:
    known, counts = counted
    if not len(known):
        return np.zeros(len(keys))
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, counts[places], 0)


def of_answers(train: Sequence[str], test: Sequence[str]) -> pl.DataFrame:
    """Return the nats and number of letters of each test answer."""
    found = [float(sum(its)) for its in nats(train, test)]
    return pl.DataFrame({"nats": found, "characters": [len(answer) for answer in test]})


def of_documents(train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """Return the nats of each test row's letters, which follow those of the rows before in a document."""
    texts = ["".join(train["text"][numbers]) for numbers in of_rows(train)]
    groups = of_rows(test)
    sums = np.zeros(test.height)
    for numbers, its in zip(
        groups, nats(texts, ["".join(test["text"][some]) for some in groups]), strict=True
    ):
        done = 0
        for number in numbers:
            size = len(test["text"][number])
            sums[number] = sum(its[done : done + size])
            done += size
    return pl.DataFrame({"nats": sums})
