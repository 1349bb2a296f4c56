"""Data from outside, brought into data/raw under DVC."""

from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.ledger.stages import Ledger, sentence
from tasks.errors import InputError


def bring_in(ledger: Ledger, source: str, name: str) -> bool:
    """Import `source` (file, folder or URL) to data/raw/`name` under DVC, or update it when it came from there before.

    Returns whether the content is new. Raises InputError when data/raw/`name` is something else.
    """
    try:
        record = imported(ledger, source, name)
        if record is not None:
            before = record.read_text("utf-8")
            ledger.repo.update([str(record)])
            return record.read_text("utf-8") != before
        ledger.repo.imp_url(source if "://" in source else str(Path(source).resolve()), out=str(Path(ledger.repo.root_dir, "data/raw", name)))
    except DvcException as error:
        raise InputError(f"cannot bring in {source}: {sentence(error)}") from None
    return True


def imported(ledger: Ledger, source: str, name: str) -> Path | None:
    """The .dvc file of data/raw/`name` if it came from `source` before, None if there is none; raise InputError if something else is there."""
    target = Path(ledger.repo.root_dir, "data/raw", name)
    record = target.with_name(target.name + ".dvc")
    url = source if "://" in source else str(Path(source).resolve())
    if record.exists():
        (stage,) = ledger.repo.stage.load_all(str(record))
        known = stage.deps[0].def_path if stage.is_import else "dvc add"
        if known != url and (target.parent / known).resolve() != Path(url):
            raise InputError(f"data/raw/{name} comes from {known} already; choose another name: retrain add {source} NAME")
        return record
    if target.exists():
        raise InputError(f"data/raw/{name} exists already; choose another name: retrain add {source} NAME")
    return None


def refuse_changed_data(home: Path, path: str) -> None:
    """Raise InputError when the data at `path` has changed since DVC recorded it: a worktree would not see that."""
    with Repo(str(home)) as repo:
        for stage in repo.index.stages:
            for output in stage.outs if stage.is_data_source else ():
                if (home / path).is_relative_to(output.fs_path) and output.exists and output.changed_checksum():
                    raise InputError(f"{output} has changed since DVC recorded it; `dvc add {output}` records it as it is now")
