"""What a revision recorded, beside what its stages make now."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.output import Output
from dvc_data.hashfile.hash import file_md5

from flows.ledger.listings import listed
from flows.ledger.source_files import differing, is_source
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError


@dataclass(frozen=True)
class Compared:
    """An output of a stage: its hash in dvc.lock, its hash as computed now, and the files that differ."""

    path: str
    recorded: str | None
    computed: str | None
    differing: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every bit is as recorded."""
        return self.recorded is not None and self.recorded == self.computed


@dataclass(frozen=True)
class WrongData:
    """Why the data that stages read is not what dvc.lock recorded; where it is missing, they cannot run."""

    # else it is damaged
    is_missing: bool
    why: str

    def __str__(self) -> str:
        return f"data {'missing' if self.is_missing else 'damaged'}: {self.why}"


def checkout_data(ledger: Ledger) -> WrongData | None:
    """Check out the data that no stage makes; return why it is not what dvc.lock recorded, None when it is.

    Files are hashed byte by byte: DVC would believe its own notes of what they held.
    """
    for dependency in _from_outside(ledger):
        try:
            ledger.checkout_missing([dependency.def_path])
        except InputError as error:
            return WrongData(is_missing=True, why=str(error))
        path = Path(dependency.fs_path)
        if not path.exists():
            why = f"{dependency.def_path} is neither in Git nor in the DVC cache"
            return WrongData(is_missing=True, why=why)
        found = _listing(dependency) if path.is_dir() else {"": file_md5(str(path), dependency.fs)}
        recorded = _recorded(dependency)
        if not recorded and dependency.get_hash() == dependency.hash_info:
            # a folder that Git keeps has no listing in the cache
            continue
        if changed := _differing(found, recorded):
            place = f"{dependency.def_path}{'/' if changed[0] else ''}{changed[0]}"
            return WrongData(is_missing=False, why=f"{place} is not what dvc.lock recorded")
    return None


def _from_outside(ledger: Ledger) -> Iterator[Output]:
    """Yield the data that stages read and none of them makes."""
    outs = chain.from_iterable(stage.outs for stage in ledger.stages.values())
    made = {output.fs_path for output in outs}
    for stage in ledger.stages.values():
        for dependency in stage.deps:
            is_data = not isinstance(dependency, ParamsDependency) and not is_source(dependency)
            if is_data and dependency.fs_path not in made and dependency.hash_info:
                yield dependency


def changed_key(ledger: Ledger, name: str) -> list[str]:
    """Return what of a stage's key, its inputs apart, is not as recorded: modules, params, pins."""
    found: list[str] = []
    for dependency in ledger.stages[name].deps:
        is_code = is_source(dependency)
        status = dependency.status() if isinstance(dependency, ParamsDependency) or is_code else {}
        if is_code and status and (files := differing(ledger, dependency)):
            found += files
            continue
        for what, how in status.items():
            found += [f"{what}: {key}" for key in how] if isinstance(how, dict) else [str(what)]
    return found


def clear(ledger: Ledger, name: str) -> None:
    """Remove a stage's outputs, so that what is there afterwards is what it has made."""
    with ledger.repo.lock:
        ledger.stages[name].remove_outs(ignore_remove=False, force=False)


def compare(ledger: Ledger, name: str) -> list[Compared]:
    """Hash the outputs that a stage has just made and lay them beside those in dvc.lock."""
    compared = []
    for output in ledger.stages[name].outs:
        recorded = output.hash_info.value if output.hash_info else None
        if not output.exists:
            compared.append(Compared(output.def_path, recorded, None, ()))
            continue
        computed = output.get_hash().value
        files: tuple[str, ...] = ()
        if computed != recorded and output.isdir():
            files = tuple(_differing(_listing(output), _recorded(output)))
        compared.append(Compared(output.def_path, recorded, computed, files))
    return compared


def _listing(output: Output) -> dict[str, str]:
    """Return the MD5 of every file below a folder by its path, read from the files themselves."""
    root = Path(output.fs_path)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): file_md5(str(path), output.fs) for path in files}


def _differing(now: dict[str, str], then: dict[str, str]) -> list[str]:
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def _recorded(output: Output) -> dict[str, str]:
    """Return the MD5 of every file as recorded; empty where the cache no longer holds a folder's listing."""
    if not output.hash_info or not output.hash_info.isdir:
        return {"": output.hash_info.value} if output.hash_info else {}
    return listed(output.cache, output.hash_info.value) or {}
