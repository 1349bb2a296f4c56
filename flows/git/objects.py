"""Many objects of Git, read by one process for hundreds of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.git.commands import git, raw

# objects that one process is asked for, whose contents are in memory together
AT_ONCE = 500
MISSING = (b"missing", b"ambiguous")
FOLDER, SUBMODULE = b"40000", b"160000"


def contents(where: Path, asked: Sequence[str], at_once: int = AT_ONCE) -> Iterator[bytes | None]:
    """Yield what each object holds, in order; None for one that is not there.

    asked: objects as `git cat-file --batch` takes them, such as COMMIT:dvc.lock.
    """
    for start in range(0, len(asked), at_once):
        yield from _some(where, asked[start : start + at_once])


def kinds(where: Path, asked: Sequence[str]) -> list[tuple[str, str]]:
    """Return what Git names each object, and its kind; of one that is not there, another name and kind."""
    told = git(where, "cat-file", "--batch-check=%(objectname) %(objecttype)", given="\n".join([*asked, ""]))
    found = []
    for line in told.splitlines():
        name, _, kind = line.rpartition(" ")
        found.append((name, kind))
    return found


def _some(where: Path, asked: Sequence[str]) -> Iterator[bytes | None]:
    told = raw(where, "cat-file", "--batch", given="".join(f"{one}\n" for one in asked))
    start = 0
    for _ in asked:
        end = told.index(b"\n", start)
        last = told[start:end].rpartition(b" ")[2]
        start = end + 1
        if last in MISSING:
            yield None
        else:
            yield told[start : start + int(last)]
            start += int(last) + 1


def entries(tree: bytes, size: int) -> Iterator[tuple[bytes, bytes, str]]:
    """Yield the mode, name and object of each entry of a tree; size: bytes of an object's name."""
    start = 0
    while start < len(tree):
        end = tree.index(b"\0", start)
        mode, _, name = tree[start:end].partition(b" ")
        start = end + 1 + size
        yield mode, name, tree[end + 1 : start].hex()
