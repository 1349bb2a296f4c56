"""Data sets on the Hugging Face hub: which commit a revision is, and the files of that commit.

No code of theirs runs.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import funcy

from tasks.shared.base_models import is_out_of_reach, may_pass
from tasks.shared.errors import InputError

HUB = "hf://"
DATASETS = "hf://datasets/"
# with 1, 2 and 4 seconds in between
TRIES = 4
COMMIT = re.compile("[0-9a-f]{40}")
# a branch of the hub's own in which the files are Parquet
CONVERTED = re.compile(r"refs/(convert/\w+|pr/\d+)")
# of a whole data set: code, pickles and pages, which are no data
NO_DATA = (
    *("*.py", "*.ipynb", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.bin"),
    *("README*", "LICENSE*", "LICENCE*", "dataset_infos.json"),
)


@dataclass(frozen=True)
class HubData:
    """A data set of the hub, or some of its files.

    files: a file, a folder, or a pattern of files; empty: all that is data.
    """

    repository: str
    revision: str
    files: str

    @property
    def name(self) -> str:
        """The data set's name without its owner."""
        return self.repository.partition("/")[2]

    @property
    def title(self) -> str:
        """How it is called in sentences."""
        return f"{DATASETS}{self.repository}@{self.revision}"


def is_hub(source: str) -> bool:
    """Return whether a source lies on the hub."""
    return source.startswith(HUB)


def parsed(source: str) -> HubData:
    """Return what hf://datasets/OWNER/NAME@REVISION/FILES names; without a revision that is main.

    A slash in a revision is written %2F. Raises InputError for what is no data set.
    """
    owner, _, rest = source.removeprefix(DATASETS).partition("/")
    head, _, files = rest.partition("/")
    name, at, revision = head.partition("@")
    if at and revision == "refs" and (whole := CONVERTED.match(f"refs/{files}")):
        revision, files = whole[0], f"refs/{files}"[len(whole[0]) + 1 :]
    is_named = source.startswith(DATASETS) and owner and name and not (at and not revision)
    if not is_named or "@" in owner:
        shape = "hf://datasets/OWNER/NAME@REVISION, or with /FILES behind"
        raise InputError(f"'{source}' names no data set on the Hugging Face hub; write {shape}")
    return HubData(f"{owner}/{name}", unquote(revision) or "main", files.strip("/"))


def commit_of(data: HubData) -> str:
    """Return the commit that a revision is now; a commit is itself, and nobody is asked."""
    if COMMIT.fullmatch(data.revision):
        return data.revision
    return str(
        _asked(data, lambda hub: hub.HfApi().dataset_info(data.repository, revision=data.revision).sha)
    )


def fetch(data: HubData, commit: str, folder: Path) -> None:
    """Download the files of a commit into a folder, under their own names.

    Raises InputError when there is no such file, or the hub cannot be asked.
    """
    info = _asked(data, lambda hub: hub.HfApi().dataset_info(data.repository, revision=commit))
    names = _wanted(data, [file.rfilename for file in info.siblings or ()])
    how = {"repo_type": "dataset", "revision": commit, "local_dir": folder}

    def download(hub: Any) -> None:
        for name in names:
            hub.hf_hub_download(data.repository, name, **how)

    # what is there already is not downloaded again when it is tried once more
    _asked(data, download)
    # what the library notes beside them
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _wanted(data: HubData, names: list[str]) -> list[str]:
    """Return the files to fetch, sorted: those that are named, or all that may be data; no hidden ones.

    Raises InputError when there is none, or one leads out of the folder that it shall stand in.
    """
    from huggingface_hub.utils import filter_repo_objects

    outside = [
        name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    ]
    if outside:
        raise InputError(
            f"{data.title} has a file '{outside[0]}', which leads out of its folder; nothing is fetched"
        )
    seen = [
        name for name in sorted(names) if not any(part.startswith(".") for part in PurePosixPath(name).parts)
    ]
    if data.files:
        found = [*filter_repo_objects(seen, allow_patterns=[data.files, f"{data.files}/*"])]
    else:
        found = [*filter_repo_objects(seen, ignore_patterns=[*NO_DATA])]
    if not found:
        has = f"it has {', '.join(seen[:8])}" if seen else "it has none"
        raise InputError(f"{data.title} has no file {data.files or 'with data'}; {has}")
    return found


def _asked(data: HubData, call: Callable[[Any], Any]) -> Any:
    """Call the hub and turn its failures into sentences.

    HF_TOKEN, HF_HOME and HF_HUB_OFFLINE count as everywhere.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return funcy.retry(TRIES, filter_errors=may_pass, timeout=lambda attempt: 2**attempt)(call)(hub)
    except errors.GatedRepoError:
        raise InputError(
            f"{data.title} asks for permission; request it on its hub page and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{data.title}: the data set has no revision '{data.revision}' on the hub") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        remedy = "check the spelling, or set HF_TOKEN if it is private"
        raise InputError(
            f"there is no data set '{data.repository}' on the Hugging Face hub; {remedy}"
        ) from None
    except Exception as error:
        if not is_out_of_reach(error):
            raise
        reach = f"the Hugging Face hub is out of reach ({type(error).__name__})"
        raise InputError(
            f"{data.title} cannot be fetched: {reach}; connect, or give a local file or folder"
        ) from None
