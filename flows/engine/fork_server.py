"""A process that imports torch and transformers once, and forks every stage of a run from itself.

Run by its path (`python flows/engine/fork_server.py FD`), so that it serves the stages of whichever commit
stands in the current folder. It speaks over the Unix socket FD: a request is one JSON object {"module",
"cwd", "env"} with the stage's output as a file descriptor beside it; the answers are {"pid"} and, when the
stage is over, {"status"}. Requests are served between imports, so the first stages of a run do not wait for
torch. When the flow is gone, so are the server and the stage, at once, whatever they are in the middle of:
what the stage wrote later, the next run would find.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback

PR_SET_PDEATHSIG = 1
PRELOAD = (
    "polars",
    "pyarrow",
    "tokenizers",
    "torch",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.auto.modeling_auto",
    "transformers.trainer",
    "transformers.pipelines",
    "datasets",
    "sklearn.feature_extraction.text",
    "sklearn.svm",
    "scipy.stats",
    "matplotlib.figure",
    "huggingface_hub",
)


def serve(connection: socket.socket) -> None:
    """Fork stages on request until the other end hangs up; import what they need in between."""
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    # nothing of what is imported is ever garbage, and looking for it takes a fifth of the time; the stages
    # collect theirs
    gc.disable()
    pending = list(PRELOAD)
    child: int | None = None
    while True:
        ready = [key.fileobj for key, _ in selector.select(0 if pending else None)]
        if not ready:
            # a stage that needs what cannot be imported says why itself; the others go on without
            with contextlib.suppress(Exception):
                importlib.import_module(pending.pop(0))
        if connection in ready:
            data, descriptors = _asked(connection)
            if not data:
                _end(child)
                return
            child = _fork(json.loads(data), descriptors[0], connection)
            selector.register(os.pidfd_open(child), selectors.EVENT_READ)
            _answer(connection, {"pid": child})
        for descriptor in ready:
            if isinstance(descriptor, int) and child is not None:
                selector.unregister(descriptor)
                os.close(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                child = None
                _answer(connection, {"status": status})


def end_with(parent: int) -> None:
    """Have the kernel kill this process when the one that started it ends (Linux); do not go on when it has.

    As tasks/shared/stage.py does, which is not imported here: the stages import their own commit's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _end(child: int | None) -> None:
    """End the stage: the flow died without doing so."""
    if child is not None:
        # alone too: it may not have come to have a group of its own
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)


def _asked(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return the flow's request and the descriptor sent with it; nothing when the flow is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 1)
    except ConnectionResetError:
        # it went without reading an answer
        return b"", []
    return data, descriptors


def _answer(connection: socket.socket, message: dict[str, int]) -> None:
    # the flow is gone; the next recv says so
    with contextlib.suppress(ConnectionError):
        connection.send(json.dumps(message).encode())


def _fork(request: dict[str, object], output: int, connection: socket.socket) -> int:
    """Fork, and in the child become what `python -m MODULE` would have been."""
    sys.stdout.flush()
    # so that a stage's collector neither walks through what was imported nor has those pages copied
    gc.freeze()
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    status = 1
    try:
        end_with(server)
        gc.enable()
        connection.close()
        # a group of its own, so that it can be ended with all its children
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.chdir(str(request["cwd"]))
        os.environ.update(request["env"])  # type: ignore[call-overload]
        status = _run(str(request["module"]))
    finally:
        os._exit(status)


def _run(module: str) -> int:
    """Run a module as `python -m` does and return its exit status."""
    status = 0
    try:
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 (say whatever it was and fail, as the interpreter does)
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    # modules of the project are those of the current folder
    sys.path[0] = ""
    end_with(os.getppid())
    serve(socket.socket(fileno=int(sys.argv[1])))
