"""YAML that others have written, looked at before DVC reads it: what it reads it with crashes on what is nested too deeply."""

from pathlib import PurePath
from typing import Any

import yaml
from dvc.utils import serialize
from dvc.utils.serialize import _yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

DEEPEST = 50  # levels: far more than any params have


def refuse_deep(text: str, path: object) -> None:
    """Raise DVC's own error for a file that is nested too deeply, or holds aliases though no hand has written it.

    Of a few aliases of aliases, whoever walks through them makes millions of values.
    """
    may_have_aliases = PurePath(str(path)).suffix in (".yaml", ".yml")
    depth = 0
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > DEEPEST or (isinstance(event, AliasEvent) and not may_have_aliases):
                raise serialize.YAMLFileCorruptedError(path)
    except yaml.YAMLError:
        # DVC says what is wrong
        return


def _parse_yaml(text: str, path: object, typ: str = "safe", parse: Any = _yaml.parse_yaml) -> Any:
    refuse_deep(text, path)
    return parse(text, path, typ)


# all that DVC reads as YAML goes through here: dvc.yaml, dvc.lock, .dvc files, records of the run-cache
_yaml.parse_yaml = serialize.parse_yaml = _parse_yaml
