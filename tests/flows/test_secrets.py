"""What is secret stays where it was put: no URL with a password is taken, no file of ours is for all to read."""

import re
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from dvc.config import Config
from dvc.repo import Repo

from flows.engine.data import warn_of_readers
from flows.engine.form import form
from flows.git.commands import git
from flows.git.uncommitted import uncommitted
from flows.git.worktrees import worktree
from flows.ledger.experiments import experiments, save
from flows.ledger.sharing import share_cache
from flows.ledger.sources import name_in_raw
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError, refuse_secret, without_password
from tasks.shared.params_file import Layer
from tests.support.planted import Planted
from tests.support.project import Project, clone
from tests.support.stages import STAGES, happened

SECRET = "s3cr3t"  # noqa: S105 (made up)
WITH_SECRETS = (
    *(
        f"https://me:{SECRET}@host/a.csv",
        f"http://{SECRET}@host/a.csv",
        f"HTTPS://me:{SECRET}@HOST/",
        f"ssh://me:{SECRET}@host/a",
    ),
    *(
        f"s3://key:{SECRET}@bucket/a",
        f" https://me:{SECRET}@host/a",
        f"webdavs://me:{SECRET}@host:8080/a?x=1",
        f"ftp://me:{SECRET}@host",
    ),
    *(
        f"https://host/a?token={SECRET}",
        f"https://host/a?v=1&access_token={SECRET}",
        f"https://host/a#access_token={SECRET}",
    ),
    *(
        f"https://bucket.s3.amazonaws.com/a?X-Amz-Credential=x&X-Amz-Signature={SECRET}",
        f"https://h/a?AWSAccessKeyId=1&Signature={SECRET}",
    ),
    *(
        f"https://acc.blob.core.windows.net/c/a?sv=2020&sig={SECRET}",
        f"gs://b/a?api_key={SECRET}",
        f"https://h/a?PASSWORD={SECRET};b=1",
    ),
)
WITHOUT = (
    *(
        "data/raw/tickets.csv",
        "../a?token=b.csv",
        "https://host/a.csv",
        "https://host:8080/a.csv?version=2&format=csv",
        "s3://bucket/a@b:c.csv",
    ),
    *(
        "ssh://me@host/a",
        "abfs://container@account.dfs.core.windows.net/a",
        "remote://store/a.csv",
        "https://host/a?monkey=1&design=2",
        "~/x",
    ),
)


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_a_url_with_a_password_or_token_is_refused_in_a_sentence_that_does_not_tell_it(url: str) -> None:
    with pytest.raises(InputError) as refused:
        refuse_secret(url)
    assert SECRET not in str(refused.value)
    assert SECRET not in without_password(f"fatal: unable to access '{url}': no")
    with pytest.raises(ValueError, match="holds a password") as wrong:
        form(Layer("params.yaml", {}))(data={"path": url})
    assert SECRET not in str(wrong.value)


@pytest.mark.slow
def test_prefects_server_refuses_it_by_the_forms_schema_before_it_keeps_it() -> None:
    schema = form(Layer("params.yaml", {})).model_json_schema()
    for url in WITH_SECRETS:
        for section, name in (("data", "path"), ("model", "name")):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({section: {name: url}}, schema)
    for url in WITHOUT:
        jsonschema.validate({"data": {"path": url}, "model": {"name": url}}, schema)


@pytest.mark.parametrize("url", WITHOUT)
def test_any_other_source_is_taken_and_shown_as_it_is(url: str) -> None:
    assert refuse_secret(url) == url
    assert not url.startswith(("ssh", "abfs", "https")) or without_password(url) == url


@contextmanager
def store(user: str, password: str, content: bytes) -> Iterator[str]:
    """Serve one file over HTTP to whoever has the password; yield the address of its folder."""
    wanted = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers.get("Authorization") == wanted
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Length", str(len(content) if is_known else 0))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if is_known and self.command == "GET":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A Git repository under DVC with one commit, whose .gitignore leaves nothing of DVC's out."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "me")
    git(folder, "config", "user.email", "me@example.org")
    Repo.init(str(folder)).close()
    (folder / ".dvc/.gitignore").unlink()
    (folder / ".gitignore").write_text(".retrain/\n.dvc/tmp\n.dvc/cache\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    with Config(str(folder / ".dvc")).edit("local") as config:
        config["remote"]["store"] = {"url": "https://host/", "password": SECRET}
    (folder / ".dvc/config.local").chmod(0o600)
    return folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("ignored", ["", "/config.local\n"], ids=["not ignored", "ignored"])
def test_dvcs_local_settings_stay_private_in_a_worktree_and_out_of_git_whatever_is_ignored(
    ignored: str, checkout: Path
) -> None:
    (checkout / ".dvc/.gitignore").write_text(ignored)
    outside = checkout.parent / "outside"
    outside.write_text("mine")
    taken = uncommitted(checkout, lambda _: None)
    assert taken.untracked == (".dvc/.gitignore",)
    with worktree(checkout, "run", "HEAD", taken.tree) as folder:
        (folder / ".dvc/config.local").symlink_to(outside)
        share_cache(checkout, folder)
        assert SECRET in (folder / ".dvc/config.local").read_text("utf-8")
        assert mode(folder / ".dvc/config.local") == 0o600
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        save(folder, "run", "a run")
    assert len(experiments(checkout)) == 1
    assert outside.read_text() == "mine"
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=checkout, capture_output=True, check=True
    ).stdout
    assert SECRET.encode() not in objects


def test_the_cache_keeps_others_out_unless_it_is_shared(checkout: Path) -> None:
    private = checkout / "private.csv"
    private.write_text("text\n")
    private.chmod(0o600)
    cache = checkout / ".dvc/cache"
    cache.mkdir(mode=0o755, exist_ok=True)
    cache.chmod(0o755)
    Ledger(checkout).repo.add([str(private)])
    assert mode(cache) == 0o700
    with Config(str(checkout / ".dvc")).edit("local") as config:
        config["cache"]["shared"] = "group"
    cache.chmod(0o2775)
    Ledger(checkout)
    assert mode(cache) == 0o775
    with Config(str(checkout / ".dvc")).edit("local") as config:
        config["cache"] = {"dir": str(checkout.parent / "elsewhere")}
    (checkout.parent / "elsewhere").mkdir(mode=0o755)
    Ledger(checkout)
    assert mode(checkout.parent / "elsewhere") == 0o755, "who made it decides"


def plant(project: Project, planted: Planted, address: str) -> None:
    """Put a secret in each place where a user may put one."""
    project.dvc("remote", "add", "--local", "store", address)
    for option, value in {"auth": "basic", "user": "me", "password": planted["data store"]}.items():
        project.dvc("remote", "modify", "--local", "store", option, value)
    project.dvc(
        "remote", "add", "--local", "-d", "team", f"https://me:{planted['DVC remote']}@127.0.0.1:1/cache"
    )
    project.run("git", "remote", "add", "origin", f"http://me:{planted['Git remote']}@127.0.0.1:1/hub.git")
    project.dvc("config", "--local", "exp.auto_push", "true")
    project.env |= {
        "AWS_SECRET_ACCESS_KEY": planted["AWS"],
        "HF_TOKEN": planted["hub"],
        "HTTPS_PROXY": f"http://me:{planted['proxy']}@127.0.0.1:1",
        "PREFECT_SERVER_API_AUTH_STRING": f"me:{planted['server']}",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }


@pytest.mark.slow
def test_secrets_planted_everywhere_are_found_nowhere_else_after_runs_in_place_and_isolated(
    trained: Project,
) -> None:
    planted = Planted()
    rows = (trained.root / "data/raw/tickets.csv").read_bytes()
    with store("me", planted["data store"], rows) as address:
        plant(trained, planted, address)
        (trained.root / ".retrain").chmod(0o755)
        kept = trained.root / "data/raw/tickets.csv"
        kept.chmod(0o600)
        told = [trained.retrain("remote://store/tickets.csv", "tickets2.csv", command="add")]
        # an experiment with files that Git does not track would stay here
        trained.run("git", "add", "-A")
        told += [
            trained.retrain("--data.path", "data/raw/tickets2.csv", "--train.max_steps", "1", status=None)
        ]
        assert happened(told[-1].stdout)["train"] == "ran", told[-1].stderr
        told += [trained.retrain("--isolated", "--train.max_steps", "2", status=None)]
        assert set(happened(told[-1].stdout)) == set(STAGES), told[-1].stderr
        assert "could not send experiment" in told[-1].stderr
        url = f"https://me:{planted['URL']}@127.0.0.1:1/a.csv"
        signed = f"https://127.0.0.1:1/a.csv?sig={planted['link']}"
        for words in (("--data.path", url), ("--isolated", "--data.path", signed), ("--model.name", url)):
            told += [trained.retrain(*words, status=2)]
        told += [
            trained.retrain(url, command="add", status=2),
            trained.retrain("--data.path", signed, command="plan", status=2),
        ]
        told += [trained.retrain(command="check", status=None), trained.retrain(command="plan", status=None)]

    assert not planted.in_bytes("".join(done.stdout + done.stderr for done in told).encode())
    assert planted.leaks(trained.root, (".dvc/config.local", ".git/config")) == {}
    of_dvc = [file for file in Path(trained.env["DVC_SITE_CACHE_DIR"]).rglob("*") if file.is_file()]
    assert not [file for file in of_dvc if planted.in_bytes(file.read_bytes())]
    for place in (".retrain", ".dvc/cache"):
        assert mode(trained.root / place) == 0o700
    databases = list((trained.root / ".retrain/prefect").glob("prefect.db*"))
    assert databases
    for record in (trained.root / "data/raw").glob("*.dvc"):
        assert re.search(r"path: remote://store/", record.read_text("utf-8"))


def test_a_password_in_netrc_opens_a_url_and_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    project = clone(tmp_path / "project")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    (tmp_path / ".netrc").chmod(0o600)
    project.env["HOME"] = str(tmp_path)
    with store("me", SECRET, b"text,label\na,b\n") as address:
        project.retrain(f"{address}/rows.csv", command="add")
    assert (project.root / "data/raw/rows.csv").read_text("utf-8") == "text,label\na,b\n"
    assert SECRET not in (project.root / "data/raw/rows.csv.dvc").read_text("utf-8")
    for name in ("%00", "a%2Fb", "x" * 300, "%2E%2E"):
        with pytest.raises(InputError, match="cannot name a folder entry"):
            name_in_raw(f"https://host/{name}")


def test_a_run_warns_of_private_data_in_a_checkout_that_everybody_reads(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = checkout / "private.csv", checkout / "public.csv"
    for file, who in ((private, 0o600), (public, 0o644)):
        file.write_text("text\n")
        file.chmod(who)
    said: list[str] = []
    monkeypatch.setattr(Path, "parents", ())
    checkout.chmod(0o755)
    for data in (private, public, checkout / "none"):
        warn_of_readers(data, checkout, said.append)
    assert len(said) == 1
    assert f"chmod 700 {checkout}" in said[0]
    checkout.chmod(0o700)
    warn_of_readers(private, checkout, said.append)
    assert len(said) == 1
