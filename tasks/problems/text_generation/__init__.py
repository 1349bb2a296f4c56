"""Text that goes on: plain text, answers to prompts, conversations.

Served by the `text-generation` pipeline.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Targets
from tasks.problems.common import pretrained
from tasks.problems.common.lists import IGNORED
from tasks.problems.common.predicting import logits_by_row
from tasks.problems.common.text import RowsProblem, num_unknown, slices
from tasks.problems.text_generation import adapters, batches, causal, chat, counts, generating
from tasks.problems.text_generation.params import Own
from tasks.problems.text_generation.rows import ROWS, Text
from tasks.shared.params import Data, Ingest
from tasks.shared.statistics import Statistics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# as tokenizers are saved
TEMPLATE = "chat_template.jinja"
GENERATION = ("max_new_tokens", "num_beams", "repetition_penalty", "no_repeat_ngram_size")


class TextGeneration(RowsProblem):
    """Rows are texts, (prompt, answer) or conversations: text_generation.rows says which."""

    section = Own
    task = "text-generation"
    head = "AutoModelForCausalLM"
    metrics = ("nats_per_character", "nats_per_token", "perplexity", "exact_match")
    headline = "nats_per_character"
    smooths = True
    # what is learned is what is measured: evaluate needs it too
    learned = ()
    ties = 0.1
    formats = (".txt, .text and .md (rows text): documents, in parts of about chars_per_row characters",)

    @property
    def rows(self) -> Text:
        """What rows are, by text_generation.rows."""
        return ROWS[self.params.rows](self.params)

    @property
    def carried(self) -> tuple[str, ...]:  # type: ignore[override]
        """What counts, and is not for the model."""
        return (self.rows.carried,)

    @property
    def served_with(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What the pipeline is called with to answer as it was measured."""
        return {"return_full_text": False, "add_special_tokens": False, **self._search}

    @property
    def _search(self) -> dict[str, Any]:
        return {"do_sample": False, **{name: getattr(self.params.generation, name) for name in GENERATION}}

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield plain text in parts."""
        return self.rows.read(file, params)

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Return why a row cannot be learned from."""
        return pl.Series(self.rows.faults(rows), dtype=pl.String)

    def texts(self, train: pl.LazyFrame) -> Iterator[list[str]]:
        """Yield what a tokenizer is learned from."""
        if "messages" not in self.columns:
            yield from super().texts(train)
            return
        for some in slices(train.select("messages")):
            conversations = map(chat.read, some["messages"])
            yield [chat.answer([message]) for message in chain.from_iterable(conversations)]

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return documents side by side, or a conversation per row with labels where the model speaks."""
        inputs, truncated = self.rows.inputs(processor, rows, first, limit)
        return Encoded(inputs, truncated, num_unknown(processor, inputs["input_ids"]))

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad on the right: documents by one more that nobody sees, conversations by a mask."""
        return lambda rows: batches.collated(rows, processor.pad_token_id)

    def flat_collator(self) -> Collator:
        """Put rows behind each other, positions beginning anew with each: attention goes by those."""
        return batches.flat

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a language model that sees nothing of what comes after, with adapters where asked for."""
        settings = pretrained.config(base)
        # BERT and its like see what comes after unless they are told to decode
        is_encoder = hasattr(settings, "is_decoder") and not settings.is_encoder_decoder
        more = {"is_decoder": True} if is_encoder else {}
        lora = self.params.lora
        if adapters.are_in(base):
            return adapters.load(settings, base, lora), []
        model, said = pretrained.model(self.head, base, processor, **more)
        if lora.r:
            adapters.add(model, lora)
        generating.prepare(model, processor, self.rows.end(processor))
        return model, said

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return what is said of the token after each row, (rows, vocabulary).

        Raises InputError when the model sees what comes after a token, or a document beside its own.
        """
        inputs = batches.of_model(batch)
        causal.check(model, inputs)
        logits = model(**inputs).logits
        last = (batch["labels"] != IGNORED).cumsum(1).argmax(1)
        return logits[range(len(last)), last]

    def predict(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Any]:
        """Return the nats and the number of the tokens that are to be said, of each row of each input."""
        import torch

        answered = logits_by_row(model, batches.of_model(batch), logits)
        found: list[Any] = []
        # one after the other: a copy of all logits would take as much memory again
        for number, (row, labels) in enumerate(zip(answered, batch["labels"], strict=True)):
            is_said = labels[1:] != IGNORED
            lost = torch.nn.functional.cross_entropy(
                row[:-1][is_said].float(), labels[1:][is_said], reduction="none"
            )
            nats = lost.detach().double().cpu().numpy()
            found.append(self.rows.counted(nats, is_said, batch[self.rows.carried][number]))
        return found

    def gather(self, found: list[Prediction], row: dict[str, Any]) -> Prediction:
        """Return the sums over a row's windows."""
        return found[0] | {name: sum(its[name] for its in found) for name in ("nats", "tokens")}

    def complete(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        rows: pl.DataFrame,
        predicted: pl.DataFrame,
    ) -> pl.DataFrame:
        """Return the predictions with what is generated for the first rows."""
        its = self.params.generation
        first = enumerate(rows.head(its.rows).iter_rows(named=True))
        prompts = {number: self.rows.prompt(row, processor) for number, row in first}
        said = generating.generated(model, processor, prompts, self._search, its.batch_size)
        texts = [said.get(number) for number in range(rows.height)]
        return predicted.with_columns(pl.Series("predicted", texts, dtype=pl.String))

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return what the pipeline is asked with for each row whose text was generated, as it was then."""
        has_template = (folder / TEMPLATE).exists()
        pairs = zip(rows.iter_rows(named=True), predicted["predicted"], strict=True)
        return [
            None if said is None else self.rows.asked(row, has_template=has_template) for row, said in pairs
        ]

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return nats per character and token, and how often a generated final answer is right."""
        said = predictions.get_column("predicted", default=None)
        right = None if said is None else self.rows.right(said, rows)
        return counts.statistics(predictions, rows, right)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return what letters say that follow three others, and for answers, the most frequent one."""
        return self.rows.baselines(train, test)

    def samples(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Return prompt, generated and expected text of the first rows."""
        first = rows.head(self.params.generation.rows)
        shown = [self.rows.shown(row) for row in first.iter_rows(named=True)]
        said = predictions["predicted"].head(first.height)
        texts = [(prompt, text, expected) for (prompt, expected), text in zip(shown, said, strict=True)]
        names = ("prompt", "generated", "expected")
        return pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String), orient="row")

    def export(self, checkpoint: Path, out: Path) -> None:
        """Write the model that is packaged: adapters merged into the weights, or beside the base's."""
        if not adapters.are_in(checkpoint):
            super().export(checkpoint, out)
            return
        model, _ = self.model(checkpoint, self.load_processor(checkpoint), {})
        adapters.export(model, checkpoint, out, merge=self.params.lora.merge)

    def agrees(self, served: Any, predicted: Prediction) -> bool:
        """Return whether the pipeline generates the same text."""
        (answer,) = served
        return bool(answer["generated_text"] == (predicted["predicted"] or ""))


PROBLEM = TextGeneration
