"""Git remotes, over a network: asked no question that nobody answers, and waited for only so long."""

import os
from collections.abc import Iterable
from pathlib import Path

from flows.git.commands import git
from tasks.shared.errors import InputError, without_password

# seconds for a host to answer, and to take or give what refs name
ASKED, SENT = 10.0, 120.0


class UnreachableError(InputError):
    """The Git remote cannot be reached, or takes nothing from us, or is not to get it."""


def asked(checkout: Path, remote: str, patterns: Iterable[str]) -> str:
    """Return what the remote says of its refs, a line each; raise UnreachableError when it does not."""
    words = ("ls-remote", "--refs", "--", remote, *patterns)
    try:
        return git(checkout, *words, env=quiet(checkout), seconds=ASKED)
    except InputError as error:
        # with its own words, such as those of a host that is not known
        why = without_password(str(error))
        raise UnreachableError(f"Git remote '{remote}' cannot be asked: {why}") from None


def fetch(checkout: Path, remote: str, refs: Iterable[str], what: str) -> None:
    """Have what the remote's refs name here, without refs of our own.

    Raises UnreachableError when it does not give it.
    """
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", remote, *refs)
    try:
        git(checkout, *words, env=quiet(checkout), seconds=SENT)
    except InputError as error:
        raise UnreachableError(f"Git remote '{remote}' does not give {what}: {error}") from None


def quiet(checkout: Path) -> dict[str, str]:
    """Return an environment in which no question is asked that nobody answers.

    A pre-push hook may start a run, which would push.
    """
    env = {"GIT_TERMINAL_PROMPT": "0", "DVC_EXP_AUTO_PUSH": "false", "LC_ALL": "C"}
    is_given = "GIT_SSH_COMMAND" in os.environ or "GIT_SSH" in os.environ
    if not is_given and not git(checkout, "config", "--default=", "--get", "core.sshCommand"):
        env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    return env
