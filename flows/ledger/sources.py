"""Where data comes from: a path, a pattern of local files, or a URL; and what it is called in data/raw."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.ledger import hub
from tasks.shared.entries import matching, refuse_odd_entries, refuse_outside
from tasks.shared.errors import InputError

SIGNS = "*?["
# bytes of a name in data/raw, to which DVC adds endings
LONGEST = 200
# what the first stage makes of the data
WRITTEN = "data/ingested"


@dataclass(frozen=True)
class Pattern:
    """Those files of a folder that a glob matches. Hidden ones are left out, as ingest leaves them out."""

    folder: Path
    glob: str

    def __str__(self) -> str:
        return str(self.folder / self.glob)

    def matches(self) -> list[Path]:
        """Return the files that match, sorted; raise InputError when none does."""
        found = (
            matching(self.folder, self.glob, str(self.folder)) if ".." not in Path(self.glob).parts else []
        )
        if not found:
            raise InputError(
                f"no file matches '{self}', and there is no file or folder of that name; give an existing one"
            )
        for path in found:
            refuse_outside(path, self.folder)
        return found


def leads_out(source: str, root: Path) -> bool:
    """Return whether a source lies outside the repository.

    data/raw may itself be a link, to a larger disk: what is in it is inside.
    """
    raw = root / "data/raw"
    if raw.is_symlink() and Path(os.path.normpath(root / source)).is_relative_to(raw):
        return False
    return is_url(source) or not (root / source).resolve().is_relative_to(root)


def is_url(source: str) -> bool:
    """Return whether a source is a URL, which is taken as it stands: its `?`, `*` and `[` are no pattern."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def expand_home(source: str, where: Path) -> str:
    """Return the source with a leading `~` read as a shell reads it, unless something is called so."""
    return source if is_url(source) or _is_there(where / source) else os.path.expanduser(source)  # noqa: PTH111


def _is_there(path: Path) -> bool:
    """Return whether something is at a path; raise InputError where nobody can look."""
    try:
        return path.exists()
    except OSError as error:
        remedy = "give the path of a file or folder that you may read"
        raise InputError(f"'{path}' cannot be looked at ({error.strerror}); {remedy}") from None


def pattern_in(source: str, where: Path) -> Pattern | None:
    """Return the pattern that a path relative to `where` is; None for a URL, and for what is there."""
    if is_url(source) or _is_there(where / source):
        return None
    parts = Path(source).parts
    for number, part in enumerate(parts):
        # a folder may have such signs in its name too
        if any(sign in part for sign in SIGNS) and not (where / Path(*parts[: number + 1])).exists():
            return Pattern(Path(*parts[:number]), str(Path(*parts[number:])))
    return None


def name_in_raw(source: str, name: str | None = None) -> str:
    """Return what a source is called in data/raw; raise InputError when it is not there or misnamed."""
    pattern = pattern_in(source, Path())
    if pattern is not None:
        pattern.matches()
    elif not is_url(source):
        if not Path(source).exists():
            raise InputError(
                f"there is no file or folder '{source}' to bring in; give an existing path or a URL"
            )
        refuse_odd_entries(Path(source))
    name = name or _last_part(source if pattern is None else str(pattern.folder.resolve()))
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(os.fsencode(name)) > LONGEST:
        raise InputError(
            f"'{name}' cannot name a folder entry in data/raw; give a plain name: `{to_add(source)}`"
        )
    return name


def refuse_around(path: Path, checkout: Path) -> None:
    """Raise InputError for a folder in which the checkout writes: data that holds its results would grow."""
    if (checkout / WRITTEN).resolve().is_relative_to(path.resolve()):
        remedy = "give a folder or files in it"
        raise InputError(f"'{path}' holds what runs write ({WRITTEN}), so it cannot be their data; {remedy}")


def to_add(source: str) -> str:
    """Return the command that brings a source in under another name, as it is to be typed."""
    return f"retrain add {shlex.quote(source)} NAME"


def _last_part(source: str) -> str:
    """Return the last part of a path or URL: of a web address without its query and fragment, and decoded."""
    if not is_url(source):
        return Path(source).name or Path(source).resolve().name
    if hub.is_hub(source):
        return hub.parsed(source).name
    address = urlsplit(source)
    if address.scheme.lower() in ("http", "https"):
        return unquote(address.path.rstrip("/").rpartition("/")[2])
    return source.rstrip("/").rpartition("/")[2]
