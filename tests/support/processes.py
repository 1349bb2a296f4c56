"""Processes that work in a clone."""

import psutil

from tests.support.project import Project


def alive(project: Project) -> list[str]:
    """Return the command lines of the processes that work in the project's folder."""
    ours = [process.info for process in psutil.process_iter(["cwd", "cmdline", "status"]) if process.info["cwd"] == str(project.root)]
    return [" ".join(info["cmdline"]) for info in ours if info["status"] != psutil.STATUS_ZOMBIE]
