"""Calling Git: nothing that was fetched is executed, and what fails is one sentence."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from tasks.shared.errors import DiskError, InputError, disk_trouble, readable
from tasks.shared.say import Say

# who commits where Git knows no one
OURS = "retrain <retrain@localhost>"
# What a user has set to run at each command of Git may be a path in the checkout, and in a worktree of a
# commit that was fetched that is the commit's own. Git runs no filter but those of the user's configuration:
# they stay, as LFS is one.
OFF = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "push.recurseSubmodules=no",
    "protocol.ext.allow=never",
    "log.showSignature=false",
)
# sends what is there from the checkout itself, as its user would: git-lfs sends its files in a hook
HOOKED = ("push",)
# seconds to end in, for what is told to
GRACE = 2.0


def git(
    where: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float | None = None,
) -> str:
    """Run Git in a folder, `given` on its input, and return what it printed.

    Nothing that was fetched is executed. Raises InputError, with Git's own words, when it fails, and when it
    talks to a host that takes more than so many seconds.
    """
    return _text(_run(where, words, env, given, seconds)).strip()


def names(where: Path, *words: str) -> list[str]:
    """Run a command of Git that lists files with `-z`; return their names, whatever bytes are in them."""
    return [name for name in _text(_run(where, words)).split("\0") if name]


def raw(where: Path, *words: str, given: str | None = None) -> bytes:
    """Run Git as `git` does; return the very bytes that it printed."""
    return _run(where, words, given=given)


def _text(told: bytes) -> str:
    return told.decode(errors="surrogateescape")


def _run(
    where: Path,
    words: Sequence[str],
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float | None = None,
) -> bytes:
    program = shutil.which("git")
    if program is None:
        raise InputError("git is not installed; install it, retrain keeps its experiments there")
    settings = OFF[1:] if words[0] in HOOKED else OFF
    options = chain.from_iterable(("-c", setting) for setting in settings)
    command = [program, *options, *words]
    status, out, errors = _done(command, where, {**os.environ, **(env or {})}, given, seconds)
    if status:
        if full := disk_trouble(ChildProcessError(errors)):
            raise DiskError(full)
        raise InputError(readable(f"git {' '.join(words[:2])}: {' '.join(errors.split())}"))
    return out


def _done(
    command: Sequence[str], where: Path, env: Mapping[str, str], given: str | None, seconds: float | None
) -> tuple[int, bytes, str]:
    """Run a command; return its exit status, its output and what it said of errors."""
    with subprocess.Popen(  # noqa: S603 (Git alone, no shell)
        command,
        cwd=where,
        env=env,
        stdin=None if given is None and seconds is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # what it has started to talk to a host ends with it, and would otherwise keep our pipes open
        process_group=None if seconds is None else 0,
    ) as process:
        try:
            asked = None if given is None else given.encode(errors="surrogateescape")
            out, errors = process.communicate(asked, timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return 1, b"", f"no answer within {seconds:.0f} s"
        except BaseException:
            if seconds is None:
                process.kill()
            else:
                _end(process)
            raise
    return process.returncode, out, _text(errors)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End Git and what it has started, which is a group of its own; asked first, it leaves no lock."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def refuse_without_git(checkout: Path) -> None:
    """Raise InputError when Git has no checkout here, or does not trust its owner."""
    try:
        is_bare = git(checkout, "rev-parse", "--is-bare-repository") == "true"
    except InputError:
        if any((folder / ".git").exists() for folder in (checkout, *checkout.parents)):
            raise
        remedy = "make one with `git init && git add . && git commit -m start`"
        raise InputError(
            f"{checkout} is in no Git repository, where runs keep their records; {remedy}"
        ) from None
    if is_bare:
        raise InputError(
            f"the Git repository of {checkout} is bare; if this is a checkout: git config core.bare false"
        )
    refuse_planted(checkout)


def refuse_planted(checkout: Path) -> None:
    """Raise InputError when a commit has brought files to where what is this machine's own is kept.

    DVC unpickles what it finds in its databases there.
    """
    for place in (".dvc/tmp", ".dvc/cache", ".retrain"):
        if planted := names(checkout, "ls-files", "-z", "--", place):
            why = "where what is this machine's own is kept and read without a doubt"
            remedy = f"find out who committed it (`git log -- {place}`), then `git rm -r --force {place}`"
            raise InputError(f"Git tracks {readable(planted[0])}, {why}; {remedy}")


def refuse_without_commit(checkout: Path, say: Say) -> None:
    """Raise InputError, before anything is computed, when no worktree can be made here.

    Says so when Git does not know its user.
    """
    refuse_without_git(checkout)
    try:
        git(checkout, "rev-parse", "--verify", "HEAD^{commit}")
    except InputError:
        raise InputError(
            f"the Git repository of {checkout} has no commit yet, and an isolated run starts from one; "
            "make it with `git add . && git commit -m start`"
        ) from None
    if identity(checkout):
        say(f"Git knows no user.name and user.email here, so what this run keeps in Git is by {OURS}")


def identity(checkout: Path) -> dict[str, str]:
    """Return the environment with which Git can commit: empty where it knows its user.

    Else it holds an identity of our own, for our own refs.
    """
    env: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        try:
            git(checkout, "var", f"GIT_{who}_IDENT")
        except InputError:
            env |= {f"GIT_{who}_NAME": "retrain", f"GIT_{who}_EMAIL": "retrain@localhost"}
    return env


def commit_of(checkout: Path, revision: str) -> str:
    """Return the commit that a branch, tag or other revision names; raise InputError when there is none."""
    try:
        return git(checkout, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except InputError:
        hint = "`dvc exp list -A` and `git log --all` list what there is"
        raise InputError(f"there is no commit, branch, tag or experiment '{revision}'; {hint}") from None
