"""Garbage of the DVC cache: what nothing that Git keeps, no checkout and no run under way names any more.

`dvc gc` keeps what a commit's stages have DVC look up; here every hash that stands in a dvc.lock or .dvc file
is kept, so that metrics, inputs and the records that restore them stay, and no commit's dvc.yaml is read.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dvc.repo import Repo

from flows.git.commands import git, names
from flows.git.objects import FOLDER, SUBMODULE, contents, entries
from flows.git.refs import NONE
from flows.ledger import journal
from flows.ledger.experiments import experiments
from flows.ledger.run_cache import read, records
from flows.ledger.running import without_gc
from flows.ledger.validation import is_hash
from tasks.shared.errors import InputError
from tasks.shared.locks import alone_if_free, forget, is_free

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")
# the files in which DVC writes hashes down
RECORDS = ("dvc.lock", "*.dvc")


@dataclass(frozen=True)
class Garbage:
    """What nothing names: objects of the cache, and records of the run-cache that would restore them."""

    objects: tuple[Path, ...]
    records: tuple[Path, ...]
    size: int

    def __str__(self) -> str:
        objects = f"{len(self.objects)} objects ({self.size / 1e6:.1f} MB)"
        return f"{objects} and {len(self.records)} records of the run-cache that nothing names any more"


def collect(checkout: Path, *, dry_run: bool) -> Garbage:
    """Find garbage in the cache of a checkout, and remove it unless it is only to be shown.

    Runs beside it may go on.

    Raises InputError when the cache is not the checkout's own: who else uses it is not known.
    """
    with Repo(str(checkout)) as repo, without_gc(checkout):
        store = Path(repo.cache.local.path)
        if not store.resolve().is_relative_to(checkout.resolve()):
            why = "is outside this checkout, and what others keep in it is not known here"
            remedy = "`dvc gc --workspace --all-branches --all-tags --all-experiments --projects OTHER`"
            raise InputError(f"the DVC cache {repo.cache.legacy.path} {why}; use {remedy}")
        kept = _with_listed(_named(checkout), store)
        objects = [path for path in sorted(store.glob("[0-9a-f][0-9a-f]/*")) if _is_garbage(path, kept)]
        objects += _unfinished(checkout, store)
        unrestorable = [path for path in records(repo) if not _is_restorable(path, kept)]
        found = Garbage(tuple(objects), tuple(unrestorable), sum(path.stat().st_size for path in objects))
        if not dry_run:
            _remove(found)
            for lock in Path(repo.cache.legacy.path, "locks").glob("*"):
                _forget(lock)
    return found


def _remove(found: Garbage) -> None:
    """Remove records before what they restore, and listings before the files in them.

    So a kill leaves none that promises too much.
    """
    for path in found.records:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    for path in sorted(found.objects, key=lambda path: path.suffix != ".dir"):
        path.unlink()


def _forget(lock: Path) -> None:
    if lock.suffix == ".pid":
        return
    with alone_if_free(lock) as is_mine:
        if is_mine:
            forget(lock)


def _is_garbage(path: Path, kept: set[str]) -> bool:
    name = path.parent.name + path.name
    # whatever else lies there is being written just now
    return is_hash(name) and name not in kept


def _unfinished(checkout: Path, store: Path) -> list[Path]:
    """Return what DVC began to copy into the cache and a kill or a full disk kept from being finished.

    None while an isolated run is under way: it pulls without the lock that is held here.
    """
    found = sorted(store.glob("[0-9a-f][0-9a-f]/.*.tmp"))
    runs = (checkout / ".retrain/worktrees").glob("*.lock")
    return found if all(is_free(lock) for lock in runs) else []


def _is_restorable(record: Path, kept: set[str]) -> bool:
    try:
        outputs = read(record).get("outs", ())
    except InputError:
        return False
    hashes = {output["md5"] for output in outputs if "md5" in output}
    return bool(hashes) and kept.issuperset(hashes)


def _named(checkout: Path) -> set[str]:
    """Return every hash in a dvc.lock or .dvc file, of commits and of checkouts as they stand.

    Commits: the newest of each branch, tag, remote's branch and run under way, and all of an experiment.
    In a checkout, also what a run there will put back if it fails.
    """
    found: set[str] = set()
    blobs = sorted(_records_in(checkout, _commits(checkout)))
    for text in _there(checkout, blobs):
        found.update(HASH.findall(text.decode("utf-8", "replace")))
    for folder in _of_worktrees(checkout, "worktree"):
        found.update(_named_as_it_stands(Path(folder)))
    return found


def _records_in(checkout: Path, commits: set[str]) -> set[str]:
    """Return the files of these commits in which DVC writes hashes down; a shared tree is read once."""
    found: set[str] = set()
    seen: set[str] = set()
    asked = [f"{commit}^{{tree}}" for commit in sorted(commits)]
    size = len(next(iter(commits), "")) // 2
    while asked:
        below: set[str] = set()
        for tree in _there(checkout, asked):
            for mode, name, its in entries(tree, size):
                if mode == FOLDER:
                    below.add(its)
                elif mode != SUBMODULE and (name == RECORDS[0].encode() or name.endswith(b".dvc")):
                    found.add(its)
        asked = sorted(below - seen)
        seen |= below
    return found


def _there(checkout: Path, asked: Sequence[str]) -> Iterator[bytes]:
    """Yield objects; raise InputError when one is missing: what it names would be freed."""
    for one, content in zip(asked, contents(checkout, asked), strict=True):
        if content is None:
            raise InputError(
                f"Git has lost {one}, so what it names is not known; `git fsck` says what is damaged"
            )
        yield content


def _named_as_it_stands(folder: Path) -> set[str]:
    """Return every hash in a checkout's files; none when it is a run's worktree that is gone by now."""
    try:
        listed = names(folder, "ls-files", "-z", "--cached", "--others", "--", *RECORDS)
    except (InputError, FileNotFoundError):
        if folder.is_dir():
            raise
        return set()
    found: set[str] = set()
    for name in (*listed, journal.FILE):
        # a run that ends may remove it meanwhile
        with suppress(FileNotFoundError):
            if (folder / name).is_file():
                found.update(HASH.findall((folder / name).read_text("utf-8", "replace")))
    return found


def _commits(checkout: Path) -> set[str]:
    # `--all` fails on the HEAD of a worktree that is just being added
    heads = [head for head in _of_worktrees(checkout, "HEAD") if head != NONE]
    found = set(git(checkout, "rev-list", "--no-walk=unsorted", "--glob=refs/*", *heads).splitlines())
    all_kept = experiments(checkout)
    asked = "".join(f"{kept.commit}\n" for kept in all_kept)
    told = (
        git(checkout, "rev-list", "--no-walk=unsorted", "--parents", "--stdin", given=asked) if asked else ""
    )
    parents = dict(line.partition(" ")[::2] for line in told.splitlines())
    for kept in all_kept:
        # an experiment of `dvc exp save` may be several commits
        if parents[kept.commit] != kept.baseline:
            found.update(git(checkout, "rev-list", kept.commit, f"^{kept.baseline}").splitlines())
    return found


def _of_worktrees(checkout: Path, wanted: str) -> Iterator[str]:
    """Yield what Git lists under a word, of the checkout and all worktrees of its repository."""
    for line in git(checkout, "worktree", "list", "--porcelain").splitlines():
        what, _, value = line.partition(" ")
        if what == wanted:
            yield value


def _with_listed(named: set[str], store: Path) -> set[str]:
    """Return the hashes, and those in the listings of the folders among them."""
    found = set(named)
    for name in named:
        listing = store / name[:2] / name[2:]
        if name.endswith(".dir") and listing.exists():
            found.update(HASH.findall(listing.read_text("utf-8", "replace")))
    return found
