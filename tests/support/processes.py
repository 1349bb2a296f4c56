"""Processes that work in a clone."""

from pathlib import Path

import psutil

from tests.support.project import Project


def processes(project: Project) -> list[psutil.Process]:
    """Return the processes that work in a clone, or in a worktree below it."""
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        cwd = (process.info["cwd"] or "").removesuffix(" (deleted)")
        if process.info["status"] != psutil.STATUS_ZOMBIE and Path(cwd).is_relative_to(project.root):
            found.append(process)
    return found


def command(process: psutil.Process | None) -> str:
    """Return the command line of a process; nothing when it is gone."""
    try:
        return " ".join(process.cmdline()) if process else ""
    except psutil.Error:
        return ""


def started_by(process: psutil.Process) -> str:
    """Return the command line of the process that started another; nothing when one of them is gone."""
    try:
        return command(process.parent())
    except psutil.Error:
        return ""


def alive(project: Project) -> list[str]:
    """Return the command lines of the processes that work in a clone."""
    return [command(process) for process in processes(project)]
