"""YAML that others have written, looked at before DVC reads it: its reader crashes on deep nesting."""

from pathlib import PurePath
from typing import Any

from dvc.utils import serialize
from dvc.utils.serialize import _yaml

from tasks.shared.yaml_limits import why_not


def refuse_deep(text: str, path: object) -> None:
    """Raise DVC's own error for a file that is nested too deeply or unfolds to too much.

    Neither may it hold aliases where no hand has written it.
    """
    if why_not(text, aliases=PurePath(str(path)).suffix in (".yaml", ".yml")):
        raise serialize.YAMLFileCorruptedError(path)


def _parse_yaml(text: str, path: object, typ: str = "safe", parse: Any = _yaml.parse_yaml) -> Any:
    refuse_deep(text, path)
    return parse(text, path, typ)


# all that DVC reads as YAML goes through here: dvc.yaml, dvc.lock, .dvc files, records of the run-cache
_yaml.parse_yaml = serialize.parse_yaml = _parse_yaml
