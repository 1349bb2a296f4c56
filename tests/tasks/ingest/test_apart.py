"""Work in a process of its own: whatever a file does to it is one sentence, and the process that asked goes on."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from tasks.ingest.sandbox import Job, Part, apart
from tasks.shared.errors import InputError
from tests.support.project import ROOT
from tests.support.wait import until

JOBS = [Job("a.bin", 100_000_000, 2), Job("b.bin", 100_000_000, 2)]


def found(work: Callable[[int], Iterator[Part]]) -> list[tuple[int, Part]]:
    """Return what two jobs yield, and hold that no process is left."""
    before = psutil.Process().children()
    try:
        return list(apart(JOBS, work))
    finally:
        assert set(psutil.Process().children()) <= set(before)


def refused(fault: Callable[[], object]) -> str:
    """Return the sentence when the second of two jobs does something."""

    def work(index: int) -> Iterator[Part]:
        yield Part({"at": index})
        if index == 1:
            fault()

    with pytest.raises(InputError) as error:
        found(work)
    assert "\n" not in str(error.value)
    return str(error.value)


def take_memory() -> list[bytes]:
    return [bytes(64_000_000) for _ in range(4)]


def take_arrows_memory() -> list[pa.Array]:
    text = "x" * 1_000_000
    return [pa.array([text]) for _ in range(300)]


def never_end() -> None:
    while True:
        pass


def test_values_and_rows_come_back_in_order_and_lone_surrogates_with_them() -> None:
    batch = pa.record_batch({"text": ["hello", None], "number": [1, 2]})

    def work(index: int) -> Iterator[Part]:
        yield Part({"index": index, "odd": "\ud800"}, batch.slice(index))

    assert [(at, part.said, part.batch) for at, part in found(work)] == [
        (0, {"index": 0, "odd": "\ud800"}, batch),
        (1, {"index": 1, "odd": "\ud800"}, batch.slice(1)),
    ]


def test_an_end_within_a_message_is_a_sentence_too() -> None:
    def work(index: int) -> Iterator[Part]:
        yield Part({"pid": os.getpid()})
        # more than a pipe holds
        yield Part({"long": "x" * 10_000_000})

    parts = apart(JOBS[:1], work)
    _, first = next(parts)
    child = psutil.Process(first.said["pid"])
    until(lambda: child.status() == psutil.STATUS_SLEEPING, every=0.01)
    child.kill()
    with pytest.raises(
        InputError, match=r"a\.bin: the file is damaged, or reading it takes more than 100 MB"
    ):
        next(parts)


def test_a_crash_is_a_sentence_that_names_the_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(lambda: ctypes.string_at(0)) == (
        "b.bin: the file is damaged: whatever reads it is ended by it (SIGSEGV); write the file again"
    )
    assert refused(lambda: os._exit(3)).startswith(
        "b.bin: the file is damaged: whatever reads it is ended by it (status 3)"
    )
    # libraries say in their own words what happened: nobody is helped by them
    assert capfd.readouterr() == ("", "")


def test_an_abort_says_that_it_may_have_been_for_want_of_memory() -> None:
    assert refused(os.abort).startswith(
        "b.bin: the file is damaged, or reading it takes more than 100 MB of memory"
    )


@pytest.mark.parametrize("take", [take_memory.__name__, take_arrows_memory.__name__])
def test_too_much_memory_is_a_sentence_with_the_limits_name(take: str) -> None:
    # in a new process: this one may hold free memory of other tests, as much as this takes
    code = f"from {__name__} import refused, {take}; print(refused({take}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == (
        "b.bin: reading it takes more than 100 MB of memory; "
        "if that is what it holds, raise data.max_memory_mb, for example: --data.max_memory_mb 200\n"
    )


def test_what_one_file_took_is_there_for_the_next() -> None:
    def work(index: int) -> Iterator[Part]:
        yield Part({"bytes": len(bytes(80_000_000)) + index})

    assert len(found(work)) == 2


@pytest.mark.slow
def test_work_without_end_is_ended() -> None:
    began = time.process_time()
    assert refused(never_end).startswith("b.bin: nothing more came of it in 2 s of computing; it is damaged")
    assert time.process_time() - began < 1


@pytest.mark.slow
def test_work_that_goes_on_has_all_the_time_it_needs() -> None:
    def work(index: int) -> Iterator[Part]:
        for _ in range(6):
            end = time.process_time() + 0.8
            while time.process_time() < end:
                pass
            yield Part({"index": index})

    assert len(found(work)) == 12


def test_what_the_work_says_of_a_file_and_what_the_system_says_are_sentences(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputError("b.bin: no rows in it")

    assert refused(refuse) == "b.bin: no rows in it"
    assert refused(tmp_path.read_bytes).startswith("b.bin: cannot be read (Is a directory)")


def test_a_mistake_of_ours_is_raised_with_its_traceback() -> None:
    def work(index: int) -> Iterator[Part]:
        yield Part({"never": 1 // index})

    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*ZeroDivisionError"):
        found(work)


def test_the_process_ends_when_nobody_asks_any_more() -> None:
    def work(_: int) -> Iterator[Part]:
        yield Part({"pid": os.getpid()})
        signal.pause()

    asked = apart(JOBS, work)
    pid = next(asked)[1].said["pid"]
    asked.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
