"""Flipped bytes in cache objects, listings, run-cache records, raw data and files of the checkout: none may enter a run unnoticed.

A byte changes and its file keeps mode, size and times, as after a bad disk or a hidden write. Then a run follows: the same
again with its outputs gone, one at another rate, or either in a worktree of its own. What it leaves must be what a run without
the flip leaves, to the byte, and the cache must hold it whole; or one sentence refuses the raw data.
"""

import hashlib
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.ledger.cache import MEMORY
from tasks.shared.errors import InputError
from tests.attacks import Attempt
from tests.support.two_stages import Small, forget, recorded, start, worktree_of

LONG, SHORT = 100, 10
RATES = (1, 2)
WAYS = ("its outputs gone", "as it stands", "isolated")
RAW = "raw/rows.csv"
MADE = ("tokens/train.arrow", "tokens/deep/test.arrow", "model", "loss.json")


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield what became of each flip."""
    os.environ["DVC_SITE_CACHE_DIR"] = str(scratch / "site")
    start(scratch / "whole")
    expected = {
        rate: _at(rate, shutil.copytree(scratch / "whole", scratch / f"rate-{rate}")) for rate in RATES
    }
    for number in range(seed, seed + count):
        small = Small(shutil.copytree(scratch / "whole", scratch / "flipped"))
        # copies are files of their own: the memory knows them only after a run
        small.run()
        drawn = random.Random(number)  # noqa: S311
        kinds = _targets(small)
        kind = list(kinds)[number % len(kinds)]
        file, way, rate = drawn.choice(kinds[kind]), drawn.choice(WAYS), drawn.choice(RATES)
        _flip(file, drawn)
        case = f"seed {number}: {kind} ({file.relative_to(small.root)}), then a run at rate {rate}, {way}"
        yield Attempt(case, _fault(small, way, rate, expected))
        shutil.rmtree(small.root)
        shutil.rmtree(scratch / "worktree", ignore_errors=True)


def _targets(small: Small) -> dict[str, list[Path]]:
    """Return what can be flipped, by kind."""
    cache = small.root / ".dvc/cache"
    return {
        "object of a folder's file": [small.object_of(place) for place in MADE[:2]],
        "listing": [small.listing],
        "file in a folder": [small.root / place for place in MADE[:2]],
        "object of a file": [small.object_of("model")],
        "file": [small.root / "model"],
        "object of a metric": [small.object_of("loss.json")],
        "object of raw data": [small.object_of(RAW)],
        "raw data": [small.root / RAW],
        "record of the run-cache": sorted(cache.glob("runs/*/*/*")),
        "memory of hashes": [cache / MEMORY / "cache.db", small.root / ".dvc/tmp" / MEMORY / "cache.db"],
    }


def _fault(small: Small, way: str, rate: int, expected: Mapping[int, Mapping[str, bytes]]) -> str | None:
    """Run in this way; return what is wrong with what was left, None when nothing is."""
    small.rate(rate)
    found = small
    try:
        if way == "isolated":
            # its data is the checkout's record of it, never the file that lies there
            found = Small(worktree_of(small, small.root.with_name("worktree")))
            found.run(sparse=True)
        else:
            forget(small, *(("tokens", "model", "loss.json") if way == "its outputs gone" else ()))
            small.run()
    except InputError as error:
        # raw data has no other copy, and a person's own edit of it must not be undone
        return None if RAW in str(error) else f"refused: {error}"
    if recorded_lock(found) != expected[rate]["dvc.lock"]:
        return "dvc.lock says something else"
    for place, content in expected[rate].items():
        if (found.root / place).exists() and (found.root / place).read_bytes() != content:
            return f"{place} has other bytes"
    return _not_whole(small, expected[rate])


def _not_whole(small: Small, expected: Mapping[str, bytes]) -> str | None:
    """Return which output the cache does not hold to the byte, None when it holds all."""
    for place in MADE[:3]:
        digest = hashlib.md5(expected[place], usedforsecurity=False).hexdigest()
        held = small.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
        if not held.exists() or held.read_bytes() != expected[place]:
            return f"the cache does not hold {place} whole"
    return None


def recorded_lock(small: Small) -> bytes:
    """Return dvc.lock."""
    return (small.root / "dvc.lock").read_bytes()


def _at(rate: int, root: Path) -> dict[str, bytes]:
    """Return what a run at a rate leaves."""
    small = Small(root)
    small.rate(rate)
    small.run()
    return recorded(small)


def _flip(file: Path, drawn: random.Random) -> None:
    """Change one byte in place, and leave mode, size and times as they were."""
    before = file.stat()
    file.chmod(0o644)
    with file.open("r+b") as stream:
        position = drawn.randrange(before.st_size)
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ drawn.randrange(1, 256)]))
    file.chmod(before.st_mode & 0o777)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
