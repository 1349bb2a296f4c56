"""SQuAD's files and scores, versions 1.1 and 2.0 (Rajpurkar et al. 2016, 2018), and all written like them."""

import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.shared.answers import Answer
from tasks.shared.errors import InputError
from tasks.shared.values import written

ARTICLES = re.compile(r"\b(a|an|the)\b")
# the ends of sentences, in the scripts that mark them, ideographic ones among them
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def read(file: Path) -> Iterator[dict[str, Any]] | None:
    """Yield the questions of a file with data[].paragraphs[].qas[].answers[]; return None for another file.

    Beside question, context and answers a row has the `article` it is asked about, and the file's own id.
    """
    try:
        document = json.loads(file.read_text("utf-8-sig"))
        articles = document["data"]
        is_nested = isinstance(articles, list) and all("paragraphs" in article for article in articles)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return _questions(file.name, articles) if is_nested else None


def _questions(name: str, articles: list[Any]) -> Iterator[dict[str, Any]]:
    for number, article in enumerate(articles):
        try:
            yield from _of(article, str(number))
        except (KeyError, TypeError, AttributeError):
            other = f"article {number + 1} is not made of paragraphs with a context and qas, as SQuAD's are"
            raise InputError(f"{name}: {other}; mend it, or give question, context and answers") from None


def _of(article: dict[str, Any], number: str) -> Iterator[dict[str, Any]]:
    for paragraph in article["paragraphs"]:
        for asked in paragraph["qas"]:
            yield {
                "question": asked.get("question"),
                "context": paragraph.get("context"),
                "answers": _answers(asked),
                "article": article.get("title", number),
                "id": asked.get("id"),
            }


def _answers(asked: dict[str, Any]) -> str | None:
    """Return answers as `datasets` writes them, in JSON; None if neither they nor their absence is given."""
    given = [] if asked.get("is_impossible") else asked.get("answers")
    if given == [] and not asked.get("is_impossible"):
        return None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return written(given)
    return written({name: [one.get(name) for one in given] for name in ("text", "answer_start")})


def normalized(text: str) -> str:
    """Return an answer as both official scripts compare it.

    In small letters, without punctuation marks of ASCII and English articles. XQuAD's authors do the same in
    every language (Artetxe et al. 2019, arXiv 1910.11856).
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact(predicted: str, right: list[str]) -> bool:
    """Return whether an answer is a right one; no answer is the empty text, and right where there is none."""
    return normalized(predicted) in {normalized(text) for text in right or [""]}


def f1(predicted: str, right: list[str]) -> float:
    """Return F1 of an answer's words with those of the right one most like it (evaluate-v2.0.py)."""
    return max(_f1(normalized(predicted).split(), normalized(text).split()) for text in right or [""])


def _f1(predicted: list[str], right: list[str]) -> float:
    if not predicted or not right:
        return float(predicted == right)
    common = sum((Counter(predicted) & Counter(right)).values())
    return 2 * common / (len(predicted) + len(right))


def most_alike_sentence(question: str, context: str) -> Answer:
    """Return the sentence of a text with most words of a question."""
    asked = set(normalized(question).split())
    parts = [part for part in SENTENCE.split(context) if part.strip()]
    best = max(parts, key=lambda part: len(asked & set(normalized(part).split())))
    return Answer(best, context.index(best))
