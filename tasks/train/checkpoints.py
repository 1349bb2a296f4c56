"""The checkpoints of a training: which are whole, by the checksums in them, and which is last, by its step.

No clock is asked: one that was set back would make the newest the oldest. The checksums find damage (a torn
write, a bit that flipped, a file that was lost), not malice: whoever can write here can write checksums as
well. That no code runs even then is the Trainer's doing, which loads optimizer, schedule and random states
with `weights_only`.
"""

import os
import re
import shutil
from pathlib import Path

from tasks.shared.files import digests, read_json, replace

# written last into a checkpoint: the checksum of each of its files, so its existence proves the rest
COMPLETE = "complete"
STATE = "trainer_state.json"
# how the names begin of what each of several processes alone holds
SHARD = "shard-"
NAME = re.compile(r"checkpoint-(0|[1-9][0-9]{0,17})")
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def by_step(folder: Path) -> dict[int, Path]:
    """Return what stands where the Trainer keeps its checkpoints, by step; nothing else that is there."""
    found = {}
    for path in folder.iterdir():
        name = NAME.fullmatch(path.name)
        if name:
            found[int(name[1])] = path
    return found


def mark(checkpoint: Path) -> None:
    """Make a checkpoint count: all of it on the disk, then its checksums."""
    for path in checkpoint.rglob("*"):
        _sync(path)
    replace(checkpoint / COMPLETE, _manifest(checkpoint))
    _sync(checkpoint)
    _sync(checkpoint.parent)


def settle(checkpoint: Path, before: int | None) -> int | None:
    """Make a checkpoint count, and only then delete what it makes needless; return the best step so far.

    before: the best step before it, to fall back on where this one is the best itself.
    """
    mark(checkpoint)
    step, best = int(checkpoint.name.removeprefix("checkpoint-")), best_step(checkpoint)
    rotate(checkpoint.parent, step, before if best == step else best)
    return best


def best_step(checkpoint: Path) -> int | None:
    """Return the step that was best on validation until a checkpoint; None before the first evaluation."""
    best: int | None = read_json(checkpoint / STATE).get("best_global_step")
    return best


def unmark(checkpoint: Path) -> None:
    """Have a checkpoint no longer count, because it is about to change or to go."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)


def damage(checkpoint: Path) -> str | None:
    """Return why a checkpoint is not what was saved; None when it is whole."""
    if checkpoint.is_symlink() or not (checkpoint / COMPLETE).is_file():
        return "it was not saved to its end"
    try:
        manifest = (checkpoint / COMPLETE).read_text("utf-8")
        is_whole = manifest == _manifest(checkpoint)
        return None if is_whole else _difference(manifest, _files(checkpoint))
    except UnicodeDecodeError:
        return f"{COMPLETE}, its list of checksums, is damaged"
    except OSError as error:
        return f"{Path(error.filename or checkpoint).name} cannot be read ({error.strerror})"


def last_whole(folder: Path) -> Path | None:
    """Return the last checkpoint that is whole, as is the best one so far, which training keeps in the end.

    Later ones are deleted, and it is said why: the training that goes on makes them again.
    """
    if not folder.is_dir():
        return None
    standing = by_step(folder)
    for step in sorted(standing, reverse=True):
        why = _unusable(standing[step])
        if why is None:
            return standing[step]
        print(f"{standing[step].name} is passed over: {why}", flush=True)
        remove(standing[step])
    if standing:
        print("no checkpoint is whole, so training starts anew", flush=True)
    return None


def rotate(folder: Path, last: int, fallback: int | None) -> None:
    """Delete all checkpoints but the last and the one to fall back on; else the one before it."""
    standing = by_step(folder)
    if fallback not in standing:
        whole = [step for step, path in standing.items() if step < last and (path / COMPLETE).is_file()]
        fallback = max(whole, default=None)
    for step in standing.keys() - {last, fallback}:
        remove(standing[step])


def is_finished(checkpoint: Path) -> bool:
    """Return whether training had ended at this checkpoint: all steps done, or stopped early.

    The Trainer would train one more step after restoring an early stop.
    """
    state = read_json(checkpoint / STATE)
    control = state["stateful_callbacks"]["TrainerControl"]["args"]
    return bool(state["global_step"] >= state["max_steps"] or control["should_training_stop"])


def _unusable(checkpoint: Path) -> str | None:
    """Return why training cannot go on from a checkpoint; None when it can."""
    from tasks.train import divergence

    why = damage(checkpoint)
    if why is not None:
        return why
    if not divergence.are_weights_finite(checkpoint):
        return "its weights hold NaN or infinity"
    step = best_step(checkpoint)
    best = checkpoint if step is None else checkpoint.with_name(f"checkpoint-{step}")
    why = None if best == checkpoint else damage(best)
    return None if why is None else f"of the best one so far, {best.name}, {why}"


def _manifest(checkpoint: Path) -> str:
    """Return the checksums as `sha256sum` writes them."""
    return "".join(f"{digest}  {name}\n" for name, digest in _files(checkpoint).items())


def _files(checkpoint: Path) -> dict[str, str]:
    """Return the checksum of each file of a checkpoint."""
    return {name: digest for name, digest in digests(checkpoint).items() if name != COMPLETE}


def _difference(manifest: str, found: dict[str, str]) -> str:
    """Say where a checkpoint first departs from its manifest."""
    if not manifest:
        return f"{COMPLETE} is empty, as earlier versions left it, so nothing proves the rest"
    lines = [LINE.fullmatch(line) for line in manifest.splitlines()]
    saved = {line[2]: line[1] for line in lines if line}
    for name in sorted(saved.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in saved:
            return f"{name} is not in {COMPLETE}, its list of checksums"
        if saved[name] != found[name]:
            return f"{name} is not what was saved"
    return f"{COMPLETE}, its list of checksums, is damaged"


def remove(path: Path) -> None:
    """Delete a checkpoint, or what stands in its place; killed half-way, what is left does not count."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    unmark(path)
    shutil.rmtree(path)


def _sync(path: Path) -> None:
    """Wait until a file or a folder's list of files is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
