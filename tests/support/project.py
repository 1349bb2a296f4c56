"""A model small enough to train in seconds, built offline, and a real repository of the project to run in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.shared.files import folder_digest
from tests.support.forked_python import FORK_COMMANDS
from tests.support.wait import PATIENCE

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


Once = Callable[[str, Callable[[Path], object]], Path]
# of this interpreter, also where a test has another one be called so meanwhile (tests/support/forking.py)
PROGRAMS = Path(sys.executable).parent
# has an interpreter of tests/support/forking.py fork commands too
FORKED = {FORK_COMMANDS: "1"}


def make_tiny_model(folder: Path) -> None:
    """Write the tiny model into a folder."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    texts = pl.read_csv(ROOT / "data/raw/tickets.csv")["text"].to_list()
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(texts, vocab_size=2000, show_progress=False)
    pieces.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=128)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)


@dataclass
class Project:
    """A clone of this repository with a history of its own, and the commands a user would type in it."""

    root: Path
    env: dict[str, str]
    # what runs its commands, and is found by them as the interpreter that runs them
    python: str = sys.executable

    def run(
        self, *words: str, status: int | None = 0, timeout: float = PATIENCE, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone and check its exit status (None: any)."""
        env = self.env | env
        done = subprocess.run(
            words, cwd=self.root, env=env, text=True, capture_output=True, timeout=timeout, check=False
        )
        if status is not None:
            assert done.returncode == status, (
                f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def retrain(
        self, *words: str, status: int | None = 0, command: str = "run"
    ) -> subprocess.CompletedProcess[str]:
        """Run `retrain COMMAND ...` with the clone's own code."""
        return self.run(
            self.python, "-m", "flows", command, *words, status=status, timeout=PATIENCE, **FORKED
        )

    def dvc(self, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `dvc ...`."""
        return self.run(self.python, "-m", "dvc", *words, status=status, timeout=PATIENCE, **FORKED)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start `python -m ...` in a process group of its own."""
        return subprocess.Popen(
            [self.python, "-m", *words],
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def clone(target: Path) -> Project:
    """Copy the working tree's own files (tracked or new, not ignored) into a fresh Git repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if not (ROOT / name).exists() or name == "dvc.lock" or name.startswith("metrics/"):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    project = Project(target, environment(target))
    for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        project.run(*command)
    return project


def environment(root: Path) -> dict[str, str]:
    """Return the environment of commands in a clone: nothing of the user's Prefect, DVC and Git settings, no hub."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return env | {
        "PATH": f"{PROGRAMS}:{env['PATH']}",
        "PREFECT_HOME": str(root / ".retrain/prefect"),
        "HF_HUB_OFFLINE": "1",
        # tests say when a checkpoint is kept, not the clock
        "RETRAIN_CHECKPOINT_SECONDS": "3600",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_SITE_CACHE_DIR": str(root.parent / "dvc-site"),
        "RETRAIN_SLOTS_FOLDER": str(root.parent / "slots"),
        **{
            f"GIT_{who}_{what}": f"{who}@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }


def tiny(root: Path) -> Project:
    """Return the clone in a folder, its commands on one thread: a model this small only waits for more."""
    return Project(root, environment(root) | {"OMP_NUM_THREADS": "1"})


def tiny_project(target: Path, tiny_model: Path, prefect_home: Path | None = None) -> Project:
    """Return a clone whose params.yaml names the tiny model and trains it for a few steps."""
    clone(target)
    made = tiny(target)
    if prefect_home is not None:
        shutil.copytree(prefect_home, made.root / ".retrain/prefect")
    shutil.copytree(tiny_model, made.root / "base")
    params = made.root / "params.yaml"
    text = params.read_text("utf-8")
    lines = []
    for line in text.splitlines():
        key = line.split(":")[0]
        new = {
            "  name": "  name: base" if "pypi:" in line else line,
            "  revision": f"  revision: sha256:{folder_digest(made.root / 'base')}",
            "  num_train_epochs": "  num_train_epochs: 2.0",
            "  n_resamples": "  n_resamples: 100",
            "  per_device_train_batch_size": "  per_device_train_batch_size: 32",
        }.get(key, line)
        lines.append(new)
    params.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (made.root / ".gitignore").open("a").write("/base\n")
    made.run("git", "commit", "-qam", "tiny")
    return made


def quick_to_copy(made: Project) -> None:
    """Have each copy of a clone start quickly: one pack in Git instead of its objects, and the code compiled."""
    made.run("git", "repack", "-adq")
    made.run("git", "prune-packed", "-q")
    made.run(sys.executable, "-m", "compileall", "-q", "flows", "tasks")


def copy_of(made: Project, folder: Path) -> Project:
    """Return a copy of a clone, cache and all, in a folder of its own, to change at will; as its own its commands are run."""
    shutil.copytree(made.root, folder / "project", symlinks=True)
    copied = tiny(folder / "project")
    return Project(copied.root, copied.env | {"PATH": made.env["PATH"]}, made.python)
