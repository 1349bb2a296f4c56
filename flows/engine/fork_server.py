"""A process that imports torch and transformers once, and forks every stage of a run from itself.

Run by its path (`python flows/engine/fork_server.py FD`), so that it serves the stages of whichever commit stands in the
current folder. It speaks over the Unix socket FD: a request is one JSON object {"module", "cwd", "env"} with the stage's
output as a file descriptor beside it; the answers are {"pid"} and, when the stage is over, {"status"}. Requests are served
between imports, so the first stages of a run do not wait for torch. When the other end of the socket is gone, so is the
stage: the kernel closes it however the flow dies.
"""

import contextlib
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
    "evaluate",
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
    gc.disable()  # nothing of what is imported is ever garbage, and looking for it takes a fifth of the time; the stages collect theirs
    pending = list(PRELOAD)
    child: int | None = None
    while True:
        ready = [key.fileobj for key, _ in selector.select(0 if pending else None)]
        if not ready:
            with contextlib.suppress(ImportError):
                importlib.import_module(pending.pop(0))
            continue
        if connection in ready:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 1)
            if not data:
                _end(child)
                return
            request = json.loads(data)
            child = _fork(request, descriptors[0], connection)
            selector.register(os.pidfd_open(child), selectors.EVENT_READ)
            _answer(connection, {"pid": child})
        for descriptor in ready:
            if isinstance(descriptor, int) and child is not None:
                selector.unregister(descriptor)
                os.close(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                child = None
                _answer(connection, {"status": status})


def _end(child: int | None) -> None:
    """End the stage: the flow died without doing so."""
    if child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _answer(connection: socket.socket, message: dict[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the flow is gone; the next recv says so
        connection.send(json.dumps(message).encode())


def _fork(request: dict[str, object], output: int, connection: socket.socket) -> int:
    """Fork, and in the child become what `python -m MODULE` would have been."""
    sys.stdout.flush()
    gc.freeze()  # so that a stage's collector neither walks through what was imported nor has those pages copied
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    status = 1
    try:
        gc.enable()
        connection.close()
        os.setsid()  # a group of its own, so that it can be ended with all its children
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
    except BaseException:  # noqa: BLE001 (whatever it was, say it and fail, as the interpreter does)
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    # modules of the project are those of the current folder
    sys.path[0] = ""
    serve(socket.socket(fileno=int(sys.argv[1])))
