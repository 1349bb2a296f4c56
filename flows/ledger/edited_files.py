"""A checkout as it would be with other text in some of its files, which nobody writes."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from dvc.fs import LocalFileSystem


class EditedFiles(LocalFileSystem):
    """The local files, some of them with other text: by absolute path."""

    def __init__(self, texts: Mapping[Path, str]) -> None:
        super().__init__()
        self.texts = {str(path): text for path, text in texts.items()}

    def open(self, path: str, mode: str = "r", **kwargs: Any) -> IO[Any]:
        """Open the other text for reading, or the file that is there."""
        # DVC names files by strings
        text = self.texts.get(os.path.abspath(path))  # noqa: PTH100
        if text is not None:
            return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)
        opened: IO[Any] = super().open(path, mode, **kwargs)
        return opened
