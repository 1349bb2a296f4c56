"""Flipped bytes in cache objects, listings, raw data and files of the checkout: none may enter what a run makes or records.

A byte changes and its file keeps mode, size and times, as after a bad disk or a hidden write. Then a run follows: the same
again with its outputs gone, one at another learning rate, or one in a worktree of its own. What it leaves must be what a run
without the flip leaves, and whole; or one sentence refuses the data.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from flows.ledger import Ledger
from flows.processes import Processes
from flows.workspace import STAGES, Workspace, isolated
from tasks.errors import InputError
from tests.attacks import Attempt
from tests.conftest import Project, make_tiny_model, tiny_project

LONG, SHORT = 100, 10
OTHER_RATE = 0.001
WAYS = ("its outputs gone", "at another learning rate", "isolated", "isolated, at another learning rate")
RAW = "data/raw/export.csv"
Lock = Mapping[str, Any]


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield what became of each flip."""
    make_tiny_model(scratch / "model")
    base = tiny_project(scratch / "base", scratch / "model")
    source = scratch / "export.csv"
    shutil.copyfile(base.root / "data/raw/tickets.csv", source)
    base.retrain(str(source), command="add")
    os.environ.update({name: base.env[name] for name in ("DVC_SITE_CACHE_DIR", "RETRAIN_SLOTS_FOLDER", "OMP_NUM_THREADS")})
    write_params(base.root, data={"path": RAW})
    with Processes(base.root) as processes:
        run(base.root, processes)
        base.run("git", "add", "-A")
        base.run("git", "commit", "-qm", "computed")
        shutil.copytree(base.root, scratch / "whole", symlinks=True)
        expected = {False: lock_of(base.root)}
        write_params(base.root, train={"learning_rate": OTHER_RATE})
        run(base.root, processes)
        expected[True] = lock_of(base.root)
        for number in range(seed, seed + count):
            put_back(scratch / "whole", base.root)
            drawn = random.Random(number)  # noqa: S311
            place = targets(base.root)[number % len(targets(base.root))]
            file = drawn.choice(place[1])
            way = drawn.choice(WAYS)
            flip(file, drawn)
            case = f"seed {number}: {place[0]} ({file.relative_to(base.root)}), then a run {way}"
            yield Attempt(case, fault_of(base, way, processes, expected))


def targets(root: Path) -> list[tuple[str, list[Path]]]:
    """Return what can be flipped, by kind: the objects, the listing and the checkout's files of every output, raw data and metrics."""
    found = [(f"object of {RAW}", [object_at(root, md5(root / RAW))]), (f"file {RAW}", [root / RAW])]
    for path, digest in outputs(lock_of(root)).items():
        if not digest.endswith(".dir"):
            found.append((f"object of {path}", [object_at(root, digest)]))
            continue
        entries = json.loads(object_at(root, digest).read_text("utf-8"))
        found.append((f"listing of {path}", [object_at(root, digest)]))
        found.append((f"object of {path}", [file for entry in entries if (file := object_at(root, entry["md5"])).stat().st_size]))
        found.append((f"file of {path}", [file for entry in entries if (file := root / path / entry["relpath"]).stat().st_size]))
    return found


def fault_of(base: Project, way: str, processes: Processes, expected: Mapping[bool, Lock]) -> str | None:
    """Run in this way; return what is wrong with what was left, None when nothing is."""
    root, is_other = base.root, "rate" in way
    told: list[str] = []
    try:
        if "isolated" in way:
            given = {"train": {"learning_rate": OTHER_RATE}} if is_other else {}
            with chdir(root), isolated(given, False, "flip", told.append) as space, Processes(space.root) as own:
                settle(space.ledger, own)
                return wrong_with(space, expected[is_other])
        for path in outputs(lock_of(root)):
            shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()
        if is_other:
            write_params(root, train={"learning_rate": OTHER_RATE})
        run(root, processes, told)
        return wrong_with(root, expected[is_other])
    except InputError as error:
        # only the raw data has no other copy, and a person's own edit of it must not be undone
        return None if RAW in str(error) else f"refused: {error}"


def wrong_with(where: Workspace | Path, expected: Lock) -> str | None:
    """Return what dvc.lock has otherwise than expected, or names and the cache or the checkout has not whole."""
    root = where if isinstance(where, Path) else where.root
    cache = root if isinstance(where, Path) else where.home
    lock = lock_of(root)
    if lock["stages"] != expected["stages"]:
        differ = [name for name in STAGES if lock["stages"].get(name) != expected["stages"][name]]
        return f"dvc.lock has other hashes for {', '.join(differ)}"
    for path, digest in outputs(lock).items():
        held = object_at(cache, digest)
        if md5(held) != digest.removesuffix(".dir"):
            return f"the object of {path} is damaged"
        entries = json.loads(held.read_text("utf-8")) if digest.endswith(".dir") else []
        for entry in entries:
            if md5(object_at(cache, entry["md5"])) != entry["md5"]:
                return f"the object of {path}/{entry['relpath']} is damaged"
            if (file := root / path / entry["relpath"]).exists() and md5(file) != entry["md5"]:
                return f"the file {path}/{entry['relpath']} is damaged"
    return None


def run(root: Path, processes: Processes, told: list[str] | None = None) -> None:
    """Settle all stages in the checkout itself."""
    with chdir(root):
        ledger = Ledger(root, say=[].append if told is None else told.append)
        settle(ledger, processes)
        ledger.repo.close()


def settle(ledger: Ledger, processes: Processes) -> None:
    """Leave, restore or run each stage."""
    for name in STAGES:
        compute = partial(processes.run, ledger.command(name), lambda _: None, lambda _: None)
        ledger.settle(name, compute)


def write_params(root: Path, **sections: Mapping[str, Any]) -> None:
    """Change params.yaml."""
    params = yaml.safe_load((root / "params.yaml").read_text("utf-8"))
    for name, values in sections.items():
        params[name] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")


def put_back(whole: Path, root: Path) -> None:
    """Have the project be as it was, in the same folder, where the warm process works."""
    for item in root.iterdir():
        shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
    shutil.copytree(whole, root, symlinks=True, dirs_exist_ok=True)


def flip(file: Path, drawn: random.Random) -> None:
    """Change one byte, and leave mode, size and times as they were."""
    before = file.stat()
    file.chmod(0o644)
    raw = bytearray(file.read_bytes())
    raw[drawn.randrange(len(raw))] ^= drawn.randrange(1, 256)
    file.write_bytes(raw)
    file.chmod(before.st_mode & 0o777)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def lock_of(root: Path) -> Lock:
    """Return what dvc.lock holds."""
    return dict(yaml.safe_load((root / "dvc.lock").read_text("utf-8")))


def outputs(lock: Lock) -> dict[str, str]:
    """Return the hashes of all outputs by their paths."""
    return {output["path"]: output["md5"] for stage in lock["stages"].values() for output in stage["outs"]}


def object_at(root: Path, digest: str) -> Path:
    """Return where the cache keeps an object."""
    return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def md5(file: Path) -> str:
    """Return the hash of a file's bytes."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
