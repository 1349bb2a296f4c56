"""The model in production, kept where a run compares its own with it: the package, and the rows it knows.

A run names it by the SHA-256 of its package (`promote.champion`), as `model.revision` names a base model.
What is kept can be made again, from DVC's cache.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest, made_once, read_json, sha256

# of the splits that it was made of, those that it was trained and selected on
KNOWN = ("train.parquet", "validation.parquet")
PARAM = "promote.champion"


@dataclass(frozen=True)
class Champion:
    """A package, and the folder of the splits that it was trained and selected on.

    params: those that it was made with, as its provenance.json has them.
    """

    package: Path
    splits: Path
    params: Mapping[str, Any]

    def tables(self) -> list[Path]:
        """Return the tables of the rows that it knows."""
        return [self.splits / name for name in KNOWN]


def folder(digest: str) -> Path:
    """Return where the splits of the package with this digest are kept; it lies beside them."""
    package = base_models.warm_folder(digest)
    return package.with_name(f"{package.name}-splits")


def is_kept(digest: str) -> bool:
    """Return whether all of it is there; `fetch` looks whether it is whole."""
    return base_models.warm_folder(digest).exists() and folder(digest).exists()


def keep(package: Path, splits: Path) -> str:
    """Keep a package and the splits that it was made of, and return its digest.

    Raises InputError when it is no sound model.
    """
    digest = base_models.keep_package(package, PARAM)

    def copy(part: Path) -> None:
        for name in KNOWN:
            shutil.copyfile(splits / name, part / name)

    made_once(folder(digest), copy)
    return digest


def fetch(digest: str) -> Champion:
    """Return the champion with this digest.

    Raises InputError when it is not there, or is not what its digest and its provenance say.
    """
    if not is_kept(digest):
        missing = f"the champion {digest[:19]}... is not in {base_models.BASES}"
        raise InputError(f"{PARAM}: {missing}; `retrain run` gets it out of the DVC cache")
    package, splits = base_models.warm_folder(digest), folder(digest)
    try:
        its = read_json(package / base_models.PROVENANCE)
        params, made_of = dict(its["params"]), its["data"]["splits"]
        is_whole = f"sha256:{folder_digest(package)}" == digest
        is_whole &= all(sha256(splits / name) == made_of[name] for name in KNOWN)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        damaged = f"what is kept of the champion {digest[:19]}... is not what it was made of"
        raise InputError(f"{PARAM}: {damaged}; remove {package} and {splits}, and `retrain run` gets it anew")
    return Champion(package, splits, params)
