"""What is said in a recording, written down character by character (CTC, Graves et al. 2006) or by a decoder.

Which of both is decided by the base model. Served by `serve.py`: the pipeline of transformers needs ffmpeg to
read a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Prediction, Targets
from tasks.problems.automatic_speech_recognition import seq2seq, texts
from tasks.problems.automatic_speech_recognition.params import Own
from tasks.problems.common.predicting import logits_of
from tasks.problems.common.sounds import extractors, serve
from tasks.problems.common.sounds.problem import SoundProblem
from tasks.problems.common.sounds.serve import Processor
from tasks.shared.columns import Column
from tasks.shared.params import Ingest, Tokenize
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

# that people are shown
ROWS = 20
EMPTY = "nothing is left of its text once it is normalised"


class AutomaticSpeechRecognition(SoundProblem):
    """Rows are (audio, text); audio is a file."""

    section = Own
    task = "automatic-speech-recognition"
    head = "AutoModelForCTC"
    columns: Mapping[str, Column] = {
        "audio": Column("audio", "input"),
        "text": Column("text", "target"),
    }
    examples = ({"audio": "clips/17.flac", "text": "seven"},)
    metrics = ("wer", "cer", "exact_match")
    headline = "wer"
    # of a decoder's tokens some are equally likely
    ties = 0.01

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        """Return a reason for texts that normalisation leaves empty."""
        return pl.Series([None if text else EMPTY for text in self._texts(rows)], dtype=pl.String)

    def _texts(self, rows: pl.DataFrame) -> list[str]:
        return [texts.normalised(text, self.params) for text in rows["text"]]

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Processor:
        """Return the feature extractor, and the base's own tokens, or characters of the train texts."""
        from tasks.problems.common import pretrained

        made = super().processor(base, train, params)
        if seq2seq.is_one(base):
            return seq2seq.processor(base, made.extractor, self.params)
        its_texts = self._texts(train.select("text").collect())
        if (base / "vocab.json").exists() and not pretrained.is_from_scratch(base):
            return Processor(made.extractor, texts.suited(pretrained.characters(base), its_texts, base))
        return Processor(made.extractor, texts.tokenizer(texts.characters(its_texts)))

    def load_processor(self, folder: Path) -> Processor:
        """Load both as they were saved; they tell how validation is to be measured."""
        from tasks.problems.common import pretrained

        has_characters = (folder / "vocab.json").exists()
        tokenizer = (pretrained.characters if has_characters else pretrained.saved_tokenizer)(folder)
        made = Processor(pretrained.feature_extractor(folder), tokenizer)
        # a forward pass knows the right text up to each token
        self.validation_rows = self.params.validation_rows if made.has_decoder else None
        return made

    def labels(
        self, processor: Processor, rows: pl.DataFrame, targets: Targets
    ) -> tuple[list[list[int]], list[int], list[int]]:
        """Return the tokens of each row's text, how many of them are not known, and whether it was cut."""
        tokenizer, none = processor.tokenizer, [0] * rows.height
        if processor.has_decoder:
            found, cut = seq2seq.labels(tokenizer, self._texts(rows), self.params)
            return found, none, cut
        found = [tokenizer(text)["input_ids"] for text in self._texts(rows)]
        return found, [row.count(tokenizer.unk_token_id) for row in found], none

    def model(
        self, base: Path, processor: Processor, targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model in fp32; what its folder lacks is drawn from the current torch seed."""
        from tasks.problems.common import pretrained

        if processor.has_decoder:
            return seq2seq.model(base, processor, self.params)
        how = {
            **extractors.settings(base, processor.extractor),
            "vocab_size": len(processor.tokenizer),
            "pad_token_id": processor.tokenizer.pad_token_id,
            "ctc_loss_reduction": "mean",
            # of a text that is longer than its sound nothing is learned
            "ctc_zero_infinity": True,
        }
        return pretrained.model(self.head, base, None, **how)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Processor,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return what the likeliest characters spell, or what the decoder writes."""
        if processor.has_decoder:
            return [{"predicted": text} for text in serve.written(processor.tokenizer, model, batch)]
        found = serve.texts(processor.tokenizer, model, batch, logits_of(model, batch, logits))
        return [{"predicted": text} for text in found]

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the mean answer of each row's own frames, or that to the first token."""
        import torch

        if model.config.is_encoder_decoder:
            return seq2seq.probe(model, batch)
        logits = model(**batch).logits
        counts = serve.frames_answered(model, batch, logits)
        return torch.stack([row[:count].mean(0) for row, count in zip(logits, counts, strict=True)])

    def comparable(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with normalised texts."""
        return rows.with_columns(text=pl.Series(self._texts(rows), dtype=pl.String))

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return edits per word and per character, and how many texts are right."""
        said = [texts.normalised(text, self.params) for text in predictions["predicted"].fill_null("")]
        pairs = list(zip(said, self._texts(rows), strict=True))
        words = {
            "edits": [texts.edits(one.split(), other.split()) for one, other in pairs],
            "words": [len(other.split()) for _, other in pairs],
        }
        characters = {
            "character_edits": [texts.edits(one, other) for one, other in pairs],
            "characters": [len(other) for _, other in pairs],
        }
        right = {"correct": [one == other for one, other in pairs]}
        return {
            "wer": Statistic("word_error_rate", pl.DataFrame(words)),
            "cer": Statistic("character_error_rate", pl.DataFrame(characters)),
            "exact_match": Statistic("accuracy", pl.DataFrame(right)),
        }

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent text for every row; the first of several by spelling."""
        text = train["text"].value_counts().sort("count", "text", descending=[True, False])["text"][0]
        return {"most_frequent": pl.DataFrame({"predicted": [text] * test.height})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw some spectrograms with what was written down, and those of the worst mistakes."""
        from tasks.problems.common import figures

        statistics = self.measure(predictions, rows, targets)
        told = pl.DataFrame(
            {
                "audio": rows["audio"],
                "predicted": predictions["predicted"].fill_null(""),
                "actual": self.comparable(rows)["text"],
                "edits": statistics["cer"].columns["character_edits"],
            }
        )
        wrong = told.filter(pl.col("edits") > 0).sort("edits", descending=True, maintain_order=True)
        return figures.galleries({"samples": figures.spread(told), "mistakes": wrong}, "audio", self.picture)

    def samples(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Return files, what was written down of them, and what is said."""
        its = "source_media" if "source_media" in rows.columns else "audio"
        said = predictions["predicted"].fill_null("")
        return pl.DataFrame({"audio": rows[its], "predicted": said, "expected": self._texts(rows)}).head(ROWS)

    def agrees(self, served: Any, predicted: Prediction) -> bool:
        """Return whether the same is written down."""
        return bool(served["text"] == (predicted["predicted"] or ""))


PROBLEM = AutomaticSpeechRecognition
