"""Runs shared over real DVC remotes (SSH, S3, a folder) and a Git remote: what one clone computes, another restores."""

import json
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support.hold import held
from tests.support.project import Project
from tests.support.remote_servers import SSHD, s3_server, ssh_server
from tests.support.stages import STAGES, happened

RESTORED = dict.fromkeys(STAGES, "cached (restored)")
UNCHANGED = dict.fromkeys(STAGES, "cached (unchanged)")
SECRET = uuid.uuid4().hex
pytestmark = pytest.mark.slow


def share(project: Project, url: str) -> None:
    """Give the clone a DVC remote and a Git remote, and switch sharing on, as its owner would."""
    hub = project.root.parent / "hub.git"
    project.run("git", "init", "-q", "--bare", str(hub))
    project.run("git", "remote", "add", "origin", str(hub))
    project.dvc("remote", "add", "-d", "team", url)
    project.dvc("config", "exp.auto_push", "true")
    project.run("git", "commit", "-qam", "share")
    project.run("git", "push", "-q", "origin", "HEAD:main")


def another(project: Project) -> Project:
    """Clone from the hub, as a fresh machine would: an empty cache."""
    target = project.root.parent / "another"
    project.run("git", "clone", "-q", "-b", "main", str(project.root.parent / "hub.git"), str(target))
    shutil.copytree(project.root / "base", target / "base")
    return Project(target, project.env | {"DVC_SITE_CACHE_DIR": str(target.parent / "another-site")})


def local(project: Project, **options: str) -> None:
    """Write options of the remote to config.local, which Git ignores."""
    for option, value in options.items():
        project.dvc("remote", "modify", "--local", "team", option, value)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_a_run_shared_over_s3_is_restored_elsewhere_and_no_secret_leaves_the_machine(
    project: Project, server: str
) -> None:
    project.env["PREFECT_API_URL"] = server
    with s3_server("runs") as endpoint:
        share(project, "s3://runs/retrain")
        options = {
            "endpointurl": endpoint,
            "access_key_id": "someone",
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }
        local(project, **options)
        first = project.retrain("--isolated")
        assert happened(first.stdout) == dict.fromkeys(STAGES, "ran")
        assert "warning" not in said(first)
        assert all(f"{stage}: sent to remote 'team'" in said(first) for stage in STAGES)
        saved = re.search(r"saved as experiment ([\w-]+)", said(first))
        assert saved

        other = another(project)
        local(other, **options)
        second = other.retrain()
        assert happened(second.stdout) == RESTORED
        assert "running:" not in said(second)
        assert "sent to" not in said(second), "what came from the remote is not sent back"
        assert saved[1] in other.dvc("exp", "list", "origin", "--all-commits").stdout
        assert happened(other.retrain().stdout) == UNCHANGED

        # the key is in nothing that is kept or shown
        assert SECRET not in said(first) + said(second)
        for history in (project, other):
            assert SECRET not in history.run("git", "log", "--all", "-p").stdout
            assert SECRET not in (history.root / "params.yaml").read_text("utf-8")


@pytest.mark.skipif(
    not Path(SSHD).exists(), reason=f"no OpenSSH server at {SSHD}; `apt-get install openssh-server`"
)
def test_an_ssh_server_that_dies_midway_costs_a_warning_and_a_later_run_sends_the_rest(
    project: Project, tmp_path: Path
) -> None:
    with held(project) as hold, ssh_server(tmp_path / "ssh") as server:
        share(project, server.url)
        local(project, keyfile=str(server.key))
        process = project.popen("flows", "run", "--isolated")
        hold.reached()
        server.end()
        hold.release()
        log, _ = process.communicate()
        assert process.returncode == 0, log
        assert happened(log) == dict.fromkeys(STAGES, "ran")
        assert "warning: could not send train to remote 'team'" in log
        assert (
            "warning: remote 'team' still lacks train, evaluate, package, judge; the next run sends it" in log
        )
        (name,) = re.findall(r"saved as experiment ([\w-]+)", log)

        # no one can be reached: a run that has nothing to compute still ends well
        project.dvc("exp", "apply", name)
        alone = project.retrain()
        assert happened(alone.stdout) == UNCHANGED or happened(alone.stdout) == RESTORED
        assert "still lacks" in said(alone)

        server.start()
        back = project.retrain()
        assert happened(back.stdout) == UNCHANGED
        assert "warning" not in said(back)
        assert re.findall(r"(\w+): sent to remote", said(back)) == ["train", "evaluate", "package", "judge"]
        assert "sent" not in said(project.retrain())

        other = another(project)
        local(other, keyfile=str(server.key))
        assert happened(other.retrain().stdout) == RESTORED
        assert name in other.dvc("exp", "list", "origin", "--all-commits").stdout


def test_a_git_remote_may_be_away_and_what_a_dvc_remote_says_is_checked_before_it_is_used(
    trained: Project, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(trained.root / "data/raw/tickets.csv", tmp_path / "mine")
    trained.retrain(str(tmp_path / "mine"), command="add")
    params = trained.root / "params.yaml"
    params.write_text(
        params.read_text("utf-8").replace("data/raw/tickets.csv", "data/raw/mine"), encoding="utf-8"
    )
    trained.run("git", "add", "-A")
    # a folder, relative to the clone
    share(trained, "../store")
    # the same rows from elsewhere: only ingest, which reads them, and package, which says so, are computed again
    trained.dvc("repro")
    # nobody is there
    trained.run("git", "remote", "set-url", "origin", f"http://me:{SECRET}@127.0.0.1:1/hub.git")
    first = trained.retrain("--isolated")
    assert happened(first.stdout) == UNCHANGED
    assert re.search(
        r"warning: could not send experiment [\w-]+ to Git remote 'origin': .*127\.0\.0\.1", said(first)
    )
    assert SECRET not in said(first)
    store = tmp_path / "store"
    assert re.findall(r"(\w+): sent to remote", said(first)) == list(STAGES), (
        "what `dvc repro` computed is sent too"
    )
    assert sum(1 for entry in (store / "runs").rglob("*") if entry.is_file()) == len(STAGES)

    # the experiment that the Git remote could not be sent goes there with the next isolated run
    hub = str(tmp_path / "hub.git")
    trained.run("git", "remote", "set-url", "origin", hub)
    assert "warning" not in said(trained.retrain("--isolated"))
    assert len(trained.run("git", "ls-remote", hub, "refs/exps/*").stdout.splitlines()) == 1
    assert not trained.run("git", "for-each-ref", "refs/retrain").stdout

    # a listing that climbs out of its folder is not what its name says: it writes nothing, and what it listed is computed
    other = another(trained)
    listing = next(
        file
        for file in (store / "files").rglob("*.dir")
        if "splits" not in str(file) and b"train.parquet" in file.read_bytes()
    )
    listing.chmod(0o644)
    whole = listing.read_text("utf-8")
    entries = json.loads(whole)
    entries[0]["relpath"] = "../../../escaped"
    listing.write_text(json.dumps(entries), encoding="utf-8")
    told = other.retrain()
    assert "was damaged: it is set aside" in said(told)
    assert "ran" in happened(told.stdout).values()
    assert not list(tmp_path.rglob("escaped"))
    assert (other.root / "data/raw/mine/tickets.csv").exists(), "data under DVC comes from the remote"
    listing.write_text(whole, encoding="utf-8")

    # an entry of the run-cache that was tampered with is not used
    (other.root / "dvc.lock").unlink()
    shutil.rmtree(other.root / ".dvc/cache")
    shutil.rmtree(tmp_path / "another-site", ignore_errors=True)
    entry = next(
        file
        for file in (store / "runs").rglob("*")
        if file.is_file() and "tasks.ingest" in file.read_text("utf-8").splitlines()[0]
    )
    entry.chmod(0o644)
    entry.write_text(
        entry.read_text("utf-8").replace("path: data/ingested", "path: ../escaped"), encoding="utf-8"
    )
    mended = other.retrain()
    assert "is forged: its output '../escaped' is outside the checkout, so it is not used" in said(mended)
    assert happened(mended.stdout) == {**RESTORED, "ingest": "ran"}
    assert not list(tmp_path.rglob("escaped"))
