"""What several commands share: exit statuses, params as they are typed, and talking to the user."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import SkipValidation

from flows.ledger.sources import is_url, pattern_in
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, written_in

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

Flag = Annotated[bool, Parameter(negative=())]
ParamsFile = Annotated[Path | None, Parameter(name="--params")]
if TYPE_CHECKING:
    TypedParams = Mapping[str, Any] | None
else:
    # as they are typed: they are validated once, together with all that they are laid over
    TypedParams = Annotated[SkipValidation[Params | None], Parameter(name="*")]


def say(sentence: str, *_: object) -> None:
    """Tell the user what is going on, beside the output."""
    print(sentence, file=sys.stderr, flush=True)


def given(params_file: Path | None, typed: TypedParams, checkout: Path) -> list[Layer]:
    """Return what a command is to lay over params.yaml: a params file, and over that the command line."""
    layers = [written_in(params_file)] if params_file else []
    if typed:
        layers.append(Layer("command line", _from_here(typed, Path.cwd(), checkout)))
    return layers


def _from_here(typed: Mapping[str, Any], here: Path, checkout: Path) -> Mapping[str, Any]:
    """Read a relative data.path as the shell does: from the current folder, wherever in the repository."""
    data = typed.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    if path is None or is_url(path) or here == checkout or Path(path).is_absolute() or path.startswith("~"):
        return typed
    if not (here / path).exists() and pattern_in(path, here) is None:
        return typed
    return {**typed, "data": {**typed["data"], "path": os.path.relpath(here / path, checkout)}}
