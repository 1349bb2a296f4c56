"""Texts as they are learned and compared, their characters as tokens, and how far two of them are apart."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.problems.automatic_speech_recognition.params import Own

# a letter, a mark on one, a digit; a blank is none of these
SPOKEN = ("L", "M", "N")
APOSTROPHES = "'\u2019"
# what stands between words in a vocabulary of characters, where it is a token
BETWEEN = "|"
BLANK, UNKNOWN = "<pad>", "<unk>"


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
    return sorted({one for text in texts for one in text} - {" "})


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


def edits(said: Sequence[str], actual: Sequence[str]) -> int:
    """Return how many words, or characters, are to be added, taken out or replaced (Levenshtein 1966)."""
    row = list(range(len(actual) + 1))
    for number, one in enumerate(said, start=1):
        above, row = row, [number]
        for place, other in enumerate(actual, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (one != other)))
    return row[-1]
