"""A PostgreSQL cluster of its own on loopback, for the tests that run Prefect on it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "planted"  # noqa: S105


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a cluster; yield the address of an empty database in it, password and all, as Prefect takes it."""
    port = free_port()
    # initdb refuses root
    owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        data, password = f"{folder}/data", Path(folder, "password")
        password.write_text(PASSWORD)
        if owner:
            shutil.chown(folder, "postgres")
            shutil.chown(password, "postgres")

        def run(program: str, *words: str) -> None:
            subprocess.run(
                [*owner, str(PROGRAMS[-1] / program), *words], cwd="/", check=True, stdout=subprocess.DEVNULL
            )

        run("initdb", "-D", data, "-U", "retrain", "--auth=scram-sha-256", f"--pwfile={password}")
        run(
            "pg_ctl",
            "-D",
            data,
            "-w",
            "-l",
            f"{folder}/log",
            "-o",
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=",
            "start",
        )
        try:
            createdb = [
                str(PROGRAMS[-1] / "createdb"),
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "retrain",
                "prefect",
            ]
            subprocess.run(createdb, check=True, env={**os.environ, "PGPASSWORD": PASSWORD})
            yield f"postgresql+asyncpg://retrain:{PASSWORD}@127.0.0.1:{port}/prefect"
        finally:
            run("pg_ctl", "-D", data, "-m", "fast", "stop")
