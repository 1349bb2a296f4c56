"""A process of a training on a node of a Ray cluster: what it does in a folder of its own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import problems
from tasks.shared import devices, progress
from tasks.shared.errors import InputError, MemoryFullError
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.ray_node import contents, prepare, scratch, write
from tasks.shared.role import leave, role
from tasks.shared.tracking import Journal, lines
from tasks.train import micro_batch
from tasks.train.checkpoints import COMPLETE

if TYPE_CHECKING:
    from transformers import TrainerCallback

# the base model and the training's checkpoints, in the process's folder
BASE, RESUME = Path("base"), Path("resume")
SAID, TOLD, MEASURED = Path("said.log"), Path("progress.jsonl"), Path("measured")
# what the stage writes in the end
OUTPUTS = (Path("models/checkpoint"), Path("plots/train"), Path("metrics"))
# seconds between looks at what is to be told
POLL = 0.5


def take_part(config: dict[str, Any]) -> None:
    """Do this process's part of the training (Ray Train calls it in each)."""
    import ray

    params, mailbox = Params.model_validate_json(config["params"]), config["mailbox"]
    mine = role()
    if mine.size == 1:
        _be_alone()
    with scratch(ray.get(config["inputs"][0])):
        try:
            prepare(params.problem)
            _checkout(mailbox)
            rows = micro_batch.known(params.train, RESUME).per_device_train_batch_size
            _train(params, config, is_first=mine.is_first)
        except MemoryFullError:
            # all begin again, with what the stage then offers
            ray.get(mailbox.deliver.remote({"about": "memory", "rows": rows}))
            raise
        except SystemExit:
            # asked to end, and the stage has the checkpoint
            if mine.is_first:
                ray.get(mailbox.deliver.remote({"about": "end"}))
        except InputError as error:
            ray.get(mailbox.deliver.remote({"about": "failure", "why": str(error)}))


def _be_alone() -> None:
    """Train as a process does that nobody has started beside others."""
    import torch.distributed

    torch.distributed.destroy_process_group()
    leave()


def _checkout(mailbox: Any) -> None:
    """Write down what the stage has to go on from."""
    import ray

    RESUME.mkdir()
    ray.get(mailbox.deliver.remote({"about": "beginning"}))
    (offered,) = ray.get(mailbox.offered.remote())
    for name, content in ray.get(offered).items():
        write(Path(name), content)


def _train(params: Params, config: dict[str, Any], *, is_first: bool) -> None:
    import ray

    from tasks.train import train

    mailbox = config["mailbox"]
    devices.use_threads(config["threads"])
    problem = problems.load(params.problem, params.own)
    callbacks, ends = [_sender(mailbox)] if is_first else [], threading.Event()
    with _heard(mailbox, ends, is_first=is_first, tells=config["tells"]) as journal:
        train(params.train, BASE, problem, Paths(), RESUME, journal, callbacks, ends, retries=False)
    if is_first:
        made: dict[str, bytes] = {}
        for folder in OUTPUTS:
            made |= contents(folder)
        ray.get(mailbox.deliver.remote({"about": "outputs", "files": [ray.put(made)]}))


def _sender(mailbox: Any) -> "TrainerCallback":
    """Return what sends each checkpoint to the stage; the first process has the files of all."""
    import ray
    from transformers import TrainerCallback

    class Send(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            """Say that from now on a checkpoint can be kept."""
            ray.get(mailbox.deliver.remote({"about": "training"}))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            """Wait until the stage has it: a kill from now on loses nothing before it."""
            found = contents(RESUME / f"checkpoint-{state.global_step}")
            # without the mark that it is whole, which the stage sets
            files = {name: content for name, content in found.items() if Path(name).name != COMPLETE}
            letter = {"about": "checkpoint", "step": state.global_step, "files": [ray.put(files)]}
            ray.get(mailbox.deliver.remote(letter))

    return Send()


@contextmanager
def _heard(mailbox: Any, ends: threading.Event, *, is_first: bool, tells: bool) -> Iterator[Journal]:
    """Yield a journal; meanwhile the stage hears of the first process what it says, does and measures.

    ends: is set when the stage is asked to end. tells: whether it wants to hear how far training is.
    """
    if not is_first:
        with SAID.open("w") as said, redirect_stdout(said):
            yield Journal(None)
        return
    MEASURED.mkdir()
    TOLD.touch()
    if tells:
        os.environ[progress.FILE] = str(TOLD.absolute())
    over = threading.Event()
    with SAID.open("w") as said, redirect_stdout(said):
        teller = threading.Thread(target=_tell, args=(mailbox, Path.cwd(), over, ends))
        teller.start()
        try:
            yield Journal(MEASURED)
        finally:
            said.flush()
            over.set()
            teller.join()
            os.environ.pop(progress.FILE, None)


def _tell(mailbox: Any, folder: Path, over: threading.Event, ends: threading.Event) -> None:
    """Tell the stage what is new in the files of what is said, done and measured; hear whether it ends."""
    import ray

    said_to = told_to = measured_to = 0
    is_last = False
    while not is_last:
        is_last = over.wait(POLL)
        said, said_to = _lines(folder / SAID, said_to)
        told, told_to = _lines(folder / TOLD, told_to)
        measured, measured_to = lines(folder / MEASURED, measured_to)
        if said or told or measured:
            news = {"about": "news", "said": said, "told": told, "measured": measured}
            ray.get(mailbox.deliver.remote(news))
        if ray.get(mailbox.is_asked_to_end.remote()):
            ends.set()


def _lines(file: Path, start: int) -> tuple[list[str], int]:
    """Return the whole lines of a file from a byte on, without empty ones, and where they end."""
    with file.open("rb") as read:
        read.seek(start)
        *whole, rest = read.read().split(b"\n")
        return [line.decode(errors="replace") for line in whole if line.strip()], read.tell() - len(rest)
