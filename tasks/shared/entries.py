"""What stands in a folder besides files: pipes, devices, links that lead out, names that are no text."""

import os
import re
import shlex
import stat
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from tasks.shared.errors import InputError, readable

# DVC passes over them in any folder
PASSED_OVER = (".git", ".hg", ".dvc")
# alternatives without others inside
BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_odd_entries(place: Path, *, links: bool = True, within: Path | None = None) -> None:
    """Raise InputError for an entry in or at `place` that cannot be read to an end, kept by DVC, or trusted.

    links: refuse also a link that leads out of `within`, without which that is `place`; DVC would follow it.
    """
    refuse_odd_name(place)
    refuse_endless(place)
    for path in _below(place) if place.is_dir() else ():
        refuse_odd_name(path)
        if path.is_symlink():
            refuse_broken_link(path)
            if links:
                refuse_outside(path, place, within)
        if not path.is_dir():
            refuse_endless(path)


def _below(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder, to any depth; no link is followed."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"'{folder}' cannot be read ({error.strerror}); mend or remove it") from None
        for entry in entries:
            if entry.name not in PASSED_OVER:
                yield Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))


def refuse_odd_name(path: Path) -> None:
    """Raise InputError for a name that is not UTF-8: DVC can hash and keep no such file."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        message = f"DVC cannot read '{readable(str(path))}', whose name is not UTF-8; rename it"
        raise InputError(message) from None


def refuse_endless(path: Path) -> None:
    """Raise InputError for what is no file or folder: whoever reads a pipe or device may wait for ever."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); mend or remove it") from None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        what = KINDS.get(kind, "no file")
        endless = f"'{path}' is {what}, which cannot be read to an end"
        raise InputError(f"{endless}; remove it or move it elsewhere")


def refuse_broken_link(path: Path) -> None:
    """Raise InputError for a link to nothing, on which DVC stops."""
    if not path.exists():
        raise InputError(f"'{path}' is a link to {path.readlink()}, which is not there; mend or remove it")


def refuse_outside(path: Path, root: Path, within: Path | None = None) -> None:
    """Raise InputError when a link leads out of the folder; what one inside it leads to is read there."""
    target = path.resolve()
    if not target.is_relative_to((within or root).resolve()):
        copied = f"`cp -rL {shlex.quote(str(root))} NEW` makes a copy without links"
        raise InputError(
            f"{path.relative_to(root)}: leads to '{target}', out of '{root}', where its changes "
            "would not be seen; "
            f"remove it or copy what it leads to ({copied})"
        )


def is_hidden(path: Path) -> bool:
    """Return whether a path, relative to the folder of data, is hidden or in a hidden folder."""
    return any(part.startswith(".") for part in path.parts)


def matching(folder: Path, pattern: str, what: str, judged: Collection[str] = ()) -> list[Path]:
    """Return the files in a folder that a glob matches, sorted, hidden ones left out.

    Alternatives stand in braces, as in a shell: *_{[5-9],[1-4][0-9]}.wav. judged: endings of what is judged
    one by one later. Raises InputError for a glob that is none, as `what`, and any other match that is no
    file or folder.
    """
    try:
        every = set(chain.from_iterable(folder.glob(glob) for glob in _alternatives(pattern)))
        found = sorted(path for path in every if not is_hidden(path.relative_to(folder)))
    except Exception as error:  # noqa: BLE001 - Python has five kinds of error for a pattern that is none
        said = f"is no pattern of file names ({type(error).__name__})"
        raise InputError(f"{what}: '{pattern}' {said}; give one such as '*.csv' or '**/*.csv'") from None
    for path in found:
        refuse_odd_name(path)
        if path.suffix.lower() not in judged:
            refuse_endless(path)
    return [path for path in found if path.is_file() or path.suffix.lower() in judged]


def _alternatives(pattern: str) -> list[str]:
    """Return the globs that a pattern with alternatives in braces stands for."""
    braces = BRACES.search(pattern)
    if braces is None:
        return [pattern]
    globs = [pattern[: braces.start()] + one + pattern[braces.end() :] for one in braces[1].split(",")]
    return [*chain.from_iterable(map(_alternatives, globs))]
