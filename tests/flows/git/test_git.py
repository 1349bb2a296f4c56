"""What runs ask of Git: a hook's environment, an unknown user, odd names, repositories inside the checkout."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.config import Config
from dvc.repo import Repo

from flows import OF_A_HOOK
from flows.git.commands import git, names, refuse_without_commit
from flows.git.uncommitted import uncommitted, write_tree
from flows.git.worktrees import is_link, link, worktree
from flows.ledger.experiments import experiments, save
from flows.ledger.sharing import share_cache
from flows.report.certificate import Certificate
from tasks.shared.errors import InputError, readable
from tests.support.forking import forking
from tests.support.project import Project, copy_of
from tests.support.repository import one_commit
from tests.support.stages import STAGES, happened

NOT_UTF8 = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit; what Git knows of its user is what the tests say."""
    return one_commit(tmp_path, monkeypatch, ignored=".retrain/\n*.log\n")


def commit(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")


@pytest.fixture
def nobody(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows no user, as in a fresh container."""
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER", "EMAIL"))]:
        monkeypatch.delenv(name)
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.useConfigOnly",
        "GIT_CONFIG_VALUE_0": "true",
    }
    for name, value in {**settings, "HOME": str(checkout / "nowhere"), "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)


def files_of(checkout: Path, tree: str | None) -> list[str]:
    assert tree is not None
    return names(checkout, "ls-tree", "-r", "-z", "--name-only", tree)


def test_what_git_tells_a_hook_of_its_repository_is_gone_and_what_a_user_sets_stays() -> None:
    kept = {"GIT_SSH_COMMAND": "ssh -4", "GIT_CONFIG_COUNT": "0", "GIT_AUTHOR_NAME": "me"}
    given = dict.fromkeys(
        (*OF_A_HOOK, *subprocess.check_output(["git", "rev-parse", "--local-env-vars"], text=True).split()),
        "x",
    )
    look = "import os, flows; print([name for name in os.environ if name.startswith('GIT_')])"
    seen = subprocess.check_output([sys.executable, "-c", look], env=os.environ | given | kept, text=True)
    left = {name for name in given | kept if f"'{name}'" in seen}
    assert left == set(kept)


@pytest.mark.slow
def test_a_run_from_a_hook_leaves_index_and_commit_to_git(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    (trained.root / "notes.txt").write_text("mine alone\n")
    hooks = trained.root / ".git/hooks"
    for name in ("pre-commit", "post-commit"):
        hook = hooks / name
        hook.write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -m flows run --isolated >>.retrain/hook.log 2>&1\n"
        )
        hook.chmod(0o755)
    (trained.root / "README.md").open("a").write("\nmore\n")
    # -a: Git gives its hooks the path of an index of its own
    trained.run("git", "commit", "-qam", "from a hook")
    log = (trained.root / ".retrain/hook.log").read_text("utf-8")
    assert log.count("this run equals") + log.count("saved as experiment") == 2, log
    assert trained.run("git", "show", "--name-only", "--format=", "HEAD").stdout.split() == ["README.md"]
    assert trained.run("git", "status", "--porcelain").stdout == "?? notes.txt\n"
    assert trained.run("git", "worktree", "list").stdout.count("\n") == 1


@pytest.mark.usefixtures("nobody")
def test_where_git_knows_no_user_it_is_said_at_the_start_and_a_run_keeps_its_record_all_the_same(
    checkout: Path,
) -> None:
    said: list[str] = []
    refuse_without_commit(checkout, said.append)
    assert said == [
        "Git knows no user.name and user.email here, so what this run keeps in Git is by retrain <retrain@localhost>"
    ]
    with worktree(checkout, "run", "HEAD") as folder:
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        saved = save(folder, "run", "a run")
    assert [experiment.name for experiment in experiments(checkout)] == ["run"]
    assert git(checkout, "show", "-s", "--format=%an <%ae>, %cn <%ce>", saved.commit) == ", ".join(
        ["retrain <retrain@localhost>"] * 2
    )
    Certificate("run", saved.commit).keep(checkout)
    assert '"revision": "run"' in git(checkout, "notes", "--ref=retrain", "show", saved.commit)


def test_who_is_configured_signs_what_a_run_keeps(checkout: Path) -> None:
    refuse_without_commit(checkout, pytest.fail)
    with worktree(checkout, "run", "HEAD") as folder:
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        saved = save(folder, "run", "a run")
    assert git(checkout, "show", "-s", "--format=%ae", saved.commit) == "AUTHOR@example.org"


def test_a_repository_that_no_run_can_start_from_is_refused_in_one_sentence(
    tmp_path: Path, checkout: Path
) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    with pytest.raises(InputError, match=r"no commit yet.*git add . && git commit -m start"):
        refuse_without_commit(tmp_path / "empty", pytest.fail)
    git(checkout, "checkout", "-q", "--detach")
    refuse_without_commit(checkout, pytest.fail)
    git(checkout, "config", "core.bare", "true")
    with pytest.raises(InputError, match=r"is bare.*git config core.bare false"):
        refuse_without_commit(checkout, pytest.fail)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"is in no Git repository.*git init"):
        refuse_without_commit(tmp_path / "none", pytest.fail)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_checkout_of_somebody_else_is_refused_with_gits_own_remedy(checkout: Path) -> None:
    for path in (checkout, checkout / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(InputError, match=r"git config --global --add safe\.directory"):
        refuse_without_commit(checkout, pytest.fail)


def test_files_are_taken_along_whatever_they_are_called(checkout: Path) -> None:
    odd = [NOT_UTF8, "-x", ":y", ":(top)z", "a b", " first", "new\nline", "q\"uo'te", "ü.txt", "*", "#h"]
    for name in odd:
        (checkout / name).write_text("new\n")
    said: list[str] = []
    taken = uncommitted(checkout, said.append)
    assert sorted(taken.untracked) == sorted(odd)
    assert set(files_of(checkout, taken.tree)) == {*odd, ".gitignore", "dvc.lock"}
    # can be printed
    said[0].encode()
    with worktree(checkout, "run", "HEAD", taken.tree) as folder:
        assert {path.name for path in folder.iterdir()} >= set(odd)
    assert readable(NOT_UTF8) == "caf\ufffd.txt"


def test_a_file_that_goes_while_it_is_taken_along_ends_nothing(checkout: Path) -> None:
    (checkout / "there").write_text("new\n")
    tree = write_tree(checkout, ["gone", "there"])
    assert set(files_of(checkout, tree)) == {"there", ".gitignore", "dvc.lock"}


def test_what_is_staged_by_name_or_by_force_is_taken_along_and_the_index_stays_as_it_was(
    checkout: Path,
) -> None:
    for name in ("meant.txt", "forced.log", "ignored.log"):
        (checkout / name).write_text("new\n")
    git(checkout, "add", "--intent-to-add", "meant.txt")
    git(checkout, "add", "--force", "forced.log")
    (checkout / "dvc.lock").unlink()
    before = git(checkout, "status", "--porcelain")
    taken = uncommitted(checkout, lambda _: None)
    assert set(files_of(checkout, taken.tree)) == {".gitignore", "meant.txt", "forced.log"}
    assert taken.untracked == ()
    assert git(checkout, "status", "--porcelain") == before


@pytest.mark.parametrize(
    "make", [commit, lambda folder: git(folder, "init", "-q")], ids=["a clone", "no commit yet"]
)
def test_a_repository_inside_the_checkout_stays_where_it_is_and_a_model_in_it_is_found(
    checkout: Path, make: Callable[[Path], object]
) -> None:
    model = checkout / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    make(model)
    said: list[str] = []
    assert uncommitted(checkout, said.append).tree is None
    assert said == ["not taking along what is a Git repository of its own: model/"]
    # as a submodule
    if make is commit:
        git(checkout, "-c", "advice.addEmbeddedRepo=false", "add", "model")
    taken = uncommitted(checkout, said.append)
    with worktree(checkout, "run", "HEAD", taken.tree) as folder:
        link("model", folder, checkout)
        assert (folder / "model/config.json").exists()
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        saved = save(
            folder, "run", "a run", leave_out=["model"] if is_link("model", folder, checkout) else []
        )
    assert set(files_of(checkout, saved.commit)) == {".gitignore", "dvc.lock"}
    assert (model / "config.json").exists()


def test_a_worktree_has_the_cache_and_the_settings_of_its_home_under_any_path(tmp_path: Path) -> None:
    home = tmp_path / "Müller {x} 50% $HOME #=,;'\"" / "home"
    home.mkdir(parents=True)
    git(home, "init", "-q")
    Repo.init(str(home)).close()
    with Config(str(home / ".dvc")).edit("repo") as config:
        config["remote"] = {
            "store": {"url": "../../store"},
            "team": {"url": "ssh://host/retrain", "keyfile": "../key"},
        }
    (home / ".dvc/config.local").write_text("['remote \"team\"']\n    password = geheimß\n", encoding="utf-8")
    folder = home / ".retrain/worktrees/run"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copyfile(home / ".dvc/config", folder / ".dvc/config")
    share_cache(home, folder)
    with Repo(str(home)) as here, Repo(str(folder)) as there:
        assert there.cache.legacy.path == here.cache.legacy.path == str(home / ".dvc/cache")
        assert there.config["remote"] == here.config["remote"]
        assert there.config["remote"]["team"]["password"] == "geheimß"  # noqa: S105 (made up)


@pytest.mark.slow
def test_an_isolated_run_works_in_a_folder_of_any_name_beside_files_of_any_name(
    computed: Project, tmp_path: Path, server: str, python: Path
) -> None:
    odd = tmp_path / "Müller {x} 50% #=,; [1]"
    odd.mkdir()
    project = forking(copy_of(computed, odd), python)
    project.env["PREFECT_API_URL"] = server
    (project.root / NOT_UTF8).write_text("mine\n")
    done = project.retrain("--isolated", "--evaluate.n-resamples", "101")
    assert happened(done.stdout) == {
        **dict.fromkeys(STAGES, "cached (unchanged)"),
        "evaluate": "ran",
        "package": "ran",
        "judge": "ran",
    }
    assert "taking along 1 uncommitted changes: caf" in done.stderr
    assert "saved as experiment" in done.stderr
