"""A repository of two stages under DVC that need no training: what tests of the ledger change at will."""

import subprocess
import sys
from contextlib import chdir
from functools import partial
from pathlib import Path

from flows.ledger.results import Result
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tests.support.project import ROOT

STAGES = """
stages:
  tokenize:
    cmd: mkdir -p tokens/deep; rev raw/rows.csv > tokens/train.arrow; head -c 50 raw/rows.csv > tokens/deep/test.arrow
    deps: [raw/rows.csv]
    outs: [tokens]
  train:
    cmd: cat tokens/*.arrow tokens/deep/*.arrow params.yaml > model; wc -c < model > loss.json
    deps: [tokens]
    params: [rate]
    outs: [model]
    metrics:
      - loss.json:
          cache: false
"""
ROWS = b"text,label\n" + b"where is my parcel,order\n" * 100


class Small:
    """A repository of two stages, run without any training."""

    def __init__(self, root: Path) -> None:
        self.root, self.told = root, list[str]()
        self.ran: list[str] = []

    def run(self, *, root: Path | None = None, sparse: bool = False) -> dict[str, Result]:
        """Settle both stages."""
        where = root or self.root
        with chdir(where):
            ledger = Ledger(where, sparse=sparse, say=self.told.append)
            found = {
                name: ledger.run_or_restore(name, partial(self.compute, name, ledger))
                for name in ("tokenize", "train")
            }
            ledger.repo.close()
        return found

    def compute(self, name: str, ledger: Ledger) -> None:
        """Run a stage's command."""
        self.ran.append(name)
        subprocess.run(ledger.command(name), shell=True, check=True)  # noqa: S602

    def dvc(self, *words: str) -> None:
        """Run `dvc ...`."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words], cwd=self.root, check=False, capture_output=True, text=True
        )
        assert not done.returncode, done.stderr

    def rate(self, value: int) -> None:
        """Change a parameter of training."""
        (self.root / "params.yaml").write_text(f"rate: {value}\n", "utf-8")

    def objects(self) -> list[Path]:
        """Return all objects of the cache."""
        return sorted((self.root / ".dvc/cache/files/md5").glob("*/*"))

    def aside(self) -> set[str]:
        """Return the names of the objects that were set aside."""
        return {path.name for path in (self.root / ".dvc/cache/damaged").glob("*")}

    def object_of(self, place: str) -> Path:
        """Return the object that holds a file of the checkout."""
        content = (self.root / place).read_bytes()
        return next(path for path in self.objects() if path.read_bytes() == content)

    @property
    def listing(self) -> Path:
        """The object that lists the files of the tokens."""
        return next(path for path in self.objects() if path.suffix == ".dir")


def start(folder: Path) -> None:
    """Make the repository, its data under DVC and both stages computed."""
    subprocess.run(["git", "init", "-q", folder], check=True)
    small = Small(folder)
    small.dvc("init", "-q")
    (folder / ".dvc/config").write_text((ROOT / ".dvc/config").read_text("utf-8"), "utf-8")
    (folder / "dvc.yaml").write_text(STAGES, "utf-8")
    (folder / "raw").mkdir()
    (folder / "raw/rows.csv").write_bytes(ROWS)
    small.rate(1)
    small.dvc("add", "raw/rows.csv")
    assert set(small.run().values()) == {Result.ran}


def recorded(small: Small) -> dict[str, bytes]:
    """Return what a run leaves: the outputs and the record of them."""
    files = ("tokens/train.arrow", "tokens/deep/test.arrow", "model", "loss.json", "dvc.lock")
    return {name: (small.root / name).read_bytes() for name in files}


def forget(small: Small, *names: str) -> None:
    """Remove files and folders of the checkout."""
    for name in names:
        subprocess.run(["rm", "-rf", small.root / name], check=True)


def worktree_of(small: Small, folder: Path) -> Path:
    """Return a folder as an isolated run has it: what Git tracks, and the cache of the checkout."""
    for name in (".dvc/config", "dvc.yaml", "dvc.lock", "params.yaml", "raw/rows.csv.dvc", "loss.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((small.root / name).read_bytes())
    subprocess.run(["git", "init", "-q", folder], check=True)
    share_cache(small.root, folder)
    return folder
