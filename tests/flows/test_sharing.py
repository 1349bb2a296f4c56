"""What leaves the machine: nothing until it is switched on, then what Git tracks, and where it went is said."""

import shutil
from pathlib import Path

import pytest
from dvc.config import Config
from dvc.repo import Repo

from flows.git.commands import git
from flows.git.uncommitted import uncommitted
from flows.git.worktrees import worktree
from flows.ledger.experiments import push, save
from flows.ledger.results import Experiment
from flows.ledger.stages import Ledger
from tests.support.project import Project, environment

SECRET = "TOKEN=s3cret"  # noqa: S105 (made up)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a hub, under DVC, in which nobody has switched anything on."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    Repo.init(str(folder)).close()
    (folder / ".gitignore").write_text(".retrain/\n")
    (folder / "dvc.lock").write_text("stages: {}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    git(folder, "remote", "add", "origin", str(tmp_path / "hub.git"))
    return folder


def switch(checkout: Path, *, on: bool = True) -> None:
    """Do what `dvc config --local exp.auto_push` does."""
    with Config(str(checkout / ".dvc")).edit("local") as config:
        config["exp"]["auto_push"] = on


def ran(checkout: Path, name: str = "run", stage: str = "ingest") -> tuple[Experiment, list[str]]:
    """Save an experiment of the checkout as it stands and share it; return it and what was said."""
    said: list[str] = []
    taken = uncommitted(checkout, lambda _: None)
    with worktree(checkout, name, "HEAD", taken.tree) as folder:
        (folder / "dvc.lock").write_text(f"stages: {{{stage}: {{}}}}\n")
        saved = save(folder, name, "a run", untracked=taken.untracked)
    with Repo(str(checkout)) as repo:
        push(repo, checkout, saved, said.append)
    return saved, said


def sent(checkout: Path) -> str:
    return git(checkout, "ls-remote", "origin")


def test_nothing_is_sent_until_somebody_switches_it_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(checkout)[1] == []
    assert sent(checkout) == ""
    switch(checkout)
    hub = checkout.parent / "hub.git"
    assert ran(checkout)[1] == [f"sent experiment run to Git remote 'origin' ({hub})"]
    assert sent(checkout).endswith("/run")
    assert ran(checkout)[1] == [], "what is there already is not sent"
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "false")
    assert ran(checkout, "another", "split")[1] == []
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "true")
    switch(checkout, on=False)
    assert "sent experiment another" in ran(checkout, "another", "split")[1][0]


def test_without_a_git_remote_an_experiment_stays_here_and_that_is_said(checkout: Path) -> None:
    switch(checkout)
    git(checkout, "remote", "remove", "origin")
    assert ran(checkout)[1] == ["experiment run stays here: there is no Git remote 'origin'"]


def test_an_experiment_that_took_along_what_git_does_not_track_stays_here_until_it_is_named(
    checkout: Path,
) -> None:
    switch(checkout)
    secret, module = checkout / "my key.env", checkout / "module.py"
    secret.write_text(SECRET)
    module.write_text("pass\n")
    kept, said = ran(checkout)
    assert (
        "experiment run stays here, because it holds what Git does not track: module.py, my key.env"
        in said[0]
    )
    assert sent(checkout) == ""
    assert git(checkout, "show", f"{kept.commit}:my key.env") == SECRET

    # one of them is named, the other is not: nothing is sent yet, also by a run that equals this one
    git(checkout, "add", "--intent-to-add", "module.py")
    again, said = ran(checkout, "again")
    assert again.commit == kept.commit
    assert "what Git does not track: my key.env;" in said[0]
    assert sent(checkout) == ""

    # what the sentence says to do
    (checkout / ".gitignore").open("a").write("*.env\n")
    git(checkout, "update-ref", "-d", git(checkout, "for-each-ref", "--format=%(refname)", "refs/exps"))
    shared, said = ran(checkout, "again")
    assert "sent experiment again" in said[0]
    assert git(checkout, "ls-tree", "--name-only", shared.commit, "module.py", "my key.env") == "module.py"
    hub = checkout.parent / "hub.git"
    assert SECRET not in git(hub, "grep", "-h", "", git(hub, "for-each-ref", "--format=%(objectname)"))


def test_naming_all_of_them_sends_the_experiment_that_is_there(checkout: Path) -> None:
    switch(checkout)
    (checkout / "module.py").write_text("pass\n")
    ran(checkout)
    git(checkout, "add", "module.py")
    assert "sent experiment run" in ran(checkout)[1][0]


def test_a_dvc_remote_too_is_sent_nothing_until_sharing_is_switched_on(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root)
    store = tmp_path / "store"
    trained.dvc("remote", "add", "-d", "team", str(store))
    said: list[str] = []
    ledger = Ledger(trained.root, say=said.append)
    assert ledger.all_pushed()
    ledger.push()
    assert not store.exists()
    assert said == []
    trained.dvc("config", "exp.auto_push", "true")
    ledger = Ledger(trained.root, say=said.append)
    assert not ledger.all_pushed()
    ledger.push()
    assert f"train: sent to remote 'team' ({store})" in said
    assert ledger.all_pushed()


def test_a_run_that_a_pre_push_hook_starts_pushes_nothing_itself(checkout: Path) -> None:
    switch(checkout)
    hook = checkout / ".git/hooks/pre-push"
    hook.write_text('#!/bin/sh\necho "$DVC_EXP_AUTO_PUSH" >.retrain/seen\n')
    hook.chmod(0o755)
    assert "sent experiment run" in ran(checkout)[1][0]
    assert (checkout / ".retrain/seen").read_text() == "false\n"


def test_an_experiment_whose_name_is_taken_there_is_sent_under_another_and_those_after_it_too(
    checkout: Path,
) -> None:
    switch(checkout)
    theirs = Path(shutil.copytree(checkout, checkout.parent / "theirs"))
    assert "sent experiment seed-42 to" in ran(theirs, "seed-42", "split")[1][0]
    mine, said = ran(checkout, "seed-42", "train")
    name = f"seed-42-{mine.commit[:7]}"
    assert f"sent experiment seed-42 as {name}, for its name is taken there, to" in said[0]
    assert f"{mine.commit}\trefs/exps/{mine.baseline[:2]}/{mine.baseline[2:]}/{name}" in sent(checkout)
    assert "sent experiment seed-43 to" in ran(checkout, "seed-43", "evaluate")[1][0]
    assert git(checkout, "for-each-ref", "refs/retrain") == ""


def test_an_experiment_that_the_remote_refuses_holds_up_no_other(checkout: Path) -> None:
    switch(checkout)
    hook = checkout.parent / "hub.git/hooks/update"
    hook.write_text('#!/bin/sh\ncase "$1" in */large) exit 1;; esac\n')
    hook.chmod(0o755)
    assert "could not send experiment large" in ran(checkout, "large", "split")[1][0]
    # of those that are saved in one second, any may be the first
    said = "\n".join(ran(checkout, "small", "train")[1])
    assert "could not send experiment large" in said
    assert "sent experiment small" in said
    hook.unlink()
    said = "\n".join(ran(checkout, "last", "evaluate")[1])
    assert "sent experiment large" in said
    assert "sent experiment last" in said


@pytest.mark.parametrize("told", ["no JSON", '"../../../../outside"', "/etc/passwd", "[1]", "[" * 5000])
def test_whatever_somebody_wrote_into_an_experiment_a_run_that_equals_it_ends(
    checkout: Path, told: str
) -> None:
    switch(checkout)
    mine, _ = ran(checkout)
    git(checkout, "update-ref", "-d", f"refs/exps/{mine.baseline[:2]}/{mine.baseline[2:]}/{mine.name}")
    words = (
        "commit-tree",
        f"{mine.commit}^{{tree}}",
        "-p",
        mine.baseline,
        "-m",
        f"a run\n\nUntracked: {told}",
    )
    theirs = git(checkout, *words)
    git(checkout, "update-ref", f"refs/exps/{mine.baseline[:2]}/{mine.baseline[2:]}/theirs", theirs)
    again, said = ran(checkout, "again")
    assert again.commit == theirs
    assert said[0].startswith(
        "warning: experiment theirs stays here, because it holds what Git does not track: "
    )
