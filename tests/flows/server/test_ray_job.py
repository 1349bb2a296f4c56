"""deploy/ray-job.yaml and its policy: held against KubeRay's fields and Kubernetes' own classes; a token asked for, no secret inside."""

import asyncio
import copy
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_asyncio.client import ApiClient

from tests.support.project import ROOT

SCHEMA = yaml.safe_load((ROOT / "tests/support/ray_job.schema.yaml").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
JOB = yaml.safe_load((ROOT / "deploy/ray-job.yaml").read_text("utf-8"))
POLICY = yaml.safe_load((ROOT / "deploy/ray-network-policy.yaml").read_text("utf-8"))
CLUSTER = JOB["spec"]["rayClusterSpec"]


def pods() -> dict[str, dict[str, Any]]:
    """Return the templates of all pods."""
    workers = {group["groupName"]: group["template"] for group in CLUSTER["workerGroupSpecs"]}
    head, submitter = CLUSTER["headGroupSpec"]["template"], JOB["spec"]["submitterPodTemplate"]
    return {"head": head, "submitter": submitter, **workers}


def understood(manifest: Any, kind: str) -> Any:
    """Return a manifest as Kubernetes' Python client, which drops what it does not know, understands it."""

    async def there_and_back() -> Any:
        async with ApiClient() as client:
            read = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), kind)
            return client.sanitize_for_serialization(read)

    return asyncio.run(there_and_back())


def test_the_job_has_only_fields_that_kuberay_knows() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(JOB)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "entryPoint"), "python"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "tokens"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"), "2"),
        (("spec", "rayClusterSpec", "headGroupSpec"), None),
    ],
)
def test_what_kuberay_would_refuse_is_found(place: tuple[str | int, ...], value: Any) -> None:
    wrong: Any = copy.deepcopy(JOB)
    *way, last = place
    inside = wrong
    for name in way:
        inside = inside[name]
    inside[last] = value
    assert not VALIDATOR.is_valid(wrong)


@pytest.mark.parametrize("pod", pods())
def test_every_field_of_a_pod_is_one_that_kubernetes_knows(pod: str) -> None:
    template = pods()[pod]
    assert understood(template, "V1PodTemplateSpec") == template
    assert template["spec"]["securityContext"]["runAsNonRoot"]


def test_only_the_cluster_and_kuberay_reach_its_ports() -> None:
    assert understood(POLICY, "V1NetworkPolicy") == POLICY
    assert POLICY["metadata"] == {"name": "retrain-ray"}, "one for all jobs, however many there are"
    wanted = POLICY["spec"]["podSelector"]["matchLabels"]
    for template in pods().values():
        assert wanted.items() <= template["metadata"]["labels"].items()


def test_the_ports_ask_for_a_token_and_no_secret_stands_in_the_file() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token", "secretName": "retrain-ray-token"}
    for template in pods().values():
        for container in template["spec"]["containers"]:
            assert not [given for given in container.get("env", ()) if "TOKEN" in given["name"]]
    text = (ROOT / "deploy/ray-job.yaml").read_text("utf-8")
    assert not re.search(r"(?i)(password|secret_access_key|auth_token): *\S", text)


def test_workers_have_a_gpu_and_the_image_is_one() -> None:
    (group,) = CLUSTER["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    images = {one["image"] for template in pods().values() for one in template["spec"]["containers"]}
    assert len(images) == 1
    options = JOB["spec"]["entrypoint"].removesuffix("'").partition(" run --isolated ")[2].split()
    params = dict(zip((word.removeprefix("--") for word in options[::2]), options[1::2], strict=True))
    assert (params["engine.name"], params["engine.use-gpu"]) == ("ray", "true")
    assert params["train.distributed.nproc-per-node"] == str(group["replicas"]), "a GPU for each process"
    assert params["train.num-threads"] == container["resources"]["limits"]["cpu"]


def test_the_entrypoint_is_a_script_that_bash_reads() -> None:
    written: str = JOB["spec"]["entrypoint"]
    script = re.fullmatch(r"bash -euc '(.*)'", written)
    assert script is not None
    assert "'" not in script[1]
    subprocess.run(["bash", "-n", "-c", script[1]], check=True)
    pulled = (ROOT / "deploy/remote-worker.yaml").read_text("utf-8")
    for refs in re.findall(r"\+refs/\S+?:refs/[a-z/]+\*", script[1]):
        assert refs in pulled


def clone(folder: Path, environment: dict[str, str]) -> int:
    """Run the entrypoint's lines before the last in a folder; return the exit status."""
    script = JOB["spec"]["entrypoint"].removeprefix("bash -euc '").removesuffix("'")
    script = script.replace("/srv/retrain", str(folder)).partition("exec python")[0]
    return subprocess.run(
        ["bash", "-euc", script], check=False, env={"PATH": "/usr/bin:/bin", **environment}
    ).returncode


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with a commit that nobody has signed."""
    made = tmp_path / "source"
    for words in (
        ["init", "-q", "-b", "main", str(made)],
        ["-C", str(made), "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words], check=True)
    return made


def test_the_clone_is_made_by_the_entrypoint(tmp_path: Path, source: Path) -> None:
    for _ in range(2):
        assert clone(tmp_path, {"RETRAIN_GIT_URL": str(source)}) == 0
    heads = [
        subprocess.check_output(["git", "-C", str(at), "rev-parse", "HEAD"])
        for at in (source, tmp_path / "checkout")
    ]
    assert heads[0] == heads[1]


def test_nothing_unsigned_is_checked_out_where_git_is_told_so(tmp_path: Path, source: Path) -> None:
    (tmp_path / ".gitconfig").write_text("[retrain]\n\tsignedOnly = true\n", encoding="utf-8")
    assert clone(tmp_path, {"RETRAIN_GIT_URL": str(source), "HOME": str(tmp_path)}) != 0
    checkout = tmp_path / "checkout"
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "-q", "--verify", "HEAD"], check=False)
    assert head.returncode != 0
