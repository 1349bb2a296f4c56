"""Answer questions about texts with a packaged model, and nothing but transformers.

    echo '[{"question": "Who?", "context": "It was Ada."}]' | python serve.py FOLDER

or `from serve import load, answer`. A text that is longer than the model reads is read in windows that
overlap (Devlin et al. 2019, arXiv 1810.04805). What training was told of them stands in config.json.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# a token of no text, and the one at which a model says that there is no answer
NO_TEXT, NOWHERE = -1, -2

Window = dict[str, Any]
# the best answers in a window as [score, start, end], and the score of no answer
Found = tuple[list[list[Any]], float]


def windows(
    tokenizer: Any,
    questions: Iterable[str],
    contexts: Iterable[str],
    overlap: int,
) -> Iterator[tuple[int, Window]]:
    """Yield (number of the row, model inputs) for each window over each context, in order.

    Beside the model's inputs there are `starts` and `ends`: where in the context each token stands, in code
    points, NO_TEXT or NOWHERE where it does not. A question is cut at half of what the model reads.
    """
    most = tokenizer.model_max_length
    room = most - most // 2 - tokenizer.num_special_tokens_to_add(pair=True)
    made = tokenizer(
        [shortened(tokenizer, question, most // 2) for question in questions],
        list(contexts),
        truncation="only_second",
        max_length=most,
        stride=max(0, min(overlap, room - 1)),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for number, row in enumerate(made["overflow_to_sample_mapping"]):
        parts, offsets = made.sequence_ids(number), made["offset_mapping"][number]
        window = {name: made[name][number] for name in tokenizer.model_input_names if name in made}
        pairs = zip(offsets, parts, strict=True)
        of_context = [pair if part == 1 else (NO_TEXT, NO_TEXT) for pair, part in pairs]
        window["starts"] = [start for start, _ in of_context]
        window["ends"] = [end for _, end in of_context]
        ids, first = window["input_ids"], tokenizer.cls_token_id
        window["starts"][ids.index(first) if first in ids else 0] = NOWHERE
        yield row, window


def shortened(tokenizer: Any, question: str, most: int) -> str:
    """Return a question without what follows its first `most` tokens, and without blanks in front."""
    question = question.lstrip()
    offsets = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return question[: offsets[most - 1][1]] if len(offsets) > most else question


def padded(tokenizer: Any, some: list[Window]) -> dict[str, Any]:
    """Return windows as a batch of tensors."""
    import torch

    names = tokenizer.model_input_names
    inputs = [{name: window[name] for name in names if name in window} for window in some]
    batch = tokenizer.pad(inputs, return_tensors="pt")
    width = batch["input_ids"].shape[1]
    for name in ("starts", "ends"):
        rows = []
        for window in some:
            more = [NO_TEXT] * (width - len(window[name]))
            rows.append(more + window[name] if tokenizer.padding_side == "left" else window[name] + more)
        batch[name] = torch.tensor(rows)
    return dict(batch)


def spans(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    n_best: int,
    max_length: int,
) -> Found:
    """Return the best answers in a window, [score, start, end] in code points, and the score of no answer.

    All of (tokens,). A score is the sum of two logits; of all pairs of tokens in the context that are no more
    than `max_length` tokens, the best `n_best`.
    """
    none = int(np.argmax(starts == NOWHERE))
    no_answer = float(start_logits[none]) + float(end_logits[none])
    (places,) = np.nonzero((starts >= 0) & (ends > starts))
    lengths = np.arange(min(max_length, len(places)))
    firsts = np.repeat(np.arange(len(places)), len(lengths))
    lasts = firsts + np.tile(lengths, len(places))
    firsts, lasts = firsts[lasts < len(places)], lasts[lasts < len(places)]
    first, last = places[firsts], places[lasts]
    scores = start_logits[first].astype(np.float64) + end_logits[last]
    best = np.argsort(-scores, kind="stable")[:n_best]
    return [[float(scores[i]), int(starts[first[i]]), int(ends[last[i]])] for i in best], no_answer


def chosen(found: list[Found], n_best: int, threshold: float | None = None) -> list[dict[str, Any]]:
    """Return the best answers of all windows over a context, the best first, each with its share of belief.

    found: what `spans` gives for each window. An answer is {start, end, score}; no answer starts and ends at
    None, and comes first where its score is higher than the best answer's by more than `threshold` (None:
    there is always an answer). A context without a token has none either.
    """
    scores: dict[tuple[Any, Any], float] = {}
    for its, _ in found:
        for score, start, end in its:
            scores[start, end] = max(score, scores.get((start, end), -np.inf))
    best = sorted(scores, key=lambda span: (-scores[span], *span))[:n_best]
    if threshold is not None or not best:
        scores[None, None] = min(score for _, score in found)
        has_none = not best or (threshold is not None and scores[None, None] - scores[best[0]] > threshold)
        best = [(None, None), *best] if has_none else [*best, (None, None)]
    odds = np.exp(np.array([scores[span] for span in best]) - max(scores[span] for span in best))
    shares = (odds / odds.sum()).tolist()
    pairs = zip(best, shares, strict=True)
    return [{"start": start, "end": end, "score": share} for (start, end), share in pairs]


def load(folder: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model of a package."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForQuestionAnswering.from_pretrained(
        folder, dtype="float32", use_safetensors=True, **here
    )
    return AutoTokenizer.from_pretrained(folder, **here), model.eval()


def answer(
    tokenizer: Any,
    model: Any,
    rows: list[dict[str, str]],
    batch_size: int = 32,
) -> list[list[dict[str, Any]]]:
    """Return for each {question, context} the best answers: {answer, start, end, score}, the best first."""
    import torch

    settings = model.config.question_answering
    asked, contexts = ([row[name] for row in rows] for name in ("question", "context"))
    made = list(windows(tokenizer, asked, contexts, settings["doc_stride"]))
    most = settings["n_best"], settings["max_answer_length"]
    order = sorted(range(len(made)), key=lambda number: -len(made[number][1]["input_ids"]))
    found = {}
    for at in range(0, len(order), batch_size):
        some = order[at : at + batch_size]
        batch = padded(tokenizer, [made[number][1] for number in some])
        starts, ends = batch.pop("starts").numpy(), batch.pop("ends").numpy()
        with torch.inference_mode():
            said = model(**batch)
        for place, number in enumerate(some):
            logits = said.start_logits[place].numpy(), said.end_logits[place].numpy()
            found[number] = spans(*logits, starts[place], ends[place], *most)
    of_rows: list[list[Found]] = [[] for _ in rows]
    for number, (row, _) in enumerate(made):
        of_rows[row].append(found[number])
    answers = []
    for given, its in zip(rows, of_rows, strict=True):
        best = chosen(its, settings["n_best"], settings["no_answer_threshold"])
        # no answer starts at None
        texts = [given["context"][one["start"] : one["end"] or 0] for one in best]
        answers.append([{"answer": text, **one} for text, one in zip(texts, best, strict=True)])
    return answers


def main(folder: str, *_: str) -> None:
    """Print the answers to a JSON list of {question, context} on standard input, as JSON."""
    json.dump(answer(*load(folder), json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
