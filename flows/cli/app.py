"""The `retrain` command. It decides whether there is anything to do before it imports Prefect."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnknownOptionError
from pydantic import ValidationError

from flows.cli import commands
from flows.cli.broken_pipe import ends_when_unread
from flows.cli.commands import FAILED, OK, say
from flows.cli.options import OF_PARAMS, unknown, written_out
from flows.cli.signals import ends_in_order
from flows.ledger.sources import is_url, pattern_in
from flows.server import temporary
from flows.server.configured import Configured, configured
from flows.server.connection import password_apart, past_proxies
from tasks.shared.errors import DiskError, InputError, disk_in_words, full
from tasks.shared.params import NONE, Params
from tasks.shared.params_file import PARAMS, explain, given, lay_over, load, over, read

if TYPE_CHECKING:
    from flows.engine.workspace import Workspace

WRONG_INPUT, INTERRUPTED = 2, 130
# how Prefect logs what the command says itself
SAID_HERE = ("Crash detected!", "Finished in state Crashed(", "Finished in state Failed(")
EPILOGUE = (
    f"Exit status: {OK} done, {FAILED} a stage failed (`retrain plan --exit-code`: would run), {WRONG_INPUT} wrong input, {INTERRUPTED} interrupted."
)

app = App(
    name="retrain",
    help="Keep a Hugging Face model trained: every run does only what is new, under Prefect and DVC alike.",
    help_epilogue=EPILOGUE,
    version=lambda: metadata.version("retrain"),
    help_format="markdown",
    # it would exit without a word
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    *,
    params_file: Annotated[Path | None, Parameter(name="--params")] = None,
    isolated: Annotated[bool, Parameter(negative=())] = False,
    update_data: Annotated[bool, Parameter(negative=())] = False,
    once: Annotated[bool, Parameter(negative=())] = False,
    params: Annotated[Params | None, Parameter(name="*")] = None,
) -> int:
    """Bring the model up to date: ingest, split, tokenize, train, evaluate, package.

    What is given here is laid over params.yaml and stays there when the run succeeds, so `dvc repro` does the same.
    A run that fails or is interrupted leaves params.yaml, metrics and the last model as they were.

    Examples: `retrain run --train.epochs 2`, `retrain run --data.path ../support.csv --data.columns.text message`,
    `retrain run --params examples/banking77.yaml --data.path ../banking77`.

    Short forms: `--epochs`, `--lr`, `--batch-size`, `--model NAME`, `--data PATH`; a param whose name only one section
    has needs no section: `--max-steps 20`. `none` empties what may be empty: `--model.revision none`.

    Parameters
    ----------
    params_file
        A whole or partial params file, laid over params.yaml first.
    isolated
        Work in a Git worktree, as a deployment does: the checkout stays as it is, and the run is saved as a DVC experiment.
    update_data
        Take in the newer state of imported data first, as `dvc update` does.
    once
        Leave params.yaml, dvc.lock, metrics and the model as they were. What was computed stays in the cache:
        without `--once` the same command restores it.
    """
    from flows.engine import workspace

    checkout = workspace.root()
    changes = _given(params_file, params, checkout)
    watched = configured(checkout)
    fault = watched.fault() if watched else None
    if isolated:
        return _isolated_run(changes, checkout, watched, fault, update_data=update_data)
    with workspace.in_place(changes, update_data, say) as space:
        return _run_here(space, changes, watched, fault, stays=not once)


@app.command
def plan(
    *,
    params_file: Annotated[Path | None, Parameter(name="--params")] = None,
    isolated: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    params: Annotated[Params | None, Parameter(name="*")] = None,
) -> int:
    """Say what `retrain run` with the same options would do for each stage, and why.

    Starts nothing, and writes nothing unless a run that was killed here is still to be undone. A stage is unchanged,
    restorable (its outputs are in the cache) or stale (it would run).

    Examples: `retrain plan`, `retrain plan --train.epochs 2`, `retrain plan --params examples/banking77.yaml --data.path ../banking77`.

    Parameters
    ----------
    params_file
        A whole or partial params file, laid over params.yaml first.
    isolated
        Plan for a run in a Git worktree of its own, which needs no outputs checked out.
    as_json
        Print JSON, with all reasons.
    exit_code
        End with status 1 when a stage would run, as `git diff --exit-code` does; restoring does not count.
    """
    from flows.engine import workspace
    from flows.report.plan import foresee, show

    checkout = workspace.root()
    foreseen = foresee(_given(params_file, params, checkout), checkout, say, isolated=isolated)
    show(foreseen, as_json=as_json)
    return FAILED if exit_code and foreseen.to_run else OK


@app.command
def reproduce(revision: str, /) -> int:
    """Compute a commit, tag, branch or experiment again, caches off, and say whether every bit is the same.

    Exit status: 0 bit-identical, 3 same predictions, 4 within interval, 5 different, 1 a stage failed.

    Parameters
    ----------
    revision
        What to rebuild. Its record is only read; the certificate is added to its Git notes.
    """
    from flows.engine import workspace

    checkout = workspace.root()
    os.chdir(checkout)
    from flows.git.signatures import refuse_unsigned
    from flows.ledger.experiments import commit_named

    # a wrong name, or one that may not run here, is told at once
    refuse_unsigned(checkout, commit_named(checkout, revision))
    watched = configured(checkout)
    if watched is None:
        temporary.start(checkout)
    elif fault := watched.fault():
        raise fault
    from flows.report.certificate import EXIT_STATUS, Certificate
    from flows.report.summary import show_certificate
    from flows.reproduce import reproduce as flow

    temporary.wait()
    certificate, status = _finished(flow, revision)
    if not isinstance(certificate, Certificate):
        return status
    show_certificate(certificate)
    return EXIT_STATUS[certificate.grade]


for command in (commands.add, commands.check, commands.gc, commands.up, commands.down):
    app.command(command)


def _isolated_run(
    changes: dict[str, Any],
    checkout: Path,
    watched: Configured | None,
    fault: InputError | None,
    *,
    update_data: bool,
) -> int:
    """Run in a worktree, after telling at once what is wrong with what was given."""
    from flows.engine import workspace

    wanted = lay_over(load(checkout / PARAMS), changes, "command line")
    workspace.located(wanted, checkout, checkout, isolated=True)
    workspace.refuse_unknown_names(wanted)
    if fault:
        raise fault
    if not watched:
        temporary.start(checkout)
    return _run_flow(changes, update_data=update_data)


def _run_here(
    space: "Workspace",
    changes: dict[str, Any],
    watched: Configured | None,
    fault: InputError | None,
    *,
    stays: bool,
) -> int:
    """Run in the checkout; Prefect and its server are needed only when there is something to do."""
    from flows.engine.processes import Processes

    if watched and not fault:
        space.look_ahead()
    else:
        if space.ledger.unchanged():
            return _nothing_to_do(space, fault, stays=stays)
        if fault:
            raise fault
        temporary.start(space.root)
        # something has changed, and Prefect takes as long to start its server as torch to import
        Processes.start_ahead(space.root)
    status = _run_flow(changes, stays=stays)
    if status == OK and stays:
        space.keep()
    return status


def _nothing_to_do(space: "Workspace", fault: InputError | None, *, stays: bool) -> int:
    """Say that every stage is unchanged; neither Prefect nor its server is needed for that."""
    from flows.ledger.results import Result
    from flows.report.summary import show, summarize

    if fault:
        say(f"warning: there is nothing to do, and no server to tell so: {fault}")
    space.ledger.push()
    show(summarize(space.root, dict.fromkeys(space.ledger.stages, str(Result.unchanged)), {}), stays=stays)
    if stays:
        space.keep()
    return OK


def _given(params_file: Path | None, params: Params | None, checkout: Path) -> dict[str, Any]:
    """Return what a params file gives, and over that the command line."""
    file = given(read(params_file), str(params_file)) if params_file else {}
    line = params.model_dump(exclude_unset=True) if params else {}
    if "path" in line.get("data", {}):
        line["data"]["path"] = _from_here(line["data"]["path"], Path.cwd(), checkout)
    return over(file, line)


def _from_here(path: str, here: Path, checkout: Path) -> str:
    """Read a relative data.path as the shell does, from the current folder, also below the repository's root."""
    if is_url(path) or here == checkout or Path(path).is_absolute() or path.startswith("~"):
        return path
    if not (here / path).exists() and pattern_in(path, here) is None:
        return path
    return os.path.relpath(here / path, checkout)


def _run_flow(given: dict[str, Any], *, update_data: bool = False, stays: bool = True) -> int:
    with _uncollected():
        from flows.report.summary import Summary, show
        from flows.retrain import retrain

    temporary.wait()
    # to a form, None is what is not given
    words = {section: _in_words(change) if isinstance(change, dict) else change for section, change in given.items()}
    summary, status = _finished(retrain, words, update_data)
    if isinstance(summary, Summary):
        show(summary, stays=stays)
    return status


def _in_words(section: dict[str, Any]) -> dict[str, Any]:
    return {name: NONE if value is None else value for name, value in section.items()}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import without garbage collection: what is imported is never garbage, and looking for it takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _finished(flow: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Run a flow; return its result and the exit status. One that did not complete has no result, and its sentence is said."""
    _say_it_once()
    state = flow(*arguments, return_state=True)
    if state.is_completed():
        return state.result(), OK
    print(f"error: {state.message}", file=sys.stderr)
    return None, INTERRUPTED if state.is_cancelled() else FAILED


def _say_it_once() -> None:
    """Keep from the terminal what this command says itself, in one sentence at its end; the server's log has all of it."""
    for handler in (*logging.getLogger().handlers, *logging.getLogger("prefect").handlers):
        handler.addFilter(lambda record: not record.getMessage().startswith(SAID_HERE))


def _why_not(error: CycloptsError, words: Sequence[str]) -> str:
    """Return the sentence for a command line that cannot be read."""
    if isinstance(error.__cause__, ValidationError):
        return explain(error.__cause__, "command line")
    if isinstance(error, UnknownOptionError) and words[0] in OF_PARAMS and error.token.keyword:
        return unknown(error.token.keyword)
    return " ".join(str(error).split())


@ends_in_order()
@ends_when_unread()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; wrong input is one sentence and exit status 2."""
    past_proxies()
    password_apart()
    words = [*(arguments or []), *sys.argv[1:]]
    debug = "--debug" in words
    words = written_out(word for word in words if word != "--debug")
    try:
        with disk_in_words():
            status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"error: {_why_not(error, words)}", file=sys.stderr)
        status = WRONG_INPUT
    except InputError as error:
        if debug:
            raise
        # standard error may be a file on the disk that is full
        with suppress(OSError):
            print(f"error: {error}", file=sys.stderr, flush=True)
        status = FAILED if isinstance(error, DiskError) else WRONG_INPUT
    except Exception:
        # Prefect's server cannot write its database either, and its client says other things
        sentence = full(Path.cwd())
        if debug or sentence is None:
            raise
        with suppress(OSError):
            print(f"error: {sentence}", file=sys.stderr, flush=True)
        status = FAILED
    sys.exit(status if isinstance(status, int) else OK)
