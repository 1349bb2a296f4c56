"""The data of a run: where it lies, whether it is versioned, and bringing it into data/raw under DVC."""

import os
import shlex
import stat
import time
from pathlib import Path

from flows.git.commands import names
from flows.ledger.sources import (
    Pattern,
    expand_home,
    is_url,
    leads_out,
    name_in_raw,
    pattern_in,
    refuse_around,
)
from tasks.shared.entries import refuse_odd_entries
from tasks.shared.errors import InputError, refuse_secret
from tasks.shared.params import Params
from tasks.shared.say import Say


def located(params: Params, checkout: Path, home: Path, *, isolated: bool) -> tuple[Params, str | None]:
    """Return the params, a pattern in data.path split off into data.files, and where to import the data from.

    None: it is inside. Of a pattern, only what matches is imported. Raises InputError when there is no such
    data.
    """
    given = expand_home(params.data.path, home)
    pattern = pattern_in(given, home)
    path = given if pattern is None else str(pattern.folder)
    if pattern is not None and (params.data.train_file or params.data.test_file):
        remedy = f"give the folder: --data.path {shlex.quote(path)}"
        others = "data.train_file and data.test_file pick files in a folder"
        raise InputError(f"data.path: '{given}' is a pattern, but {others}; {remedy}")
    params = with_data(params, path=path, **({"files": pattern.glob} if pattern else {}))
    outside = leads_out(path, home)
    if not is_url(path) and not (outside and pattern):
        refuse_around(home / path, home)
        # what files are picked by name may stand beside links that nobody follows
        refuse_odd_entries(home / path, links=not (params.data.files or params.data.train_file))
    # an isolated run takes along what is not ignored
    new = ("--cached", "--others", "--exclude-standard")
    if outside or (isolated and (home / path).exists() and not _versioned(checkout, path, *new)):
        return params, given if is_url(given) else str(home / given)
    if pattern is not None and (home / path).is_dir():
        Pattern(home / path, pattern.glob).matches()
    elif not (checkout / path).exists() and not under_dvc(checkout, path):
        raise InputError(
            f"data.path: there is no file or folder '{given}'; give an existing one with --data.path"
        )
    return params, None


def with_data(params: Params, **changes: str) -> Params:
    """Return the params with other data."""
    return params.model_copy(update={"data": params.data.model_copy(update=changes)})


def imported(params: Params, source: str | None, checkout: Path, say: Say) -> Params:
    """Import data from its source outside the repository under DVC; warn of data that nothing versions."""
    if source is not None:
        return with_data(params, path=add(source, None, checkout, say))
    if not _versioned(checkout, path := params.data.path):
        why = "so nobody can rebuild this model without it; `git add` it or `retrain add` it"
        say(f"warning: {path} is tracked neither by Git nor by DVC, {why}")
    return params


def update(params: Params, checkout: Path, say: Say) -> None:
    """Take in the newer state of imported data, as `dvc update` does."""
    from flows.ledger.data import update_data
    from flows.ledger.stages import Ledger

    for record in update_data(Ledger(checkout, say=say), params.data.path):
        say(f"{record}: its source has changed; took in its newer state")


def add(source: str, name: str | None, checkout: Path, say: Say) -> str:
    """Bring a file, folder or URL into data/raw under DVC; return its path in the repository."""
    from flows.ledger.data import import_data
    from flows.ledger.stages import Ledger

    source = expand_home(refuse_secret(source), Path())
    if not is_url(source) and pattern_in(source, Path()) is None:
        refuse_around(Path(source), checkout)
    name = name_in_raw(source, name)
    began = time.monotonic()
    new = import_data(Ledger(checkout, say=say), source, name)
    seconds = time.monotonic() - began
    place = f"data/raw/{name}"
    how = "now" if new else "unchanged"
    say(f"{source} is {how} in {place}, under DVC ({seconds:.1f} s); commit {place}.dvc to Git")
    return place


def warn_of_readers(data: Path, checkout: Path, say: Say) -> None:
    """Say so when data that only its owner may read is about to be read into a checkout that others can."""
    is_private = data.exists() and not data.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    if is_private and all(folder.stat().st_mode & stat.S_IXOTH for folder in (checkout, *checkout.parents)):
        remedy = f"chmod 700 {shlex.quote(str(checkout))}"
        say(f"warning: only you may read {data}, but everybody what stages write into {checkout}: {remedy}")


def _versioned(checkout: Path, path: str, *which: str) -> bool:
    """Return whether DVC tracks the path or a folder above it, or Git tracks it (or, by `which`, would)."""
    inside = os.path.relpath(checkout / path, checkout)
    known = names(checkout, "--literal-pathspecs", "ls-files", "-z", *which, "--", inside)
    # of a repository inside this one, Git names just the folder
    return under_dvc(checkout, inside) or any(not (checkout / name).is_dir() for name in known)


def under_dvc(checkout: Path, path: str) -> bool:
    """Return whether `dvc add` or `dvc import-url` has put the path, or a folder above it, under DVC."""
    return any((checkout / f"{part}.dvc").exists() for part in (Path(path), *Path(path).parents) if part.name)
