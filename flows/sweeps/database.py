"""Where sweeps are kept: a SQLite file in the repository's ignored folder, or a PostgreSQL database."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Connection, NullPool, create_engine, func, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tasks.shared.errors import InputError, disk_trouble
from tasks.shared.files import private_folder
from tasks.shared.locks import alone_if_free

ADDRESS = "RETRAIN_SWEEPS_URL"
RIGHT = "postgresql://HOST/DATABASE, with user and password before the host"
# what stands before :// where the database is PostgreSQL's, and the driver that is there
POSTGRESQL = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2")
PSYCOPG = "postgresql+psycopg"
# seconds to wait for whoever else writes
BUSY = 60
# for the connection that holds the lock, on which nothing is said while models are trained: seconds
ALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
# that connection takes no other lock; one that was made anew, by a pool in between, has none
HELD = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
)
# of a SQLite file of which nothing can be read any more
BROKEN = ("not a database", "malformed")
# what libraries raise when a database cannot be opened: the last for a host that cannot be one
OPENING = (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError, UnicodeError)
# so short a part of an address may stand in any word
SHORT = 4


def folder(checkout: Path) -> Path:
    """Return where sweeps are kept in a checkout."""
    return private_folder(private_folder(checkout / ".retrain") / "sweeps")


def opened(checkout: Path, name: str) -> optuna.Study:
    """Return the study of a name, begun if there is none; raise InputError when it cannot be had."""
    given = database()
    where = f"sqlite:///{_file(checkout, name)}"
    # a connection may have died while models were trained
    options = {"pool_pre_ping": True} if given else {"connect_args": {"timeout": BUSY}}
    with in_words(checkout, name, OPENING):
        url = where if given is None else given.render_as_string(hide_password=False)
        storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )


def database() -> URL | None:
    """Return the URL of the database that is to keep sweeps, by the driver that is there; None: a file.

    Raises InputError, in which no part of it stands, when it is none.
    """
    given = os.environ.get(ADDRESS)
    if not given:
        return None
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        sign = "; in user and password, %40 stands for @, %3A for : and %2F for /" if "@" in given else ""
        raise InputError(f"{ADDRESS} is no URL of a database; give {RIGHT}{sign}") from None
    # by such a sign, a part of the password would be taken for the host, and told as what does not answer
    is_cut_wrong = given.count("@") > 1 or "@" in f"{url.host}{url.database}"
    if is_cut_wrong and url.get_backend_name() != "sqlite":
        raise InputError(f"{ADDRESS} has an @ that is not the one before the host; write it as %40")
    # as PostgreSQL's own tools and Prefect have it
    return url.set(drivername=PSYCOPG) if url.drivername in POSTGRESQL else url


@contextmanager
def alone(checkout: Path, name: str) -> Iterator[Callable[[], None]]:
    """Be the only sweep of this name in the checkout, and among those that share a database.

    Yields what raises InputError when that is so no longer. Raises InputError when another one is under way.
    """
    busy = f"sweep '{name}' is under way already; wait for it, or give another --name"
    with alone_if_free(folder(checkout) / f"{name}.lock") as is_mine, ExitStack() as held:
        if not is_mine:
            raise InputError(busy)
        url = database()
        if url is None or url.get_backend_name() != "postgresql":
            # the kernel takes a lock from nobody
            yield lambda: None
            return
        with in_words(checkout, name, OPENING):
            # the server lets go of the lock when this process is gone
            alive = ALIVE if url.drivername == PSYCOPG else {}
            engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=alive)
            connection = held.enter_context(engine.connect())
            lock = func.pg_try_advisory_lock(func.hashtextextended(name, 0))
            is_free = connection.scalar(lock.select())
        if not is_free:
            raise InputError(busy)
        yield partial(_refuse_lost, connection, name)


def _refuse_lost(connection: Connection, name: str) -> None:
    """Raise InputError when the server has let go of the lock: another sweep of the name may have it."""
    with suppress(SQLAlchemyError):
        if connection.scalar(HELD):
            return
    lost = f"the connection to {ADDRESS} that holds the lock of sweep '{name}' is lost"
    raise InputError(f"{lost}, so that another may be under way; run the same command again")


@contextmanager
def in_words(
    checkout: Path, name: str, kinds: tuple[type[Exception], ...] = (StorageInternalError,)
) -> Iterator[None]:
    """Raise InputError, one sentence without the URL's secrets, when the database of a sweep fails.

    kinds: what is taken for its failure; what Optuna's storages alone raise unless it is given.
    """
    try:
        yield
    except kinds as error:
        if disk_trouble(error):
            raise
        url, file = database(), _file(checkout, name)
        where, why = str(file) if url is None else ADDRESS, _why(error, url)
        raise InputError(f"{where}: {why}; {_remedy(error, why, file, url)}") from None


def _file(checkout: Path, name: str) -> Path:
    return folder(checkout) / f"{name}.sqlite3"


def _why(error: Exception, url: URL | None) -> str:
    """Return what a library says of a failure, without what it quotes of the address."""
    behind = getattr(error, "orig", None) or error.__cause__ or error
    said = " ".join(str(getattr(behind, "orig", None) or behind).split())
    for part in _secrets(url) if url is not None else ():
        edge = r"\b" if len(part) < SHORT else ""
        said = re.sub(f"{edge}{re.escape(part)}{edge}", "***", said)
    # what follows is advice of SQLAlchemy's and of Optuna's
    return said.partition(" (Background on this error")[0].partition(". Please ")[0]


def _secrets(url: URL) -> list[str]:
    """Return what must not be told of an address, the longest first: user, password, and what may be a part.

    That is the host, unless it is an IP address or this machine: where a sign stands wrong, it is the end of
    a password.
    """
    parts = {url.username, None if url.password is None else str(url.password)}
    parts |= set() if _is_harmless(url.host or "") else {url.host}
    pieces = ((part, quote(part), *re.split("[@:/,?#]", part)) for part in parts if part)
    return sorted(set(filter(None, chain.from_iterable(pieces))), key=len, reverse=True)


def _is_harmless(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _remedy(error: Exception, why: str, file: Path, url: URL | None) -> str:
    again = "run the same command again"
    if isinstance(error, ImportError):
        return "`pip install 'retrain[postgresql]'` brings the driver of postgresql+psycopg://"
    if "table schema" in why:
        where = "URL" if url is not None else f"sqlite:///{file}"
        return f"`optuna storage upgrade --storage {where}` mends an older one; a newer one needs its Optuna"
    if "database is locked" in why:
        return f"another process has it; wait until that is done, and {again}"
    if url is not None:
        return f"see that it answers, give it as {RIGHT}, and {again}"
    if any(sign in why for sign in BROKEN):
        return f"remove {file.name} there to begin the sweep anew; what was trained stays in the cache"
    return f"see that it can be read and written, and {again}"
