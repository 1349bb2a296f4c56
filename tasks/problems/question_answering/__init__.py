"""The answer to a question, as a part of a text that is given with it (extractive question answering).

Transformers 5 has no pipeline for it: serve.py answers with nothing else, and evaluate uses its functions.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Processor, Targets
from tasks.problems.common.predicting import without_carried
from tasks.problems.common.text import TextProblem
from tasks.problems.question_answering import serve, squad, windows
from tasks.problems.question_answering.params import Own
from tasks.shared.answers import Answer, answers, as_json
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Tokenize
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

# other batches sum in another order
SAME_SCORE = 1e-3
# tokens of which a window is made
FEWEST = 16


class QuestionAnswering(TextProblem):
    """Rows are (question, context, answers); answers are as `datasets` writes them: {text, answer_start}."""

    section = Own
    task = "question-answering"
    head = "AutoModelForQuestionAnswering"
    served_with: Mapping[str, Any] = {}
    serve = Path(serve.__file__)
    columns: Mapping[str, Column] = {
        "question": Column("text", "input"),
        "context": Column("text", "input"),
        "answers": Column("answers", "target"),
    }
    examples = (
        {
            "question": "Where does she live?",
            "context": "Anna lives in Oslo and works there.",
            "answers": {"text": ["Oslo"], "answer_start": [14]},
        },
        {
            "question": "How old is she?",
            "context": "Anna lives in Oslo.",
            "answers": {"text": [], "answer_start": []},
        },
    )
    formats = ("SQuAD's JSON of both versions, XQuAD's: data, paragraphs, qas",)
    metrics = ("exact_match", "f1")
    headline = "f1"
    learned = ("start_positions", "end_positions")
    carried = ("starts", "ends")

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Read SQuAD's JSON; other files are tables."""
        is_json = params.format in ("auto", "json") and file.suffix.lower() == ".json"
        return squad.read(file) if is_json else None

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Return a reason where an answer does not stand in the context where it is said to stand."""
        reasons = []
        for context, given in rows.select("context", "answers").iter_rows():
            reason = None
            for one in answers(given):
                if context[one.start : one.start + len(one.text)] != one.text:
                    reason = f"answers: '{one.text}' does not stand at character {one.start} of the context"
                    break
            reasons.append(reason)
        return pl.Series(reasons, dtype=pl.String)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return whether there are questions without an answer."""
        return {"no_answer": not all(answers(given) for given in train["answers"])}

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Processor:
        """Load the base model's tokenizer; raise InputError when it does not say where its tokens stand."""
        found = super().processor(base, train, params)
        if not found.is_fast:
            kind = type(found).__name__
            raise InputError(f"model.name: a {kind} does not say where its tokens stand; name another model")
        if found.model_max_length < FEWEST:
            few = f"{found.model_max_length} tokens hold no question and context"
            raise InputError(f"tokenize.max_length: {few}; give {FEWEST} at least")
        return found

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return windows over each row's context: input_ids, starts and ends list<int32>; row and length.

        start_positions, end_positions int64: the tokens of the first answer, or where there is none in the
        window, the one that says so.
        """
        return windows.inputs(processor, rows, first, self.params.doc_stride)

    def model(
        self, base: Path, processor: Processor, targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model that answers with two numbers per token; its config says how it is to be served."""
        from tasks.problems.common import pretrained

        model, said = pretrained.model(self.head, base, processor, num_labels=2)
        threshold = self.params.no_answer_threshold if targets["no_answer"] else None
        own = self.params.model_dump(exclude={"no_answer_threshold"})
        model.config.question_answering = {**own, "no_answer_threshold": threshold}
        return model, said

    def collator(self, processor: Processor) -> Collator:
        """Pad to the longest window of the batch."""

        def collate(some: list[dict[str, Any]]) -> Mapping[str, Any]:
            import torch

            batch: dict[str, Any] = serve.padded(processor, some)
            for name in self.learned:
                if name in some[0]:
                    batch[name] = torch.tensor([window[name] for window in some])
            return batch

        return collate

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return both numbers of the token that says that there is no answer, (windows, 2)."""
        import torch

        said = model(**without_carried(self, batch))
        at = (batch["starts"] == serve.NOWHERE).int().argmax(dim=1, keepdim=True)
        return torch.cat([said.start_logits.gather(1, at), said.end_logits.gather(1, at)], dim=1)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Processor,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the best spans of each window and their scores, and the score of no answer."""
        if logits is None:
            said = model(**without_carried(self, batch))
            logits = (said.start_logits, said.end_logits)
        arrays = [values.float().cpu().numpy() for values in (*logits[:2], batch["starts"], batch["ends"])]
        found, most = [], (self.params.n_best, self.params.max_answer_length)
        for first, last, starts, ends in zip(*arrays, strict=True):
            its, no_answer = serve.spans(first, last, starts, ends, *most)
            found.append({"spans": its, "no_answer": no_answer, "has_none": targets["no_answer"]})
        return found

    def gather(self, found: list[Prediction], row: dict[str, Any]) -> Prediction:
        """Return the best answer of all windows, and its share of belief."""
        threshold = self.params.no_answer_threshold if found[0]["has_none"] else None
        windows = [(one["spans"], one["no_answer"]) for one in found]
        best = serve.chosen(windows, self.params.n_best, threshold)[0]
        start, end = best["start"], best["end"]
        given = [] if end is None else [Answer(row["context"][start:end], start)]
        return {"predicted": as_json(given), "confidence": best["score"]}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return SQuAD's exact match and F1 (squad.py)."""
        correct, shared = [], []
        for predicted, actual in zip(predictions["predicted"], rows["answers"], strict=True):
            text = "".join(one.text for one in answers(predicted)[:1])
            right = [one.text for one in answers(actual)]
            correct.append(squad.exact(text, right))
            shared.append(squad.f1(text, right))
        exact = pl.DataFrame({"exact": correct}, schema={"exact": pl.Boolean})
        f1 = pl.DataFrame({"f1": shared}, schema={"f1": pl.Float64})
        return {"exact_match": Statistic("accuracy", exact), "f1": Statistic("mean", f1)}

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the sentence with most words of the question; and no answer, where train has some."""
        pairs = test.select("question", "context").iter_rows()
        sentences = [as_json([squad.most_alike_sentence(*pair)]) for pair in pairs]
        found = {"most_alike_sentence": pl.DataFrame({"predicted": sentences})}
        if targets["no_answer"]:
            found["no_answer"] = pl.DataFrame({"predicted": [as_json([])] * test.height})
        return found

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw how often answers of a confidence are right."""
        from tasks.problems.common import figures

        correct = self.measure(predictions, rows, targets)["exact_match"].columns["exact"]
        return {"reliability": figures.reliability(correct, predictions["confidence"])}

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the answer is among the best, and as likely as the best."""
        said = "".join(one.text for one in answers(predicted["predicted"]))
        scores = (served[0]["score"], float(predicted["confidence"]))
        of_it = [one["score"] for one in served if one["answer"] == said]
        return any(all(abs(score - other) <= SAME_SCORE for other in scores) for score in of_it)


PROBLEM = QuestionAnswering
