"""Which files of a folder of source differ from those that a stage's outputs were made with.

DVC records one hash for a whole folder. What each file was stands in the provenance of the package that was
made from the same folder.
"""

from pathlib import Path

from dvc.output import Output

from flows.ledger.listings import file_in
from flows.ledger.stages import Ledger
from tasks.shared import keys
from tasks.shared.errors import InputError
from tasks.shared.files import read_json

PACKAGE = "models/package"


def is_source(dependency: Output) -> bool:
    """Return whether a dependency is code of the project, not data."""
    return str(dependency.def_path).startswith("tasks/")


def differing(ledger: Ledger, dependency: Output) -> dict[str, tuple[str | None, str | None]]:
    """Return the old and the new SHA-256 of each file of a folder that is not as recorded.

    None: there was, or is, no such file. Empty when no package tells what was recorded.
    """
    then = _recorded(ledger, dependency)
    if then is None:
        return {}
    root, folder = Path(ledger.repo.root_dir), Path(dependency.fs_path)
    now = {path.relative_to(root).as_posix(): digest for path, digest in keys.digest_sources(folder).items()}
    names = sorted(now.keys() | then.keys())
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _recorded(ledger: Ledger, dependency: Output) -> dict[str, str] | None:
    """Return the SHA-256 of the files of a source folder as they were when its hash was recorded.

    They stand in the package that was made from just these; None when there is none, or it does not say.
    """
    package = ledger.stages.get("package")
    if package is None or not dependency.hash_info:
        return None
    read = {other.def_path: other.hash_info for other in package.deps}
    made = [output for output in package.outs if output.def_path == PACKAGE and output.hash_info]
    if not made or read.get(dependency.def_path) != dependency.hash_info:
        return None
    file = file_in(ledger.repo.cache.local, made[0].hash_info.value, "provenance.json")
    try:
        sources = dict(read_json(file)["sources"]) if file else {}
    except (InputError, KeyError, TypeError, ValueError):
        return None
    inside = f"{dependency.def_path}/"
    return {name: str(digest) for name, digest in sources.items() if str(name).startswith(inside)} or None
