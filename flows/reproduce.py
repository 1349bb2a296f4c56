"""Rebuild a model from its record alone: compute every stage again, compare every output with dvc.lock."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.engine import run_name, worker
from flows.engine.processes import Processes, StageFailedError
from flows.engine.stage import fails_in_words, show_running
from flows.engine.workspace import Workspace, at_revision, root
from flows.ledger.revision import changed_key, checkout_data, clear, compare
from flows.report.artifacts import publish_document
from flows.report.certificate import Certificate, markdown
from tasks.shared import tracking
from tasks.shared.errors import InputError
from tasks.shared.stage import ANY_VERSION, pins


@flow(name="reproduce", persist_result=False)
@fails_in_words
def reproduce(revision: str) -> Certificate:
    """Compute a commit, tag, branch or experiment again, and say whether every bit is the same."""
    log = get_run_logger()
    worker.attach()
    name = run_name.unique(runtime.flow_run.name, runtime.flow_run.id, root(), log.info)
    with (
        at_revision(revision, f"reproduce-{name}", log.info) as (space, commit),
        tempfile.TemporaryDirectory() as recorded,
    ):
        certificate = Certificate.begin(revision, commit, pins(space.params.problem, space.root))
        if others := certificate.other_versions:
            words = ", ".join(others)
            log.warning("the versions installed are not those pinned at %s: %s", revision, words)
        _set_aside(space, Path(recorded))
        _compute_all(space, certificate)
        certificate.judge(Path(recorded), space.root, tuple(space.ledger.stages))
        _keep(certificate, space.home)
        publish_document("certificate", markdown(certificate), f"{revision}: {certificate.grade}")
        return certificate


def _set_aside(space: Workspace, recorded: Path) -> None:
    """Copy what the revision recorded of its test scores, before the stages write their own."""
    # where predictions are no longer there, only hashes and scores can be compared
    with contextlib.suppress(InputError):
        space.ledger.checkout_missing(["plots/evaluate"])
    for folder in ("plots", "metrics"):
        if (space.root / folder).exists():
            shutil.copytree(space.root / folder, recorded / folder)


def _compute_all(space: Workspace, certificate: Certificate) -> None:
    """Compute every stage, unless its data is missing; damaged data is noted, and used all the same."""
    wrong = checkout_data(space.ledger)
    certificate.cause = str(wrong) if wrong else None
    if wrong and wrong.is_missing:
        return
    with Processes(space.root, {ANY_VERSION: "1", tracking.SWITCH: "off"}) as processes:
        # an older revision has fewer
        for name in space.ledger.stages:
            run = compute.with_options(name=name, task_run_name=name)
            state = run(name, space, processes, certificate, return_state=True)
            if not state.is_completed():
                raise StageFailedError(state.message or f"{name} failed")


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
@fails_in_words
def compute(name: str, space: Workspace, processes: Processes, certificate: Certificate) -> State[None]:
    """Run a stage, whatever any cache holds, and compare its outputs with those in dvc.lock."""
    began = time.monotonic()
    clear(space.ledger, name)
    show_running(name, space.ledger.command(name), processes)
    outputs = compare(space.ledger, name)
    seconds = round(time.monotonic() - began, 1)
    certificate.add(name, outputs, changed_key(space.ledger, name), seconds)
    same = all(output.is_same for output in outputs)
    return Completed(message=f"{'bit-identical' if same else 'not bit-identical'}, in {seconds} s")


def _keep(certificate: Certificate, checkout: Path) -> None:
    """Add the certificate to the commit's Git notes."""
    try:
        certificate.keep(checkout)
    except InputError as error:
        # others may have pushed what is no note; the artifact has it all the same
        get_run_logger().warning("the certificate could not be added to the Git notes: %s", error)
