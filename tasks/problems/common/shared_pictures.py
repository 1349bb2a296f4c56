"""Pictures of which many rows share each, read once for all of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.problems.common import pixels

if TYPE_CHECKING:
    from torch import Tensor

# bytes of pictures that are kept for rows to come
MEMORY = 256 * 2**20


class SharedPictures:
    """Makes pixel_values of the names of files below a folder."""

    def __init__(self, processor: Any, folder: Path) -> None:
        """Keep the pictures last seen, as an image processor resizes them."""

        def read(name: str) -> np.ndarray:
            return pixels.array(processor, {"image": name}, folder)

        self.collate = pixels.Collator(processor, folder)
        self.read = lru_cache(max(1, MEMORY // pixels.size(processor)))(read)

    def __call__(self, names: Sequence[str]) -> "Tensor":
        """Return pixel_values, (names, channels, height, width)."""
        different = list(dict.fromkeys(names))
        with ThreadPoolExecutor() as threads:
            known = dict(zip(different, threads.map(self.read, different), strict=True))
        found: Tensor = self.collate([{"pixels": known[name]} for name in names])["pixel_values"]
        return found
