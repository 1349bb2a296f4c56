"""A Ray cluster computes what this machine computes, to the same bytes, whatever becomes of its nodes."""

import json
import os
import shutil
import signal
from collections.abc import Iterator

import polars as pl
import pytest

from tasks.shared.files import digests, read_json
from tests.support.edits import rewrite
from tests.support.hold import held
from tests.support.pictures import picture
from tests.support.project import Project
from tests.support.ray_cluster import Cluster, Shards, alive, cluster
from tests.support.wait import PATIENCE

pytest.importorskip("ray")

OUTPUTS = ("data/ingested", "data/tokens", "models/checkpoint", "models/package", "plots", "metrics")
# whose functions compute the shards of ingest, tokenize and evaluate
READ, ENCODE, PREDICT = (
    "tasks.ingest.contents",
    "tasks.problems.common.encoding",
    "tasks.problems.common.predicting",
)


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """Yield a head and two nodes of a processor each."""
    with cluster(nodes=2) as made:
        yield made


@pytest.fixture(scope="module")
def lasting() -> Iterator[Cluster]:
    """Yield the same for tests that kill none of them."""
    with cluster(nodes=2) as made:
        yield made


def outputs(project: Project) -> dict[str, str]:
    """Return the checksum of each file that the stages have written."""
    found = {}
    for name in OUTPUTS:
        found |= {f"{name}/{file}": checksum for file, checksum in digests(project.root / name).items()}
    return found


def forget(project: Project) -> None:
    """Forget all that was computed."""
    for name in (*OUTPUTS, "data/media", "data/splits", ".dvc/cache", ".retrain/checkpoints"):
        shutil.rmtree(project.root / name, ignore_errors=True)
    (project.root / "dvc.lock").unlink()


def on(project: Project, nodes: Cluster) -> None:
    """Have the stages of a clone be computed by a cluster."""
    rewrite(project.root / "params.yaml", "name: local", "name: ray")
    rewrite(project.root / "params.yaml", "  address:", f"  address: {nodes.address}")
    project.env |= nodes.token


@pytest.mark.slow
def test_a_training_that_nodes_have_begun_goes_on_here_to_the_bytes_of_one_that_never_left(
    trained: Project, lasting: Cluster
) -> None:
    with held(trained) as training:
        training.release()
        trained.retrain()
        alone = outputs(trained)
        forget(trained)
        on(trained, lasting)
        trained.env["RETRAIN_CHECKPOINT_SECONDS"] = "0"
        training.at(8)
        running = trained.popen("flows", "run")
        there = alive(running, training.waiting)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
        # what a cluster does for a stage ends with it
        there.wait(PATIENCE)
        # whoever is asked to end keeps the step that a node is in
        trained.env["RETRAIN_CHECKPOINT_SECONDS"] = "3600"
        training.at(20)
        running = trained.popen("flows", "run")
        alive(running, training.waiting)
        os.kill(running.pid, signal.SIGTERM)
        output, _ = running.communicate(timeout=PATIENCE)
        assert "keeping a checkpoint ... kept step 21" in output
        training.release()
        rewrite(trained.root / "params.yaml", "name: ray", "name: local")
        done = trained.retrain()
    assert "going on from checkpoint-21" in done.stdout + done.stderr
    assert outputs(trained) == alone


@pytest.mark.slow
def test_pictures_that_stand_in_a_table_go_to_nodes_and_come_back_the_same(
    project: Project, lasting: Cluster
) -> None:
    rows = [
        {"image": {"bytes": picture(number), "path": None}, "label": "rgb"[number % 3]}
        for number in range(60)
    ]
    pl.DataFrame(rows).write_parquet(project.root / "data/raw/pictures.parquet")
    sizes = {"type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
    words = (
        "--problem",
        "image_classification",
        "--data.path",
        "data/raw/pictures.parquet",
        "--train.max-steps",
        "4",
    )
    words += (
        "--model.name",
        "none",
        "--model.from-scratch",
        json.dumps(sizes),
        "--image_classification.image-size",
        "24",
    )
    project.retrain(*words)
    alone = outputs(project) | digests(project.root / "data/media")
    forget(project)
    on(project, lasting)
    done = project.retrain(*words)
    assert "0 of 7 stages cached" in done.stdout
    assert outputs(project) | digests(project.root / "data/media") == alone


@pytest.mark.slow
def test_nodes_that_die_in_the_middle_of_each_stage_change_no_byte(trained: Project, nodes: Cluster) -> None:
    rewrite(trained.root / "params.yaml", "nproc_per_node:", "nproc_per_node: 2 #")
    shards = Shards(trained)
    with held(trained) as training:
        training.release()
        trained.retrain()
        assert read_json(trained.root / "metrics/train.json")["processes"] == 2
        alone = outputs(trained)
        forget(trained)
        on(trained, nodes)
        shards.hold(READ, ENCODE, PREDICT)
        training.at(8)
        running = trained.popen("flows", "run")
        nodes.kill_node_of(shards.reached(READ, running))
        nodes.start()
        shards.hold(ENCODE, PREDICT)
        nodes.kill_node_of(shards.reached(ENCODE, running))
        nodes.start()
        shards.hold(PREDICT)
        nodes.kill_node_of(alive(running, training.waiting))
        nodes.start()
        training.release()
        nodes.kill_node_of(shards.reached(PREDICT, running))
        nodes.start()
        shards.hold()
        output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, output
    assert outputs(trained) == alone
