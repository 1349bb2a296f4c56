"""A stage is given back in seconds, offline too; what is promoted can be had by DVC alone, and is no garbage."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from gto.constants import tag_re
from gto.tag import parse_name

from flows.cli.promote import rollback
from flows.git.commands import git
from flows.ledger import packages
from flows.ledger.garbage import collect
from flows.registry import sharing
from flows.registry.promotion import Promoted
from flows.registry.rollback import roll_back
from flows.registry.tags import Record, read
from tasks.shared.errors import InputError
from tests.support.project import environment
from tests.support.registry import (
    NAME,
    STAGE,
    a_run,
    forget,
    last,
    packaged,
    packaging,
    quiet,
    repository,
    shared,
    tags,
    won,
)
from tests.support.small import objects
from tests.support.unread import unread


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three promoted packages, whose experiments are there too."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(packaging(tmp_path / "home"))
    return three(tmp_path / "home")


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where a DVC remote has all of it and the cache has nothing any more."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    checkout = packaging(tmp_path / "home")
    monkeypatch.chdir(checkout)
    # of each commit DVC asks the remote that it names
    dvc(checkout, "remote", "add", "-d", "team", str(tmp_path / "store"))
    git(checkout, "commit", "-qam", "a remote")
    three(checkout)
    assert dvc(checkout, "push", "--all-tags").returncode == 0
    shutil.rmtree(checkout / ".dvc/cache/files")
    return checkout


def three(checkout: Path) -> Path:
    for text in ("one", "two", "three"):
        won(checkout, packaged(checkout, text), last(checkout), record=Record(run=text))
    return checkout


def back(checkout: Path, to: str | None = None, told: list[str] | None = None) -> Promoted:
    say = quiet if told is None else told.append
    return roll_back(checkout, NAME, STAGE, to, say, by="hand", reason="it shouts")


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=folder, text=True, capture_output=True, check=False
    )


def test_a_rollback_gives_the_stage_to_the_version_before_and_a_second_one_goes_further_back(
    home: Path,
) -> None:
    done = back(home)
    assert (done.version.tag, done.assignment.tag) == ("tickets@v0.0.2", "tickets#prod#4")
    record = done.assignment.record
    assert (record.replaced, record.verdict, record.reason, record.run) == (
        *("tickets@v0.0.3", "rolled back", "it shouts", "two"),
    )
    assert back(home).version.tag == "tickets@v0.0.1"
    with pytest.raises(InputError, match="no other version of tickets has had prod; name one with --to"):
        back(home)
    assert back(home, "v0.0.3").version.tag == "tickets@v0.0.3"
    assert back(home).version.tag == "tickets@v0.0.1"


def test_others_hear_of_a_rollback_that_nobody_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(BrokenPipeError), unread():
        rollback()
    assert "nobody is told of it: no Prefect server answers" in capsys.readouterr().err
    now = last(home)
    assert now is not None
    assert now.record.verdict == "rolled back"


@pytest.mark.parametrize("written", ["v0.0.1", "0.0.1", "tickets@v0.0.1"])
def test_a_version_is_named_as_people_write_it(home: Path, written: str) -> None:
    assert back(home, written).version.tag == "tickets@v0.0.1"


def test_what_cannot_be_rolled_back_to_is_one_sentence_and_nothing_is_changed(home: Path) -> None:
    before = tags(home)
    for to, sentence in (
        ("v0.0.9", r"tickets has no version 'v0\.0\.9'.*It has v0\.0\.1, v0\.0\.2, v0\.0\.3"),
        ("v0.0.3", r"tickets@v0\.0\.3 has prod already \(tickets#prod#3\)"),
    ):
        with pytest.raises(InputError, match=sentence):
            back(home, to)
    with pytest.raises(InputError, match="nobody has staging of tickets"):
        roll_back(home, NAME, "staging", None, quiet, by="hand")
    for path in (home / ".dvc/cache/files/md5").glob("*/*"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"nothing is rolled back: the DVC cache does not hold models/package"
    ) as told:
        back(home)
    assert "\n" not in str(told.value)
    assert tags(home) == before


def test_what_the_cache_has_lost_comes_from_the_dvc_remote(team: Path) -> None:
    assert back(team).version.tag == "tickets@v0.0.2"


def test_offline_it_holds_here_and_is_sent_by_the_next_command_that_reaches_the_remote(
    home: Path, tmp_path: Path
) -> None:
    remote, told = tmp_path / "origin.git", list[str]()
    shared(home, remote)
    sharing.synchronised(home, "origin", NAME, quiet)
    remote.rename(tmp_path / "away")
    back(home, told=told)
    assert told[0].startswith("warning: Git remote 'origin' cannot be asked: ")
    assert told[0].endswith("it holds here, and is sent by the next command that reaches the remote")
    (tmp_path / "away").rename(remote)
    sharing.synchronised(home, "origin", NAME, quiet)
    assert tags(remote) == tags(home)


def test_offline_it_is_dropped_and_said_where_the_remote_has_gone_on_meanwhile(
    home: Path, tmp_path: Path
) -> None:
    remote, told = tmp_path / "origin.git", list[str]()
    shared(home, remote)
    sharing.synchronised(home, "origin", NAME, quiet)
    other = shared(repository(tmp_path / "other"), remote)
    sharing.synchronised(other, "origin", NAME, quiet)
    remote.rename(tmp_path / "away")
    back(home)
    (tmp_path / "away").rename(remote)
    won(other, a_run(other, "four"), last(other))
    sharing.synchronised(home, "origin", NAME, told.append)
    assert told == [
        "warning: tickets#prod#4 was made here while the Git remote went on without it, so it is dropped"
    ]
    assert tags(home) == tags(remote)
    champion = read(home, NAME).champion(NAME, STAGE)
    assert champion is not None
    assert git(home, "log", "-1", "--format=%s", champion.commit) == "four"


def test_a_remote_that_takes_nothing_keeps_nobody_from_rolling_back(home: Path, tmp_path: Path) -> None:
    remote, told = tmp_path / "origin.git", list[str]()
    shared(home, remote)
    sharing.synchronised(home, "origin", NAME, quiet)
    hook = remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert back(home, told=told).version.tag == "tickets@v0.0.2"
    assert "does not take the tags" in told[0]


def test_a_package_that_is_not_what_its_tag_says_is_not_rolled_back_to(home: Path) -> None:
    won(home, packaged(home, "forged"), last(home), record=Record(package=f"sha256:{'0' * 64}"))
    won(home, packaged(home, "next"), last(home))
    with pytest.raises(
        InputError, match=r"nothing is rolled back: the package of tickets@v0\.0\.4 is sha256:"
    ):
        back(home)


def test_a_package_is_written_out_whole_or_not_at_all(home: Path, tmp_path: Path) -> None:
    version = read(home, NAME).of(NAME)[0]
    packages.export(home, version.commit, version.tag, tmp_path / "served", quiet)
    assert json.loads((tmp_path / "served/config.json").read_text()) == {"is": "one"}
    for path in (home / ".dvc/cache/files/md5").glob("*/*"):
        path.unlink()
    with pytest.raises(InputError, match="does not hold models/package"):
        packages.export(home, version.commit, version.tag, tmp_path / "again", quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "served"]


@pytest.mark.parametrize("collector", ["retrain gc", "dvc gc"])
def test_what_is_promoted_outlives_its_experiment_and_garbage_collection(
    home: Path, tmp_path: Path, collector: str
) -> None:
    kept = objects(home)
    packaged(home, "nobody's")
    forget(home)
    git(home, "reflog", "expire", "--expire=now", "--all")
    git(home, "gc", "-q", "--prune=now")
    if collector == "dvc gc":
        with Repo(str(home)) as repo:
            repo.gc(workspace=True, all_branches=True, all_tags=True, all_experiments=True, force=True)
    else:
        collect(home, dry_run=False)
    assert objects(home) == kept, "of each three files and a listing are named by a tag, and nothing else"
    assert back(home, "v0.0.1").version.tag == "tickets@v0.0.1"


@pytest.mark.slow
def test_dvc_gets_a_package_by_version_and_by_stage_from_another_folder(home: Path, tmp_path: Path) -> None:
    back(home)
    assert got(str(home), tmp_path) == {"--stage prod": "two", "--rev v0.0.1": "one", "": "three"}


@pytest.mark.slow
def test_dvc_gets_a_package_from_a_git_remote_and_a_dvc_remote(team: Path, tmp_path: Path) -> None:
    git(team, "clone", "-q", "--bare", str(team), str(tmp_path / "origin.git"))
    assert got(f"file://{tmp_path / 'origin.git'}", tmp_path)["--stage prod"] == "three"


def got(url: str, folder: Path) -> dict[str, str]:
    """Return what packages `dvc artifacts get` gets, by its options."""
    found = {}
    for options in ("--stage prod", "--rev v0.0.1", ""):
        out = folder / f"got{options}"
        done = dvc(folder, "artifacts", "get", url, NAME, *options.split(), "--out", str(out))
        assert done.returncode == 0, done.stderr
        found[options] = json.loads((out / "config.json").read_text())["is"]
    return found


def test_gto_reads_our_tags_as_they_are_meant(home: Path) -> None:
    back(home)
    parsed = {tag: parse_name(tag) for tag in tags(home)}
    assert all(tag_re.fullmatch(tag) for tag in parsed)
    assert parsed["tickets@v0.0.3"]["version"] == "v0.0.3"
    assert (parsed["tickets#prod#4"]["stage"], parsed["tickets#prod#4"]["counter"]) == ("prod", 4)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gto.api import check_ref; print(check_ref('.', 'tickets#prod#4')[0].version)",
        ],
        cwd=home,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stdout.strip() == "v0.0.2", done.stderr
