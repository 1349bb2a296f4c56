"""Texts as vectors, near where they mean the same: search, deduplication, clusters.

Served by `serve.py` in the package.

transformers' feature-extraction gives a vector per token; here it is their mean (Reimers and Gurevych 2019),
which sentence-transformers loads from the same folder too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Problem, Targets
from tasks.problems.common.predicting import logits_of
from tasks.problems.common.text import RowsProblem
from tasks.problems.sentence_similarity import inputs, modules, retrieval, serve
from tasks.problems.sentence_similarity.params import Own
from tasks.problems.sentence_similarity.retrieval import RANKS, Retrieved
from tasks.problems.sentence_similarity.rows import ROWS, Labels, Pairs
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# what the vectors of a column's texts are called
VECTORS = {"text": "vector", "text_pair": "pair_vector"}
# of a vector what predictions.csv keeps, as proof that the package answers the same
SHOWN = 8
SAME = 1e-3


class SentenceSimilarity(RowsProblem):
    """Rows are (text, label) or (text, text_pair)."""

    section = Own
    task = "sentence-similarity"
    # texts of like length are read together
    reads_at_once = False
    head = "AutoModel"
    serve = Path(serve.__file__)
    served_with: Mapping[str, Any] = {}
    metrics = (*(f"recall_at_{rank}" for rank in RANKS), "mean_reciprocal_rank")
    headline = "recall_at_1"

    @property
    def rows(self) -> Labels | Pairs:
        """What rows are, by sentence_similarity.rows."""
        return ROWS[self.params.rows]

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels by their spelling."""
        return {"labels": train["label"].unique().sort().to_list()} if "label" in self.columns else {}

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return `input_ids`, cut, and `labels` (with pairs 0, and `pair_input_ids`).

        `length` is that of the longer text.
        """
        return inputs.encoded(processor, rows.select(*self.columns), targets.get("labels", ()), limit)

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad texts and pairs, each to the longest of the batch."""
        return lambda rows: inputs.collated(processor, rows)

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a base model without a head, which answers with a vector per text."""
        from tasks.problems.common import pretrained
        from tasks.problems.sentence_similarity.embedder import pooled

        made, said = pretrained.model(self.head, base, processor)
        return pooled(made, self.params.temperature), said

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the vectors (rows, dimensions) of texts, and of pairs behind them."""
        return model(**batch).logits.flatten(1)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return each text's vector, and its pair's."""
        found = logits_of(model, batch, logits)
        names = list(VECTORS.values())[: found.shape[1]]
        return [dict(zip(names, row, strict=True)) for row in found.float().cpu().numpy()]

    def complete(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        rows: pl.DataFrame,
        predicted: pl.DataFrame,
    ) -> pl.DataFrame:
        """Return for each row what the nearest other says and how similar it is.

        Also at which rank the first right one is, and its vector's begin.
        """
        found = self._retrieved(predicted, rows)
        target = rows[list(self.columns)[1]]
        begins = [
            json.dumps([round(number, 6) for number in vector[:SHOWN]]) for vector in predicted["vector"]
        ]
        return pl.DataFrame(
            {
                "predicted": target[found.nearest],
                "similarity": found.similarity,
                "rank": found.rank,
                "vector_begins": begins,
            }
        )

    def _retrieved(self, predicted: pl.DataFrame, rows: pl.DataFrame) -> Retrieved:
        return self.rows.retrieved(rows, lambda column: _stacked(predicted[VECTORS[column]]))

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return for how many rows something alike is among the nearest, and the mean of 1 / its rank.

        A row that nothing is like counts as not found.
        """
        if "vector" in predictions.columns:
            predictions = pl.DataFrame({"rank": self._retrieved(predictions, rows).rank})
        if "rank" not in predictions.columns:
            right = predictions["predicted"] == rows[list(self.columns)[1]]
            return {"recall_at_1": Statistic("accuracy", pl.DataFrame({"found_at_1": right}))}
        return retrieval.statistics(predictions["rank"].cast(pl.Float64))

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return what is found by TF-IDF of words (1-2) and letters (2-5), learned from train."""
        from sklearn.preprocessing import Normalizer

        from tasks.problems.common.baselines import tfidf

        texts = train["text"].to_list()
        learned = tfidf(texts, Normalizer()).fit(texts)
        found = self.rows.retrieved(test, lambda column: learned.transform(test[column].to_list()))
        target = test[list(self.columns)[1]]
        return {"tfidf": pl.DataFrame({"predicted": target[found.nearest], "rank": found.rank})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw for how many rows something alike is among so many nearest."""
        from tasks.shared.pictures import canvas

        ranks = range(1, min(2 * RANKS[-1], rows.height) + 1)
        figure = canvas(4, 3)
        axes = figure.add_subplot()
        rank = predictions["rank"].to_numpy()
        axes.plot(ranks, [float(np.mean((rank >= 1) & (rank <= most))) for most in ranks], "o-")
        axes.set(xlabel="nearest rows", ylabel="share of rows with one alike", ylim=(0, 1))
        return {"recall": figure}

    def export(self, checkpoint: Path, out: Path) -> None:
        """Write the model, and beside it what tells sentence-transformers how to make a vector."""
        Problem.export(self, checkpoint, out)
        modules.write(out)

    def agrees(self, served: list[float], predicted: Prediction) -> bool:
        """Return whether the served vector begins as that which was measured."""
        begins = json.loads(predicted["vector_begins"])
        return all(abs(mine - its) <= SAME for mine, its in zip(served, begins, strict=False))


def _stacked(vectors: pl.Series) -> np.ndarray:
    """Return a list of numbers per row as (rows, dimensions) float32."""
    return vectors.explode().to_numpy().astype(np.float32, copy=False).reshape(len(vectors), -1)


PROBLEM = SentenceSimilarity
