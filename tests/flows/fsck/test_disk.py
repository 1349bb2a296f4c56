"""A disk that is full or fails is said in one sentence, wherever it strikes and whatever a library makes of it."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.engine.processes import Processes, StageFailedError
from flows.git.commands import git
from tasks.shared import progress
from tasks.shared.errors import SAFE, DiskError, InputError, disk_in_words, full
from tests.attacks.disk import in_a_process
from tests.support.project import ROOT, environment, tiny
from tests.support.small import objects, pipeline

STRACE = shutil.which("strace")


def raised(error: Exception, behind: Exception | None = None) -> str:
    """Return what becomes of an error that is raised from another."""
    with pytest.raises(DiskError) as told, disk_in_words():
        raise error from behind
    return str(told.value)


def without_free_space(told: str) -> str:
    """Return a sentence without how much was free when it was said: others write to the disk meanwhile."""
    return re.sub(r"[\d.]+ MB free", "… MB free", told)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Put a small file system under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "models/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("database or disk is full"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError(
            "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/1: file write failed"
        ),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 244160 vs 244048"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
    ids=["a file", "a quota", "SQLite", "Rust", "PyTorch", "PyTorch at the end", "PyTorch's stream"],
)
def test_a_full_disk_is_one_sentence_whichever_library_tells_of_it(error: Exception) -> None:
    told = raised(error)
    assert told.startswith("the disk is full")
    assert "MB free" in told
    assert told.endswith(SAFE)
    again = raised(RuntimeError("what a library says instead"), error)
    assert without_free_space(again) == without_free_space(told)


def test_a_disk_that_fails_is_not_called_full() -> None:
    told = raised(OSError(errno.EIO, "Input/output error", "models/x"))
    assert told.startswith("the disk fails at models/x")
    assert raised(OSError(errno.EROFS, "Read-only file system", "models/x")).startswith(
        "the disk fails at models/x"
    )


@pytest.mark.parametrize(
    "error",
    [
        InputError("row 3: no label called 'disk is full'"),
        ValueError("something else"),
        OSError(errno.ENOENT, "No such file", "x"),
    ],
    ids=["a sentence that quotes a row", "a mistake", "no file"],
)
def test_whatever_else_goes_wrong_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as told, disk_in_words():
        raise error
    assert told.value is error


def test_a_stage_that_can_not_tell_its_driver_says_it_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.FILE, "/dev/full")
    assert not progress.error("the disk is full")
    told = tmp_path / "told.jsonl"
    told.write_text('{"done": 3, "tot')
    monkeypatch.setenv(progress.FILE, str(told))
    assert progress.error("the disk is full")
    assert '\n{"error": "the disk is full"}\n' in told.read_text("utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a stage that says why it fails in every way it can."""
    (tmp_path / "tasks").mkdir()
    stage = f"import sys; sys.path.insert(0, {str(ROOT)!r}); print('error: the disk is full', file=sys.stderr); sys.exit(1)"
    (tmp_path / "failing.py").write_text(stage)
    return tmp_path


def test_what_a_stage_says_aloud_is_the_sentence_of_the_run(checkout: Path) -> None:
    lines: list[str] = []
    with pytest.raises(StageFailedError, match=r"^the disk is full$"), Processes(checkout) as processes:
        processes.run("exec python -m failing", lines.append, lambda _: None)
    assert lines == ["error: the disk is full"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_git_on_a_full_disk_is_said_like_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with small_disk(tmp_path / "disk", "400k") as disk:
        git(disk, "init", "-q", "--template=")
        (disk / "large").write_bytes(os.urandom(250_000))
        with pytest.raises(DiskError, match=r"^the disk is full"):
            git(disk, "add", "large")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_what_fails_on_a_full_disk_without_a_word_of_it_is_said_to_be_that(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1100k") as disk:
        assert full(disk) is None
        (disk / "large").write_bytes(bytes(200_000))
        assert str(full(disk)).startswith(
            f"the disk is full while writing {disk} (0.9 MB free in {disk}); free some space"
        )


@pytest.mark.skipif(STRACE is None, reason="strace is not installed; it makes system calls fail")
@pytest.mark.parametrize(("number", "says"), [("ENOSPC", "the disk is full"), ("EIO", "the disk fails")])
@pytest.mark.parametrize(
    "file", ["data/ingested/rows.parquet", pytest.param("metrics/ingest.json", marks=pytest.mark.slow)]
)
def test_a_stage_ends_with_the_sentence_whatever_it_was_writing(
    tmp_path: Path, number: str, says: str, file: str
) -> None:
    project = tiny(tmp_path)
    for name in ("tasks", "data/raw", "params.yaml", "pins.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    failing = ["-P", str(tmp_path / file), "-e", f"inject=write:error={number}"]
    done = project.run(
        str(STRACE), "-f", "-o", "/dev/null", *failing, sys.executable, "-m", "tasks.ingest", status=1
    )
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told.startswith(f"error: ingest: {says}")
    assert "Traceback" not in done.stderr


def test_a_metric_that_cannot_be_written_to_the_cache_fails_the_run_that_would_restore_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    home, log = pipeline(tmp_path / "home"), tmp_path / "log"
    metric = hashlib.md5(b'{"length": 6}\n', usedforsecurity=False).hexdigest()

    def fail() -> None:
        def told(event: str, arguments: tuple[object, ...]) -> None:
            if event == "os.rename" and str(arguments[1]).endswith(f"/{metric[:2]}/{metric[2:]}"):
                raise OSError(errno.EIO, "Input/output error", str(arguments[1]))

        sys.addaudithook(told)

    # that of a sentence, which goes past what pytest has put in the place of standard output
    assert in_a_process(home, log, fail)[0] == 1
    assert in_a_process(home, log)[0] == 0
    assert metric in objects(home)
