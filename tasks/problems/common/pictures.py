"""What problems share whose rows have a picture, `image`, alone or beside texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Media, Problem
from tasks.problems.common import images
from tasks.problems.common.text import TextProblem
from tasks.shared.columns import inputs
from tasks.shared.params import Ingest

if TYPE_CHECKING:
    from PIL import Image


class PictureProblem(Problem):
    """A problem that is given pictures; its own params say `image_size`."""

    carried: tuple[str, ...] = ("image",)
    media_endings = images.ENDINGS

    def keep(self, content: bytes, params: Ingest) -> Media:
        """Return the picture upright, in 8 bits of grey or RGB."""
        return images.keep(content, params)

    def load_processor(self, folder: Path) -> Any:
        """Load an image processor as it was saved."""
        from tasks.problems.common import pretrained

        return pretrained.image_processor(folder)

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return each picture's file."""
        return [str(self.media / name) for name in rows["image"]]

    def picture(self, name: str) -> "Image.Image":
        """Return a picture of the rows, as figures show it."""
        return images.load(self.media / name)


class PictureTextProblem(PictureProblem, TextProblem):
    """A problem that is given a picture and texts; its processor holds an image processor and a tokenizer."""

    # transformers' class of the processor
    joined: str

    def join(self, pictures: Any, words: Any) -> Any:
        """Return the processor that holds both."""
        import transformers

        return getattr(transformers, self.joined)(image_processor=pictures, tokenizer=words)

    def load_processor(self, folder: Path) -> Any:
        """Load an image processor and a tokenizer as they were saved."""
        from tasks.problems.common import pretrained

        return self.join(pretrained.image_processor(folder), pretrained.saved_tokenizer(folder))

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return each picture's file, and the texts beside it."""
        given = rows.select(inputs(self.columns, rows)).iter_rows(named=True)
        return [{**row, "image": str(self.media / row["image"])} for row in given]
