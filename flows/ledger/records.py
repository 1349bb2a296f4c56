"""The records of the run-cache: which outputs a stage has made from which inputs. Each is named after the hash of what it says."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dvcfile import LOCK_FILE
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import ParseError, dump_yaml, load_yaml
from voluptuous import Invalid


@dataclass
class Record:
    """A file of the run-cache under the key of a stage, and what dvc.lock holds for that stage."""

    stage: str
    path: Path
    recorded: Mapping[str, Any]

    def __str__(self) -> str:
        return f"stage {self.stage}: its record in the run-cache"

    def is_whole(self) -> bool:
        """Return whether it can be read and says what it is named after."""
        entry = self._read()
        return bool(entry) and _names(entry) == (self.path.parent.name, self.path.name)

    def outputs(self) -> dict[str, str]:
        """Return the hashes of the outputs that would be restored from it, by their paths; nothing when it cannot be read."""
        return {output["path"]: output["md5"] for output in self._read().get("outs", ()) if "md5" in output}

    def _read(self) -> dict[str, Any]:
        try:
            return dict(COMPILED_LOCK_FILE_STAGE_SCHEMA(load_yaml(str(self.path))))
        except (ParseError, Invalid, OSError, UnicodeDecodeError):
            return {}

    def mend(self) -> str:
        """Write it again from dvc.lock when that holds the same, else remove it; return which."""
        self.path.unlink()
        if self.path.name != _names(self.recorded)[1]:
            return "removed, so that nothing is restored from it"
        part = self.path.with_name(f".{self.path.name}.part")
        dump_yaml(str(part), self.recorded)
        part.replace(self.path)
        return "written again from dvc.lock"


def records(repo: Repo) -> Iterator[Record]:
    """Yield the records of the run-cache for the stages that dvc.lock names."""
    lock = repo.fs.join(repo.root_dir, LOCK_FILE)
    if not repo.fs.exists(lock):
        return
    for name, recorded in load_yaml(lock, fs=repo.fs).get("stages", {}).items():
        if not recorded.get("outs"):
            continue
        key, _ = _names(recorded)
        folder = Path(repo.stage_cache.cache_dir, key[:2], key)
        for path in sorted(folder.glob("[0-9a-f]*")):
            yield Record(name, path, recorded)


def _names(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the folder (key) and file name that DVC gives a record."""
    return _get_cache_hash(copy.deepcopy(dict(entry)), key=True), _get_cache_hash(entry)
