"""Where only signed commits may run, others are refused before their code is checked out."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.engine.workspace import at_revision
from flows.git.commands import commit_of, git
from flows.git.signatures import refuse_unsigned
from flows.ledger.experiments import save
from tasks.shared.errors import InputError
from tests.support.project import ROOT, environment

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def key(folder: Path, name: str) -> Path:
    """Return a new SSH key that has no passphrase."""
    made = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    return made


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose machine runs signed commits only, and trusts one key."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    trusted = key(tmp_path, "trusted")
    (tmp_path / "allowed").write_text(f"me@example.org {trusted.with_suffix('.pub').read_text()}")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    settings = {
        "gpg.format": "ssh",
        "user.signingKey": str(trusted),
        "gpg.ssh.allowedSignersFile": str(tmp_path / "allowed"),
        "retrain.signedOnly": "true",
    }
    for name, value in settings.items():
        git(folder, "config", name, value)
    for name in ("dvc.yaml", "dvc.lock"):
        (folder / name).write_text("stages: {}\n")
    return folder


def committed(checkout: Path, *options: str) -> str:
    """Return a new commit."""
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "state", *options)
    return commit_of(checkout, "HEAD")


def test_a_commit_that_a_trusted_key_has_signed_may_run(checkout: Path) -> None:
    refuse_unsigned(checkout, committed(checkout, "-S"))


def test_a_commit_without_a_signature_may_not(checkout: Path) -> None:
    commit = committed(checkout)

    with pytest.raises(InputError, match=rf"the code of commit {commit[:10]} is not run.*allowedSignersFile"):
        refuse_unsigned(checkout, commit)


def test_a_commit_that_another_key_has_signed_may_not(checkout: Path, tmp_path: Path) -> None:
    commit = committed(checkout, f"-S{key(tmp_path, 'other')}")

    with pytest.raises(InputError, match="no key that is trusted here"):
        refuse_unsigned(checkout, commit)


def test_unsigned_commits_run_unless_the_setting_forbids_it(checkout: Path) -> None:
    git(checkout, "config", "retrain.signedOnly", "false")

    refuse_unsigned(checkout, committed(checkout))


def test_a_setting_that_is_neither_true_nor_false_lets_nothing_run(checkout: Path) -> None:
    git(checkout, "config", "retrain.signedOnly", "perhaps")

    with pytest.raises(InputError, match="perhaps"):
        refuse_unsigned(checkout, committed(checkout, "-S"))


def test_no_worktree_is_made_of_a_revision_that_may_not_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    committed(checkout)

    with pytest.raises(InputError, match="is not run"), at_revision("HEAD", "again", print):
        pass

    assert not list((checkout / ".retrain").glob("worktrees/again"))


def test_experiments_are_signed_where_commits_are(checkout: Path) -> None:
    git(checkout, "config", "commit.gpgSign", "true")
    committed(checkout)
    (checkout / "dvc.lock").write_text("stages: {} # of a run\n")

    refuse_unsigned(checkout, save(checkout, "run", "a run").commit)


@pytest.mark.parametrize("options", [["-S"], []])
def test_a_worker_on_another_machine_asks_the_same_before_it_checks_out(
    checkout: Path, tmp_path: Path, options: list[str]
) -> None:
    committed(checkout, *options)
    git(checkout, "branch", "-f", "main")
    git(tmp_path, "clone", "-q", str(checkout), "worker/checkout")
    settings = git(checkout, "config", "--local", "--get-regexp", "^(gpg|retrain)").splitlines()
    env = {**os.environ, "GIT_CONFIG_GLOBAL": str(tmp_path / "global")}
    for name, value in (line.split(" ", 1) for line in settings):
        subprocess.run(["git", "config", "--global", name, value], env=env, check=True)
    steps = YAML(typ="safe").load((ROOT / "deploy/remote-worker.yaml").read_text("utf-8"))["pull"]
    (script,) = [
        step["script"]
        for named in steps
        for step in named.values()
        if "verify-commit" in step.get("script", "")
    ]

    done = subprocess.run(script, shell=True, cwd=tmp_path / "worker", env=env, check=False)  # noqa: S602 (as Prefect runs it)

    assert (done.returncode == 0) == bool(options)
