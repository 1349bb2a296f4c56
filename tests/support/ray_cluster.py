"""A Ray cluster of this machine: nodes that have addresses of their own on the loopback interface, and can be killed."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tasks.shared.files import read_json, replace
from tests.support.ports import free_port
from tests.support.project import Project
from tests.support.wait import until

# 127.0.0.1 is rewritten to the machine's own address
FIRST = 2
# bytes of each node's object store
MEMORY = 200_000_000
UP = "Ray runtime started"
LINES = """

# lines of a test: tests/support/ray_cluster.py
_compute = computed


def computed(problem, held, *given):
    import json
    import time

    file = Path({file!r})
    told = file.with_name(f"held.{{os.getpid()}}.part")
    function = _function(held[0])
    module = getattr(function, "func", function).__module__
    while module in file.read_text("utf-8").split():
        told.write_text(json.dumps({{"pid": os.getpid(), "module": module}}), "utf-8")
        told.replace(file.with_name("held-shard"))
        time.sleep(0.02)
    return _compute(problem, held, *given)
"""


class Shards:
    """Where shards of a clone wait: those computed by functions of some modules."""

    def __init__(self, project: Project) -> None:
        node = project.root / "tasks/shared/ray_node.py"
        self.file, self.held = project.root.parent / "hold-shards", project.root.parent / "held-shard"
        self.hold()
        node.write_text(node.read_text("utf-8") + LINES.format(file=str(self.file)), encoding="utf-8")
        project.run("git", "commit", "-qm", "a test holds shards", "tasks/shared/ray_node.py")

    def hold(self, *modules: str) -> None:
        """Have shards of these modules wait, and all others go on."""
        replace(self.file, " ".join(modules))

    def reached(self, module: str, running: subprocess.Popen[str]) -> psutil.Process:
        """Wait until a shard of a module waits, while a run lives; return its process."""

        def waiting() -> psutil.Process | None:
            there = self.held.exists() and read_json(self.held)["module"] == module
            return psutil.Process(read_json(self.held)["pid"]) if there else None

        return alive(running, waiting)


def alive(running: subprocess.Popen[str], look: Callable[[], psutil.Process | None]) -> psutil.Process:
    """Return what `look` sees as soon as it sees something, while a run lives."""

    def seen() -> psutil.Process | None:
        assert running.poll() is None, running.communicate()[0]
        return look()

    process: psutil.Process = until(seen)
    return process


@dataclass
class Cluster:
    """A head and its nodes, each a tree of processes."""

    folder: Path
    port: int
    env: dict[str, str]
    asks: bool
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return f"127.0.0.{FIRST}:{self.port}"

    @property
    def token(self) -> dict[str, str]:
        """The environment of who may come in."""
        return {name: self.env[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}

    def start(self, cpus: int = 1) -> None:
        """Start one more node; the first one is the head, which computes nothing."""
        number = len(self.nodes)
        where = (
            [f"--address={self.address}"]
            if number
            else ["--head", f"--port={self.port}", "--include-dashboard=false"]
        )
        # machines share none, and a node empties its own when it starts and ends
        where.append(f"--temp-dir={self.folder / str(number)}")
        size = [f"--num-cpus={cpus if number else 0}", f"--object-store-memory={MEMORY}"]
        address = f"--node-ip-address=127.0.0.{FIRST + number}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, address, *size, "--block"]
        log = self.folder / f"node-{number}.log"
        with log.open("wb") as output:
            env = self.env if self.asks else self.env | {"RAY_AUTH_MODE": "disabled"}
            node = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        self.nodes.append(node)
        until(lambda: UP in log.read_text("utf-8") or node.poll() is not None)
        assert node.poll() is None, log.read_text("utf-8")

    def kill_node_of(self, process: psutil.Process) -> None:
        """Kill the node that a process works for, with all that runs on it, at once."""
        above = {parent.pid for parent in process.parents()}
        (node,) = [node for node in self.nodes if node.pid in above]
        _kill(node)

    def stop(self) -> None:
        """End all nodes."""
        for node in reversed(self.nodes):
            _kill(node)


def _kill(node: subprocess.Popen[bytes]) -> None:
    if node.poll() is None:
        its = psutil.Process(node.pid)
        for process in [its, *its.children(recursive=True)]:
            # of them some end with others
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()


@contextmanager
def cluster(nodes: int, *, asks: bool = True) -> Iterator[Cluster]:
    """Start a head, and so many nodes beside it; their addresses take a token, if they ask for one."""
    token = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with TemporaryDirectory(prefix="ray-") as folder:
        made = Cluster(Path(folder), free_port(f"127.0.0.{FIRST}"), os.environ | token, asks=asks)
        try:
            for _ in range(1 + nodes):
                made.start()
            yield made
        finally:
            made.stop()
