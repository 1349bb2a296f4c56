"""A text about a picture: a caption, or a short answer to what a prompt asks.

A GIT (Wang et al. 2022, arXiv 2205.14100) reads the picture's patches, then the prompt, and writes on. The
pipeline `image-text-to-text` takes a list of rows for a chat, and pads prompts, which GIT's positions would
count: serve.py answers with nothing else.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Encoded, Prediction, Targets
from tasks.problems.common import counting, pixels
from tasks.problems.common.pictures import PictureTextProblem
from tasks.problems.common.text import BATCH, num_unknown
from tasks.problems.image_text_to_text import baseline, serve, vision
from tasks.problems.image_text_to_text.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.params import Tokenize
from tasks.shared.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

    from tasks.problems.image_text_to_text.batches import Collator


class ImageTextToText(PictureTextProblem):
    """Rows are (image, answer), or (image, text, answer); an image is a file, and the text a prompt."""

    section = Own
    task = "image-text-to-text"
    head = "AutoModelForCausalLM"
    served_with: Mapping[str, Any] = {}
    serve = Path(serve.__file__)
    ties = 0.01
    columns: Mapping[str, Column] = {
        "image": Column("image", "input"),
        "text": Column("text", "input", optional=True),
        "answer": Column("text", "target"),
    }
    examples = (
        {"image": "images/0.png", "answer": "a red circle"},
        {"image": "images/0.png", "text": "what shape is in the image?", "answer": "circle"},
    )
    metrics = counting.METRICS
    # BLEU is 0 of answers that are a word
    headline = "rouge_l"
    joined = "GitProcessor"
    # the loss selects the checkpoint
    validation_rows = 0

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Any:
        """Return the base model's tokenizer, or one learned from train's texts, beside an image processor.

        Raises InputError for a model of another kind, and where an answer leaves no place for a prompt.
        """
        from tasks.problems.common import pretrained

        settings = pretrained.config(base)
        if settings.model_type != "git":
            kind = f"a {settings.model_type} is not known to write about pictures here"
            raise InputError(f"model.name: {kind}; name a GIT, or set model.from_scratch to {{type: git}}")
        pictures = pixels.squeezing(base, self.params.image_size or settings.vision_config.image_size)
        words = super().processor(base, train, params)
        if words.model_max_length <= self.params.max_new_tokens:
            most = f"{self.params.max_new_tokens} of {words.model_max_length} tokens leave none for a prompt"
            raise InputError(f"image_text_to_text.max_new_tokens: {most}; lower it")
        return self.join(pictures, words)

    def encode(
        self, processor: Any, rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield `image`, the file; `input_ids` list<int32>, the prompt; `labels` list<int64>, the answer.

        `length` counts the picture's patches too.
        """
        import pyarrow as pa

        words, patches = processor.tokenizer, pixels.patches(processor.image_processor)
        most, (_, end) = self.params.max_new_tokens, serve.ends(words)
        for some in rows.iter_slices(BATCH):
            given = some["text"].to_list() if "text" in some.columns else [""] * some.height
            whole = serve.prompts(words, given, 0)
            prompts = serve.prompts(words, given, most)
            answers = words(some["answer"].to_list(), add_special_tokens=False)["input_ids"]
            labels = [[*ids[: most - 1], end] for ids in answers]
            rows_of = zip(whole, prompts, answers, strict=True)
            cut = sum(len(ids) >= most or len(one) > len(other) for one, other, ids in rows_of)
            lengths = [len(prompt) + len(label) for prompt, label in zip(prompts, labels, strict=True)]
            columns = {
                "image": pa.array(some["image"].to_list(), pa.string()),
                "input_ids": pa.array(prompts, pa.list_(pa.int32())),
                "labels": pa.array(labels, pa.list_(pa.int64())),
                "length": pa.array([length + patches for length in lengths], pa.int32()),
            }
            unknown = sum(num_unknown(words, columns[name]) for name in ("input_ids", "labels"))
            yield Encoded(pa.RecordBatch.from_pydict(columns), cut, unknown, tokens=sum(lengths))

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a GIT in fp32; its config says how it writes."""
        from tasks.problems.common import pretrained

        sizes = {}
        if pretrained.is_from_scratch(base):
            side = processor.image_processor.size["height"]
            sizes["vision_config"] = vision.beside(pretrained.config(base), self.params, side)
        model, said = pretrained.model(self.head, base, processor.tokenizer, **sizes)
        padding, (start, end) = processor.tokenizer.pad_token_id, serve.ends(processor.tokenizer)
        own = self.params.model_dump(include={"max_new_tokens", "num_beams"})
        tokens = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": padding}
        model.generation_config.update(**own, **tokens, do_sample=False, max_length=None)
        return model, said

    def collator(self, processor: Any) -> "Collator":
        """Put answers behind prompts; read, rescale and normalize pictures."""
        from tasks.problems.image_text_to_text.batches import Collator

        return Collator(processor, self.media)

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return the logits of the first token to be written, (rows, vocabulary)."""
        import torch

        logits = model(**batch).logits
        patches = logits.shape[1] - batch["input_ids"].shape[1]
        last = patches + batch["attention_mask"].sum(dim=1) - 1
        return logits[torch.arange(len(last), device=last.device), last]

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Any,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return what is written about each picture."""
        return [{"predicted": text} for text in serve.generated(processor, model, batch)]

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return exact match, BLEU, chrF and ROUGE; all from 0 to 1."""
        said, right = predictions["predicted"].fill_null("").to_list(), rows["answer"].to_list()
        return counting.measured(said, right, self.params.bleu_tokenizer)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent answer, and where there are prompts, the most frequent to the same one."""
        return baseline.usual(train, test)

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw pictures from all over the rows, with what is asked and written of each, and what is right."""
        from tasks.problems.common import figures

        names = {"asked": "text"} if "text" in rows.columns else {}
        told = rows.select("image", actual="answer", predicted=predictions["predicted"], **names)
        return figures.galleries({"samples": figures.spread(told)}, "image", self.picture)

    def agrees(self, served: str, predicted: Prediction) -> bool:
        """Return whether the text is the same, but for blanks."""
        return served.split() == (predicted["predicted"] or "").split()


PROBLEM = ImageTextToText
