"""What a stage tells trackers: it writes it down, and a process of each tool's own (flows/trackers) tells it.

So a tool can change no bit, hold up no step and end no training, whatever it draws, imports or waits for.
What is written down stays: a training that goes on after a kill goes on in the same tracked run,
and whoever could not be told is told what he has missed.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest, private_folder, read_json, replace
from tasks.shared.locks import alone
from tasks.shared.params import Params, Trackers
from tasks.shared.params.trackers import Tracker
from tasks.shared.paths import Paths
from tasks.shared.role import role
from tasks.shared.verdict import beside_baselines, metrics

FOLDER = Path(".retrain/trackers")
RUNS = FOLDER / "runs"
# of which run a model is, by the model's digest
MODELS = FOLDER / "models"
JOURNAL, RUN = "journal.jsonl", "run.json"
TELLER = "flows.trackers"
# off: nobody is told, as when a revision is reproduced
SWITCH = "RETRAIN_TRACKERS"
# where what is installed has another name: MLflow's client without its server
DISTRIBUTIONS = {"mlflow": "mlflow-skinny"}
# what is no extra, as it asks for an older Pillow than the pinned one, which it does without
BY_HAND = {"trackio": "trackio gradio_client Brotli python-multipart"}
# what a driver calls its run
NAME = "RETRAIN_RUN_NAME"
# seconds for the tools to take what is left when a stage is over, and when it was asked to end
PATIENCE, HURRY = 60.0, 5.0
TRAINED, FAILED, INTERRUPTED, MEASURED = "trained", "failed", "interrupted", "measured"


def tools(trackers: Trackers) -> list[Tracker]:
    """Return who is to be told here."""
    return [] if os.environ.get(SWITCH) == "off" else trackers.report_to


def refuse_missing(trackers: Trackers) -> None:
    """Raise InputError when a tool that is to be told is not installed, with what installs it."""
    missing = [tool for tool in tools(trackers) if not _is_installed(tool)]
    if missing:
        extras = ",".join(tool for tool in missing if tool not in BY_HAND)
        wanted = [f"'retrain[{extras}]'"] if extras else []
        wanted += [f"--no-deps {BY_HAND[tool]}" for tool in missing if tool in BY_HAND]
        commands = " and ".join(f"`pip install --constraint constraints.txt {what}`" for what in wanted)
        raise InputError(
            f"trackers.report_to: {', '.join(missing)}: not installed; {commands}, or leave it out"
        )


def _is_installed(tool: Tracker) -> bool:
    """Return whether it is; that it can be imported says less: a folder of its name in a checkout can be."""
    try:
        metadata.version(DISTRIBUTIONS.get(tool, tool))
    except metadata.PackageNotFoundError:
        return False
    return True


class Journal:
    """What a run has measured, in the order in which it did: a line of JSON each.

    None of it is written twice.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        found = lines(folder)[0] if folder else []
        self.there = {_what(line.get("step", 0), line.get("scores", {})) for line in found}
        self.step = max((step for step, _ in self.there), default=0)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Write down what was measured at a step, unless an interrupted training has done so already."""
        if scores and _what(step, scores) not in self.there:
            self._write({"step": step, "scores": dict(scores)})
            self.there.add(_what(step, scores))

    def made(self, paths: Paths) -> None:
        """Write down which checkpoint was kept, and remember of which training the model is."""
        if self.folder is None:
            return
        kept = read_json(paths.metric("train"))
        best = {f"best/{name}": value for name, value in kept["validation"].items()}
        self._write({"step": self.step, "scores": {"best/step": kept["best_step"], **best}})
        MODELS.mkdir(parents=True, exist_ok=True)
        replace(MODELS / folder_digest(paths.checkpoint), f"{self.folder.name}\n")

    def tested(self, paths: Paths) -> None:
        """Write down the test scores with their intervals and baselines, and the verdict on them."""
        if self.folder is None:
            return
        scores = read_json(paths.metric("evaluate"))
        told = {f"test/{name}": scores[name] for name in metrics(scores)}
        for name, (low, high) in scores["interval"].items():
            told |= {f"test/{name}_low": low, f"test/{name}_high": high}
        for baseline, its in scores["baselines"].items():
            told |= {
                f"baseline/{baseline}/{name}": value
                for name, value in its.items()
                if isinstance(value, float)
            }
        self._write({"step": self.step, "scores": told})
        self._write({"name": "verdict", "text": ": ".join(beside_baselines(scores))})

    def state(self, state: str) -> None:
        """Write down how a stage ended."""
        self._write({"state": state})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        # a full disk is said where the stage writes what counts
        with suppress(OSError), (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            # a line of its own, also behind one that a kill has cut short
            file.write("\n" + json.dumps({**line, "time": time.time()}) + "\n")
        self.step = max(self.step, line.get("step", 0))


def lines(folder: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return what is written down of a run from a byte on, without what was cut short; and where it ends."""
    if not (folder / JOURNAL).exists():
        return [], start
    with (folder / JOURNAL).open("rb") as file:
        file.seek(start)
        *whole, rest = file.read().split(b"\n")
        end = file.tell() - len(rest)
    found = []
    for line in filter(None, whole):
        with suppress(ValueError):
            found.append(json.loads(line))
    return found, end


def _what(step: int, scores: Mapping[str, float]) -> tuple[int, tuple[str, ...]]:
    """Return what scores are of, by which a training that goes on knows them again."""
    return step, tuple(sorted(scores))


@contextmanager
def training(params: Params, key: str) -> Iterator[Journal]:
    """Yield the journal of a training, whose key says all that decides its bits; it is told meanwhile.

    A training that was interrupted goes on in its tracked run; one that is done again has another.
    Of several processes the first one tells.
    """
    told = tools(params.trackers) if role().is_first else []
    with _telling(params, key, told, TRAINED, anew=True) as journal:
        yield journal


@contextmanager
def measuring(params: Params, checkpoint: Path) -> Iterator[Journal]:
    """Yield the journal of the run that trained a model, or a run of its own for a model from elsewhere."""
    told = tools(params.trackers)
    key = ""
    if told:
        digest = folder_digest(checkpoint)
        known = MODELS / digest
        key = known.read_text("ascii").strip() if known.exists() else digest[:16]
    with _telling(params, key, told, MEASURED, anew=False) as journal:
        yield journal


@contextmanager
def _telling(params: Params, key: str, told: list[Tracker], done: str, *, anew: bool) -> Iterator[Journal]:
    if not told:
        yield Journal(None)
        return
    private_folder(FOLDER)
    with alone(RUNS / f"{key}.lock"):
        folder = RUNS / key
        _begin(folder, params, key, anew=anew)
        journal = Journal(folder)
        tellers = {tool: _teller(folder, tool) for tool in told}
        state, patience = FAILED, PATIENCE
        try:
            yield journal
            state = done
        except (SystemExit, KeyboardInterrupt):
            state, patience = INTERRUPTED, HURRY
            raise
        finally:
            journal.state(state)
            _await(tellers, time.monotonic() + patience)


def _begin(folder: Path, params: Params, key: str, *, anew: bool) -> None:
    """Write down what the tracked run is called and made from, unless it goes on."""
    is_over = any(line.get("state") == TRAINED for line in lines(folder)[0])
    if is_over and anew:
        for file in folder.iterdir():
            file.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    run = read_json(folder / RUN) if (folder / RUN).exists() else {}
    name = params.trackers.run_name or _plain(os.environ.get(NAME, "")) or f"{params.package.name}-{key[:8]}"
    run = {"name": name, "project": params.trackers.project, "key": key} | run | {"params": params.deciding()}
    replace(folder / RUN, json.dumps(run))


def _plain(name: str) -> str:
    """Return the name of a driver's run as trackers take it: it may be a folder's."""
    return re.sub("[^A-Za-z0-9 ._-]+", "-", name).lstrip(" ._-")[:96]


def _teller(folder: Path, tool: Tracker) -> subprocess.Popen[bytes] | None:
    """Start the process that tells a tool; it speaks to the user by this stage's output, and ends with it."""
    command = [sys.executable, "-m", TELLER, str(folder), tool]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 (our own module, no shell)
    except OSError as error:
        _warn(f"{tool} cannot be told now: {error}")
        return None


def _await(tellers: Mapping[Tracker, subprocess.Popen[bytes] | None], until: float) -> None:
    """Have each tool be told what is left; end those that take too long."""
    started = {tool: teller for tool, teller in tellers.items() if teller is not None}
    for teller in started.values():
        if teller.stdin is not None:
            teller.stdin.close()
    for tool, teller in started.items():
        try:
            status = teller.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            teller.kill()
            teller.wait()
            _warn(f"{tool} takes too long")
        else:
            if status:
                _warn(f"{tool} could not be told: its process ended with status {status}")


def _warn(what: str) -> None:
    print(
        f"warning: {what}; what it has not heard, it hears when this model is trained or measured next",
        flush=True,
    )
