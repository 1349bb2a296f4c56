"""What others can forge deletes, writes and executes nothing, and `retrain check` names it."""

import hashlib
import shutil
from pathlib import Path

import boto3
import pytest
import yaml
from dvc.dependency import Dependency
from dvc.repo import Repo

from flows.fsck.check import check
from flows.git.commands import git, refuse_without_commit
from flows.git.uncommitted import uncommitted
from flows.git.worktrees import worktree
from flows.ledger.data import import_data, update_data
from flows.ledger.experiments import save
from flows.ledger.history import last_run
from flows.ledger.run_cache import names
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError
from tests.attacks import forgeries
from tests.support.project import environment
from tests.support.remote_servers import s3_server

RECORD = "data/raw/export.csv.dvc"


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own Git and DVC settings."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_a_hundred_forgeries_delete_write_and_execute_nothing_and_are_named(tmp_path: Path) -> None:
    tried = list(forgeries.attempts(0, 100, tmp_path))
    assert len(tried) == 100
    assert [attempt for attempt in tried if attempt.fault] == []


def test_a_record_in_a_bucket_brings_no_file_into_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkout"
    forgeries.make_checkout(root)
    monkeypatch.chdir(root)
    Ledger(root).run_or_restore("make", forgeries.make)
    entry = forgeries.recorded(root)
    forgeries.forget(root)
    shutil.rmtree(root / ".dvc/cache")
    hostile = "c1../../../../../polars.py"
    for output in entry["outs"]:
        if output["path"] == "metrics.json":
            output["md5"] = hostile
    key, record = names(entry)
    with s3_server("runs") as endpoint:
        secret = {
            "aws_access_key_id": "someone",
            "aws_secret_access_key": "secret",
            "region_name": "us-east-1",
        }
        for name, value in secret.items():
            monkeypatch.setenv(name.replace("region_name", "aws_default_region").upper(), value)
        (root / ".dvc/config.local").write_text(
            f"['remote \"team\"']\nurl = s3://runs/store\nendpointurl = {endpoint}\n"
        )
        bucket = boto3.resource("s3", endpoint_url=endpoint, **secret).Bucket("runs")
        bucket.put_object(Key=f"store/runs/{key[:2]}/{key}/{record}", Body=yaml.safe_dump(entry).encode())
        bucket.put_object(Key=f"store/files/md5/c1/{hostile[2:]}", Body=b"raise SystemExit('executed')")
        said: list[str] = []
        Ledger(root, say=said.append).run_or_restore("make", forgeries.make)
    assert not (root / "polars.py").exists()
    assert not list(tmp_path.rglob("polars.py"))
    assert (
        f"the run-cache entry {record} is forged: metrics.json: its hash '{hostile}' is none, so it is not used"
        in said[0]
    )


def test_settings_of_a_commit_are_not_used_with_those_of_the_checkout(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    forgeries.make_checkout(root)
    git(root, "checkout", "-q", "-b", "theirs")
    theirs = "[core]\nremote = evil\n['remote \"evil\"']\nurl = ssh://evil/x\n['remote \"team\"']\nport = 666\nask_password = true\n"
    (root / ".dvc/config").write_text(theirs)
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    (root / ".dvc/tmp/planted").touch()
    git(root, "add", "--force", ".dvc")
    local = git(root, "hash-object", "-w", "--stdin", given=str(tmp_path / "escaped.txt"))
    git(root, "update-index", "--add", "--cacheinfo", f"120000,{local},.dvc/config.local")
    git(root, "commit", "-qm", "theirs")
    git(root, "checkout", "-q", "--force", "-")
    (root / ".dvc/config.local").write_text(
        "['remote \"team\"']\npassword = geheim\nurl = ssh://me@here/store\n"
    )
    with worktree(root, "run", "theirs") as folder:
        assert (folder / ".dvc/config.local").is_symlink()
        share_cache(root, folder)
        with Repo(str(root)) as here, Repo(str(folder)) as there:
            assert there.config["remote"] == here.config["remote"]
            assert there.config["core"] == here.config["core"]
        assert not (folder / ".dvc/tmp/planted").exists()
    assert not (tmp_path / "escaped.txt").exists()
    with worktree(root, "run", "HEAD") as folder:
        share_cache(root, folder)
        assert git(folder, "status", "--porcelain", "--untracked-files=no") == "", (
            "what a run keeps has the settings of its checkout as they are"
        )


def test_git_executes_nothing_that_was_fetched(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    forgeries.make_checkout(root)
    (root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "mine")
    git(root, "checkout", "-q", "-b", "theirs")
    (root / "hooks").mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction", "monitor", "convert"):
        program = root / "hooks" / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed-{name}\n")
        program.chmod(0o755)
    (root / ".gitattributes").write_text("dvc.lock diff=shown\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "theirs")
    git(root, "update-ref", f"refs/exps/{'0' * 2}/{'0' * 38}/pulled", "HEAD")
    settings = {
        "core.hooksPath": "hooks",
        "core.fsmonitor": "hooks/monitor",
        "diff.shown.textconv": "hooks/convert",
    }
    for setting, value in settings.items():
        git(root, "config", setting, value)
    with worktree(root, "run", "theirs", uncommitted(root, lambda _: None).tree) as folder:
        (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {other: {cmd: x}}\n")
        saved = save(folder, "run", "a run")
        last_run(root, saved, {})
    assert saved.is_new
    assert not list(tmp_path.glob("executed-*"))


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that has imported a file, which has changed since."""
    root = tmp_path / "checkout"
    forgeries.make_checkout(root)
    monkeypatch.chdir(root)
    source = tmp_path / "export.csv"
    source.write_text("old")
    import_data(Ledger(root), str(source), "export.csv")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "imported")
    source.write_text("newer")
    return root


def claimed(root: Path) -> str:
    """Return the .dvc file with the hash of the newer state over the data of the old one."""
    text = (root / RECORD).read_text()
    old, newer = (hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in ("old", "newer"))
    return text.replace(old, newer, 1)


def test_a_dvc_file_of_another_experiment_that_names_the_new_state_over_old_data_is_not_believed(
    importing: Path,
) -> None:
    mine = (importing / RECORD).read_text()
    (importing / RECORD).write_text(claimed(importing))
    git(importing, "commit", "-qam", "pulled")
    git(importing, "update-ref", f"refs/exps/{'0' * 2}/{'0' * 38}/pulled", "HEAD")
    git(importing, "reset", "-q", "--hard", "HEAD~1")
    assert (importing / RECORD).read_text() == mine
    assert update_data(Ledger(importing), "data/raw") == [RECORD]
    assert (importing / "data/raw/export.csv").read_text() == "newer"


@pytest.mark.parametrize("how", ["run --update-data", "add"])
def test_a_dvc_file_of_the_checkout_that_contradicts_itself_is_brought_in_anew(
    importing: Path, how: str
) -> None:
    (importing / RECORD).write_text(claimed(importing))
    if how == "add":
        assert import_data(Ledger(importing), str(importing.parent / "export.csv"), "export.csv")
    else:
        assert update_data(Ledger(importing), "data/raw") == [RECORD]
    assert (importing / "data/raw/export.csv").read_text() == "newer"
    assert update_data(Ledger(importing), "data/raw") == []


def test_a_state_that_the_cache_holds_is_put_in_place_without_copying_the_source(
    importing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_data(Ledger(importing), "data/raw")
    newer = (importing / RECORD).read_text()
    git(importing, "checkout", "-q", "--", RECORD)
    (importing / "data/raw/export.csv").unlink()
    monkeypatch.setattr(Dependency, "download", lambda *_, **__: pytest.fail("copied again"))
    assert update_data(Ledger(importing), "data/raw") == [RECORD]
    assert (importing / RECORD).read_text() == newer
    assert (importing / "data/raw/export.csv").read_text() == "newer"


def test_a_dvc_file_does_not_send_the_secrets_of_a_remote_to_another_host(importing: Path) -> None:
    record = {
        "deps": [
            {"path": "remote://team/export.csv", "fs_config": {"endpointurl": "http://evil"}, "etag": "123"}
        ],
        "outs": [{"path": "export.csv", "md5": "0" * 32, "hash": "md5"}],
    }
    (importing / RECORD).write_text(yaml.safe_dump(record))
    (importing / ".dvc/config.local").write_text(
        "['remote \"team\"']\nurl = s3://bucket\naccess_key_id = me\n"
    )
    with pytest.raises(
        InputError, match="its fs_config would have the secrets of that remote sent elsewhere"
    ):
        update_data(Ledger(importing), "data/raw")


@pytest.mark.parametrize(
    "place", [".dvc/tmp/verified/cache.db", ".dvc/cache/files/md5/00/1", ".retrain/worktrees/x.lock"]
)
def test_a_commit_that_brings_what_is_this_machines_own_is_refused_before_it_is_read(
    importing: Path, place: str
) -> None:
    (importing / place).parent.mkdir(parents=True, exist_ok=True)
    (importing / place).write_text("pickle")
    git(importing, "add", "--force", place)
    with pytest.raises(InputError, match=rf"Git tracks {place}.*git rm -r --force"):
        check(importing, None, repair=False, show=pytest.fail, say=pytest.fail)
    with pytest.raises(InputError, match=rf"Git tracks {place}"):
        refuse_without_commit(importing, pytest.fail)
