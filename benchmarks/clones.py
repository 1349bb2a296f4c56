"""Fresh clones to run commands in, and a Prefect server to run them against."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.project import ROOT, Project, clone, environment
from tests.support.server import prefect_server

HOURS = 3 * 3600


@contextmanager
def fresh_clone() -> Iterator[Project]:
    """Yield a new clone of this working tree with an empty cache and no Prefect server configured.

    It is deleted in the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="retrain-bench-"))
    try:
        yield clone(folder / "project")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def clone_at(commit: str) -> Iterator[Project]:
    """Yield a new clone of one of this repository's commits with an empty cache; it is deleted in the end.

    It has a virtual environment of its own, as `make install` makes it there: a commit refuses to run under
    versions that it does not pin.
    """
    folder = Path(tempfile.mkdtemp(prefix="retrain-bench-"))
    try:
        root = folder / "project"
        subprocess.run(["git", "clone", "-q", "--no-local", ROOT, root], check=True)
        subprocess.run(["git", "-C", root, "checkout", "-q", commit], check=True)
        subprocess.run(["git", "-C", root, "remote", "remove", "origin"], check=True)
        subprocess.run(["make", "-s", "-C", root, "install", f"PYTHON={sys.executable}"], check=True)
        python, env = root / ".venv/bin/python", environment(root)
        yield Project(root, env | {"PATH": f"{python.parent}:{env['PATH']}"}, str(python))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seconds(project: Project, *words: str, server: str | None = None) -> float:
    """Run `python -m WORDS` in the clone and return its wall time as a whole process.

    It runs against the server when there is one.
    """
    given = project.env
    project.env = given | ({"PREFECT_API_URL": server} if server else {})
    began = time.perf_counter()
    try:
        project.run(project.python, "-m", *words, timeout=HOURS)
    finally:
        project.env = given
    return time.perf_counter() - began


@contextmanager
def server() -> Iterator[str]:
    """Yield the API address of our own Prefect server on the loopback interface; it ends with the context."""
    with (
        tempfile.TemporaryDirectory(prefix="retrain-bench-", ignore_cleanup_errors=True) as home,
        prefect_server(Path(home)) as url,
    ):
        yield url
