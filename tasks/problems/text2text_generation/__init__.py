"""A text made of a text: rewriting, summarising, translating. An encoder reads, a decoder writes.

Transformers 5 has no pipeline for it: serve.py generates with nothing else, and evaluate uses its function.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Collator, Encoded, Prediction, Processor, Targets
from tasks.problems.common import counting
from tasks.problems.common.text import TextProblem, num_unknown
from tasks.problems.text2text_generation import files, languages, serve
from tasks.problems.text2text_generation.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Tokenize
from tasks.shared.section import Section
from tasks.shared.statistics import Statistics

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure
    from transformers import GenerationConfig, PreTrainedModel

GENERATION = {"max_new_tokens", "num_beams", "no_repeat_ngram_size", "repetition_penalty"}
OF_BEAMS = {"length_penalty", "early_stopping"}
# rows whose likeness to all train rows is known at once
AT_ONCE = 256


class Text2TextGeneration(TextProblem):
    """Rows are (text, target)."""

    section = Own
    task = "text2text-generation"
    head = "AutoModelForSeq2SeqLM"
    served_with: Mapping[str, Any] = {}
    serve = Path(serve.__file__)
    ties = 0.01
    columns: Mapping[str, Column] = {"text": Column("text", "input"), "target": Column("text", "target")}
    examples = ({"text": "who uh no when was the bridge built", "target": "When was the bridge built?"},)
    formats = (
        "JSON, an object of objects: each is a row, its key the row's `id`",
        (
            "two files of parallel lines, NAME.fra-eng.fra and NAME.fra-eng.eng: "
            "the one that data.files names holds the texts"
        ),
    )
    metrics = counting.METRICS
    headline = "bleu"

    def __init__(self, params: Section | None = None) -> None:
        super().__init__(params)
        self.validation_rows = self.params.validation_rows

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Read objects of objects and parallel lines; other files are tables."""
        return files.read(file, params)

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Processor:
        """Load the base model's tokenizer; raise InputError when the model cannot write so much."""
        from tasks.problems.common import pretrained

        positions = pretrained.positions(pretrained.config(base).get_text_config(decoder=True))
        for name in ("max_target_length", "max_new_tokens"):
            if positions and getattr(self.params, name) > positions:
                many = f"{getattr(self.params, name)} tokens are more than the model's {positions} positions"
                raise InputError(f"text2text_generation.{name}: {many}; lower it")
        made = super().processor(base, train, params)
        languages.tell(made, self.params, base)
        return made

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return nothing yet: what a target is in tokens, the tokenizer says."""
        import pyarrow as pa

        return pa.nulls(rows.height)

    def encoded(
        self, processor: Any, rows: pl.DataFrame, first: int, targets: Targets, limit: int
    ) -> Encoded:
        """Return `input_ids` as of every text; `labels` list<int64>: the target's tokens, with its end."""
        import pyarrow as pa

        (inputs, is_cut), most = self.tokens(processor, rows, targets, limit), self.params.max_target_length
        labels, cut = [], 0
        whole = processor(text_target=rows["target"].to_list(), truncation=False)["input_ids"]
        for ids, is_text_cut in zip(whole, is_cut, strict=True):
            # BERT's first token is what a decoder starts with anyway
            own = ids[1:] if processor.bos_token_id is None and ids[0] == processor.cls_token_id else ids
            cut += is_text_cut or len(own) > most
            labels.append(languages.shortened(own, most, processor))
        said = pa.array(labels, pa.list_(pa.int64()))
        unknown = num_unknown(processor, inputs["input_ids"]) + num_unknown(processor, said)
        inputs = inputs.set_column(inputs.schema.get_field_index("labels"), "labels", said)
        tokens = sum(inputs["length"].to_pylist()) + len(said.flatten())
        return Encoded(inputs, cut, unknown, tokens)

    def model(
        self, base: Path, processor: Processor, targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load an encoder-decoder, or join two copies of an encoder; its config says how it generates."""
        from tasks.problems.common import pretrained

        if pretrained.config(base).is_encoder_decoder:
            model, said = pretrained.model(self.head, base, processor)
        else:
            model, said = pretrained.encoder_decoder(base, processor)
        names = GENERATION | (OF_BEAMS if self.params.num_beams > 1 else set())
        own = self.params.model_dump(include=names)
        tokens = {"pad_token_id": processor.pad_token_id, "eos_token_id": pretrained.end(processor)}
        tokens |= {"decoder_start_token_id": model.config.decoder_start_token_id}
        tokens |= languages.decoding(processor)
        model.config.decoder_start_token_id = tokens["decoder_start_token_id"]
        model.generation_config = _of_tokens(model.generation_config)
        model.generation_config.update(**own, **tokens, do_sample=False)
        return model, said

    def collator(self, processor: Processor) -> Collator:
        """Pad to the longest text and the longest target of the batch."""
        from transformers import DataCollatorForSeq2Seq

        pad = DataCollatorForSeq2Seq(processor)

        def collate(some: list[dict[str, Any]]) -> Mapping[str, Any]:
            # rows to be predicted have no labels, and it says so in a column
            return {name: values for name, values in pad(some).items() if values is not None}

        return collate

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the logits of the first token to be written, (rows, vocabulary)."""
        first = batch["input_ids"].new_full((len(batch["input_ids"]), 1), model.config.decoder_start_token_id)
        return model(**batch, decoder_input_ids=first).logits[:, 0]

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Processor,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the generated texts."""
        return [{"predicted": text} for text in serve.generated(processor, model, batch)]

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return exact match, BLEU and chrF as sacrebleu counts them, and ROUGE; all from 0 to 1."""
        said, right = predictions["predicted"].fill_null("").to_list(), rows["target"].to_list()
        return counting.measured(said, right, self.params.bleu_tokenizer)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the text itself, and the target of the train text most like it (words 1-2, TF-IDF)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        by_blanks = {"tokenizer": str.split, "token_pattern": None}
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **by_blanks)
        known = words.fit_transform(train["text"].to_list()).T.tocsr()
        nearest: list[int] = []
        for some in test["text"].to_frame().iter_slices(AT_ONCE):
            likeness = words.transform(some["text"].to_list()) @ known
            nearest += np.asarray(likeness.argmax(axis=1)).ravel().tolist()
        copied = test.select(predicted="text")
        return {"copy": copied, "nearest": pl.DataFrame({"predicted": train["target"][nearest]})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw how long generated texts are over how long they should be, in characters."""
        from tasks.problems.common import figures

        said = predictions["predicted"].fill_null("").str.len_chars()
        return {"lengths": figures.scatter(said, rows["target"].str.len_chars())}

    def agrees(self, served: str, predicted: Prediction) -> bool:
        """Return whether the text is the same, but for blanks."""
        return served.split() == (predicted["predicted"] or "").split()


def _of_tokens(known: "GenerationConfig") -> "GenerationConfig":
    """Return which tokens a base generates with, and nothing of how it did for what it was made for.

    A model of summaries has a least length, and no three words twice.
    """
    from transformers import GenerationConfig

    kept = {
        name: value
        for name, value in known.to_dict().items()
        if name.endswith("_token_id") or name == "bad_words_ids"
    }
    return GenerationConfig(**kept)


PROBLEM = Text2TextGeneration
