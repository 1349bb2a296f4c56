"""Fixtures that tests of several folders use."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.forking import as_forked, forking, interpreter
from tests.support.project import (
    SHARED,
    Once,
    Project,
    copy_of,
    make_tiny_model,
    quick_to_copy,
    tiny,
    tiny_project,
)
from tests.support.server import lasting_server

# one of several processes of pytest-xdist that share the tests of a session
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
SESSION = os.getppid() if IS_WORKER else os.getpid()
# seconds since the epoch after which no test is begun: .ci/run has a limit, however slow the machine is
UNTIL = "RETRAIN_TESTS_UNTIL"
# the place of the test to begin with, counted round and round: where time ends, it ends before others each time
FROM = "RETRAIN_TESTS_FROM"
ends = pytest.StashKey[float]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what needs real data or a device only where it is, and say so; begin and end where that is asked."""
    # taken out: a pytest that a test starts is to run what it is given
    config.stash[ends] = float(os.environ.pop(UNTIL, "inf"))
    # what takes longest is begun first, lest one process is left alone with it
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")
    first = int(os.environ.pop(FROM, "0")) % max(len(items), 1)
    items[:] = items[first:] + items[:first]
    if not SHARED.exists():
        mark = pytest.mark.skip(reason=f"no real data sets at {SHARED}")
        for item in items:
            # not by keyword: a folder of tests is called so too
            if item.get_closest_marker("shared"):
                item.add_marker(mark)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what there is no time left for, and say so."""
    if time.time() > item.config.stash[ends]:
        pytest.skip(f"no time is left for it before {UNTIL}")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder by its name once, also when pytest-xdist runs several workers: one makes it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if IS_WORKER else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / "once" / name
        done = folder.with_suffix(".done")
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not done.exists():
                # left by one that failed
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_model(once: Once) -> Path:
    """A two-layer BERT of 32 dimensions with a word-piece vocabulary learned from the embedded tickets."""
    return once("tiny_model", make_tiny_model)


@pytest.fixture(scope="session")
def prefect_home(once: Once) -> Path:
    """A PREFECT_HOME with an empty database in it: Prefect takes ten seconds to make one."""
    upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    return once(
        "prefect_home",
        lambda folder: subprocess.run(upgrade, check=True, env=os.environ | {"PREFECT_HOME": str(folder)}),
    )


@pytest.fixture(scope="session")
def python(once: Once) -> Path:
    """An interpreter that has one process, for all tests of a session, run what imports torch."""
    return once("python", lambda folder: interpreter(folder, SESSION)) / "bin/python"


@pytest.fixture(scope="module")
def forked_serving(python: Path) -> Iterator[None]:
    """Have the package stage, run in this process, serve what it made in a process that is forked."""
    with as_forked(python):
        yield


@pytest.fixture(scope="session")
def cloned(once: Once, tiny_model: Path, prefect_home: Path) -> Project:
    """A clone with the tiny model in which nothing has run; to be copied, not changed."""
    return tiny(
        once(
            "cloned",
            lambda folder: quick_to_copy(tiny_project(folder / "project", tiny_model, prefect_home)),
        )
        / "project"
    )


@pytest.fixture(scope="session")
def computed(once: Once, cloned: Project, python: Path) -> Project:
    """A clone in which DVC has run all stages, committed; to be copied, not changed."""

    def make(folder: Path) -> None:
        made = copy_of(cloned, folder)
        forking(made, python).dvc("repro")
        made.run("git", "add", "-A")
        made.run("git", "commit", "-qm", "trained")

    return tiny(once("computed", make) / "project")


@pytest.fixture
def trained(computed: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A copy of that clone, cache and all, to change at will."""
    return quick(copy_of(computed, tmp_path), request)


@pytest.fixture
def project(cloned: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A copy of a clone with the tiny model, to change at will."""
    return quick(copy_of(cloned, tmp_path), request)


def quick(made: Project, request: pytest.FixtureRequest) -> Project:
    """Return a clone whose processes are forked, unless the test is about how users start them."""
    if request.node.get_closest_marker("as_users_do"):
        return made
    return forking(made, request.getfixturevalue("python"))


@pytest.fixture(scope="session")
def server(once: Once, prefect_home: Path) -> str:
    """The API URL of the one Prefect server that all tests share, those of other workers too."""

    def make(folder: Path) -> None:
        home = shutil.copytree(prefect_home, folder / "home")
        (folder / "url").write_text(lasting_server(home, SESSION), encoding="utf-8")

    return (once("server", make) / "url").read_text("utf-8")
