"""Where checkpoints to go on from are kept: a folder for each training, named by what decides its bits."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.shared import devices, progress
from tasks.shared.files import digests, read_json, replace, sha256
from tasks.shared.keys import fingerprint
from tasks.shared.locks import alone, alone_if_free
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.role import role

# outside the outputs, which DVC deletes before a stage runs
INTERRUPTED = Path(".retrain/checkpoints")
# at least as many as may be under way at once: whoever begins again first after all were killed is to leave
# the others theirs
KEEP_INTERRUPTED = 10
KEY = re.compile("[0-9a-f]{16}")
# in a training's folder: how many began before it, which no clock that is set back can turn round
TURN = "turn"
# and by how many processes, of which strategy, it is trained
PROCESSES = "processes.json"


@contextmanager
def resume_folder(
    params: Params, paths: Paths, processes: int, device: Mapping[str, str | int] | None = None
) -> Iterator[Path]:
    """Yield the folder for this training's checkpoints, named by all that decides its bits, held alone.

    device: what it trains on; None: this process's. Those of the oldest trainings are dropped. An equal
    training that is dying, because the run that started it was killed, is waited for. Of several processes
    the first one holds it.
    """
    decides = {
        "params": params.model_dump(include={"problem", "model", "train", params.problem}),
        "tokens": digests(paths.tokens),
        "validation": sha256(paths.split("validation")),
        "device": device or devices.describe(),
        "processes": processes,
    }
    folder = INTERRUPTED / fingerprint(params.problem, decides)
    if not role().is_first:
        yield folder
        return
    INTERRUPTED.mkdir(parents=True, exist_ok=True)
    with alone(_lock(folder)):
        folder.mkdir(exist_ok=True)
        trainings = [path for path in INTERRUPTED.iterdir() if KEY.fullmatch(path.name) and path.is_dir()]
        others = sorted((path for path in trainings if path != folder), key=_turn)
        replace(folder / TURN, f"{_turn(others[-1]) + 1 if others else 1}\n")
        interrupted = [path for path in others if any(path.glob("checkpoint-*"))]
        _say_other_processes(folder, interrupted, params, decides)
        for path in set(others).difference(interrupted[-KEEP_INTERRUPTED + 1 :]):
            with alone_if_free(_lock(path)) as is_old:
                # one that is training now is not
                if is_old:
                    shutil.rmtree(path)
        progress.keeps_in(folder)
        yield folder


def _say_other_processes(
    folder: Path, interrupted: list[Path], params: Params, decides: dict[str, Any]
) -> None:
    """Write down how many processes train here, and say where others do the same as other ones."""
    alike = params.model_dump(include={"problem", "model", "train", params.problem})
    alike["train"] = {name: value for name, value in alike["train"].items() if name != "distributed"}
    told = {**decides, "params": alike, "processes": None}
    its = {
        "but_for_processes": fingerprint(params.problem, told),
        "processes": decides["processes"],
        "strategy": params.train.distributed.strategy,
    }
    replace(folder / PROCESSES, json.dumps(its))
    for other in reversed(interrupted):
        known = _processes(other)
        if known.keys() == its.keys() and known["but_for_processes"] == its["but_for_processes"]:
            then, now = (f"{each['processes']} ({each['strategy']})" for each in (known, its))
            print(
                f"an interrupted training by {then} processes is kept; this one by {now} starts anew, "
                "because other bits come of it",
                flush=True,
            )


def _processes(folder: Path) -> dict[str, Any]:
    """Return what a training has written down of its processes; nothing when that is torn or not there."""
    try:
        known = read_json(folder / PROCESSES)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _turn(folder: Path) -> int:
    """Return which of the trainings kept here this one is; 0 when that is not known."""
    try:
        return int((folder / TURN).read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
