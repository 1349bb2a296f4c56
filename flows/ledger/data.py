"""Data from outside, brought into data/raw under DVC."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from dvc.dependency import Dependency
from dvc.exceptions import DvcException
from dvc.stage import Stage
from dvc.stage.imports import update_import
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from flows.ledger import hub
from flows.ledger.remote import overlap, patiently
from flows.ledger.sources import Pattern, expand_home, is_url, leads_out, pattern_in, to_add
from flows.ledger.stages import Ledger, sentence
from flows.ledger.validation import is_hash, refuse_forged
from tasks.shared.entries import refuse_odd_entries
from tasks.shared.errors import InputError
from tasks.shared.files import private_folder
from tasks.shared.locks import alone
from tasks.shared.say import Say

# what the `meta` of a .dvc file calls the pattern whose matches it holds,
# or the data set of the hub and its commit
SOURCE = "source"
COMMIT = "commit"


@patiently
def import_data(ledger: Ledger, source: str, name: str) -> bool:
    """Import `source` (file, folder, pattern or URL) to data/raw/`name` under DVC, or update it.

    Returns whether the content is new. Raises InputError when data/raw/`name` is something else.
    """
    try:
        record = imported(ledger, source, name)
        target = Path(ledger.repo.root_dir, "data/raw", name)
        if hub.is_hub(source) or pattern_in(source, Path()) is not None:
            return _put_together(ledger, source, target)
        if record is not None:
            (stage,) = refuse_forged(ledger.repo.stage.load_all(str(record)))
            return _refresh(ledger, stage)
        ledger.repo.imp_url(_whole(source), out=str(target))
    except DvcException as error:
        raise InputError(f"cannot bring in {source}: {sentence(error)}") from None
    return True


def _put_together(ledger: Ledger, source: str, target: Path) -> bool:
    """Bring in what DVC does not import: the matches of a pattern, a data set of the hub.

    Returns whether that is new. A pattern that has become the name of a file brings nothing.
    """
    if hub.is_hub(source):
        return _import_from_hub(ledger, source, target)
    pattern = pattern_in(source, Path())
    return pattern is not None and _import_matches(ledger, pattern, target)


def _import_matches(ledger: Ledger, pattern: Pattern, target: Path) -> bool:
    """Copy the files that match to the folder `target`, put it under DVC, return whether the content is new.

    DVC imports a file or a whole folder, so the .dvc file keeps the pattern under `meta`, where DVC leaves
    it.
    """

    def fill(folder: Path) -> None:
        for file in pattern.matches():
            copy = folder / file.relative_to(pattern.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)

    return _put(ledger, target, fill, {SOURCE: _whole(str(pattern))})


def _import_from_hub(ledger: Ledger, source: str, target: Path) -> bool:
    """Download a data set's commit to the folder `target`, put it under DVC; return whether it is new.

    The .dvc file keeps the commit. While a revision is the same commit, nothing is downloaded.
    """
    data = hub.parsed(source)
    commit = hub.commit_of(data)
    record = target.with_name(target.name + ".dvc")
    if record.exists() and target.exists():
        (stage,) = refuse_forged(ledger.repo.stage.load_all(str(record)))
        if stage.meta == {SOURCE: source, COMMIT: commit}:
            return False
    return _put(
        ledger, target, lambda folder: hub.fetch(data, commit, folder), {SOURCE: source, COMMIT: commit}
    )


def _put(ledger: Ledger, target: Path, fill: Callable[[Path], None], meta: dict[str, str]) -> bool:
    """Have `fill` fill `target`, put it under DVC with this in its .dvc file; return whether that is new."""
    record = target.with_name(target.name + ".dvc")
    before = record.read_text("utf-8") if record.exists() else None
    _refuse_edited(ledger, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _arriving(ledger) as arriving:
        folder = arriving / target.name
        folder.mkdir()
        fill(folder)
        if target.exists():
            shutil.rmtree(target)
        shutil.move(folder, target)
    (stage,) = ledger.repo.add([str(target)])
    stage.meta = meta
    stage.dump()
    return record.read_text("utf-8") != before


@contextmanager
def _arriving(ledger: Ledger) -> Iterator[Path]:
    """Yield an empty folder where nobody takes what is half there for data; wait for who uses it."""
    folder = private_folder(Path(ledger.repo.root_dir, ".retrain")) / "arriving"
    with alone(
        folder.with_name("arriving.lock"), lambda who: ledger.say(f"waiting for what {who} brings in")
    ):
        # what one that was killed has left
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_edited(ledger: Ledger, target: Path) -> None:
    """Raise InputError when what would be replaced was edited since DVC recorded it: it is nowhere else."""
    for stage in _sources(ledger, str(target)):
        output = stage.outs[0]
        if output.exists and not output.cache.exists(output.get_hash().value):
            ledger.refuse_changed_data([str(output)])


def _whole(source: str) -> str:
    """Return a source so that it means the same from every folder."""
    if is_url(source):
        return source
    pattern = pattern_in(source, Path())
    return (
        str(Path(source).resolve())
        if pattern is None
        else str(Pattern(pattern.folder.resolve(), pattern.glob))
    )


def imported(ledger: Ledger, source: str, name: str) -> Path | None:
    """Return the .dvc file of data/raw/`name`, or None; raise InputError if it has another source."""
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
        is_other_revision = (
            hub.is_hub(url)
            and hub.is_hub(known)
            and hub.parsed(url).repository == hub.parsed(known).repository
        )
        if is_other_revision:
            return record
        if known != url and (target.parent / known).resolve() != Path(url):
            raise InputError(
                f"data/raw/{name} comes from {known} already; choose another name: `{to_add(source)}`"
            )
        return record
    if target.exists():
        raise InputError(f"data/raw/{name} exists already; choose another name: `{to_add(source)}`")
    return None


@patiently
def content_of_source(ledger: Ledger, path: str) -> str:
    """Return what identifies the content that a run on `path` would take in now: a hash, or a URL's ETag.

    Raises InputError when there is no such data, or it cannot be reached.
    """
    root = Path(ledger.repo.root_dir)
    path = expand_home(path, root)
    origins = [stage.deps[0] for stage in _imports(ledger, path)]
    sources = list(_put_together_from(ledger, path).values())
    patterns = [pattern for source in (path, *sources) if (pattern := pattern_in(source, root))]
    try:
        if named := [source for source in sources if hub.is_hub(source)]:
            return " ".join(hub.commit_of(hub.parsed(source)) for source in named)
        matches = chain.from_iterable(
            Pattern(root / pattern.folder, pattern.glob).matches() for pattern in patterns
        )
        files = [str(root / file) for file in matches]
        if not origins and not files:
            outside = leads_out(path, root)
            files = [path if outside else str(root / path)]
        origins += [Dependency(None, file, repo=ledger.repo) for file in files]
        return " ".join(str(origin.get_hash().value) for origin in origins)
    except (DvcException, FileNotFoundError) as error:
        raise InputError(f"data.path: cannot look at {path}: {sentence(error)}") from None


@patiently
def update_data(ledger: Ledger, path: str) -> list[str]:
    """Update imported data at `path`, as `dvc update` does; return the .dvc files that changed."""
    root = Path(ledger.repo.root_dir)
    changed = []
    try:
        refreshed = [stage for stage in _imports(ledger, path) if _refresh(ledger, stage)]
        changed += [str(Path(stage.path).relative_to(root)) for stage in refreshed]
        for record, source in _put_together_from(ledger, path).items():
            if _put_together(ledger, source, record.with_suffix("")):
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


def _put_together_from(ledger: Ledger, path: str) -> dict[Path, str]:
    """Return what `_put_together` has brought in at, above or below `path`: sources by their .dvc files."""
    found = {Path(stage.path): (stage.meta or {}).get(SOURCE) for stage in _sources(ledger, path)}
    return {record: source for record, source in found.items() if source}


def _sources(ledger: Ledger, path: str) -> list[Stage]:
    place = Path(ledger.repo.root_dir, path)
    found = [stage for stage in ledger.all_stages() if stage.is_data_source]
    return [stage for stage in found if overlap(place, Path(stage.outs[0].fs_path))]


def _refresh(ledger: Ledger, stage: Stage) -> bool:
    """Bring an import to its source's present state; return whether its .dvc file changed.

    What such a file claims may come from somebody else's commit. Where the source's state is told by the hash
    of its bytes, the output must have that hash; when the cache holds it, from another run, nothing is
    copied.
    """
    source, output, record = stage.deps[0], stage.outs[0], Path(stage.path)
    if stage.is_repo_import:
        return False
    before = record.read_text("utf-8")
    is_local = source.fs.protocol == "local"
    found = source.get_hash()
    digest = str(found.value).strip('"')
    if found == source.hash_info and (not is_local or digest == output.hash_info.value):
        return False
    _refuse_edited(ledger, Path(output.fs_path))
    if not (is_hash(digest) and _held(ledger, stage, digest)):
        with ledger.repo.lock:
            # forced: DVC itself believes the file when its claim about the source is true
            update_import(stage, force=True)
            stage.dump()
        if is_local and not output.hash_info.isdir and output.hash_info != source.hash_info:
            raise InputError(f"{source} changed while it was brought in; run the same command again")
    return record.read_text("utf-8") != before


def _held(ledger: Ledger, stage: Stage, digest: str) -> bool:
    """Check out an import's present content if the cache holds it; return whether it does."""
    source, output = stage.deps[0], stage.outs[0]
    meta = source.get_meta()
    output.hash_name, output.hash_info = "md5", HashInfo("md5", digest)
    output.meta, output.obj, output.files = Meta(size=meta.size, nfiles=meta.nfiles), None, None
    if output.changed_cache():
        return False
    output.remove()
    ledger.checkout(output)
    source.hash_info, source.meta = source.get_hash(), meta
    stage.md5 = stage.compute_md5()
    stage.dump()
    return True


def refuse_changed_data(home: Path, path: str, say: Say) -> None:
    """Raise InputError when data at `path` has changed since DVC recorded it: no worktree would see that."""
    Ledger(home, say=say).refuse_changed_data([path])
