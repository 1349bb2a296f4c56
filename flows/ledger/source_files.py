"""Which files of a folder of source differ from those that a stage's outputs were made with.

DVC records one hash for a whole folder. What each file was stands in the provenance of the package that was made from the same folder.
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
    """Return the old and the new SHA-256 of each file of a folder that is not as recorded (None: there was, or is, none).

    Empty when no package tells what was recorded.
    """
    then = _recorded(ledger, dependency)
    if then is None:
        return {}
    root, folder = Path(ledger.repo.root_dir), Path(dependency.fs_path)
    now = {path.relative_to(root).as_posix(): digest for path, digest in keys.digest_sources(folder).items()}
    names = sorted(now.keys() | then.keys())
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _recorded(ledger: Ledger, dependency: Output) -> dict[str, str] | None:
    """Return the files of a source folder as they were when its hash was recorded, by the package made from just these; else None."""
    package = ledger.stages.get("package")
    if package is None or not dependency.hash_info:
        return None
    same = [other for other in package.deps if other.def_path == dependency.def_path and other.hash_info == dependency.hash_info]
    made = [output for output in package.outs if output.def_path == PACKAGE and output.hash_info]
    file = file_in(ledger.repo.cache.local, made[0].hash_info.value, "provenance.json") if same and made else None
    try:
        sources = read_json(file)["sources"] if file else None
    except (InputError, KeyError, TypeError):
        return None
    if not isinstance(sources, dict):
        return None
    return {str(name): str(digest) for name, digest in sources.items() if str(name).startswith(f"{dependency.def_path}/")}
