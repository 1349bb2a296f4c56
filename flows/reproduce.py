"""Rebuilding a model from its record alone: every stage computed again in a clean worktree, every output compared with dvc.lock."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.engine import run_name, worker
from flows.engine.processes import Processes, StageFailedError
from flows.engine.stage import show_running
from flows.engine.workspace import STAGES, Workspace, at_revision, root
from flows.ledger.results import why
from flows.ledger.revision import changed_key, checkout_data, clear, compare
from flows.report.artifacts import publish_document
from flows.report.certificate import Certificate, Grade, device, grade_predictions, machine, now, versions
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.files import read_json
from tasks.shared.markup import plain
from tasks.shared.stage import ANY_VERSION, pins

ARTIFACT = """# {revision}: {grade}

{cause}

| stage | result | seconds |
|---|---|---:|
{stages}

The certificate, kept in the Git notes of `{commit}` (`git notes --ref=retrain show {commit}`):

```json
{certificate}
```
"""


@flow(name="reproduce", persist_result=False)
def reproduce(revision: str) -> Certificate | State[None]:
    """Compute a commit, tag, branch or experiment again from its data and code, and say whether every bit is the same."""
    log = get_run_logger()
    try:
        worker.attach()
        name = run_name.unique(runtime.flow_run.name, runtime.flow_run.id, root(), log.info)
        with (
            disk_in_words(),
            at_revision(revision, f"reproduce-{name}", log.info) as (space, commit),
            tempfile.TemporaryDirectory() as kept,
        ):
            certificate = Certificate(revision, commit, versions=versions(pins(space.params.problem, space.root)), time=now())
            others = [
                f"{name} {is_['installed']} instead of {is_['pinned']}" for name, is_ in certificate.versions.items() if len({*is_.values()}) > 1
            ]
            if others:
                log.warning("the versions installed are not those pinned at %s: %s", revision, ", ".join(others))
            _set_aside(space, Path(kept))
            wrong = checkout_data(space.ledger)
            certificate.cause = str(wrong) if wrong else None
            if wrong is None or not wrong.is_missing:
                with Processes(space.root, {ANY_VERSION: "1"}) as processes:
                    for name in STAGES:
                        _stage(name, space, processes, certificate)
            _judge(certificate, space.root, Path(kept), others)
            try:
                certificate.keep(space.home)
            except InputError as error:  # others may have pushed what is no note; the artifact has it all the same
                log.warning("the certificate could not be added to the Git notes: %s", error)
            _show(certificate)
            return certificate
    except (InputError, StageFailedError) as error:
        return Failed(message=why(error))


def _set_aside(space: Workspace, kept: Path) -> None:
    """Copy what the revision recorded of its test scores, as far as it is still there, before the stages write their own."""
    with contextlib.suppress(InputError):  # then predictions cannot be compared, only hashes and scores
        space.ledger.checkout_missing(["plots/evaluate"])
    for folder in ("plots", "metrics"):
        if (space.root / folder).exists():
            shutil.copytree(space.root / folder, kept / folder)


def _stage(name: str, space: Workspace, processes: Processes, certificate: Certificate) -> None:
    state = compute.with_options(name=name, task_run_name=name)(name, space, processes, certificate, return_state=True)
    if not state.is_completed():
        raise StageFailedError(state.message or f"{name} failed")


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
def compute(name: str, space: Workspace, processes: Processes, certificate: Certificate) -> State[None]:
    """Run a stage from its inputs, whatever any cache holds, and compare what it makes with what dvc.lock says it made."""
    began = time.monotonic()
    clear(space.ledger, name)
    try:
        with disk_in_words():
            show_running(name, space.ledger.command(name), processes)
    except (InputError, StageFailedError) as error:
        return Failed(message=why(error))
    outputs = compare(space.ledger, name)
    same = all(output.is_same for output in outputs)
    certificate.stages[name] = {
        "grade": Grade.identical if same else Grade.different,
        "seconds": round(time.monotonic() - began, 1),
        "changed": changed_key(space.ledger, name),
        "outputs": [vars(output) for output in outputs],
    }
    return Completed(message=f"{'bit-identical' if same else 'not bit-identical'}, in {certificate.stages[name]['seconds']} s")


def _judge(certificate: Certificate, computed: Path, recorded: Path, others: list[str]) -> None:
    """Grade the whole, and find the first thing that explains why it is not bit-identical: data, code, versions, device."""
    stages = certificate.stages
    now_, then = (read_json(file) if (file := folder / "metrics/train.json").exists() else {} for folder in (computed, recorded))
    certificate.machine = machine(now_)
    if len(stages) == len(STAGES) and all(stage["grade"] == Grade.identical for stage in stages.values()):
        certificate.grade = Grade.identical
        return
    if len(stages) == len(STAGES):
        certificate.grade = grade_predictions(recorded, computed)
        for name in STAGES[STAGES.index("train") :]:
            if stages[name]["grade"] != Grade.identical:
                stages[name]["grade"] = certificate.grade
    if certificate.cause:
        return
    changed = {name: stage["changed"] for name, stage in stages.items() if stage["changed"]}
    if others:
        certificate.cause = f"environment: {', '.join(others)}"
    elif changed:
        name = next(iter(changed))
        certificate.cause = f"code: {', '.join(changed[name])} of {name} is not what dvc.lock recorded"
    elif then and device(now_) != device(then):
        differ = [f"{key} {device(now_).get(key)} instead of {value}" for key, value in device(then).items() if device(now_).get(key) != value]
        certificate.cause = f"device: {', '.join(differ)}"
    else:
        certificate.cause = "unknown: data, code, versions and device are all as recorded"


def _show(certificate: Certificate) -> None:
    words = {"commit": certificate.commit[:10], "certificate": certificate.to_json(), "revision": plain(certificate.revision)}
    rows = "\n".join(f"| {name} | {stage['grade']} | {stage['seconds']} |" for name, stage in certificate.stages.items())
    cause = plain(certificate.cause) if certificate.cause else "Every output has the hash on record."
    text = ARTIFACT.format(grade=certificate.grade, cause=cause, stages=rows, **words)
    publish_document("certificate", text, f"{words['revision']}: {certificate.grade}")
