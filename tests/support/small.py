"""A pipeline of one stage that takes no time, under the real DVC and Git: for what a cache, a ledger and a repository go through."""

from contextlib import chdir
from functools import partial
from pathlib import Path

from dvc.repo import Repo

from flows.git.commands import git
from flows.ledger.results import Result
from flows.ledger.stages import Ledger

DVC_YAML = """
stages:
  make:
    cmd: exec python -m make
    deps: [source.txt]
    outs: [made]
    metrics:
    - metrics/make.json:
        cache: false
"""


def pipeline(folder: Path) -> Path:
    """Make a checkout with a stage that makes a folder and a metric, committed before it has run."""
    folder.mkdir()
    git(folder, "init", "-q")
    Repo.init(str(folder)).close()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text("{}\n")
    (folder / "source.txt").write_text("first\n")
    (folder / ".gitignore").write_text(".retrain/\n/made\n/.*.part\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def make(folder: Path) -> None:
    """Do what the stage does."""
    (folder / "made").mkdir(exist_ok=True)
    (folder / "metrics").mkdir(exist_ok=True)
    text = (folder / "source.txt").read_text()
    (folder / "made/a").write_text(text)
    (folder / "made/b").write_text(f"more of {text}")
    (folder / "metrics/make.json").write_text(f'{{"length": {len(text)}}}\n')


def made(folder: Path, ledger: Ledger | None = None) -> Result:
    """Have the stage settled in a folder."""
    with chdir(folder):
        return (ledger or Ledger(folder)).run_or_restore("make", partial(make, folder))


def objects(home: Path) -> set[str]:
    """Return the objects in the DVC cache of a checkout."""
    return {path.parent.name + path.name for path in (home / ".dvc/cache/files/md5").glob("*/*")}
