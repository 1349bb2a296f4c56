"""The answer to a question about a picture, one of those that train knows.

Transformers 5 has no pipeline for it: serve.py answers with nothing else.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Encoded, Loss, Prediction, Targets
from tasks.problems.common import pixels
from tasks.problems.common.classification import SAME_SCORE, Classification, numbers
from tasks.problems.common.pictures import PictureTextProblem
from tasks.problems.visual_question_answering import serve
from tasks.problems.visual_question_answering.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.params import Tokenize, Train

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

    from tasks.problems.visual_question_answering.batches import Collator


class VisualQuestionAnswering(PictureTextProblem, Classification):
    """Rows are (image, question, label); an image is a file, and the label is the answer."""

    section = Own
    task = "visual-question-answering"
    head = "AutoModelForVisualQuestionAnswering"
    served_with: Mapping[str, Any] = {}
    serve = Path(serve.__file__)
    columns: Mapping[str, Column] = {
        "image": Column("image", "input"),
        "question": Column("text", "input"),
        "label": Column("category", "target"),
    }
    examples = ({"image": "images/0.png", "question": "what shape is in the image?", "label": "circle"},)
    headline = "accuracy"
    joined = "ViltProcessor"

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Any:
        """Return the base model's tokenizer, or one learned from questions, beside an image processor.

        Raises InputError for a model that writes its answers.
        """
        from tasks.problems.common import pretrained

        settings = pretrained.config(base)
        if settings.model_type != "vilt":
            others = f"a {settings.model_type} does not choose among known answers"
            raise InputError(
                f"model.name: {others}; name a ViLT, or set model.from_scratch to {{type: vilt}}"
            )
        pictures = pixels.squeezing(base, self.params.image_size or settings.image_size)
        return self.join(pictures, super().processor(base, train, params))

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return the number of each row's answer, int64."""
        import pyarrow as pa

        return pa.array(numbers(rows["label"], targets), pa.int64())

    def encode(
        self, processor: Any, rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield questions as texts are encoded, and `image`: the file, because many questions share one.

        `length` counts the picture's patches too.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        patches, done = pixels.patches(processor.image_processor), 0
        for made in super().encode(processor.tokenizer, rows, targets, params):
            lengths, names = made.inputs["length"], rows["image"][done : done + made.inputs.num_rows]
            columns = dict(zip(made.inputs.schema.names, made.inputs.columns, strict=True))
            columns["length"] = pc.add(lengths, pa.scalar(patches, pa.int32()))
            columns["image"] = pa.array(names.to_list(), pa.string())
            done += made.inputs.num_rows
            tokens = pc.sum(lengths).as_py()
            yield Encoded(pa.RecordBatch.from_pydict(columns), made.truncated, made.unknown, tokens=tokens)

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a ViLT in fp32; what its folder lacks is drawn from the current torch seed."""
        from tasks.problems.common import pretrained
        from tasks.problems.visual_question_answering import patches

        drawn = pretrained.is_from_scratch(base)
        sizes = {"image_size": processor.image_processor.size["height"]} if drawn else {}
        words, labels = processor.tokenizer, targets["labels"]
        model, said = pretrained.classifier(base, words, labels, head=self.head, **sizes)
        patches.keep_order(model)
        return model, said

    def loss(self, train: pl.DataFrame, targets: Targets, params: Train) -> Loss:
        """Return cross entropy, since ViLT's own loss takes each answer for a question of its own."""
        from tasks.problems.common import losses

        even = losses.CrossEntropy([1.0] * len(targets["labels"]), params.label_smoothing_factor)
        return super().loss(train, targets, params) or even

    def collator(self, processor: Any) -> "Collator":
        """Pad questions to the longest of the batch; read, rescale and normalize pictures."""
        from tasks.problems.visual_question_answering.batches import Collator

        return Collator(processor, self.media)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent answer, and what a linear model of the question alone says."""
        from tasks.problems.common.baselines import tfidf_linear

        said = tfidf_linear(train["question"].to_list(), train["label"], test["question"].to_list())
        return {**super().baselines(train, test, targets), "question_tfidf_linear": said}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw what classification draws, some pictures with their questions, and the surest mistakes."""
        told = rows.select("image", "label", asked="question")
        drawn = self.galleries(told, predictions, "image", self.picture)
        return {**drawn, **super().draw(predictions, rows, targets)}

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the answer is among the best, and as likely as the best."""
        scores = (served[0]["score"], float(predicted["confidence"]))
        of_it = [one["score"] for one in served if one["answer"] == predicted["predicted"]]
        return any(np.allclose(score, scores, rtol=0, atol=SAME_SCORE) for score in of_it)


PROBLEM = VisualQuestionAnswering
