"""A worker on another machine: an empty folder, a Git remote, a DVC remote, and nothing else."""

import json
import re
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.project import Project, copy_of
from tests.support.remote_servers import s3_server
from tests.support.server import ask, task_states

PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
WORKER = (sys.executable, "-m", "flows.server.worker", "--no-prompt")
POOL = "retrain-remote"
SECRET = uuid.uuid4().hex


def shared(computed: Project, folder: Path, endpoint: str) -> Project:
    """Return a copy of a computed clone with its base model in Git and its data under DVC; it has sent all it has to both remotes."""
    project = copy_of(computed, folder)
    ignored = project.root / ".gitignore"
    ignored.write_text(ignored.read_text("utf-8").replace("/base\n", ""), encoding="utf-8")
    project.run("git", "rm", "-q", "--cached", "data/raw/tickets.csv")
    project.dvc("add", "-q", "data/raw/tickets.csv")
    settings = f"['remote \"team\"']\nurl = s3://runs/retrain\nendpointurl = {endpoint}\nregion = us-east-1\n"
    (project.root / ".dvc/config").open("a").write(settings)
    # the worker need not be told to share: its deployment says so
    (project.root / ".dvc/config.local").write_text(
        "[exp]\nauto_push = true\n['remote \"team\"']\naccess_key_id = someone\nsecret_access_key = else\n"
    )
    project.dvc("config", "core.remote", "team")
    project.run("git", "init", "-q", "--bare", str(folder / "hub.git"))
    project.run("git", "remote", "add", "origin", str(folder / "hub.git"))
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "share")
    project.run("git", "push", "-q", "origin", "HEAD:main")
    project.retrain()
    return project


def deployed(project: Project, hub: Path) -> None:
    """Keep the key of the DVC remote in a block, have the pool's workers get it from there, and deploy to that pool."""
    save = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.argv[1]).save('dvc-secret-access-key')"
    project.run(sys.executable, "-c", save, SECRET)
    template = json.loads(
        project.run(*PREFECT, "work-pool", "get-default-base-job-template", "--type", "process").stdout
    )
    template["variables"]["properties"]["env"]["default"] = {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.dvc-secret-access-key }}",
    }
    (hub.parent / "pool.json").write_text(json.dumps(template), encoding="utf-8")
    project.run(
        *PREFECT,
        "work-pool",
        "create",
        POOL,
        "--type",
        "process",
        "--base-job-template",
        str(hub.parent / "pool.json"),
    )
    with_url = Project(project.root, {**project.env, "RETRAIN_GIT_URL": str(hub)})
    with_url.run(*PREFECT, "deploy", "--all", "--prefect-file", "deploy/remote-worker.yaml")


def ordered(project: Project) -> str:
    """Ask for a run that has other params for ingest, which change no row, and for evaluate; return its id."""
    params = {"ingest": {"max_chars": 9999}, "evaluate": {"n_resamples": 101}}
    said = project.run(
        *PREFECT, "deployment", "run", "retrain/remote", "--param", "params=" + json.dumps(params)
    ).stdout
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
    assert found, said
    return found[0]


def ended(server: str, run: str) -> tuple[str, dict[str, str]]:
    """Return the state that a run ended in, and those of its stages."""
    (flow,) = ask(server, "flow_runs/filter", flow_runs={"id": {"any_": [run]}})
    return flow["state_name"], task_states(server, run) if flow["state_name"] == "Completed" else {}


@pytest.mark.slow
def test_a_worker_with_an_empty_folder_gets_code_and_data_from_the_remotes_and_sends_its_results_back(
    computed: Project, tmp_path: Path, server: str
) -> None:
    hub = tmp_path / "hub.git"
    with s3_server("runs") as endpoint:
        project = shared(computed, tmp_path, endpoint)
        project.env["PREFECT_API_URL"] = server
        deployed(project, hub)
        elsewhere = {
            "PREFECT_HOME": str(tmp_path / "elsewhere/prefect"),
            "DVC_SITE_CACHE_DIR": str(tmp_path / "elsewhere/site"),
        }
        # as in a container, Git knows nobody there
        nobody = {
            name: value
            for name, value in project.env.items()
            if not name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))
        }
        nobody |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "user.useConfigOnly",
            "GIT_CONFIG_VALUE_0": "true",
        }
        nobody |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        worker = Project(tmp_path / "elsewhere/folder", {**nobody, **elsewhere})
        worker.root.mkdir(parents=True)

        first = ordered(project)
        said = worker.run(*WORKER, "worker", "start", "--pool", POOL, "--run-once", "--limit", "1")
        state, stages = ended(server, first)
        assert state == "Completed", said.stdout + said.stderr
        # raw data came from the DVC remote, and so did what its stages made of it before
        restored = dict.fromkeys(("split", "tokenize", "train"), "Cached")
        ran = dict.fromkeys(("ingest", "evaluate", "package", "judge"), "Completed")
        assert stages == {**restored, **ran}
        (sent,) = project.run("git", "ls-remote", str(hub), "refs/exps/*").stdout.splitlines()
        assert "warning" not in said.stdout + said.stderr
        assert (
            f"sent experiment {sent.rpartition('/')[2]} to Git remote 'origin' ({hub})"
            in said.stdout + said.stderr
        )
        assert (
            project.run("git", "--git-dir", str(hub), "show", "-s", "--format=%ae", sent.split()[0]).stdout
            == "retrain@localhost\n"
        )

        # its results are whole where it did not run
        name = sent.rpartition("/")[2]
        project.dvc("exp", "pull", "-q", "origin", name)
        project.dvc("exp", "apply", name)
        assert "n_resamples: 101" in (project.root / "params.yaml").read_text("utf-8")
        assert "up to date" in project.dvc("status").stdout

        # the next run, as a container starts it, is on the newest commit and keeps what the folder has
        project.run("git", "stash", "-q")
        code = project.root / "flows/engine/stage.py"
        code.write_text(
            code.read_text("utf-8").replace("restored from the DVC cache", "restored by newer code"),
            encoding="utf-8",
        )
        project.run("git", "commit", "-qam", "newer")
        project.run("git", "push", "-q", "origin", "HEAD:main")
        second = ordered(project)
        keys = {"RETRAIN_GIT_URL": str(hub), "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": SECRET}
        container = Project(worker.root, {**worker.env, **keys})
        said = container.run(*PREFECT, "flow-run", "execute", second)
        assert ended(server, second) == ("Completed", dict.fromkeys(stages, "Cached")), (
            said.stdout + said.stderr
        )
        assert "restored by newer code" in said.stdout + said.stderr

    # the key is in nothing that people or Git see
    shown = [
        ask(server, path)
        for path in (
            "deployments/filter",
            "flow_runs/filter",
            "work_pools/filter",
            "artifacts/filter",
            "block_documents/filter",
        )
    ]
    shown += ask(server, "logs/filter", logs={"flow_run_id": {"any_": [first, second]}}, limit=200)
    assert SECRET not in json.dumps(shown)
    assert not [
        file for file in worker.root.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()
    ]
