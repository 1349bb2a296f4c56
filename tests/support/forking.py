"""Clones whose stages are forked from one process that has imported torch once, for all tests of a session.

What a clone starts by the name `python`, or by the name of the interpreter that runs the clone's commands, is
tests/support/forked_python.py in a folder that looks like a virtual environment.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import fork_server, forked_python
from tests.support.project import ROOT, Project, tiny
from tests.support.wait import until


def interpreter(folder: Path, pid: int) -> Path:
    """Make a `python` in a folder, and start the process behind it, which lasts for as long as the process `pid` does."""
    (folder / "bin").mkdir()
    (folder / "real").symlink_to(sys.executable)
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
    python = folder / "bin/python"
    python.write_text(
        f"#!{sys.executable} -IS\n{Path(forked_python.__file__).read_text('utf-8')}", encoding="utf-8"
    )
    python.chmod(0o755)
    env = tiny(folder).env
    (folder / "settings.json").write_text(json.dumps(forked_python.settings(env)), encoding="utf-8")
    until_gone = [sys.executable, "-m", "tests.support.until_gone", str(pid)]
    server = [sys.executable, "-I", fork_server.__file__, str(folder)]
    with (folder / "log").open("w") as log:
        subprocess.Popen(
            [*until_gone, *server], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    until((folder / "socket").exists)
    return python


def forking(made: Project, python: Path) -> Project:
    """Return a clone whose commands are run by that interpreter."""
    return Project(made.root, made.env | {"PATH": f"{python.parent}:{made.env['PATH']}"}, str(python))
