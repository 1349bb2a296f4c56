"""Git remotes, over a network: asked no question that nobody answers, and waited for only so long."""

import os
from collections.abc import Iterable
from pathlib import Path

from flows.git.commands import git
from tasks.shared.errors import InputError

# seconds for a host to answer, and to take or give what refs name
ASKED, SENT = 10.0, 120.0
# in Git's words, when the remote, or a hook, does not let a ref be moved so
REFUSED = "failed to push some refs"


class UnreachableError(InputError):
    """The Git remote cannot be reached, or takes nothing from us, or is not to get it."""


class RefusedError(InputError):
    """The Git remote, or a hook, refuses a ref: mostly something else has its name there."""


def asked(checkout: Path, remote: str, patterns: Iterable[str]) -> str:
    """Return what the remote says of its refs, a line each; raise UnreachableError when it does not."""
    words = ("ls-remote", "--refs", "--", remote, *patterns)
    try:
        return git(checkout, *words, env=quiet(checkout), seconds=ASKED)
    except InputError as error:
        # with its own words, such as those of a host that is not known
        raise UnreachableError(f"Git remote '{remote}' cannot be asked: {error}") from None


def fetch(checkout: Path, remote: str, refs: Iterable[str], what: str) -> None:
    """Have what the remote's refs name here, without refs of our own.

    Raises UnreachableError when it does not give it.
    """
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", remote, *refs)
    try:
        git(checkout, *words, env=quiet(checkout), seconds=SENT)
    except InputError as error:
        raise UnreachableError(f"Git remote '{remote}' does not give {what}: {error}") from None


def send(checkout: Path, remote: str, ref: str, commit: str) -> bool:
    """Have the remote's ref be at a commit; return whether it was not yet.

    Raises RefusedError when it may not be moved there, and UnreachableError when nobody can say.
    """
    words = ("push", "--porcelain", "--", remote, f"{commit}:{ref}")
    try:
        told = git(checkout, *words, env=quiet(checkout), seconds=SENT)
    except InputError as error:
        kind = RefusedError if REFUSED in str(error) else UnreachableError
        raise kind(str(error)) from None
    return not any(line.startswith("=") for line in told.splitlines())


def quiet(checkout: Path) -> dict[str, str]:
    """Return an environment in which no question is asked that nobody answers.

    A pre-push hook may start a run, which would push.
    """
    env = {"GIT_TERMINAL_PROMPT": "0", "DVC_EXP_AUTO_PUSH": "false", "LC_ALL": "C"}
    is_given = "GIT_SSH_COMMAND" in os.environ or "GIT_SSH" in os.environ
    if not is_given and not git(checkout, "config", "--default=", "--get", "core.sshCommand"):
        env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    return env
