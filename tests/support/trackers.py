"""The trackers that are installed here, and what each of them holds of a run, read by its own means."""

import json
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest

from tasks.shared import tracking
from tasks.shared.params.trackers import Tracker


@dataclass
class Held:
    """A tracked run: each score by its name as (step, value), and what is no number."""

    name: str
    scores: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    state: str = ""


def is_there(tool: str) -> bool:
    try:
        metadata.version(tracking.DISTRIBUTIONS.get(tool, tool))  # type: ignore[call-overload]
    except metadata.PackageNotFoundError:
        return False
    return True


def installed(*tools: str) -> list[Any]:
    """Return tools as parameters of a test, those that are not installed skipped in words."""
    skipped = {
        tool: pytest.mark.skipif(not is_there(tool), reason=f"{tool} is not installed")
        for tool in tools or get_args(Tracker)
    }
    return [pytest.param(tool, marks=mark) for tool, mark in skipped.items()]


def tensorboard(place: Path) -> list[Held]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for folder in sorted((place / "tensorboard").iterdir()):
        events = EventAccumulator(str(folder))
        events.Reload()
        held = Held(folder.name)
        for name in events.Tags()["scalars"]:
            held.scores[name] = [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["tensors"]:
            held.texts[name] = events.Tensors(name)[-1].tensor_proto.string_val[0].decode()
        rows = [line.strip("| ").split(" | ") for line in held.texts["params"].splitlines()[2:]]
        held.params, held.state = {row[0]: row[1] for row in rows if len(row) == 2}, held.texts["state"]
        found.append(held)
    return found


def mlflow(place: Path) -> list[Held]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("retrain")
    assert experiment is not None
    found = []
    for run in reversed(client.search_runs([experiment.experiment_id])):
        held = Held(run.info.run_name, {}, run.data.tags, run.data.params, run.info.status)
        for name in run.data.metrics:
            held.scores[name] = [
                (point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
            ]
        found.append(held)
    return found


def wandb(place: Path) -> list[Held]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, Held] = {}
    for file in sorted((place / "wandb/wandb").glob("offline-run-*/*.wandb")):
        held = found.setdefault(file.stem, Held(file.stem))
        for data in _records(file.read_bytes()):
            _take(held, Record.FromString(data))
    return list(found.values())


def _records(log: bytes) -> Iterator[bytes]:
    """Return what a log of LevelDB's kind holds, behind the seven bytes that W&B begins it with."""
    block, header, place, parts = 32768, 7, 7, b""
    while place + header <= len(log):
        if block - place % block < header:
            place += block - place % block
        size, kind = struct.unpack("<HB", log[place + 4 : place + header])
        parts += log[place + header : place + header + size]
        place += header + size
        # whole, or the last of several
        if kind in (1, 4):
            yield parts
            parts = b""


def _take(held: Held, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "run":
            held.name = record.run.display_name
            held.params |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        case "history":
            row = {
                item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item
            }
            for name, value in row.items():
                if not name.startswith("_"):
                    held.scores.setdefault(name, []).append((row["train/global_step"], value))
        case "summary":
            held.texts |= {
                item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update
            }
        case "exit":
            held.state = str(record.exit.exit_code)


def trackio(place: Path) -> list[Held]:
    with sqlite3.connect(place / "trackio/retrain.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = dict(database.execute("select run_name, config from configs").fetchall())
    return _rows(rows, configs)


def _rows(rows: list[Any], configs: Mapping[str, Any]) -> list[Held]:
    found: dict[str, Held] = {}
    for name, step, told in rows:
        held = found.setdefault(name, Held(name, params=json.loads(configs[name])))
        for key, value in json.loads(told).items():
            if isinstance(value, str):
                held.texts[key] = value
            else:
                held.scores.setdefault(key, []).append((step, value))
    return list(found.values())


READ: dict[str, Callable[[Path], list[Held]]] = {
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
    "trackio": trackio,
}
