"""Commits whose code somebody asks to run: only signed ones, where Git's configuration says so."""

from pathlib import Path

from flows.git.commands import git
from tasks.shared.errors import InputError

SETTING = "retrain.signedOnly"


def refuse_unsigned(checkout: Path, commit: str) -> None:
    """Raise InputError when only signed commits may run here and no trusted key has signed this one.

    Whom to trust is Git's own configuration of this machine, which nothing that is fetched can change.
    """
    if git(checkout, "config", "--type=bool", "--default=false", "--get", SETTING) != "true":
        return
    try:
        # a GPG key that is in the keyring but trusted by nobody would do otherwise
        git(checkout, "-c", "gpg.minTrustLevel=fully", "verify-commit", commit)
    except InputError as error:
        why = f"{SETTING} is set in Git's configuration, and no key that is trusted here has signed it"
        hint = "whom to trust stands in the file that gpg.ssh.allowedSignersFile names"
        told = str(error) or "no signature"
        raise InputError(f"the code of commit {commit[:10]} is not run: {why} ({told}); {hint}") from None


def signing(checkout: Path) -> list[str]:
    """Return the option with which Git signs what it commits here, when `commit.gpgSign` asks for that."""
    asked = git(checkout, "config", "--type=bool", "--default=false", "--get", "commit.gpgSign")
    return ["-S"] if asked == "true" else []
