"""Data from outside, brought into data/raw under DVC."""

from pathlib import Path

from dvc.dependency import Dependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage

from flows.ledger.experiments import experiments
from flows.ledger.remote import patiently
from flows.ledger.stages import Ledger, sentence
from flows.worktree import git
from tasks.errors import InputError


@patiently
def bring_in(ledger: Ledger, source: str, name: str) -> bool:
    """Import `source` (file, folder or URL) to data/raw/`name` under DVC, or update it when it came from there before.

    Returns whether the content is new. Raises InputError when data/raw/`name` is something else.
    """
    try:
        record = imported(ledger, source, name)
        if record is not None:
            before = record.read_text("utf-8")
            ledger.repo.update([str(record)])
            return record.read_text("utf-8") != before
        ledger.repo.imp_url(source if "://" in source else str(Path(source).resolve()), out=str(Path(ledger.repo.root_dir, "data/raw", name)))
    except DvcException as error:
        raise InputError(f"cannot bring in {source}: {sentence(error)}") from None
    return True


def imported(ledger: Ledger, source: str, name: str) -> Path | None:
    """The .dvc file of data/raw/`name` if it came from `source` before, None if there is none; raise InputError if something else is there."""
    target = Path(ledger.repo.root_dir, "data/raw", name)
    record = target.with_name(target.name + ".dvc")
    url = source if "://" in source else str(Path(source).resolve())
    if record.exists():
        (stage,) = ledger.repo.stage.load_all(str(record))
        known = stage.deps[0].def_path if stage.is_import else "dvc add"
        if known != url and (target.parent / known).resolve() != Path(url):
            raise InputError(f"data/raw/{name} comes from {known} already; choose another name: retrain add {source} NAME")
        return record
    if target.exists():
        raise InputError(f"data/raw/{name} exists already; choose another name: retrain add {source} NAME")
    return None


@patiently
def content_of_source(ledger: Ledger, path: str) -> str:
    """Return what identifies the content that a run on `path` would take in now: a hash or, of a URL, what its store says of it (an ETag).

    Raises InputError when there is no such data, or it cannot be reached.
    """
    root = Path(ledger.repo.root_dir)
    origins = [stage.deps[0] for stage in _imports(ledger, path)]
    try:
        if not origins:
            outside = "://" in path or not (root / path).resolve().is_relative_to(root)
            origins = [Dependency(None, path if outside else str(root / path), repo=ledger.repo)]
        return " ".join(str(origin.get_hash().value) for origin in origins)
    except (DvcException, FileNotFoundError) as error:
        raise InputError(f"data.path: cannot look at {path}: {sentence(error)}") from None


@patiently
def take_in_newer(ledger: Ledger, path: str) -> list[str]:
    """Bring imported data at `path` to its source's present state, as `dvc update` does; return the .dvc files that changed.

    When an experiment has brought in that very state before, its record is taken over, so that nothing is copied twice.
    """
    root = Path(ledger.repo.root_dir)
    changed = []
    try:
        for stage in _imports(ledger, path):
            if stage.deps[0].changed_checksum():
                record = Path(stage.path)
                if not _taken_in_before(ledger, record):
                    ledger.repo.update([str(record)])
                changed.append(str(record.relative_to(root)))
    except (DvcException, FileNotFoundError) as error:
        raise InputError(f"data.path: cannot take in the newer state of {path}: {sentence(error)}") from None
    return changed


def _imports(ledger: Ledger, path: str) -> list[Stage]:
    """Return the .dvc files that have imported what lies at, above or below `path`."""
    place = Path(ledger.repo.root_dir, path)
    found = [stage for stage in ledger.repo.index.stages if stage.is_import]
    return [stage for stage in found if place.is_relative_to(out := stage.outs[0].fs_path) or Path(out).is_relative_to(place)]


def _taken_in_before(ledger: Ledger, record: Path) -> bool:
    """Put an experiment's version of a .dvc file in place, if there is one that names the source's present state and the cache holds it."""
    root = Path(ledger.repo.root_dir)
    mine = record.read_text("utf-8")
    tried = {mine}
    for experiment in experiments(root):
        try:
            theirs = git(root, "show", f"{experiment.commit}:{record.relative_to(root)}") + "\n"
        except InputError:
            continue
        if theirs not in tried:
            tried.add(theirs)
            record.write_text(theirs, encoding="utf-8")
            (stage,) = ledger.repo.stage.load_all(str(record))
            if not stage.deps[0].changed_checksum() and not stage.outs[0].changed_cache():
                return True
    record.write_text(mine, encoding="utf-8")
    return False


def refuse_changed_data(home: Path, path: str) -> None:
    """Raise InputError when the data at `path` has changed since DVC recorded it: a worktree would not see that."""
    with Repo(str(home)) as repo:
        for stage in repo.index.stages:
            for output in stage.outs if stage.is_data_source else ():
                if (home / path).is_relative_to(output.fs_path) and output.exists and output.changed_checksum():
                    raise InputError(f"{output} has changed since DVC recorded it; `dvc add {output}` records it as it is now")
