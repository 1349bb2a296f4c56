"""Texts as vectors, near where they mean the same: search, deduplication, clusters.

Served by `serve.py` in the package.

transformers' feature-extraction gives a vector per token; here it is their mean (Reimers and Gurevych 2019),
which sentence-transformers loads from the same folder too.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Problem, Targets
from tasks.problems.common.lists import as_arrow
from tasks.problems.common.predicting import logits_of
from tasks.problems.common.text import BATCH, TextProblem
from tasks.problems.sentence_similarity import modules, retrieval, serve
from tasks.problems.sentence_similarity.retrieval import Retrieved
from tasks.shared.columns import Column
from tasks.shared.params import Tokenize
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RANKS = (1, 5, 10)
# of a vector what predictions.csv keeps, as proof that the package answers the same
SHOWN = 8
SAME = 1e-3


class SentenceSimilarity(TextProblem):
    """Rows are (text, label) or (text, text_pair)."""

    task = "sentence-similarity"
    head = "AutoModel"
    serve = Path(serve.__file__)
    served_with: Mapping[str, Any] = {}
    metrics = (*(f"recall_at_{rank}" for rank in RANKS), "mean_reciprocal_rank")
    headline = "recall_at_1"

    @property
    def has_labels(self) -> bool:
        """Whether texts of one label are alike."""
        return bool(self.params.rows == "labels")

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The columns, by sentence_similarity.rows."""
        target = (
            {"label": Column("category", "target")}
            if self.has_labels
            else {"text_pair": Column("text", "target")}
        )
        return {"text": Column("text", "input"), **target}

    @property
    def examples(self) -> tuple[Mapping[str, Any], ...]:  # type: ignore[override]
        """Such rows."""
        like = (
            {"label": "card_arrival"} if self.has_labels else {"text_pair": "how long does a new card take"}
        )
        return ({"text": "when will my card come", **like},)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels by their spelling."""
        return {"labels": train["label"].unique().sort().to_list()} if self.has_labels else {}

    def encode(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield `input_ids`, cut, and `labels` (with pairs 0, and `pair_input_ids`).

        `length` is that of the longer text.
        """
        import pyarrow as pa

        number = {label: index for index, label in enumerate(targets.get("labels", ()))}
        limit = min(params.max_length, processor.model_max_length)
        for batch in rows.iter_slices(BATCH):
            columns, lengths, truncated = {}, [], np.zeros(batch.height, bool)
            for column, name in zip(self.columns, ("input_ids", "pair_input_ids"), strict=True):
                if column == "label":
                    columns["labels"] = pa.array([number[label] for label in batch[column]], pa.int64())
                    continue
                whole = [len(ids) for ids in processor(batch[column].to_list())["input_ids"]]
                ids = processor(batch[column].to_list(), truncation=True, max_length=limit)["input_ids"]
                lengths.append(np.array([len(its) for its in ids]))
                columns[name] = as_arrow(ids, lengths[-1])
                truncated |= np.array(whole) > lengths[-1]
            # the Trainer asks for the loss of what has labels
            columns.setdefault("labels", pa.array(np.zeros(batch.height, np.int64)))
            columns["length"] = pa.array(np.max(lengths, axis=0), pa.int32())
            yield Encoded(pa.RecordBatch.from_pydict(columns), int(truncated.sum()))

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad texts and pairs, each to the longest of the batch."""

        def collate(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
            import torch

            batch: dict[str, Any] = {}
            for prefix in ("", "pair_"):
                if f"{prefix}input_ids" in rows[0]:
                    padded = processor.pad(
                        {"input_ids": [row[f"{prefix}input_ids"] for row in rows]}, return_tensors="pt"
                    )
                    batch |= {f"{prefix}{name}": padded[name] for name in ("input_ids", "attention_mask")}
            if "labels" in rows[0]:
                batch["labels"] = torch.tensor([row["labels"] for row in rows])
            return batch

        return collate

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
        names = ("vector", "pair_vector")[: found.shape[1]]
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
        vectors = _stacked(predicted["vector"])
        if self.has_labels:
            return retrieval.by_label(vectors, rows["label"].to_list())
        return retrieval.by_pair(vectors, _stacked(predicted["pair_vector"]), rows["text_pair"].to_list())

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return for how many rows something alike is among the nearest, and the mean of 1 / its rank.

        A row that nothing is like counts as not found.
        """
        if "vector" in predictions.columns:
            predictions = pl.DataFrame({"rank": self._retrieved(predictions, rows).rank})
        if "rank" not in predictions.columns:
            right = predictions["predicted"] == rows[list(self.columns)[1]]
            return {"recall_at_1": Statistic("accuracy", pl.DataFrame({"found_at_1": right}))}
        rank, found = predictions["rank"].cast(pl.Float64), {}
        for most in RANKS:
            found[f"recall_at_{most}"] = Statistic(
                "accuracy", pl.DataFrame({f"found_at_{most}": rank.is_between(1, most)})
            )
        inverse = pl.Series([1 / its if its else 0.0 for its in rank], dtype=pl.Float64)
        return {
            **found,
            "mean_reciprocal_rank": Statistic("mean", pl.DataFrame({"reciprocal_rank": inverse})),
        }

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return what is found by TF-IDF of words (1-2) and letters (2-5), learned from train."""
        from sklearn.preprocessing import Normalizer

        from tasks.problems.common.baselines import tfidf

        learned = tfidf(Normalizer()).fit(train["text"].to_list())
        vectors, target = learned.transform(test["text"].to_list()), test[list(self.columns)[1]]
        if self.has_labels:
            found = retrieval.by_label(vectors, target.to_list())
        else:
            found = retrieval.by_pair(vectors, learned.transform(target.to_list()), target.to_list())
        return {"tfidf": pl.DataFrame({"predicted": target[found.nearest], "rank": found.rank})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw for how many rows something alike is among so many nearest."""
        from tasks.problems.common import figures

        ranks = range(1, min(2 * RANKS[-1], rows.height) + 1)
        figure = figures.canvas(4, 3)
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
