"""Tokens that are missing in a text: a base model made at home in a domain.

Served by the `fill-mask` pipeline.

What is masked on validation and test is drawn once, from a text's tokens, so that every model is asked
the same. On train it is drawn anew in each epoch (Liu et al. 2019), as Devlin et al. 2019 do:
of the chosen tokens eight in ten are masked, one is another, one stays.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Targets
from tasks.problems.common.lists import IGNORED, padded
from tasks.problems.common.predicting import logits_by_row
from tasks.problems.common.text import TextProblem
from tasks.problems.fill_mask import masking
from tasks.problems.fill_mask.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.files import read_text
from tasks.shared.params import Data
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# how far another batch may move a token's probability; and, as a share of it, that of another token which
# was as likely and takes its place
SAME_SCORE, TIE = 1e-3, 1e-2


class FillMask(TextProblem):
    """Rows are (text): of a table, or the paragraphs of a .txt file."""

    section = Own
    task = "fill-mask"
    head = "AutoModelForMaskedLM"
    served_with: Mapping[str, Any] = {"top_k": 1, "tokenizer_kwargs": {"truncation": True}}
    columns: Mapping[str, Column] = {"text": Column("text", "input")}
    examples = ({"text": "Your parcel has left our warehouse and arrives on Friday."},)
    formats = (".txt: a paragraph is a row, with an empty line between two",)
    metrics = ("perplexity", "accuracy")
    headline = "perplexity"
    # labels are what is asked too: how likely a model finds them
    learned = ()
    smooths = True
    augments = True

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield the paragraphs of a .txt file; empty lines stand between them."""
        return (
            _paragraphs(file, params.encoding)
            if file.suffix.lower() == ".txt" and params.format == "auto"
            else None
        )

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return `input_ids` with masks, and the masked tokens as `labels`; a long text makes several inputs.

        Raises InputError for a tokenizer without a mask.
        """
        if processor.mask_token_id is None:
            kind = type(processor).__name__
            raise InputError(
                f"model.name: {kind} has no mask token; name a model that was trained to fill masks"
            )
        return masking.inputs(processor, rows["text"].to_list(), first, limit, self.params)

    def augment(
        self, row: dict[str, Any], processor: "PreTrainedTokenizerBase", draw: np.random.Generator
    ) -> dict[str, Any]:
        """Return a train row with other tokens masked."""
        return masking.anew(row, processor, self.params.mask_share, draw)

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad to the longest row of the batch."""
        return padded(processor, {"labels": IGNORED})

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a masked language model."""
        from tasks.problems.common import pretrained

        return pretrained.model(self.head, base, processor)

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the mean logits (rows, vocabulary) of the masked tokens."""
        is_asked = (batch["labels"] != IGNORED).unsqueeze(-1)
        found = model(**batch).logits
        return (found * is_asked).sum(1) / is_asked.sum(1).clamp(min=1)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return `nats` and `tokens`, of how many masks the likeliest is right (`hits`), and what fills them.

        `masked`: the text with its masks where it makes the same tokens again;
        `filled`: the likeliest token of each mask and its probability, in JSON.
        """
        before, after = masking.special_tokens(processor)
        answered, found = logits_by_row(model, batch, logits), []
        for row, (its_logits, labels) in enumerate(zip(answered, batch["labels"], strict=True)):
            asked = labels != IGNORED
            # only where something is asked: the vocabulary is large
            likely = its_logits[asked].double().log_softmax(-1)
            nats = -likely.gather(-1, labels[asked].unsqueeze(-1)).sum().item()
            share, best = likely.exp().max(-1) if len(likely) else (likely.sum(-1), likely.sum(-1))
            its = batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist()
            filled = [
                [int(token), round(odds, 6)]
                for token, odds in zip(best.tolist(), share.tolist(), strict=True)
            ]
            hits = int((best == labels[asked]).sum())
            said = {"nats": nats, "tokens": len(likely), "hits": hits, "filled": json.dumps(filled)}
            found.append(
                said | {"masked": masking.as_text(its[len(before) : len(its) - len(after)], its, processor)}
            )
        return found

    def gather(self, found: list[Prediction], row: dict[str, Any]) -> Prediction:
        """Return the sums over a text's parts, and the first part."""
        summed = {name: sum(part[name] for part in found) for name in ("nats", "tokens", "hits")}
        return {**summed, **{name: found[0][name] for name in ("filled", "masked")}}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return the perplexity of masked tokens, and how many of them are found."""
        found = {"perplexity": Statistic("perplexity", predictions.select("nats", "tokens"))}
        return found | {"accuracy": Statistic("rate", predictions.select("hits", "tokens"))}

    def token_baselines(self, train: "Dataset", test: "Dataset", num_rows: int) -> dict[str, pl.DataFrame]:
        """Return what guesses each token as often as it occurs among train's masked ones, and once more."""
        _, known = masking.masked_tokens(train)
        rows, asked = masking.masked_tokens(test)
        counts = np.bincount(known, minlength=max(known.max(), asked.max()) + 1)
        # one count for all tokens that do not occur there
        every = counts.sum() + np.count_nonzero(counts) + 1
        nats = np.log(every) - np.log(np.where(counts > 0, counts + 1, 1))
        found: dict[str, Any] = {"nats": np.bincount(rows, nats[asked], num_rows)}
        for name, its in (("tokens", np.ones(len(asked))), ("hits", asked == counts.argmax())):
            found[name] = np.bincount(rows, its, num_rows).astype(int)
        return {"unigram": pl.DataFrame(found)}

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return the texts with masks; those that make other tokens, or have no mask, are not asked."""
        return [masked or None for masked in predicted["masked"]]

    def agrees(self, served: list[Any], predicted: Prediction) -> bool:
        """Return whether each mask is filled alike, but where two tokens are as likely."""
        each = [served] if isinstance(served[0], dict) else served
        filled = json.loads(predicted["filled"])
        if len(each) != len(filled):
            return False
        return all(
            abs(first["score"] - share) <= (SAME_SCORE if first["token"] == token else TIE * share)
            for (first, *_), (token, share) in zip(each, filled, strict=True)
        )


def _paragraphs(file: Path, encoding: str) -> Iterator[dict[str, Any]]:
    lines: list[str] = []
    for line in [*read_text(file, file.name, encoding).split("\n"), ""]:
        if line.strip():
            lines.append(line.rstrip("\r"))
        elif lines:
            yield {"text": "\n".join(lines)}
            lines = []


PROBLEM = FillMask
