"""Parts of a text and what each is: names, places, parts of speech.

Served by the `token-classification` pipeline.

Whatever rows say, a tag for each word or spans of a text, is a list of entities.
Each token of the model stands for a part of the row (a word's first token for the word), and what the tokens
are tagged as is put together to entities.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Targets
from tasks.problems.common.lists import IGNORED, padded
from tasks.problems.common.predicting import logits_of, without_carried
from tasks.problems.common.text import BATCH, TextProblem
from tasks.problems.token_classification import aligned, conll
from tasks.problems.token_classification.entities import (
    Entity,
    grouped,
    have_prefix,
    tag,
    tags_of,
)
from tasks.problems.token_classification.guesses import guesses
from tasks.problems.token_classification.rows import NOTHING, ROWS, Spans, Tags
from tasks.shared.columns import Column, labels
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Tokenize
from tasks.shared.statistics import Statistic, Statistics, per_label
from tasks.shared.tagged import OUTSIDE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# two tags whose probabilities are as near as this may change places in another batch
SAME_SCORE = 1e-4


class TokenClassification(TextProblem):
    """Rows are (tokens, tags) or (text, spans)."""

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
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The columns of such rows."""
        return self.rows.columns

    @property
    def examples(self) -> tuple[Mapping[str, Any], ...]:  # type: ignore[override]
        """Such rows."""
        return self.rows.examples

    @property
    def served_with(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What the pipeline is called with for such rows."""
        return self.rows.served_with

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield the sentences of a CoNLL file: of one whose ending is none of a table's."""
        is_table = params.format != "auto" or file.suffix.lower() in conll.TABLES
        return (
            None
            if is_table or not self.has_tags
            else conll.read(file, params.encoding, self.params.tag_column)
        )

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Reject other numbers of tags than of words; spans that are empty, overlap, or end past the text."""
        wrong: Any = self.rows.wrong
        return pl.Series([wrong(*row) for row in rows.select(*self.columns).iter_rows()], dtype=pl.String)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the tags in a fixed order, and whether they say where entities begin."""
        ((name, found),) = labels(train, {name: self.columns[name] for name in train.columns}).items()
        types = found.unique().sort().to_list()
        if not self.has_tags or have_prefix(train[name].explode(empty_as_null=False)):
            tags = [tag(kind, begins=begins, has_prefix=True) for kind in types for begins in (True, False)]
            return {"labels": [OUTSIDE, *tags], "types": types, "has_prefix": True}
        return {"labels": sorted({OUTSIDE, *types}), "types": types, "has_prefix": False}

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> "PreTrainedTokenizerBase":
        """Load or learn a tokenizer.

        A byte-pair one is told that a blank stands before each word, as it was in texts.
        """
        from tokenizers.pre_tokenizers import ByteLevel

        made = super().processor(base, train, params)
        splits = made.backend_tokenizer.pre_tokenizer if made.is_fast else None
        if self.has_tags and isinstance(splits, ByteLevel) and not splits.add_prefix_space:
            splits.add_prefix_space = True
            made.backend_tokenizer.pre_tokenizer = splits
            made.add_prefix_space = made.init_kwargs["add_prefix_space"] = True
        return made

    def encode(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield `input_ids`, cut; what each token stands for (`starts`, `ends`); its tag's number as label.

        Raises InputError for a tokenizer that does not say which word a token is of.
        """
        if not processor.is_fast:
            kind = type(processor).__name__
            raise InputError(
                f"model.name: {kind} does not tell which word a token is of; "
                "name a model with a tokenizer.json"
            )
        limit = min(params.max_length, processor.model_max_length)
        for batch in rows.iter_slices(BATCH):
            yield aligned.inputs(processor, self.rows, batch, targets, limit)

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

        `at`: which token stands for each word, where rows are words.
        """
        logits = logits_of(model, without_carried(self, batch), logits)
        shares = logits.double().softmax(-1).cpu().numpy()
        starts, ends, sizes, mask = (batch[name].cpu().numpy() for name in (*self.carried, "attention_mask"))
        found = []
        for row, size in enumerate(sizes.tolist()):
            (places,) = np.nonzero(starts[row] >= 0)
            its = shares[row, places]
            best = np.sort(its, axis=1)[:, -2:] if len(places) else np.ones((1, 2))
            tags = [targets["labels"][number] for number in its.argmax(axis=1)]
            its_entities = grouped(
                zip(starts[row, places].tolist(), ends[row, places].tolist(), tags, strict=True)
            )
            said: Prediction = {"predicted": self.rows.said(its_entities, size, targets)}
            if self.has_tags:
                at: list[int | None] = [None] * size
                for word, place in zip(
                    starts[row, places].tolist(), (places - mask[row].argmax()).tolist(), strict=True
                ):
                    at[word] = place
                said["at"] = json.dumps(at)
            found.append(
                {
                    **said,
                    "confidence": float(best[:, -1].min()),
                    "margin": float((best[:, -1] - best[:, -2]).min()),
                }
            )
        return found

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return F1, precision and recall of whole entities of all types, and the share of right tags."""
        known = pl.Enum(targets["types"])
        target = list(self.columns)[1]
        mine, its = self.rows.entities(predictions["predicted"]), self.rows.entities(rows[target])
        hits = [sorted(set(one) & set(other)) for one, other in zip(mine, its, strict=True)]
        types, counts = {}, {}
        for name, of_rows in (("found", hits), ("predicted", mine), ("actual", its)):
            types[f"{name}_types"] = pl.Series(
                [[entity.type for entity in of_row] for of_row in of_rows], dtype=pl.List(known)
            )
            counts[name] = pl.Series(map(len, of_rows), dtype=pl.Int64)
        found = {
            "entity_f1": Statistic("typed_entity_f1", pl.DataFrame(types)),
            "precision": Statistic(
                "rate", pl.DataFrame({name: counts[name] for name in ("found", "predicted")})
            ),
            "recall": Statistic("rate", pl.DataFrame({name: counts[name] for name in ("found", "actual")})),
        }
        if self.has_tags:
            words = rows[target].list.len().cast(pl.Int64)
            right = words - _num_other_tags(mine, its, words, targets)
            found["accuracy"] = Statistic("rate", pl.DataFrame({"right": right, "words": words}))
        return found

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the entities of train found again by their words, and each word's most frequent tag."""
        return guesses(self.rows, train, test, targets)

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw which type is taken for which, where the same part is found or none, and F1 by type."""
        from tasks.problems.common import figures

        none, pairs = "(none)", []
        both = zip(
            self.rows.entities(predictions["predicted"]),
            self.rows.entities(rows[list(self.columns)[1]]),
            strict=True,
        )
        for mine, its in both:
            said, true = ({entity[:2]: entity.type for entity in of_row} for of_row in (mine, its))
            pairs += [(said.get(part, none), true.get(part, none)) for part in sorted({*said, *true})]
        predicted, actual = (pl.Series([pair[side] for pair in pairs], dtype=pl.String) for side in (0, 1))
        by_type = per_label(self.measure(predictions, rows, targets)["entity_f1"])
        return {
            "confusion_of_types": figures.confusion_matrix(predicted, actual, [*targets["types"], none]),
            "f1_by_type": figures.bars(
                {name: its["f1"] for name, its in by_type.items()}, "F1 of entities on test"
            ),
        }

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the served tags make the predicted entities, but where two tags are as likely."""
        (mine,) = self.rows.entities(pl.Series([predicted["predicted"]]))
        if float(predicted["margin"]) < SAME_SCORE:
            return True
        if self.has_tags:
            tags = {token["index"]: token["entity"] for token in served}
            at = json.loads(predicted["at"])
            return mine == grouped(
                (word, word + 1, tags[place]) for word, place in enumerate(at) if place is not None
            )
        # the blank before its word is no part of it
        its = [
            Entity(max(group["start"], entity.start), group["end"], group["entity_group"])
            for group, entity in zip(served, mine, strict=False)
        ]
        return len(served) == len(mine) and its == mine


def _num_other_tags(
    mine: list[list[Entity]], its: list[list[Entity]], words: pl.Series, targets: Targets
) -> pl.Series:
    """Return how many words of each row are tagged otherwise, in whatever scheme it was written."""
    counts = []
    for one, two, size in zip(mine, its, words, strict=True):
        said, true = (tags_of(entities, size, has_prefix=targets["has_prefix"]) for entities in (one, two))
        counts.append(sum(map(str.__ne__, said, true)))
    return pl.Series(counts, dtype=pl.Int64)


PROBLEM = TokenClassification
