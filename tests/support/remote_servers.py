"""Servers on loopback that DVC remotes can be on: OpenSSH as the current user, and one that speaks S3."""

import getpass
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from moto.server import ThreadedMotoServer

from tests.support.ports import free_port
from tests.support.wait import PATIENCE, until

SSHD = "/usr/sbin/sshd"


class SshServer:
    """An OpenSSH server with keys and settings of its own in `home`; it can be ended and started again."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home, self.key, self.store = home, home / "key", home / "store"
        self.port = free_port()
        for key in (self.key, home / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (home / "authorized").write_bytes((home / "key.pub").read_bytes())
        (home / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {home}/host_key\nAuthorizedKeysFile {home}/authorized\nPidFile {home}/pid\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nSubsystem sftp internal-sftp\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The DVC remote."""
        return f"ssh://{getpass.getuser()}@localhost:{self.port}{self.store}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if os.geteuid() == 0:
            # sshd insists on it when root starts it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.home / "sshd_config")], stdout=log, stderr=log
            )
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        except OSError:
            return False
        return True

    def end(self) -> None:
        """End the server and the sessions it has open."""
        if self.process is None:
            return
        for process in (
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()
        self.process = None


@contextmanager
def ssh_server(home: Path) -> Iterator[SshServer]:
    """Run an OpenSSH server that knows one key, `home/key`."""
    server = SshServer(home)
    server.start()
    try:
        yield server
    finally:
        server.end()


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Run a server that speaks S3 and has an empty bucket; yield its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # it keeps its state in this process
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        urllib.request.urlopen(urllib.request.Request(f"{url}/{bucket}", method="PUT")).close()
        yield url
    finally:
        server.stop()
