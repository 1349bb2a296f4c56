"""What stood in the checkout before a run: kept until the run has succeeded, restored when it has not.

The journal is one file, replaced atomically, so that sudden death at any moment leaves enough to restore all.
It says
also what the run has written itself: what somebody else has changed meanwhile is left alone.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from tasks.shared.errors import InputError
from tasks.shared.files import read_json, replace
from tasks.shared.params_file import PARAMS, read

FILE = ".retrain/before.json"
LOCK = "dvc.lock"
RUN_LOCK = ".retrain/run.lock"
DEAD = "a run that died here"


@dataclass
class Journal:
    """What stood in a checkout, and what the run under way has written since.

    texts: params.yaml, dvc.lock and the stages' uncached outputs (metrics), by path; None where there was no
    file.
    outputs: the cached outputs that were there.
    ours: digests of what the run may have left in params.yaml and dvc.lock.
    is_mixed: another program wrote dvc.lock in between.
    """

    root: Path
    texts: dict[str, str | None]
    outputs: list[str]
    ours: dict[str, list[str]] = field(default_factory=dict)
    is_mixed: bool = False

    @classmethod
    def begin(cls, root: Path) -> Self:
        """Write down what stands in the checkout now."""
        uncached, cached = _outputs(root)
        texts = {name: _text(root / name) for name in (str(PARAMS), LOCK, *uncached)}
        ours = {name: [_digest(texts[name])] for name in (str(PARAMS), LOCK)}
        journal = cls(root, texts, [name for name in cached if (root / name).exists()], ours)
        journal.write()
        return journal

    @classmethod
    def of(cls, root: Path) -> Self | None:
        """Return the journal of the run that is under way in a checkout, or that died there; else None."""
        file = root / FILE
        if not file.exists():
            return None
        known = {each.name for each in fields(cls)}
        # an older retrain noted more
        return cls(root, **{name: value for name, value in read_json(file).items() if name in known})

    def write(self) -> None:
        """Write the journal down."""
        (self.root / FILE).parent.mkdir(exist_ok=True)
        values = {name: value for name, value in asdict(self).items() if name != "root"}
        replace(self.root / FILE, json.dumps(values))

    def is_ours(self, name: str) -> bool:
        """Return whether params.yaml or dvc.lock is as it stood before, or as the run has written it."""
        if name == LOCK and self.is_mixed:
            return False
        return _digest(_text(self.root / name)) in self.ours[name]

    def restore(self) -> list[str]:
        """Have all files say again what they said; return those that said something else."""
        undone = []
        for name, text in self.texts.items():
            file = self.root / name
            if _text(file) == text:
                continue
            undone.append(name)
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f".{file.name}.part")
                part.write_bytes(text.encode("utf-8", "surrogateescape"))
                part.replace(file)
        return undone


def discard(root: Path) -> None:
    """Forget what stood in a checkout: what stands there now is to stay."""
    (root / FILE).unlink(missing_ok=True)


def will_write(root: Path, name: str, text: str) -> None:
    """Note what the run that is under way in a checkout, if any, is about to write."""
    if journal := Journal.of(root):
        journal.ours[name].append(_digest(text))
        journal.write()


@contextmanager
def replacing_lock(root: Path) -> Iterator[Path]:
    """Yield a copy of dvc.lock for DVC to change, which takes its place afterwards in one step."""
    lock, aside = root / LOCK, root / ".retrain" / LOCK
    aside.parent.mkdir(exist_ok=True)
    aside.write_bytes(lock.read_bytes() if lock.exists() else b"")
    yield aside
    write_lock(root, aside.read_text("utf-8"))
    aside.unlink()


def write_lock(root: Path, text: str) -> None:
    """Replace dvc.lock in one step, noted by the run under way, if any: DVC would truncate it in place.

    A kill leaves the old one or the new one, both known; whatever else stands there later is somebody else's.
    """
    if journal := Journal.of(root):
        journal.is_mixed = journal.is_mixed or not journal.is_ours(LOCK)
        journal.ours[LOCK].append(_digest(text))
        journal.write()
    replace(root / LOCK, text)


def _text(file: Path) -> str | None:
    """Return what a file holds, to the byte; None when there is no such file."""
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.is_file() else None


def _digest(text: str | None) -> str:
    return "none" if text is None else hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _outputs(root: Path) -> tuple[list[str], list[str]]:
    """Return the stages' outputs that Git keeps, and those that DVC's cache keeps.

    What is not as dvc.yaml has it is passed over: DVC refuses it, and says why.
    """
    stages: Any = None
    with suppress(InputError):
        stages = read(root / "dvc.yaml").get("stages")
    uncached: list[str] = []
    cached: list[str] = []
    for stage in stages.values() if isinstance(stages, dict) else ():
        for name, options in _declared(stage):
            is_cached = not isinstance(options, dict) or options.get("cache", True)
            (cached if is_cached else uncached).append(name)
    return uncached, cached


def _declared(stage: Any) -> Iterator[tuple[str, Any]]:
    """Yield the outputs of a stage in dvc.yaml, and their options."""
    for kind in ("outs", "metrics", "plots"):
        outputs = stage.get(kind) if isinstance(stage, dict) else None
        for output in outputs if isinstance(outputs, list) else ():
            for name in output if isinstance(output, dict) else (output,):
                yield str(name), output[name] if isinstance(output, dict) else None
