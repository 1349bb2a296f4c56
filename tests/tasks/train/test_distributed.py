"""One model trained by several processes: the curve of one, the same bytes twice and after a kill, sentences."""

import json
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tasks import problems
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Params, Train
from tasks.shared.role import Role
from tasks.train import launching, micro_batch, sharded
from tests.support.ports import free_port
from tests.support.processes_of_training import Training, training
from tests.support.project import Once
from tests.support.tiny import SIZES
from tests.support.wait import PATIENCE
from tests.support.way import PROBLEM, Way, way

STRATEGIES = ("ddp", "fsdp")
# what two cores compute in a sum of another order
ROUNDING = 1e-5
# three labels of tickets, as many rows as fill every batch
ROWS = 48
OF_ONE = {
    "num_train_epochs": 3.0,
    "logging_steps": 1,
    "num_threads": 1,
    "cpu_shortcuts": "off",
    "precision": "fp32",
}


def tokenized(folder: Path, base: Path, dropout: float) -> Way:
    """Return a way that is tokenized, for a copy of a base model that drops so much."""
    model = folder / "base"
    model.mkdir(parents=True)
    for file in base.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    config = read_json(model / "config.json")
    config |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made = way(folder / "way", model, train=OF_ONE)
    rows = pl.read_parquet(made.paths.split("train")).head(24)
    made.write_splits(rows["text"].to_list() * 2, rows["label"].to_list() * 2)
    made.tokenize()
    return made


@pytest.fixture(scope="module")
def even(once: Once, tiny_model: Path) -> Way:
    """Rows that fill every batch, for a model without dropout."""
    folder = once("even", lambda folder: tokenized(folder, tiny_model, 0.0))
    return Way(folder / "way", folder / "base", {"train": OF_ONE})


@pytest.fixture(scope="module")
def dropping(once: Once, tiny_model: Path) -> Way:
    """The same with dropout, whose draws a resume has to go on with."""
    folder = once("dropping", lambda folder: tokenized(folder, tiny_model, 0.1))
    return Way(folder / "way", folder / "base", {"train": OF_ONE})


def curve(of: Training) -> list[float]:
    return pl.read_csv(of.folder / "plots/train/curves/train_loss.csv")["loss"].to_list()


def by_two(strategy: str, **more: Any) -> dict[str, Any]:
    """Return params for two processes that share the rows of a step of eight."""
    own = {"nproc_per_node": 2, "strategy": strategy}
    return {"per_device_train_batch_size": 4, "distributed": own, **more}


@pytest.mark.slow
def test_the_curve_of_two_processes_and_of_added_up_steps_is_that_of_one(even: Way, tmp_path: Path) -> None:
    one = training(even, tmp_path / "one", per_device_train_batch_size=8)
    one.run()
    cut = training(even, tmp_path / "cut", per_device_train_batch_size=2, gradient_accumulation_steps=4)
    cut.run()
    assert curve(cut) == pytest.approx(curve(one), abs=ROUNDING)
    for strategy in STRATEGIES:
        two = training(even, tmp_path / strategy, **by_two(strategy))
        said = two.run()
        assert curve(two) == pytest.approx(curve(one), abs=ROUNDING)
        assert read_json(two.folder / "metrics/train.json")["processes"] == 2
        assert said.count("weights; a step takes about") == 1


@pytest.mark.slow
def test_shards_that_compute_in_half_precision_have_the_curve_of_whole_models(
    even: Way, tmp_path: Path
) -> None:
    curves = []
    for strategy in STRATEGIES:
        half = by_two(strategy, precision="bf16", max_steps=6, activation_checkpointing=True)
        two = training(even, tmp_path / strategy, **half)
        two.run()
        curves.append(curve(two))
    assert curves[0] == pytest.approx(curves[1], abs=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_end_in_the_same_bytes_however_they_were_ended(
    dropping: Way, tmp_path: Path, strategy: str
) -> None:
    whole = training(dropping, tmp_path / "whole", **by_two(strategy))
    whole.run()
    killed = training(dropping, tmp_path / "killed", **by_two(strategy))
    said = killed.interrupted("one", signal.SIGKILL, status=1)
    assert "process 1 of 2 was killed (SIGKILL); run the same command again" in said
    assert "Traceback" not in said
    said = killed.interrupted("launcher", signal.SIGTERM, status=128 + signal.SIGTERM)
    assert said.count("asked to end: checkpoint kept at step") == 1
    assert "going on from checkpoint-" in said
    killed.interrupted("all", signal.SIGKILL, status=-signal.SIGKILL)
    (checkpoint, *_) = sorted(killed.folder.glob(".retrain/checkpoints/*/checkpoint-*"))
    names = {file.name for file in checkpoint.iterdir()}
    shards = {f"shard-0000{rank}-of-00002.{kind}" for rank in (0, 1) for kind in ("json", "safetensors")}
    if strategy == "fsdp":
        assert names >= shards
        assert not [name for name in names if name.endswith((".pt", ".pth", ".bin"))], "pickles"
    else:
        assert not names & shards
    alone = training(dropping, tmp_path / "alone", per_device_train_batch_size=4)
    shutil.copytree(killed.folder / ".retrain", alone.folder / ".retrain")
    said = alone.run()
    assert f"by 2 ({strategy}) processes is kept; this one by 1 (ddp) starts anew" in said
    killed.run()
    assert killed.made() == whole.made()
    assert not [*whole.folder.glob("models/**/shard-*")], "nobody serves an optimizer"


def machines(of: Way, folder: Path, strategy: str, **more: Any) -> list[Training]:
    """Return two trainings that are one, by two machines that share no disk, a process each."""
    apart = {"nnodes": 2, "nproc_per_node": 1, "strategy": strategy}
    both = []
    for node, name in enumerate(("here", "there")):
        made = training(of, folder / name, **by_two(strategy, distributed=apart, **more))
        # each has a CPU of its own, as it were
        slots = str(made.folder / "slots")
        made.env = {"MASTER_ADDR": "127.0.0.1", "NODE_RANK": str(node), "RETRAIN_SLOTS_FOLDER": slots}
        both.append(made)
    return both


@pytest.mark.slow
def test_two_machines_that_share_no_disk_go_on_from_the_first_ones_checkpoint(
    dropping: Way, tmp_path: Path
) -> None:
    here, there = machines(dropping, tmp_path, "fsdp")
    port = free_port()
    other = there.start(MASTER_PORT=str(port))
    here.interrupted("all", signal.SIGKILL, status=-signal.SIGKILL, MASTER_PORT=str(port))
    said, _ = other.communicate(timeout=PATIENCE)
    assert other.returncode == 1, said
    assert not there.kept(), "the first machine has all of it"
    port = free_port()
    other = there.start(MASTER_PORT=str(port))
    assert "going on from checkpoint-" in here.run(MASTER_PORT=str(port))
    said, _ = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, said
    assert not (there.folder / "models").exists()
    whole = training(dropping, tmp_path / "whole", **by_two("fsdp"))
    whole.run()
    assert here.made() == whole.made()


# what cannot be right


def of(**train: Any) -> Params:
    return Params.model_validate({"train": train})


def test_what_processes_cannot_do_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (launching.ADDRESS, launching.NODE, launching.PORT):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="fsdp gives each of several processes a shard, and there is one"):
        launching.refuse(of(distributed={"strategy": "fsdp", "nproc_per_node": 1}), Role())
    two = of(distributed={"nnodes": 2, "nproc_per_node": 1})
    assert launching.world_size(two, Role()) == 2
    assert launching.world_size(two, Role(1, 4, is_started=True)) == 4
    with pytest.raises(InputError, match="MASTER_ADDR and NODE_RANK is not set"):
        launching.refuse(two, Role())
    monkeypatch.setenv(launching.ADDRESS, "127.0.0.1")
    for name, value, said in (
        (launching.NODE, "2", "'2' is none of 2 machines; they count from 0"),
        (launching.NODE, "first", "'first' is none of 2 machines"),
        (launching.PORT, "0", "'0' is no port"),
    ):
        monkeypatch.setenv(launching.NODE, "1")
        monkeypatch.setenv(name, value)
        with pytest.raises(InputError, match=said):
            launching.refuse(two, Role())


def test_threads_are_read_as_openmp_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, meant in (("4,2", 4), (" 3 ", 3), ("", max(1, (os.cpu_count() or 1) // 2))):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert launching._threads_each(2) == meant
    for given in ("many", "0", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        with pytest.raises(InputError, match=f"OMP_NUM_THREADS: '{given}' is no number of threads"):
            launching._threads_each(2)


@pytest.mark.slow
def test_where_one_machine_holds_fewer_rows_all_take_as_few(even: Way, tmp_path: Path) -> None:
    here, there = machines(even, tmp_path, "ddp", max_steps=12)
    port = free_port()
    other = there.start(MASTER_PORT=str(port))
    here.interrupted("all", signal.SIGKILL, status=-signal.SIGKILL, MASTER_PORT=str(port))
    other.communicate(timeout=PATIENCE)
    (folder,) = [path for path in there.folder.glob(".retrain/checkpoints/*") if path.is_dir()]
    fewer = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    (folder / micro_batch.FOUND).write_text(json.dumps([{"from_step": 0, "as": fewer}]), encoding="utf-8")
    port = free_port()
    other = there.start(MASTER_PORT=str(port))
    here.run(MASTER_PORT=str(port))
    said, _ = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, said
    (told,) = read_json(here.folder / "metrics/train.json")["micro_batches"]
    assert {name: told[name] for name in fewer} == fewer


def test_processes_that_cannot_reach_each_other_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TORCH_CPP_LOG_LEVEL"):
        # which a launch sets where they are not
        monkeypatch.setenv(name, {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}.get(name, "lo"))
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = []
        monkeypatch.setattr(launching, "_free_port", lambda: asked.append(1) or taken.getsockname()[1])
        with pytest.raises(InputError, match=r"cannot reach each other: .*port: \d+"):
            launching.start(of(distributed={"nproc_per_node": 2}))
    assert len(asked) == launching.TRIES


def test_what_fsdp_cannot_shard_is_a_sentence() -> None:
    bert = BertForSequenceClassification(BertConfig(**SIZES))
    sharded.refuse(bert, PROBLEM, Train())
    # input and output embeddings are one weight
    sharded.refuse(LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)), PROBLEM, Train())
    with pytest.raises(InputError, match=r"under fsdp it is one of adamw_torch, .* and not adafactor"):
        sharded.refuse(bert, PROBLEM, Train(optim="adafactor"))
    t5 = T5ForConditionalGeneration(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(InputError, match=r"fsdp cannot shard shared\.weight, which several parts"):
        sharded.refuse(t5, PROBLEM, Train())
    similar = problems.load("sentence_similarity", Params(problem="sentence_similarity").own)
    with pytest.raises(InputError, match="a model of sentence-similarity reads the rows of a step in parts"):
        sharded.refuse(bert, similar, Train())
    bert.scale = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(InputError, match="fsdp cannot shard scale, which is one number; set it to ddp"):
        sharded.refuse(bert, PROBLEM, Train())


def test_a_layer_is_a_shard_and_what_holds_the_embedding_of_tokens_is_none() -> None:
    bert = BertForSequenceClassification(BertConfig(**SIZES))
    assert "BertEmbeddings" in bert._no_split_modules
    assert sharded.layers(bert) == ["BertLayer"]
