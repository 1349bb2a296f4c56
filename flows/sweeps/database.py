"""Where sweeps are kept: a SQLite file in the repository's ignored folder, or a PostgreSQL database."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import NullPool, create_engine, func
from sqlalchemy.exc import SQLAlchemyError

from tasks.shared.errors import InputError, disk_trouble
from tasks.shared.files import private_folder
from tasks.shared.locks import alone_if_free

URL = "RETRAIN_SWEEPS_URL"
# what stands before :// where the database is PostgreSQL's
POSTGRESQL = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2")
# seconds to wait for whoever else writes
BUSY = 60


def folder(checkout: Path) -> Path:
    """Return where sweeps are kept in a checkout."""
    return private_folder(private_folder(checkout / ".retrain") / "sweeps")


def opened(checkout: Path, name: str) -> optuna.Study:
    """Return the study of a name, begun if there is none; raise InputError when it cannot be had."""
    given = database()
    options = {} if given else {"connect_args": {"timeout": BUSY}}
    with in_words(checkout, name):
        storage = optuna.storages.RDBStorage(
            given or f"sqlite:///{_file(checkout, name)}", engine_kwargs=options
        )
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )


def database() -> str | None:
    """Return the URL of the database that is to keep sweeps, by the driver that is there; None: a file."""
    given = os.environ.get(URL)
    scheme, separator, rest = (given or "").partition("://")
    # as PostgreSQL's own tools and Prefect have it
    return f"postgresql+psycopg{separator}{rest}" if scheme in POSTGRESQL else given or None


@contextmanager
def alone(checkout: Path, name: str) -> Iterator[None]:
    """Be the only sweep of this name in the checkout, and among those that share a database.

    Raises InputError when another one is under way.
    """
    busy = f"sweep '{name}' is under way already; wait for it, or give another --name"
    with alone_if_free(folder(checkout) / f"{name}.lock") as is_mine, ExitStack() as held:
        if not is_mine:
            raise InputError(busy)
        url = database()
        if url is not None and url.startswith("postgresql"):
            with in_words(checkout, name):
                # the server lets go of the lock when this process is gone
                engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
                connection = held.enter_context(engine.connect())
                lock = func.pg_try_advisory_lock(func.hashtextextended(name, 0))
                is_free = connection.scalar(lock.select())
            if not is_free:
                raise InputError(busy)
        yield


@contextmanager
def in_words(checkout: Path, name: str) -> Iterator[None]:
    """Raise InputError, one sentence without the URL's secret, when the database of a sweep cannot be had."""
    given, file = database(), _file(checkout, name)
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        if disk_trouble(error):
            raise
        where = URL if given else str(file)
        raise InputError(f"{where}: {_why(error, given)}; {_remedy(error, file, given)}") from None


def _file(checkout: Path, name: str) -> Path:
    return folder(checkout) / f"{name}.sqlite3"


def _why(error: Exception, given: str | None) -> str:
    behind = getattr(error, "orig", None) or error.__cause__ or error
    said = " ".join(str(getattr(behind, "orig", None) or behind).split())
    # a URL with its password stands in some of what libraries say
    said = "the database cannot be had" if given and given.partition("://")[2] in said else said
    return said.partition(" (Background on this error")[0]


def _remedy(error: Exception, file: Path, given: str | None) -> str:
    if given is None:
        return f"remove {file.name} there to begin the sweep anew; what was trained stays in the cache"
    if isinstance(error, ImportError):
        return "`pip install 'retrain[postgresql]'` brings the driver of postgresql+psycopg://"
    right = "postgresql://HOST/DATABASE, with user and password before the host"
    return f"see that it answers, and give it as {right}"
