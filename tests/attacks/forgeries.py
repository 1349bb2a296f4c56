"""What whoever writes a DVC remote, a shared cache or a Git remote can forge: records, listings, dvc.lock, .dvc files."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from flows.fsck.check import check
from flows.git.commands import git
from flows.ledger.data import update_data
from flows.ledger.history import last_run
from flows.ledger.plan import plan
from flows.ledger.run_cache import names
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError
from tests.attacks import Attempt

LONG, SHORT = 150, 20
PRECIOUS = "precious.txt"
PIPELINE = """stages:
  make:
    cmd: python make.py
    deps: [make.py, data/raw/source.txt]
    outs: [made]
    metrics: [{metrics.json: {cache: false}}]
"""
WRITTEN = (
    "made/",
    "metrics.json",
    "dvc.lock",
    ".dvc/cache/",
    ".dvc/tmp/",
    ".retrain/",
    "data/raw/imported",
    ".git/",
)


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Forge something in a copy of a small checkout whose stage has run; look at it, check it and run on it."""
    first = scratch / "first"
    make_checkout(first / "checkout")
    with chdir(first / "checkout"):
        Ledger(first / "checkout").run_or_restore("make", make)
    for number in range(seed, seed + count):
        folder = scratch / str(number)
        shutil.copytree(first, folder, symlinks=True)
        chance = random.Random(number)  # noqa: S311
        kind = KINDS[number % len(KINDS)]
        forged = kind(folder / "checkout", chance)
        case = f"seed {number}: {kind.__name__.removeprefix('_')} {forged!r}"
        yield Attempt(case, _fault(folder / "checkout", chance.randrange(len(OTHERS))))
        shutil.rmtree(folder)


def make_checkout(root: Path) -> None:
    (root / "data/raw").mkdir(parents=True)
    (root / ".dvc").mkdir()
    git(root, "init", "-q")
    texts = {
        "dvc.yaml": PIPELINE,
        ".dvc/config": "[core]\n    remote = team\n    analytics = false\n['remote \"team\"']\n    url = ../../store\n",
        "make.py": "",
        ".gitignore": ".retrain/\n/made\n/.dvc/cache\n/.dvc/tmp\n",
        "data/raw/source.txt": "source",
    }
    for name, text in texts.items():
        (root / name).write_text(text, "utf-8")
    for folder in (root, root.parent):
        (folder / PRECIOUS).write_text("precious", "utf-8")
    git(root, "add", "-A")
    git(root, "-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "-qm", "start")


def make() -> None:
    Path("made").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Path("made", name).write_text(name, "utf-8")
    Path("metrics.json").write_text("{}", "utf-8")


def _fault(root: Path, turn: int) -> str | None:
    """Return what went wrong when it is checked, run on, and read in one of the other ways; None when all was right."""
    before = _outside(root)
    shown: list[str] = []
    try:
        is_whole = check(root, None, repair=False, show=shown.append, say=shown.append)
    except InputError:
        is_whole = False
    for act in (OTHERS[turn], _run):
        try:
            with chdir(root):
                act(root)
        except InputError:
            pass
        except Exception as error:  # noqa: BLE001 (a traceback is a fault, whatever it says)
            return f"{act.__name__} raised {type(error).__name__}: {error}"
        if (after := _outside(root)) != before:
            return f"{act.__name__} changed {sorted(set(before.items()) ^ set(after.items()))}"
    return "check called it whole" if is_whole and (root / "forged").exists() else None


def _plan(root: Path) -> None:
    plan(root, {}, {}, sparse=False)


def _bring(root: Path) -> None:
    shutil.rmtree("made", ignore_errors=True)
    Ledger(root).checkout_missing(["made", "data/raw/imported"])


def _put_back(root: Path) -> None:
    ledger = Ledger(root)
    ledger.restore(
        {"made", "metrics.json", *(str(output) for stage in ledger.all_stages() for output in stage.outs)}
    )


def _take_in(root: Path) -> None:
    update_data(Ledger(root), "data/raw")


def _run(root: Path) -> None:
    Ledger(root).run_or_restore("make", make)


def _repair(root: Path) -> None:
    check(root, None, repair=True, show=lambda _: None, say=lambda _: None)


def _compare(root: Path) -> None:
    last_run(root, None, {})


OTHERS = (_compare, _plan, _bring, _put_back, _take_in, _repair)


def _outside(root: Path) -> dict[str, str]:
    """Return all files that no run has any business with, in and around the checkout, and their content."""
    found = {}
    for path in sorted(root.parent.rglob("*")):
        inside = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        if path.is_file() and not inside.startswith(WRITTEN):
            found[str(path.relative_to(root.parent))] = path.read_text("utf-8", errors="replace")
    for hook in (root / ".git/hooks").glob("*"):
        found[f"hook {hook.name}"] = hook.read_text("utf-8")
    return found


def _hash(root: Path, chance: random.Random, ending: str = "") -> str:
    """Return something that is no hash; most of them are the path to a file from where the cache keeps objects."""
    # four lead to the checkout, five to the folder around it
    up = "../" * chance.choice([3, 4, 4, 4, 5, 5, 6])
    target = chance.choice([PRECIOUS, PRECIOUS, "make.py", "dvc.yaml", ".git/config"])
    whole = hashlib.md5(target.encode(), usedforsecurity=False).hexdigest()
    forms = [
        up + target,
        up + target,
        f"{whole[:2]}/../{up}{target}",
        f"{whole[:2]}{up}../{target}",
        f"{whole}/../{up}../{target}",
        f"..{root.parent}/{PRECIOUS}",
        str(root.parent / PRECIOUS),
        whole[:31],
        whole + "0",
        whole + "\n",
        whole.replace(whole[5], "\uff15"),
        f"{whole}.dir/../{up}{target}",
        "...",
    ]
    return chance.choice(forms) + chance.choice(["", "", ending])


def _path(root: Path, chance: random.Random) -> str:
    """Return a path that leads out of the checkout, or to what decides what Git or DVC do."""
    up = "../" * chance.randint(1, 4)
    forms = [
        f"{up}{PRECIOUS}",
        f"made/../{up}{PRECIOUS}",
        str(root.parent / PRECIOUS),
        f"{up}escaped.txt",
        ".git/hooks/post-checkout",
        ".GIT/hooks/post-checkout",
        "a\\..\\b",
        "..",
        "a//b",
    ]
    return chance.choice(forms)


def recorded(root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = yaml.safe_load((root / "dvc.lock").read_text("utf-8"))["stages"]["make"]
    return entry


def forget(root: Path) -> None:
    """Remove all that a run would restore."""
    (root / "dvc.lock").unlink()
    (root / "metrics.json").unlink()
    shutil.rmtree(root / "made")


def _write_record(runs: Path, entry: Mapping[str, Any]) -> None:
    key, name = names(entry)
    (runs / key[:2] / key).mkdir(parents=True, exist_ok=True)
    (runs / key[:2] / key / name).write_text(yaml.safe_dump(dict(entry), allow_unicode=True), "utf-8")


def _write_listing(store: Path, listing: list[dict[str, str]]) -> str:
    text = json.dumps(listing)
    name = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    path = store / "files/md5" / name[:2] / f"{name[2:]}.dir"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o444)
    return f"{name}.dir"


def _forged_entry(root: Path, chance: random.Random) -> tuple[dict[str, Any], str]:
    """Return the stage's entry with one thing forged in an output, and that."""
    entry = recorded(root)
    output = chance.choice(entry["outs"])
    what = chance.choice(["hash", "hash", "hash", "algorithm", "file", "file's hash"])
    value = _path(root, chance) if what == "file" else _hash(root, chance, ".dir")
    if what == "hash":
        output["md5"] = value
    elif what == "algorithm":
        output |= {"hash": "etag", "etag": value}
    else:
        digest = value if what == "file's hash" else output["md5"][:32]
        output["files"] = [{"relpath": value if what == "file" else "a", "md5": digest}]
        del output["md5"]
    return entry, value


def _record_in_the_cache(root: Path, chance: random.Random) -> str:
    entry, value = _forged_entry(root, chance)
    shutil.rmtree(root / ".dvc/cache/runs")
    _write_record(root / ".dvc/cache/runs", entry)
    forget(root)
    (root / "forged").touch()
    return value


def _record_in_the_remote(root: Path, chance: random.Random) -> str:
    entry, value = _forged_entry(root, chance)
    shutil.rmtree(root / ".dvc/cache")
    _write_record(root.parent / "store/runs", entry)
    forget(root)
    (root.parent / "store/files/md5/c1").mkdir(parents=True, exist_ok=True)
    return value


def _listing(root: Path, chance: random.Random) -> str:
    """Forge a listing in the cache or the remote, that dvc.lock or a record names."""
    is_path = chance.random() < 0.5
    value = _path(root, chance) if is_path else _hash(root, chance, ".dir")
    entry = recorded(root)
    held = hashlib.md5(b"a", usedforsecurity=False).hexdigest()
    is_remote = chance.random() < 0.5
    store = root.parent / "store" if is_remote else root / ".dvc/cache"
    listed = {"md5": held, "relpath": value} if is_path else {"md5": value, "relpath": "a"}
    digest = _write_listing(store, [listed])
    for output in entry["outs"]:
        if output["path"] == "made":
            output["md5"] = digest
    if chance.random() < 0.5:
        (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"make": entry}}), "utf-8")
        shutil.rmtree(root / "made")
        if not is_remote:
            (root / "forged").touch()
    else:
        shutil.rmtree(root / ".dvc/cache/runs")
        _write_record(store / "runs", entry)
        forget(root)
    return value


def _lock(root: Path, chance: random.Random) -> str:
    entry, value = _forged_entry(root, chance)
    if chance.random() < 0.3:
        entry = recorded(root)
        value = entry["deps"][0]["md5"] = _hash(root, chance)
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"make": entry}}), "utf-8")
    (root / "forged").touch()
    return value


def _data_file(root: Path, chance: random.Random) -> str:
    """Forge a .dvc file: where its output lies, or that output's hash."""
    source = hashlib.md5(b"source", usedforsecurity=False).hexdigest()
    output: dict[str, Any] = {"md5": source, "hash": "md5", "path": "imported"}
    record: dict[str, Any] = {"outs": [output]}
    what = chance.choice(["hash", "path", "folder", "import"])
    if what in ("hash", "import"):
        value = output["md5"] = _hash(root, chance, ".dir")
    else:
        value = output["path"] = chance.choice(
            [_path(root, chance).replace("//", "/../.."), "../../.dvc/config", str(root)]
        )
    if what == "folder":
        record["wdir"] = chance.choice(["..", "../..", "../../.."])
        output["path"] = value = chance.choice([PRECIOUS, "../escaped.txt", ".git/hooks", "."])
        if record["wdir"] != "../../..":
            output["path"] = value = f"../{value}" if value == PRECIOUS else ".dvc/cache"
    if what == "import":
        record |= {"deps": [{"path": str(root / "make.py"), "md5": source, "hash": "md5"}], "frozen": True}
    (root / "data/raw/imported.dvc").write_text(yaml.safe_dump(record), "utf-8")
    (root / "forged").touch()
    return value


def _nested(root: Path, chance: random.Random) -> str:
    """Write a dvc.lock, .dvc file or record that is nested so deeply that a reader crashes, or grows as it is walked through."""
    (record,) = (root / ".dvc/cache/runs").glob("*/*/*")
    place = chance.choice([root / "dvc.lock", root / "data/raw/imported.dvc", record])
    depth = chance.choice([1_000, 100_000])
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    forms = {
        "lists": "[" * depth + "]" * depth,
        "maps": "{a: " * depth + "}" * depth,
        "aliases": f"a0: &a0 [x]\n{laughs}",
    }
    form = chance.choice([*forms])
    place.write_text(f"schema: '2.0'\nstages: {forms[form]}\n" if form != "aliases" else forms[form], "utf-8")
    (root / "forged").touch()
    return f"{form} in {place.name}"


def _ref(root: Path, chance: random.Random) -> str:
    """Push a ref among the experiments that is none, or whose parts are options, paths or commands."""
    head, rest = git(root, "rev-parse", "HEAD"), "0" * 38
    blob = git(root, "hash-object", "-w", "--stdin", given="no commit")
    names = [
        f"--/output={PRECIOUS}/name",
        "ab/short/name",
        "alone",
        f"00/{rest}/-rf",
        f"00/{rest}/$(touch${{IFS}}{PRECIOUS})",
        f"00/{rest}/`reboot`",
        f"00/{rest}/a/b/c",
        f"zz/{rest}/name",
        f"00/{rest}/<script>",
        f"00/{rest}/a\u2028b",
    ]
    name = chance.choice(names)
    target = chance.choice([head, head, blob, "1" * 40])
    path = root / ".git/refs/exps" / name
    path.parent.mkdir(parents=True)
    path.write_text(f"{target}\n")
    (root / "forged").touch()
    return f"{name} at {target}"


KINDS: tuple[Callable[[Path, random.Random], str], ...] = (
    _record_in_the_cache,
    _record_in_the_remote,
    _listing,
    _lock,
    _data_file,
    _nested,
    _ref,
)
