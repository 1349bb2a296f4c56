"""A training whose processes Ray Train starts on the nodes of a cluster, which share no disk and may die.

Each process trains in a folder of its own that holds the stage's inputs (tasks/train/ray/process.py). What
the first one has there comes back to the stage through a mailbox: checkpoints, which the stage keeps where a
training without Ray keeps its own; progress; what trackers are told; in the end the outputs. There the first
one also hears that the stage is asked to end. When a node dies, Ray Train starts all processes again, and
they go on from the last checkpoint that the stage has.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.shared import base_models, progress
from tasks.shared.costs import COURSE
from tasks.shared.errors import InputError
from tasks.shared.params import Params, Train
from tasks.shared.paths import Paths
from tasks.shared.ray_engine import LOOK, Ray
from tasks.shared.ray_node import contents, write
from tasks.shared.tracking import Journal
from tasks.train import checkpoints, micro_batch
from tasks.train.ray import process
from tasks.train.ray.mailbox import Letter, Mailbox

# how often the processes are started again: a training that kills its nodes ends
RESTARTS = 8
ASKED_TO_END = 128 + signal.SIGTERM
# characters of what a failure says
WHY = 1000


def run(params: Params, engine: Ray, processes: int, threads: int, resume: Path, journal: Journal) -> None:
    """Train with so many processes on the cluster, and write what the stage writes.

    threads: of PyTorch in each process. resume: the folder of this training's own checkpoints.
    Raises InputError as training does, and when its nodes are lost again and again.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    engine.refuse_too_few(threads, processes, on_device=True)
    COURSE.is_rest = checkpoints.last_whole(resume) is not None
    stage = Stage(params.train, Mailbox.beside_the_stage(), resume, journal)
    config = {
        "params": params.model_dump_json(),
        "threads": threads,
        "mailbox": stage.mailbox,
        "inputs": [ray.put(_inputs(params))],
        "tells": progress.FILE in os.environ,
    }
    scaling = ScalingConfig(
        num_workers=processes,
        use_gpu=engine.use_gpu,
        resources_per_worker={"CPU": threads, "GPU": int(engine.use_gpu)},
        placement_strategy="SPREAD",
    )
    # of Ray Train's own notes: no checkpoint is reported to it
    with TemporaryDirectory(prefix="retrain-") as notes:
        trainer = TorchTrainer(
            process.take_part,
            train_loop_config=config,
            torch_config=TorchConfig(backend="nccl" if engine.use_gpu else "gloo"),
            scaling_config=scaling,
            run_config=RunConfig(storage_path=notes, failure_config=FailureConfig(max_failures=RESTARTS)),
        )
        stage.follow(trainer, partial(engine.say_waiting, threads, processes, on_device=True))


def _inputs(params: Params) -> dict[str, bytes]:
    """Return the files that a process trains from, by where it finds them."""
    paths = Paths()
    files = contents(base_models.fetch(params.model), process.BASE)
    for folder in (paths.tokens, paths.splits, paths.media):
        files |= contents(folder)
    return files


class Stage:
    """The stage's end of the mailbox."""

    def __init__(self, params: Train, mailbox: Any, resume: Path, journal: Journal) -> None:
        self.params, self.mailbox, self.resume, self.journal = params, mailbox, resume, journal
        self.has_outputs = self.is_offered = False
        self.is_training = self.is_asked_to_end = False
        # step of the best checkpoint until now
        self.best: int | None = None

    def _offer(self) -> None:
        """Have processes that begin go on from what is whole here."""
        import ray

        if self.is_offered:
            return
        last = checkpoints.last_whole(self.resume)
        self.best = None if last is None else checkpoints.best_step(last)
        files = contents(self.resume, process.RESUME)
        ray.get(self.mailbox.offer.remote([ray.put(files)]))
        self.is_offered = True

    def follow(self, trainer: Any, look: Callable[[], None]) -> None:
        """Start the processes and deal with what they tell until they are over, or raise InputError.

        look: is called again and again meanwhile.
        """
        ended: list[BaseException | None] = []

        def fit() -> None:
            try:
                trainer.fit()
            except BaseException as error:  # noqa: BLE001 (raised below, by who waits for it)
                ended.append(error)
            else:
                ended.append(None)

        signal.signal(signal.SIGTERM, self._ask_to_end)
        threading.Thread(target=fit, daemon=True).start()
        looked = time.monotonic()
        while not ended:
            self._read_letters()
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                look()
        self._read_letters()
        if ended[0] is not None:
            raise failed(ended[0]) from ended[0]
        if not self.has_outputs:
            raise InputError("engine.name ray: training ended on the cluster without a model; run it again")

    def _ask_to_end(self, *_: Any) -> None:
        """Have the processes keep a checkpoint and end; end at once where none trains, or asked again."""
        if self.is_asked_to_end or not self.is_training:
            sys.exit(ASKED_TO_END)
        self.is_asked_to_end = True
        progress.keeping()

    def _read_letters(self) -> None:
        import ray

        try:
            for letter in ray.get(self.mailbox.take.remote(ends=self.is_asked_to_end)):
                # of a process that is gone meanwhile: what it did is done again
                with suppress(ray.exceptions.OwnerDiedError):
                    self._deal_with(letter, ray.get(letter["files"][0]) if "files" in letter else {})
        except ray.exceptions.RayError as error:
            why = " ".join(str(error).split())[:WHY]
            again = "run the same command again, which goes on from the last checkpoint"
            raise InputError(f"engine.name ray: what processes told was lost ({why}); {again}") from error

    def _deal_with(self, letter: Letter, files: Mapping[str, bytes]) -> None:
        match letter["about"]:
            case "beginning":
                self._offer()
            case "training":
                self.is_training = True
            case "news":
                self._tell(letter)
            case "checkpoint":
                self._keep(letter["step"], files)
            case "memory":
                self._take_fewer(letter["rows"])
            case "end":
                sys.exit(ASKED_TO_END)
            case "outputs":
                for name, content in files.items():
                    write(Path(name), content)
                self.has_outputs = True
            case "failure":
                raise InputError(letter["why"])

    def _tell(self, news: Letter) -> None:
        """Say what a process has said, and pass on how far it is and what it has measured."""
        print(*news["said"], sep="\n", end="\n" if news["said"] else "", flush=True)
        progress.pass_on(news["told"])
        for line in news["measured"]:
            self.journal.scores(line["step"], line["scores"])

    def _take_fewer(self, rows: int) -> None:
        """Write down that so many rows at once are too many; each process for which they are says so."""
        wanted = micro_batch.known(self.params, self.resume)
        if wanted.per_device_train_batch_size == rows:
            micro_batch.smaller(wanted, self.resume)
            self.is_offered = False

    def _keep(self, step: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint, and deal with it as a training here does."""
        folder = self.resume / f"checkpoint-{step}"
        if folder.is_dir():
            checkpoints.unmark(folder)
        for name, content in files.items():
            write(self.resume / Path(name).relative_to(process.RESUME), content)
        self.best = checkpoints.settle(folder, self.best)
        self.is_offered = False


def failed(error: BaseException) -> InputError:
    """Return why a training has ended on a cluster: all its starts, or one error that no start mends."""
    from ray.train import WorkerGroupError

    why = " ".join(str(error).split())[:WHY] or type(error).__name__
    if isinstance(error, WorkerGroupError):
        return InputError(
            f"engine.name ray: training failed {RESTARTS + 1} times on the cluster, last because {why}"
        )
    again = "run the same command again, which goes on from the last checkpoint"
    return InputError(f"engine.name ray: training failed on the cluster ({why}); {again}")
