"""Which raw files `data` names: those in the folder that can be read, and no other without a word."""

import json
from dataclasses import dataclass
from pathlib import Path

from tasks.ingest.formats import ENDINGS
from tasks.ingest.rows import Wanted
from tasks.shared.entries import is_hidden, matching, refuse_endless, refuse_odd_name, refuse_outside
from tasks.shared.errors import InputError
from tasks.shared.params import Data

# what keeps a folder's records is no data, and nobody looks for it
OURS = (".gitignore", ".gitkeep", ".dvcignore")
# what `save_to_disk` of `datasets` writes beside the rows
SAVED = ("dataset_info.json", "state.json")
SAVED_SPLITS = "dataset_dict.json"


@dataclass(frozen=True)
class File:
    """A raw file: its split (None: not predefined), its name, where it is, the JSON field with the rows."""

    split: str | None
    name: str
    path: Path
    field: str | None = None


def raw_files(params: Data, wanted: Wanted) -> tuple[list[File], dict[str, str]]:
    """Return the files in a fixed order, and for each one in the folder that is passed over the reason.

    Raises InputError where there is none, where one is in two splits, and for a link that leads out of the
    folder: what it leads to is not in the stage's key.
    """
    root = Path(params.path)
    if not root.exists():
        missing = f"there is no file or folder '{root}'"
        raise InputError(f"data.path: {missing}; give an existing one with --data.path")
    patterns = {"train": params.train_file, "validation": params.validation_file, "test": params.test_file}
    predefined = {split: pattern for split, pattern in patterns.items() if pattern}
    refuse_odd_name(root)
    refuse_endless(root)
    if root.is_file():
        return _parts(root, predefined, params), {}
    if not predefined and not params.files:
        return _whole_folder(root, params, wanted)
    files = []
    picked: list[tuple[str | None, str]] = [*predefined.items()] or [(None, params.files or "")]
    for split, pattern in picked:
        glob, _, field = pattern.partition("#")
        param = f"data.{split}_file" if split else "data.files"
        if Path(glob).is_absolute() or ".." in Path(glob).parts:
            raise InputError(f"{param}: '{glob}' leaves the folder data.path '{root}'; name files inside it")
        found = matching(root, glob, param, wanted.media_endings)
        if not found:
            missing = f"no file in '{root}' matches '{glob}'"
            known = ", ".join([*ENDINGS, *wanted.media_endings])
            raise InputError(f"data.path: {missing}; known endings: {known}")
        if "**" in glob:
            refuse_linked_folders(root)
        for path in found:
            if not wanted.is_media(path):
                refuse_outside(path, root)
            name = path.relative_to(root).as_posix()
            keys = _keys(field)
            files += [File(split, f"{name}#{key}", path, key) for key in keys] or [File(split, name, path)]
    _refuse_in_two_splits(files)
    return files, {}


def _parts(root: Path, predefined: dict[str, str], params: Data) -> list[File]:
    """Return the one file that data.path names, or the lists of rows in it that are its splits."""
    if params.files or any(not pattern.startswith("#") for pattern in predefined.values()):
        raise InputError(
            f"data.path: '{root}' is one file, but data.files and data.*_file pick files in a folder; "
            "unset what is set of them, for example: --data.files none"
        )
    parts = []
    for split, pattern in predefined.items():
        parts += [File(split, f"{root.name}#{key}", root, key) for key in _keys(pattern[1:])]
    _refuse_in_two_splits(parts)
    return parts or [File(None, root.name, root)]


def _refuse_in_two_splits(files: list[File]) -> None:
    """Raise InputError for a file, or a list of rows in one, that is trained on and tested."""
    first: dict[tuple[Path, str | None], File] = {}
    for file in files:
        other = first.setdefault((file.path.resolve(), file.field), file)
        if other.split != file.split:
            both = f"data.{other.split}_file and data.{file.split}_file both match '{file.name}'"
            raise InputError(f"{both}, so its rows would be in two splits; have one of them leave it out")


def _keys(field: str) -> list[str]:
    """Return the keys of the lists in a JSON file that together are a split: `train+more` names two."""
    return field.split("+") if field else []


def _whole_folder(root: Path, params: Data, wanted: Wanted) -> tuple[list[File], dict[str, str]]:
    """Return every file of a known format, each once, and why the others are passed over.

    Pictures and sounds are rows of their own only where there is no table, which would name them.
    """
    refuse_linked_folders(root)
    passed_over: dict[str, str] = {}
    readable: list[Path] = []
    pictures: list[Path] = []
    saved = _saved_rows(root)
    for path in sorted(root.glob("**/*")):
        refuse_odd_name(path)
        relative = path.relative_to(root)
        about = (*SAVED, SAVED_SPLITS) if path.parent in saved else (SAVED_SPLITS,)
        if path.name in (*OURS, *about) or path.suffix == ".dvc" or path.is_dir():
            continue
        if wanted.is_media(path) and not is_hidden(relative):
            pictures.append(path)
        elif why := _unread(path, relative, saved, params):
            passed_over[relative.as_posix()] = why
        else:
            refuse_outside(path, root)
            readable.append(path)
    readable = readable or pictures
    splits = _saved_splits(root)
    # a file that is linked to is read once, under its own name
    own = {path.resolve(): path for path in sorted(readable, key=lambda path: not path.is_symlink())}
    files = []
    for path in readable:
        name = path.relative_to(root).as_posix()
        if own[path.resolve()] == path:
            files.append(File(splits.get(path.parent), name, path))
        else:
            passed_over[name] = f"a link to {own[path.resolve()].relative_to(root).as_posix()}, which is"
    if not files:
        known = ", ".join([*ENDINGS, *wanted.media_endings])
        raise InputError(f"data.path: no file in '{root}' can be read; known endings: {known}")
    return files, passed_over


def _unread(path: Path, name: Path, saved: dict[Path, set[str]], params: Data) -> str | None:
    """Return why a file is passed over, or None when it is read."""
    if is_hidden(name):
        return "hidden"
    if path.is_symlink() and not path.exists():
        raise InputError(f"{name}: a link to {path.readlink()}, which is not there; mend or remove it")
    if not path.is_file():
        return "no regular file"
    if path.parent in saved:
        return None if path.name in saved[path.parent] else "not among the rows that `datasets` saved"
    if path.suffix.lower() not in ENDINGS and params.format == "auto":
        return "no ending of a known format"
    return None


def _saved_rows(root: Path) -> dict[Path, set[str]]:
    """Return the folders that `save_to_disk` has written, and the names of the files that hold their rows."""
    saved = {}
    for state in root.glob("**/state.json"):
        if all((state.parent / name).is_file() for name in SAVED):
            try:
                files = json.loads(state.read_text("utf-8"))["_data_files"]
                saved[state.parent] = {file["filename"] for file in files}
            except (ValueError, KeyError, TypeError, RecursionError):
                other = f"{state.relative_to(root)}: not what save_to_disk of datasets writes"
                raise InputError(f"{other}; name the files to read with --data.files") from None
    return saved


def _saved_splits(root: Path) -> dict[Path, str]:
    """Return the split that each folder in a `DatasetDict` holds, as `save_to_disk` has written it."""
    file = root / SAVED_SPLITS
    if not file.is_file():
        return {}
    try:
        return {root / name: str(name) for name in json.loads(file.read_text("utf-8"))["splits"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        other = f"{file.name}: not what save_to_disk of datasets writes"
        raise InputError(f"{other}; name the files to read with --data.files") from None


def refuse_linked_folders(root: Path) -> None:
    """Raise InputError for a linked folder that leads out of the folder."""
    for path in sorted(root.glob("**/*")):
        if path.is_symlink() and path.is_dir() and not is_hidden(path.relative_to(root)):
            refuse_outside(path, root)
