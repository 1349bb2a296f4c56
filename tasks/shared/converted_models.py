"""A base model in another format, made once into a folder like any other model's."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError
from tasks.shared.files import read_json, write_json

# what stands here was made from what its name says, and can be made again
BASES = Path(".retrain/bases")
ORIGIN = "origin.json"


def once(source: Path, name: str, write: Callable[[Path], str], facts: dict[str, str]) -> Path:
    """Return the folder of this name, made by `write` if it is not there; it returns how that was done.

    source: what it is made from, for people. facts: what else is known of that, to be kept beside the model.
    Raises InputError when no model can be made.
    """
    folder = BASES / name
    if folder.exists():
        return folder
    from transformers.utils import logging

    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()
    try:
        how = write(part)
    except InputError:
        shutil.rmtree(part)
        raise
    except Exception as error:  # noqa: BLE001 - whatever is raised by a file that is not sound, or of a kind of model that is not known
        shutil.rmtree(part)
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(
            f"model.name: {source} cannot be made into a model: {said}; name another model"
        ) from None
    write_json(part / ORIGIN, {"base": how, **facts})
    try:
        part.rename(folder)
    except OSError:
        # another stage has just made it
        shutil.rmtree(part)
    return folder


def origin(folder: Path) -> dict[str, Any]:
    """Return how a base model's folder was made, where we have made it: {"base": "dequantised from Q4_1"}."""
    file = folder / ORIGIN
    return {"base": read_json(file)["base"]} if folder.parent == BASES and file.exists() else {}
