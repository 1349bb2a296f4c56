"""The one kind of error that a user can cause and mend; a full disk, said as one; no secret of a URL."""

import difflib
import errno
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# how the libraries that do not hand on the system's number tell of it: Git, SQLite, Rust's
FULL = re.compile("No space left on device|Disk quota exceeded|disk is full|os error (28|122)")
# PyTorch's writer, which knows only that a write has failed
UNWRITTEN = re.compile("PytorchStreamWriter failed|inline_container.* unexpected pos|iostream error")
BROKEN = re.compile("Input/output error|disk I/O error|Read-only file system|os error (5|30)")
# bytes: with less, whatever fails fails for that
NEARLY = 1_000_000
SAFE = "nothing that was finished is lost: run the same command again, and it goes on from there"

SCHEME = "[A-Za-z][A-Za-z0-9+.-]*://"
# of a field in a URL's query, whole or as a part of it, in capitals or not
NAMES = ("sig", "key", "auth", "pwd")
KEYS = ("apikey", "api_key", "api-key", "accesskey", "access_key")
PARTS = ("token", "secret", "passw", "signature", "credential", *KEYS)


class InputError(ValueError):
    """Something the user gave is wrong: one sentence saying what, where, which value, and what to do.

    It can be printed and kept anywhere: half characters and control characters of what it quotes are spelled
    out, and the secrets of the URLs in it left out.
    """

    def __init__(self, sentence: str) -> None:
        told = without_password(sentence)
        super().__init__("\n".join(map(_printable, told.split("\n"))))


class MemoryFullError(InputError):
    """A device's memory does not hold a training step; what to try next is written down."""


def _printable(line: str) -> str:
    """Return a line as a terminal, a database and JSON can take it."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def readable(name: str) -> str:
    """Return a file's name as it can be printed: on one line, what is not UTF-8 replaced."""
    return " ".join(name.encode(errors="surrogateescape").decode(errors="replace").splitlines())


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_memory_full(error: BaseException) -> bool:
    """Return whether an error says that this machine's memory is full."""
    # torch's allocator on a CPU has no class for it
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


class DiskError(InputError):
    """A disk is full, or fails."""


@contextmanager
def disk_in_words() -> Iterator[None]:
    """Raise DiskError, one sentence, for whatever a library makes of a disk that is full or fails."""
    try:
        yield
    except Exception as error:
        sentence = None if SAFE in str(error) else disk_trouble(error)
        if sentence is None:
            raise
        raise DiskError(sentence) from error


def disk_trouble(error: BaseException) -> str | None:
    """Return the sentence when a full or failing disk is behind an error, or what that came from; or None."""
    behind: BaseException | None = error
    place: str | None = None
    while behind is not None:
        number = behind.errno if isinstance(behind, OSError) else None
        # what our own sentences quote is a user's
        text = "" if isinstance(behind, InputError) else str(behind)
        place = (str(behind.filename) if isinstance(behind, OSError) and behind.filename else None) or place
        if number in (errno.ENOSPC, errno.EDQUOT) or FULL.search(text):
            return f"the disk is full{_while_writing(place)}; free some space; {SAFE}"
        if UNWRITTEN.search(text):
            remedy = "free some space; if there is enough, `dmesg` may say why"
            return f"the disk is full or fails{_while_writing(place)}; {remedy}; {SAFE}"
        if number in (errno.EIO, errno.EROFS) or BROKEN.search(text):
            where = f" at {place}" if place else ""
            said = " ".join(str(behind).split())
            return f"the disk fails{where} ({said}); `dmesg` may say why; mend that; {SAFE}"
        behind = behind.__cause__ or behind.__context__
    return None


def full(folder: Path) -> DiskError | None:
    """Return the sentence when next to nothing is free at a folder: some fail without a word of that."""
    if _free(folder) >= NEARLY:
        return None
    return DiskError(f"the disk is full{_while_writing(str(folder))}; free some space; {SAFE}")


def _while_writing(place: str | None) -> str:
    """Return what was written, and how much is free there."""
    folder = Path(place or ".").absolute()
    while not folder.is_dir():
        folder = folder.parent
    free = f"{_free(folder) / 1e6:.1f} MB free in {folder}"
    return f" while writing {place} ({free})" if place else f" ({free})"


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def listed(names: Sequence[str], most: int) -> str:
    """Return names as a sentence lists them: of many the first, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _any_case(word: str) -> str:
    """Return a pattern for a word in capitals or not: JavaScript has no flag for that inside a pattern."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


_PARTS = "|".join(map(_any_case, PARTS))
_FIELD = f"(?:{'|'.join(map(_any_case, NAMES))}|[^=&;#\\s]*(?:{_PARTS})[^=&;#\\s]*)"
_HTTP = f"{_any_case('http')}[Ss]?://"
# a user's name alone is none, but to HTTP servers a token is given as one
_USER = rf"{SCHEME}[^/?#\s]*:[^/?#\s]*@|{_HTTP}[^/?#\s]*@"
WITHOUT_SECRETS = rf"^(?!\s*(?:{_USER}|{SCHEME}[^?#]*[?#](?:.*[&;?#])?{_FIELD}=))"
# no name that a person gives has so many letters and digits in a row;
# keys of W&B, Hugging Face and Databricks do
KEY_LIKE = "[A-Za-z0-9]{32}"
PLAIN_NAME = rf"^(?!.*{KEY_LIKE})[A-Za-z0-9][A-Za-z0-9 ._-]{{0,95}}$"


def refuse_secret(url: str) -> str:
    """Return a source of data; raise InputError for a URL that holds a password or token.

    It would stand in Git, in DVC's records and in Prefect's database, where nobody can take it back.
    """
    if re.match(WITHOUT_SECRETS, url):
        return url
    raise InputError(
        f"{url} holds a password or token, which Git, DVC and Prefect would keep for all to read; "
        "put it into ~/.netrc or into a DVC remote of your own "
        "(`dvc remote add --local NAME URL`, then remote://NAME/PATH, see docs/data.md), "
        "or download the file first"
    )


def refuse_odd_name_or_key(name: str) -> str:
    """Return a name that others will see.

    Raises InputError for what may be a key, and for signs that not all of them take.
    The name is not quoted: it may be a secret.
    """
    if re.fullmatch(PLAIN_NAME, name):
        return name
    if re.search(KEY_LIKE, name) or "://" in name:
        raise InputError(
            "this looks like a key, a token or a URL, which Git and Prefect would keep for all to read; "
            "give a name here, and leave keys and addresses to the environment "
            "(WANDB_API_KEY, MLFLOW_TRACKING_URI, ..., see docs/trackers.md)"
        )
    raise InputError(
        "a name here is of letters, digits, spaces, dots, dashes and underscores, 96 at most, "
        "and begins with a letter or digit"
    )


def without_password(text: str) -> str:
    """Return the text without the passwords and tokens of the URLs in it."""
    with_user = rf"({SCHEME})[^/\s]*:[^/\s]*@|({_HTTP})[^/\s]+@"
    text = re.sub(with_user, lambda found: f"{found[1] or found[2]}***@", text)
    return re.sub(rf"([?&;#]{_FIELD}=)[^&;#\s'\"]+", r"\1***", text)
