"""What several commands share: exit statuses, params as they are typed, and talking to the user."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import SkipValidation

from flows.ledger.sources import is_url, pattern_in
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, Layer, parsed, replacing, written_in

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

Flag = Annotated[bool, Parameter(negative=())]
AsJson = Annotated[bool, Parameter(name="--json", negative=())]
FromRevision = Annotated[str | None, Parameter(name="--from")]
ParamsFile = Annotated[Path | None, Parameter(name="--params")]
if TYPE_CHECKING:
    TypedParams = Mapping[str, Any] | None
else:
    # as they are typed: they are validated once, together with all that they are laid over
    TypedParams = Annotated[SkipValidation[Params | None], Parameter(name="*")]


def say(sentence: str, *_: object) -> None:
    """Tell the user what is going on, beside the output; what goes on does so where nobody hears it."""
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


@contextmanager
def usable(option: str, wanted: str) -> Iterator[None]:
    """Raise InputError when the path that is given with an option is another thing than is wanted."""
    try:
        yield
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{option}: {error.filename}: {error.strerror}; give {wanted}") from None


def given(
    from_revision: str | None, params_file: Path | None, typed: TypedParams, checkout: Path
) -> list[Layer]:
    """Return what a command is to lay over params.yaml.

    All that stands in the params.yaml of a revision, over that a params file, over that the command line.
    """
    layers = [_at_revision(from_revision, checkout)] if from_revision else []
    if params_file:
        with usable("--params", "a file that you may read"):
            layers.append(written_in(params_file))
    if typed:
        layers.append(Layer("command line", _from_here(typed, Path.cwd(), checkout)))
    return layers


def _at_revision(revision: str, checkout: Path) -> Layer:
    """Return what makes the checkout's params those of a commit, branch, tag or experiment."""
    from flows.git.commands import git
    from flows.ledger.experiments import commit_named

    commit, where = commit_named(checkout, revision), f"{PARAMS} of {revision}"
    # the checkout may be a folder of a larger repository
    text = git(checkout, "show", f"{commit}:./{PARAMS}")
    return replacing(written_in(checkout / PARAMS), Layer(where, parsed(text, where)))


def _from_here(typed: Mapping[str, Any], here: Path, checkout: Path) -> Mapping[str, Any]:
    """Read a relative data.path as the shell does: from the current folder, wherever in the repository."""
    data = typed.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    if path is None or is_url(path) or here == checkout or Path(path).is_absolute() or path.startswith("~"):
        return typed
    if not (here / path).exists() and pattern_in(path, here) is None:
        return typed
    return {**typed, "data": {**typed["data"], "path": os.path.relpath(here / path, checkout)}}
