"""Parts of a text and what each is: names, places, parts of speech.

Served by the `token-classification` pipeline.

Whatever rows say, a tag for each word or spans of a text, is a list of entities.
Each token of the model stands for a part of the row (a word's first token for the word), and what the tokens
are tagged as is put together to entities.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Targets
from tasks.problems.common.lists import IGNORED, padded
from tasks.problems.common.predicting import logits_of, without_carried
from tasks.problems.common.text import RowsProblem
from tasks.problems.token_classification import aligned, conll, scores
from tasks.problems.token_classification.entities import have_prefix, tag
from tasks.problems.token_classification.guesses import guesses
from tasks.problems.token_classification.params import Own
from tasks.problems.token_classification.rows import NOTHING, ROWS, Spans, Tags, rooms
from tasks.shared.columns import labels
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Tokenize
from tasks.shared.statistics import Statistics, per_label
from tasks.shared.tagged import OUTSIDE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# two tags whose probabilities are as near as this may change places in another batch
SAME_SCORE = 1e-4


class TokenClassification(RowsProblem):
    """Rows are (tokens, tags) or (text, spans)."""

    section = Own
    task = "token-classification"
    head = "AutoModelForTokenClassification"
    metrics = ("entity_f1", "precision", "recall", "accuracy")
    headline = "entity_f1"
    formats = (
        (
            "CoNLL (rows tags): a word and its tag in a line, sentences apart by an empty one; "
            "any ending but a table's"
        ),
    )
    smooths = True
    carried = ("starts", "ends", "size")

    @property
    def rows(self) -> Tags | Spans:
        """What rows say, by token_classification.rows."""
        return ROWS[self.params.rows]

    @property
    def has_tags(self) -> bool:
        """Whether rows are words with a tag each."""
        return isinstance(self.rows, Tags)

    @property
    def served_with(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What the pipeline is called with for such rows."""
        return self.rows.served_with

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield the sentences of a CoNLL file: of one whose ending is none of a table's."""
        is_table = params.format != "auto" or file.suffix.lower() in conll.TABLES
        if is_table or not self.has_tags:
            return None
        return conll.read(file, params.encoding, self.params.token_column, self.params.tag_column)

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Reject other numbers of tags than of words; spans that are empty, overlap, or end past the text."""
        wrong: Any = self.rows.wrong
        return pl.Series([wrong(*row) for row in rows.select(*self.columns).iter_rows()], dtype=pl.String)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the tags in a fixed order, and whether they say where entities begin."""
        ((name, found),) = labels(train, {name: self.columns[name] for name in train.columns}).items()
        types = found.unique().sort().to_list()
        if not self.has_tags or have_prefix(train[name].explode(empty_as_null=False)):
            tags = [
                tag(kind, begins=begins, has_prefix=True) for kind, begins in product(types, (True, False))
            ]
            return {"labels": [OUTSIDE, *tags], "types": types, "has_prefix": True}
        return {"labels": sorted({OUTSIDE, *types}), "types": types, "has_prefix": False}

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> "PreTrainedTokenizerBase":
        """Load or learn a tokenizer.

        A byte-pair one is told that a blank stands before each word, as it was in texts.
        """
        made = super().processor(base, train, params)
        if self.has_tags and made.is_fast:
            aligned.put_blanks_before_words(made)
        return made

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return `input_ids`, cut; what each token stands for (`starts`, `ends`); its tag's number as label.

        Raises InputError for a tokenizer that does not say which word a token is of.
        """
        if not processor.is_fast:
            kind = type(processor).__name__
            raise InputError(
                f"model.name: {kind} does not tell which word a token is of; "
                "name a model with a tokenizer.json"
            )
        return aligned.inputs(processor, self.rows, rows, targets, limit)

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad to the longest row of the batch."""
        return padded(processor, {"labels": IGNORED, "starts": NOTHING[0], "ends": NOTHING[0]})

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model whose head tags each token."""
        from tasks.problems.common import pretrained

        return pretrained.classifier(base, processor, targets["labels"], None, self.head)

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the mean logits (rows, labels) of the tokens that stand for something."""
        stands = (batch["starts"] >= 0).unsqueeze(-1)
        found = model(**without_carried(self, batch)).logits
        return (found * stands).sum(1) / stands.sum(1).clamp(min=1)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return tags or spans; the probability of the least sure tag, and how far ahead the closest one is.

        `at`: which token stands for each word, where rows are words; else `room`: from where to where in the
        text each span stands alone.
        """
        logits = logits_of(model, without_carried(self, batch), logits)
        shares = logits.double().softmax(-1).cpu().numpy()
        starts, ends, sizes, mask = (batch[name].cpu().numpy() for name in (*self.carried, "attention_mask"))
        found = []
        for row, size in enumerate(sizes.tolist()):
            (places,) = np.nonzero(starts[row] >= 0)
            parts = list(zip(starts[row, places].tolist(), ends[row, places].tolist(), strict=True))
            entities, how_sure = aligned.entities(parts, shares[row, places], targets["labels"])
            said: Prediction = {"predicted": self.rows.said(entities, size, targets)}
            if self.has_tags:
                # without the padding on the left
                token_of = dict(zip(parts, (places - mask[row].argmax()).tolist(), strict=True))
                said["at"] = json.dumps([token_of.get((word, word + 1)) for word in range(size)])
            else:
                said["room"] = json.dumps(rooms(entities, parts, size))
            found.append(said | how_sure)
        return found

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return F1, precision and recall of whole entities of all types, and the share of right tags."""
        return scores.statistics(self.rows, predictions["predicted"], self._actual(rows), targets)

    def _actual(self, rows: pl.DataFrame) -> pl.Series:
        """Return the target of each row."""
        return rows[list(self.columns)[1]]

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the entities of train found again by their words, and each word's most frequent tag."""
        return guesses(self.rows, train, test, targets)

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw which type is taken for which, where the same part is found or none, and F1 by type."""
        from tasks.problems.common import figures

        predicted, actual = scores.types_of_parts(self.rows, predictions["predicted"], self._actual(rows))
        types = [*targets["types"], scores.NONE]
        by_type = per_label(self.measure(predictions, rows, targets)["entity_f1"])
        return {
            "confusion_of_types": figures.confusion_matrix(predicted, actual, types),
            "f1_by_type": figures.bars(
                {name: its["f1"] for name, its in by_type.items()}, "F1 of entities on test"
            ),
        }

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the served tags make the predicted entities, but where two tags are as likely."""
        (mine,) = self.rows.entities(pl.Series([predicted["predicted"]]))
        is_close = float(predicted["margin"]) < SAME_SCORE
        return is_close or bool(self.rows.agrees(served, mine, predicted))


PROBLEM = TokenClassification
