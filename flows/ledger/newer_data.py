"""Whether the data that a run has read is still what there is, by the hash in its dvc.lock."""

from dataclasses import dataclass
from pathlib import Path

from dvc.dependency import Dependency
from dvc.exceptions import DvcException
from dvc_data.hashfile.meta import Meta
from rich.filesize import decimal

from flows.ledger.history import Record
from flows.ledger.stages import Ledger, sentence
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.params_file import PARAMS, load


@dataclass(frozen=True)
class Freshness:
    """The data of a run beside what there is now.

    where: its path, or the source that it was imported from. is_newer: None where that cannot be told.
    """

    where: str
    is_newer: bool | None
    sentence: str


def freshness(checkout: Path, record: Record) -> Freshness:
    """Compare the data that a run has read with what lies at its path now, or at the local source of that.

    A source elsewhere is not asked: `watch` does that. What cannot be looked at is a sentence.
    """
    _, path = record.source
    deps = record.stages.get("ingest", {}).get("deps", ())
    then = next((dep for dep in deps if dep["path"] == path), None)
    if then is None:
        return Freshness(str(path), None, "its dvc.lock does not say what data it has read")
    try:
        with disk_in_words():
            where, digest, meta = _now(checkout, str(path))
    except (InputError, DvcException, OSError) as error:
        return Freshness(str(path), None, f"{path} cannot be looked at: {sentence(error)}")
    if digest == then.get("md5"):
        return Freshness(where, is_newer=False, sentence=f"{where} is what it was trained on")
    sizes = f"{_size(then.get('size'), then.get('nfiles'))} then, {_size(meta.size, meta.nfiles)} now"
    return Freshness(where, is_newer=True, sentence=f"{where} has changed since it was trained on: {sizes}")


def _now(checkout: Path, path: str) -> tuple[str, str, Meta]:
    """Return what a run on `path` would take in now: what people call it, its hash and its size."""
    ledger = Ledger(checkout)
    for stage in ledger.all_stages():
        if not stage.is_data_source or Path(stage.outs[0].fs_path) != checkout / path:
            continue
        if stage.is_import and stage.deps[0].fs.protocol == "local":
            return _read(stage.deps[0].fs_path, stage.deps[0])
        if not (out := stage.outs[0]).exists:
            # a run checks out what is recorded
            return path, str(out.hash_info.value), out.meta
    # a commit of others may name any path of this machine
    if path != load(checkout / PARAMS).data.path:
        raise InputError("params.yaml names other data now")
    return _read(path, Dependency(None, str(checkout / path), repo=ledger.repo))


def _read(where: str, data: Dependency) -> tuple[str, str, Meta]:
    return where, str(data.get_hash().value), data.get_meta()


def _size(size: int | None, files: int | None) -> str:
    """Return bytes in words, and in how many files they are where it is a folder."""
    inside = f" in {files} files" if files else ""
    return "unknown" if size is None else f"{decimal(size)}{inside}"
