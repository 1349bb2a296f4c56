"""Data from outside, brought into data/raw under DVC."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dvc.dependency import Dependency
from dvc.exceptions import DvcException
from dvc.stage import Stage

from flows.ledger.experiments import experiments
from flows.ledger.names import refuse_forged
from flows.ledger.remote import patiently
from flows.ledger.stages import Ledger, sentence
from flows.sources import Pattern, at_home, is_url, leads_out, pattern_in, to_add
from flows.worktree import git
from tasks.entries import refuse_odd_entries
from tasks.errors import InputError

SOURCE = "source"  # what the `meta` of a .dvc file calls the pattern whose matches it holds


@patiently
def bring_in(ledger: Ledger, source: str, name: str) -> bool:
    """Import `source` (file, folder, pattern or URL) to data/raw/`name` under DVC, or update what came from there.

    Returns whether the content is new. Raises InputError when data/raw/`name` is something else.
    """
    pattern = pattern_in(source, Path())
    try:
        record = imported(ledger, source, name)
        if pattern is not None:
            return _bring_in_matches(ledger, pattern, Path(ledger.repo.root_dir, "data/raw", name))
        if record is not None:
            before = record.read_text("utf-8")
            ledger.repo.update([str(record)])
            return record.read_text("utf-8") != before
        ledger.repo.imp_url(_whole(source), out=str(Path(ledger.repo.root_dir, "data/raw", name)))
    except DvcException as error:
        raise InputError(f"cannot bring in {source}: {sentence(error)}") from None
    return True


def _bring_in_matches(ledger: Ledger, pattern: Pattern, target: Path) -> bool:
    """Copy the files that match to the folder `target`, put it under DVC, and return whether the content is new.

    DVC imports a file or a whole folder, so the .dvc file keeps the pattern under `meta`, where DVC leaves it.
    """
    record = target.with_name(target.name + ".dvc")
    before = record.read_text("utf-8") if record.exists() else None
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".arriving-") as arriving:
        for file in pattern.matches():
            copy = Path(arriving, target.name, file.relative_to(pattern.folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        shutil.rmtree(target, ignore_errors=True)
        Path(arriving, target.name).replace(target)
    (stage,) = ledger.repo.add([str(target)])
    stage.meta = {SOURCE: _whole(str(pattern))}
    stage.dump()
    return record.read_text("utf-8") != before


def _whole(source: str) -> str:
    """Return a source so that it means the same from every folder."""
    if is_url(source):
        return source
    pattern = pattern_in(source, Path())
    return str(Path(source).resolve()) if pattern is None else str(Pattern(pattern.folder.resolve(), pattern.glob))


def imported(ledger: Ledger, source: str, name: str) -> Path | None:
    """The .dvc file of data/raw/`name` if it came from `source` before, None if there is none; raise InputError if something else is there."""
    target = Path(ledger.repo.root_dir, "data/raw", name)
    if target.parent.is_symlink():
        raise InputError(
            f"data/raw is a link to {target.parent.resolve()}, and DVC brings nothing into a linked folder; "
            "run on what is in it without --isolated, or make data/raw a folder"
        )
    record = target.with_name(target.name + ".dvc")
    url = _whole(source)
    if record.exists():
        (stage,) = refuse_forged(ledger.repo.stage.load_all(str(record)))
        known = stage.deps[0].def_path if stage.is_import else (stage.meta or {}).get(SOURCE, "dvc add")
        if known != url and (target.parent / known).resolve() != Path(url):
            raise InputError(f"data/raw/{name} comes from {known} already; choose another name: `{to_add(source)}`")
        return record
    if target.exists():
        raise InputError(f"data/raw/{name} exists already; choose another name: `{to_add(source)}`")
    return None


@patiently
def content_of_source(ledger: Ledger, path: str) -> str:
    """Return what identifies the content that a run on `path` would take in now: a hash or, of a URL, what its store says of it (an ETag).

    Raises InputError when there is no such data, or it cannot be reached.
    """
    root = Path(ledger.repo.root_dir)
    path = at_home(path, root)
    origins = [stage.deps[0] for stage in _imports(ledger, path)]
    patterns = [pattern for pattern in (pattern_in(path, root), *_patterns(ledger, path).values()) if pattern]
    try:
        files = [str(root / file) for pattern in patterns for file in Pattern(root / pattern.folder, pattern.glob).matches()]
        if not origins and not files:
            outside = leads_out(path, root)
            files = [path if outside else str(root / path)]
        origins += [Dependency(None, file, repo=ledger.repo) for file in files]
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
        for record, pattern in _patterns(ledger, path).items():
            if _bring_in_matches(ledger, pattern, record.with_suffix("")):
                changed.append(str(record.relative_to(root)))
    except (DvcException, FileNotFoundError) as error:
        raise InputError(f"data.path: cannot take in the newer state of {path}: {sentence(error)}") from None
    return changed


def _imports(ledger: Ledger, path: str) -> list[Stage]:
    """Return the .dvc files that have imported what lies at, above or below `path`.

    Raises InputError when what they come from has turned into something that cannot be read to an end.
    """
    found = [stage for stage in _sources(ledger, path) if stage.is_import]
    for stage in found:
        if stage.deps[0].fs.protocol == "local":
            refuse_odd_entries(Path(stage.deps[0].fs_path))
    return found


def _patterns(ledger: Ledger, path: str) -> dict[Path, Pattern]:
    """Return the patterns whose matches lie at, above or below `path`, by the .dvc files that hold them."""
    found = {}
    for stage in _sources(ledger, path):
        pattern = pattern_in((stage.meta or {}).get(SOURCE, ""), Path())
        if pattern is not None:
            found[Path(stage.path)] = pattern
    return found


def _sources(ledger: Ledger, path: str) -> list[Stage]:
    place = Path(ledger.repo.root_dir, path)
    found = [stage for stage in ledger.all_stages() if stage.is_data_source]
    return [stage for stage in found if place.is_relative_to(out := stage.outs[0].fs_path) or Path(out).is_relative_to(place)]


def _taken_in_before(ledger: Ledger, record: Path) -> bool:
    """Put an experiment's version of a .dvc file in place, if there is one that names the source's present state and the cache holds it."""
    root = Path(ledger.repo.root_dir)
    mine = record.read_text("utf-8")
    tried = {mine}
    for experiment in experiments(root):
        try:
            theirs = git(root, "cat-file", "blob", f"{experiment.commit}:{record.relative_to(root)}") + "\n"
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


def refuse_changed_data(home: Path, path: str, say: Callable[[str], None]) -> None:
    """Raise InputError when the data at `path` has changed since DVC recorded it: a worktree would not see that."""
    Ledger(home, say=say).refuse_changed_data([path])
