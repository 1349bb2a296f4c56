"""The `retrain` command: its commands, and how it ends when something is wrong."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from cyclopts import App, CycloptsError
from cyclopts.exceptions import UnknownOptionError

from flows.cli.broken_pipe import ends_when_unread
from flows.cli.common import FAILED, INTERRUPTED, OK, WRONG_INPUT
from flows.cli.options import OF_PARAMS, unknown, written_out
from flows.cli.signals import ends_in_order
from flows.server.connection import password_apart, past_proxies
from tasks.shared.errors import DiskError, InputError, disk_in_words, full

STATUSES = {
    OK: "done",
    FAILED: "a stage failed (`retrain plan --exit-code`: would run)",
    WRONG_INPUT: "wrong input",
    INTERRUPTED: "interrupted",
}

app = App(
    name="retrain",
    help="Keep a Hugging Face model trained: every run does only what is new, under Prefect and DVC alike.",
    help_epilogue=f"Exit status: {', '.join(f'{status} {meaning}' for status, meaning in STATUSES.items())}.",
    version=lambda: metadata.version("retrain"),
    help_format="markdown",
    # it would exit without a word
    suppress_keyboard_interrupt=False,
)


COMMANDS = (
    *("run", "plan", "preview", "problems", "reproduce", "status", "models", "promote", "rollback"),
    *("seeds", "verify", "sweep", "add", "check", "tokenizer", "gc", "up", "down"),
)
# those that share a module with another
BESIDE = {"rollback": "promote", "down": "up"}
for name in COMMANDS:
    # a module is imported when its command is given
    app.command(f"flows.cli.{BESIDE.get(name, name)}:{name}", name=name)


def _why_not(error: CycloptsError, words: Sequence[str]) -> str:
    """Return the sentence for a command line that cannot be read."""
    if isinstance(error, UnknownOptionError) and words[0] in OF_PARAMS and error.token.keyword:
        return unknown(error.token.keyword)
    return " ".join(str(error).split())


def _read_sources_once() -> None:
    """Have help read a class once: cyclopts reads all bases of a section of params anew for each section."""
    import docstring_parser

    if not hasattr(docstring_parser.parse_from_object, "cache_info"):
        docstring_parser.parse_from_object = cache(docstring_parser.parse_from_object)


@ends_in_order()
@ends_when_unread()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; wrong input is one sentence and exit status 2."""
    past_proxies()
    password_apart()
    words = [*(arguments or []), *sys.argv[1:]]
    debug = "--debug" in words
    words = written_out(word for word in words if word != "--debug")
    if "--help" in words or "-h" in words:
        _read_sources_once()
    if words[:1] in ([], ["--help"], ["-h"]):
        # the list of commands tells of each in its own first words: all are imported
        for name in COMMANDS:
            _ = app[name]
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
