"""Text that goes on: plain text, answers to prompts, conversations.

Served by the `text-generation` pipeline.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Targets
from tasks.problems.common.predicting import logits_of
from tasks.problems.common.text import BATCH, TextProblem
from tasks.problems.text_generation import adapters, batches, causal, chat, documents, ngrams
from tasks.shared.columns import Column, Columns
from tasks.shared.files import read_text
from tasks.shared.params import Data, Ingest, Tokenize
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PLAIN = (".txt", ".text", ".md")
# as tokenizers are saved
TEMPLATE = "chat_template.jinja"
COLUMNS: dict[str, Columns] = {
    "text": {"text": Column("text", "input")},
    "instructions": {"prompt": Column("text", "input"), "answer": Column("text", "target")},
    "messages": {"messages": Column("messages", "input")},
}
EXAMPLES: dict[str, tuple[Mapping[str, Any], ...]] = {
    "text": ({"text": "Speak, speak."},),
    "instructions": (
        {"prompt": "Anna has 3 apples and buys 4. How many has she?", "answer": "3 + 4 = 7\n#### 7"},
    ),
    "messages": (
        {
            "messages": [
                {"role": "user", "content": "Where is my parcel?"},
                {"role": "assistant", "content": "It comes on Friday."},
            ]
        },
    ),
}


class TextGeneration(TextProblem):
    """Rows are texts, (prompt, answer) or conversations: text_generation.rows says which."""

    task = "text-generation"
    head = "AutoModelForCausalLM"
    metrics = ("nats_per_character", "nats_per_token", "perplexity", "exact_match")
    headline = "nats_per_character"
    # what is learned is what is measured: evaluate needs it too
    learned = ()
    ties = 0.1
    formats = (".txt, .text and .md (rows text): documents, in parts of about chars_per_row characters",)

    @property
    def is_text(self) -> bool:
        """Whether rows are plain text."""
        return bool(self.params.rows == "text")

    @property
    def columns(self) -> Columns:  # type: ignore[override]
        """The columns of such rows."""
        return COLUMNS[self.params.rows]

    @property
    def examples(self) -> tuple[Mapping[str, Any], ...]:  # type: ignore[override]
        """Such rows."""
        return EXAMPLES[self.params.rows]

    @property
    def carried(self) -> tuple[str, ...]:  # type: ignore[override]
        """What counts, and is not for the model."""
        return ("segment",) if self.is_text else ("characters",)

    @property
    def served_with(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What the pipeline is called with to answer as it was measured."""
        return {"return_full_text": False, "add_special_tokens": False, **self._search}

    @property
    def _search(self) -> dict[str, Any]:
        its = self.params.generation
        names = ("max_new_tokens", "num_beams", "repetition_penalty", "no_repeat_ngram_size")
        return {"do_sample": False, **{name: getattr(its, name) for name in names}}

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield plain text in parts, each with the number of its document."""
        if not self.is_text or params.format != "auto" or file.suffix.lower() not in PLAIN:
            return None
        text = read_text(file, file.name, params.encoding)
        whole = enumerate(documents.documents(text, self.params.document), start=1)
        size = self.params.chars_per_row
        return (
            {"text": piece, "document": number}
            for number, document in whole
            for piece in documents.pieces(document, size)
        )

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Return why a conversation cannot be learned from."""
        if self.params.rows != "messages":
            return super().reject(rows, params)
        return pl.Series([chat.fault(text) for text in rows["messages"]], dtype=pl.String)

    def texts(self, train: pl.LazyFrame) -> Iterator[list[str]]:
        """Yield what a tokenizer is learned from."""
        if self.params.rows != "messages":
            yield from super().texts(train)
            return
        for batch in train.select("messages").collect().iter_slices(BATCH):
            yield [chat.answer([message]) for text in batch["messages"] for message in chat.read(text)]

    def encode(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield documents side by side, or a conversation per row with labels where the model is to speak."""
        limit = min(params.max_length, processor.model_max_length)
        for start in range(0, rows.height, BATCH):
            batch = rows[start : start + BATCH]
            if self.is_text:
                found = documents.windows(processor, batch, limit)
                inputs, truncated = documents.inputs(found, start, limit, packing=self.params.packing), 0
            else:
                its = self.params
                inputs, truncated = chat.inputs(processor, batch, limit, its.system, its.template_seconds)
            yield Encoded(inputs, truncated, _unknown(processor, inputs["input_ids"]))

    def collator(self, processor: "PreTrainedTokenizerBase") -> Collator:
        """Pad on the right: documents by one more that nobody sees, conversations by a mask."""
        return lambda rows: batches.collated(rows, processor.pad_token_id)

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a language model that sees nothing of what comes after, with adapters where asked for."""
        from tasks.problems.common import pretrained

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
        generates = model.generation_config
        if generates.eos_token_id is None:
            generates.eos_token_id = documents.end(processor)
        if generates.pad_token_id is None:
            generates.pad_token_id = processor.pad_token_id
        # a model that keeps a cache wherever it is called takes documents side by side for one
        # (transformers' `_preprocess_mask_arguments`)
        model.config.use_cache, generates.use_cache = False, True
        return model, said

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return what is said of the token after each row, (rows, vocabulary).

        Raises InputError when the model sees what comes after a token, or a document beside its own.
        """
        inputs = batches.of_model(batch)
        causal.check(model, inputs)
        logits = model(**inputs).logits
        last = (batch["labels"] != documents.IGNORED).cumsum(1).argmax(1)
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

        logits = logits_of(model, batches.of_model(batch), logits)
        found: list[Any] = []
        # one after the other: a copy of all logits would take as much memory again
        for number, (row, labels) in enumerate(zip(logits, batch["labels"], strict=True)):
            is_said = labels[1:] != documents.IGNORED
            lost = torch.nn.functional.cross_entropy(
                row[:-1][is_said].float(), labels[1:][is_said], reduction="none"
            )
            nats = lost.detach().double().cpu().numpy()
            if not self.is_text:
                counts = {
                    "nats": float(nats.sum()),
                    "tokens": len(nats),
                    "characters": int(batch["characters"][number]),
                }
                found.append({"predicted": None, **counts} if self.params.rows == "instructions" else counts)
                continue
            segment = batch["segment"][number, 1:][is_said].cpu().numpy()
            size = int(batch["segment"][number].max()) + 1
            sums, tokens = np.bincount(segment, nats, size), np.bincount(segment, minlength=size)
            found.append(
                [
                    {"nats": float(lost), "tokens": int(count)}
                    for lost, count in zip(sums, tokens, strict=True)
                ]
            )
        return found

    def gather(self, found: list[Prediction], row: dict[str, Any]) -> Prediction:
        """Return the sums over a row's windows."""
        if not self.is_text:
            return found[0]
        return {name: sum(its[name] for its in found) for name in ("nats", "tokens")}

    def complete(
        self,
        model: "PreTrainedModel",
        processor: "PreTrainedTokenizerBase",
        rows: pl.DataFrame,
        predicted: pl.DataFrame,
    ) -> pl.DataFrame:
        """Return the predictions with what is generated for the first rows."""
        from tasks.problems.text_generation.generating import generated

        its = self.params.generation
        prompts = {}
        for number, row in enumerate(rows.head(its.rows).iter_rows(named=True)):
            if self.is_text:
                prompts[number] = row["text"][: its.prompt_chars]
            else:
                prompts[number] = chat.prompt(
                    processor, *chat.conversation(row, self.params.system), self.params.template_seconds
                )
        said = generated(model, processor, prompts, self._search, its.batch_size)
        texts = [said.get(number) for number in range(rows.height)]
        return predicted.with_columns(pl.Series("predicted", texts, dtype=pl.String))

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return what the pipeline is asked with for each row whose text was generated, as it was then."""
        has_template = (folder / TEMPLATE).exists()
        found: list[Any] = []
        for row, said in zip(rows.iter_rows(named=True), predicted["predicted"], strict=True):
            messages, tools = ([], None) if self.is_text else chat.conversation(row, self.params.system)
            if said is None or tools:
                found.append(None)
            elif self.is_text:
                found.append(row["text"][: self.params.generation.prompt_chars])
            else:
                found.append(messages[:-1] if has_template else chat.plain_prompt(messages))
        return found

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return nats per character and token, and how often a generated final answer is right."""
        found = {}
        if "nats" in predictions.columns:
            characters = (
                predictions["characters"]
                if "characters" in predictions.columns
                else rows["text"].str.len_chars()
            )
            counted = pl.DataFrame([predictions["nats"], characters.cast(pl.Int64).alias("characters")])
            found["nats_per_character"] = Statistic("nats_per_character", counted)
        if "tokens" in predictions.columns:
            counted = predictions.select("nats", pl.col("tokens").cast(pl.Int64))
            found |= {name: Statistic(name, counted) for name in ("nats_per_token", "perplexity")}
        if not self.is_text and "predicted" in predictions.columns:
            pairs = zip(predictions["predicted"], chat.answers(rows), strict=True)
            right = [
                None if said is None else self._final(said) == self._final(answer) for said, answer in pairs
            ]
            asked = pl.Series("asked", [int(it is not None) for it in right], dtype=pl.Int64)
            hits = pl.Series("right", [int(bool(it)) for it in right], dtype=pl.Int64)
            found["exact_match"] = Statistic("share_right", pl.DataFrame([hits, asked]))
        return found

    def _final(self, answer: str) -> str:
        return chat.final(answer, self.params.answer_pattern)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return what letters say that follow three others, and for answers, the most frequent one."""
        if self.is_text:
            return {"ngram": ngrams.of_documents(train, test)}
        known, asked = chat.answers(train), chat.answers(test)
        finals = pl.Series([self._final(answer) for answer in known])
        frequent = finals.mode().sort()[0]
        # an answer that has it
        said = known[finals.index_of(frequent) or 0]
        rows = [said if number < self.params.generation.rows else None for number in range(test.height)]
        most_frequent = pl.DataFrame({"predicted": rows}, schema={"predicted": pl.String})
        return {"ngram": ngrams.of_answers(known, asked), "most_frequent": most_frequent}

    def samples(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Return prompt, generated and expected text of the first rows."""
        its = self.params.generation
        first = rows.head(its.rows)
        said = predictions["predicted"].head(its.rows)
        if self.is_text:
            texts = first["text"].to_list()
            prompts, expected = (
                [text[: its.prompt_chars] for text in texts],
                [text[its.prompt_chars :] for text in texts],
            )
        else:
            messages = [chat.conversation(row, None)[0] for row in first.iter_rows(named=True)]
            prompts, expected = (
                [chat.answer(some[:-1]) for some in messages],
                [chat.answer(some) for some in messages],
            )
        return pl.DataFrame(
            {"prompt": prompts, "generated": said.to_list(), "expected": expected},
            schema_overrides={"generated": pl.String},
        )

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


def _unknown(processor: "PreTrainedTokenizerBase", ids: "pa.ListArray") -> int:
    """Return how many tokens the vocabulary does not know."""
    import pyarrow.compute as pc

    if processor.unk_token_id in (None, processor.bos_token_id, processor.eos_token_id):
        return 0
    return int(pc.sum(pc.equal(ids.flatten(), processor.unk_token_id)).as_py() or 0)


PROBLEM = TextGeneration
