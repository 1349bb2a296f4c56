"""Texts as they are learned and compared, their characters as tokens, and how far two of them are apart."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.problems.automatic_speech_recognition.params import Own
from tasks.shared.errors import InputError

# a letter, a mark on one, a digit; a blank is none of these
SPOKEN = ("L", "M", "N")
APOSTROPHES = "'\u2019"
# what stands between words in a vocabulary of characters, where it is a token
BETWEEN = "|"
BLANK, UNKNOWN = "<pad>", "<unk>"
# a share of unknown characters that a model may have to do with
MOST = 0.5
# unknown characters that are named
SHOWN = 5


def normalised(text: str, params: Own) -> str:
    """Return a text as it is learned and compared: composed (NFC), with single blanks between words."""
    text = unicodedata.normalize("NFC", text).replace(BETWEEN, " ")
    if params.lowercase:
        text = text.lower()
    if params.strip_punctuation:
        kept = [one if one in APOSTROPHES or unicodedata.category(one)[0] in SPOKEN else " " for one in text]
        text = "".join(kept)
    return " ".join(params.words.get(word, word) for word in text.split())


def characters(texts: Iterable[str]) -> list[str]:
    """Return the characters that occur, without blanks, in a fixed order."""
    return sorted(set(chain.from_iterable(texts)) - {" "})


def tokenizer(known: Sequence[str]) -> Any:
    """Return what makes characters tokens, that of nothing (CTC's blank) the first one."""
    from transformers import Wav2Vec2CTCTokenizer

    with TemporaryDirectory(prefix="retrain-tokenizer-") as folder:
        file = Path(folder) / "vocab.json"
        tokens = {token: number for number, token in enumerate([BLANK, UNKNOWN, BETWEEN, *known])}
        file.write_text(json.dumps(tokens), encoding="utf-8")
        none: dict[str, Any] = {"bos_token": None, "eos_token": None}
        special = {"pad_token": BLANK, "unk_token": UNKNOWN, "word_delimiter_token": BETWEEN}
        return Wav2Vec2CTCTokenizer(str(file), **special, **none)


def suited(tokenizer: Any, texts: Iterable[str], base: Path) -> Any:
    """Return a base's tokenizer of characters; it reads small letters as capitals where it knows more so.

    texts: of train. Raises InputError where most of their characters are unknown to it.
    """
    counts = Counter("".join("".join(text.split()) for text in texts))
    known = tokenizer.get_vocab()
    unknown = {one: count for one, count in counts.items() if one not in known}
    in_capitals = {one: count for one, count in counts.items() if not known.keys() >= set(one.upper())}
    if tokenizer.do_lower_case or sum(in_capitals.values()) < sum(unknown.values()):
        # transformers' name for it: what is written is in small letters then
        tokenizer.do_lower_case, unknown = True, in_capitals
    share = sum(unknown.values()) / max(1, counts.total())
    if share > MOST:
        some = " ".join(sorted(unknown, key=lambda one: (-unknown[one], one))[:SHOWN])
        what = f"{share:.0%} of the characters of train's texts are unknown to {base}, such as {some}"
        other = "write texts otherwise (automatic_speech_recognition.words), name a model that knows them"
        raise InputError(f"model.name: {what}; {other}, or a copy without its vocab.json, to learn them anew")
    return tokenizer


def edits(said: Sequence[str], actual: Sequence[str]) -> int:
    """Return how many words, or characters, are to be added, taken out or replaced (Levenshtein 1966).

    A column of the table of distances is two numbers, of bits where it rises and where it falls (Hyyrö 2003).
    """
    places: dict[str, int] = {}
    for place, one in enumerate(actual):
        places[one] = places.get(one, 0) | 1 << place
    every = (1 << len(actual)) - 1
    last = (every + 1) >> 1
    rises, falls, distance = every, 0, len(actual)
    for one in said:
        equal = places.get(one, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        above, below = falls | (every & ~(diagonal | rises)), rises & diagonal
        distance += bool(above & last) - bool(below & last)
        # the first row rises by one from column to column
        above, below = above << 1 | 1, below << 1
        rises, falls = (below | ~(diagonal | above)) & every, above & diagonal & every
    return distance if actual else len(said)
