"""A base model in another format, made once into a folder like any other model's."""

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError, is_memory_full
from tasks.shared.files import made_once, read_json, sha256, write_json

# what stands here was made from what its name says, and can be made again
BASES = Path(".retrain/bases")
ORIGIN = "origin.json"
# whose arithmetic and formats decide what is made
LIBRARIES = ("numpy", "safetensors", "tokenizers", "torch", "transformers")


def once(
    source: Path, name: str, write: Callable[[Path], str], facts: dict[str, str], code: Sequence[str]
) -> Path:
    """Return a folder that is made by `write` if it is not there; it returns how that was done.

    source: what it is made from, for people. name: its name in front of what decides how it is made: `code`,
    the files of source, and the versions of LIBRARIES. facts: what else is known of the source, to be kept
    beside the model. Raises InputError when no model can be made.
    """

    def make(part: Path) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            how = write(part)
        except Exception as error:
            # whatever is raised by a file that is not sound, or of a kind of model that is not known
            if isinstance(error, InputError) or is_memory_full(error):
                raise
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise InputError(
                f"model.name: {source} cannot be made into a model: {said}; name another model"
            ) from None
        write_json(part / ORIGIN, {"base": how, **facts})

    return made_once(BASES / f"{name}-{_made_by(code)}", make)


def _made_by(code: Sequence[str]) -> str:
    """Return 16 hex digits for what makes a folder: files of source, this one too, and LIBRARIES."""
    sources = [sha256(Path(file)) for file in (*code, __file__)]
    text = json.dumps([sources, [metadata.version(library) for library in LIBRARIES]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def origin(folder: Path) -> dict[str, Any]:
    """Return how a base model's folder was made, where we have made it: {"base": "dequantised from Q4_1"}."""
    file = folder / ORIGIN
    return {"base": read_json(file)["base"]} if folder.parent == BASES and file.exists() else {}
