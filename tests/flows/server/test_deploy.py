"""What deploy/ holds: templates of work pools with GPUs, held against Prefect's own classes; the compose file; the image."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import jsonschema
import prefect
import pytest
import yaml
from docker.models.containers import _create_container_args
from kubernetes_asyncio.client import ApiClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.settings import PREFECT_API_URL, Settings, temporary_settings
from prefect.utilities.schema_tools.validation import validate
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration
from sqlalchemy import make_url

from tests.support.project import ROOT

DEPLOY = ROOT / "deploy"
WORKERS = {"docker": DockerWorker, "kubernetes": KubernetesWorker}
# variables that are not as Prefect has them
CHANGED = {
    "docker": {"image", "volumes", "container_create_kwargs"},
    "kubernetes": {"image"},
}
COMPOSE = shutil.which("docker-compose")
GIVEN = {
    "RETRAIN_AUTH": "someone:p$ss/word",
    "RETRAIN_DATABASE_PASSWORD": "an@ther:one",
    "RETRAIN_URL": "https://retrain.example.org",
}
needs_compose = pytest.mark.skipif(
    COMPOSE is None, reason="no docker-compose; `apt-get install docker-compose`"
)


def template(kind: str) -> dict[str, Any]:
    return dict(json.loads((DEPLOY / f"{kind}-pool.json").read_text("utf-8")))


def pool(server: str, kind: str) -> WorkPool:
    """Return a work pool that a real server has made from the template, by the command that the documents show."""
    name = f"{kind}-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "prefect", "--no-prompt", "work-pool", "create", name, "--type", kind]
    command += ["--base-job-template", str(DEPLOY / f"{kind}-pool.json")]
    subprocess.run(command, env={**os.environ, "PREFECT_API_URL": server}, check=True, capture_output=True)

    async def read() -> WorkPool:
        async with get_client() as client:
            return await client.read_work_pool(name)

    return asyncio.run(read())


def job(kind: str, made: WorkPool, **variables: Any) -> Any:
    """Return what a worker of that pool would start for a run."""

    async def configured() -> DockerWorkerJobConfiguration | KubernetesWorkerJobConfiguration:
        found = await WORKERS[kind].job_configuration.from_template_and_values(
            made.base_job_template, variables
        )
        found.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="bold-otter"), work_pool=made)
        return found  # type: ignore[no-any-return]

    return asyncio.run(configured())


@pytest.mark.parametrize("kind", WORKERS)
def test_a_template_is_prefects_own_but_for_what_gpus_need(kind: str) -> None:
    ours, theirs = template(kind), WORKERS[kind].get_default_base_job_template()
    for name, variable in theirs["variables"]["properties"].items():
        assert (ours["variables"]["properties"].get(name) == variable) == (name not in CHANGED[kind]), name
    holds(
        ours["job_configuration"],
        {key: value for key, value in theirs["job_configuration"].items() if key not in CHANGED[kind]},
    )


def holds(ours: Any, theirs: Any) -> None:
    """Check that nothing of Prefect's is missing or another in ours."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            holds(ours[key], value)
    elif isinstance(theirs, list):
        for mine, value in zip(ours, theirs, strict=True):
            holds(mine, value)
    else:
        assert ours == theirs


@pytest.mark.parametrize("kind", WORKERS)
def test_the_variables_of_a_template_are_a_schema_that_refuses_wrong_values(kind: str) -> None:
    schema = template(kind)["variables"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert not validate({"gpus": 2, "shared_memory": "4g"}, schema)
    for wrong in ({"gpus": "many"}, {"gpus": -2}, {"shared_memory": 4}):
        assert validate(wrong, schema), wrong


@pytest.mark.slow
def test_a_docker_pool_asks_the_engine_for_gpus_shared_memory_and_the_volume(server: str) -> None:
    with temporary_settings({PREFECT_API_URL: server}):
        made = pool(server, "docker")
        elsewhere = {"PREFECT_API_URL": "https://prefect.example.org/api"}
        for asked, expected in (({}, 1), ({"gpus": 2}, 2), ({"gpus": -1}, -1)):
            configuration = job("docker", made, env=elsewhere, working_dir=".", **asked)
            # is asked nothing
            client = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.44")
            container = DockerWorker(work_pool_name=made.name)._build_container_settings(
                client, configuration
            )
            request = _create_container_args({**container, "version": "1.44"})
            host = request["host_config"]
            (gpus,) = host["DeviceRequests"]
            assert (gpus["Driver"], gpus["Count"], gpus["Capabilities"]) == ("nvidia", expected, [["gpu"]])
            assert host["ShmSize"] == 2 * 1024**3
            assert host["Init"] is True
            assert host["Binds"] == ["retrain:/srv/retrain"]
            assert request["image"] == "retrain:local"
            assert request["command"] == "prefect flow-run execute"


@pytest.mark.slow
def test_a_kubernetes_pool_asks_the_cluster_for_gpus_shared_memory_and_the_right_nodes(server: str) -> None:
    claim = {"name": "retrain", "persistentVolumeClaim": {"claimName": "retrain"}}
    with temporary_settings({PREFECT_API_URL: server}):
        made = pool(server, "kubernetes")
        plain = job("kubernetes", made, working_dir=".").job_manifest["spec"]["template"]["spec"]
        manifest = job(
            "kubernetes",
            made,
            gpus=2,
            shared_memory="8Gi",
            volume=claim,
            node_selector={"gpu": "h200"},
            memory_limit="32Gi",
        ).job_manifest
    assert plain["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2, "memory": "32Gi"}
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "shared-memory": "/dev/shm",  # noqa: S108
        "retrain": "/srv/retrain",
    }
    assert pod["volumes"] == [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
        claim,
    ]
    assert pod["nodeSelector"] == {"gpu": "h200"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["securityContext"]["runAsNonRoot"]

    # every field is one that Kubernetes knows: its client, which drops others, gives back the same
    # Prefect insists on them where Kubernetes does not look
    for misplaced in ("parallelism", "completions"):
        del pod[misplaced]
    container["resources"]["limits"]["nvidia.com/gpu"] = "2"
    assert asyncio.run(through_kubernetes(manifest)) == manifest


async def through_kubernetes(manifest: dict[str, Any]) -> Any:
    """Return a job as Kubernetes' Python client understands it."""
    async with ApiClient() as client:
        understood = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), "V1Job")
        return client.sanitize_for_serialization(understood)


def composed(**env: str) -> subprocess.CompletedProcess[str]:
    """Have docker-compose read the file with nothing but `env` given."""
    command = [str(COMPOSE), "--file", str(DEPLOY / "compose.yaml"), "config"]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **env}, text=True, capture_output=True, check=False
    )


@needs_compose
def test_the_compose_file_is_read_and_only_loopback_is_bound() -> None:
    done = composed(**GIVEN)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"database", "server", "worker"}
    written = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    assert {service: made.get("ports") for service, made in written.items()} == {
        "database": None,
        "server": ["127.0.0.1:4200:4200"],
        "worker": None,
    }
    assert (
        services["worker"]["environment"]["PREFECT_API_AUTH_STRING"].replace("$$", "$")
        == GIVEN["RETRAIN_AUTH"]
    )
    assert services["database"]["environment"]["POSTGRES_PASSWORD"] == GIVEN["RETRAIN_DATABASE_PASSWORD"]


@needs_compose
@pytest.mark.parametrize("secret", ["RETRAIN_AUTH", "RETRAIN_DATABASE_PASSWORD"])
def test_the_compose_file_has_no_password_of_its_own(secret: str) -> None:
    for env in ({**GIVEN, secret: ""}, {name: value for name, value in GIVEN.items() if name != secret}):
        done = composed(**env)
        assert done.returncode != 0
        assert "password" in done.stderr


def test_the_file_with_the_passwords_is_ignored_by_git() -> None:
    assert (
        subprocess.run(["git", "check-ignore", "--quiet", "deploy/.env"], cwd=ROOT, check=False).returncode
        == 0
    )


@needs_compose
@pytest.mark.parametrize("service", ["server", "worker"])
def test_every_prefect_variable_of_the_compose_file_is_a_setting_that_takes_its_value(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = yaml.safe_load(composed(**GIVEN).stdout.replace("$$", "$"))["services"][service][
        "environment"
    ]
    given = {name: str(value) for name, value in environment.items() if name.startswith("PREFECT_")}
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert set(given) <= set(settings.to_environment_variables(exclude_unset=True))
    if service == "server":
        url = settings.server.database.connection_url
        assert url
        read = make_url(url.get_secret_value())
        assert (read.drivername, read.host, read.password) == (
            "postgresql+asyncpg",
            "database",
            GIVEN["RETRAIN_DATABASE_PASSWORD"],
        )
        assert settings.server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
        assert not settings.server.analytics_enabled


@pytest.mark.slow
def test_the_image_is_built_from_files_that_suffice_and_runs_as_nobody_special(tmp_path: Path) -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY "):
            *sources, target = line.split()[1:]
            for source in sources:
                place = tmp_path / Path(target).relative_to("/usr/src/retrain")
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place)
                else:
                    shutil.copy(ROOT / source, place)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path / "wheel"),
        str(tmp_path),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    for files in ("flows/**/*.py", "tasks/**/*.py", "flows/**/*.j2", "tasks/**/*.j2"):
        installed = tmp_path / "installed"
        assert {file.relative_to(installed) for file in installed.glob(files)} == {
            file.relative_to(ROOT) for file in ROOT.glob(files)
        }
    assert lines.index("USER retrain") > max(
        number for number, line in enumerate(lines) if line.startswith("RUN ")
    )


def test_prefect_is_the_version_that_the_deployment_files_name() -> None:
    for file in (ROOT / "prefect.yaml", DEPLOY / "remote-worker.yaml"):
        assert yaml.safe_load(file.read_text("utf-8"))["prefect-version"] == prefect.__version__
