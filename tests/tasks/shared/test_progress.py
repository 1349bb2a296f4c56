"""Progress: JSON lines to a driver that asks, a line now and then to anyone else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.shared import progress
from tasks.shared.progress import FILE, Progress


def told(file: Path) -> list[dict[str, Any]]:
    # each line begins anew, past one that a full disk has cut short
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a driver asks for progress."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(FILE, str(path))
    return path


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time, as the standard library's function does."""
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_end_is_always_told_with_all_that_a_driver_shows(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Progress("train", 30)
    for done in (10, 20, 30):
        work.update(done, loss=0.25)
    work.close()
    assert told(file)[-1] == {
        "what": "train",
        "unit": "step",
        "done": 30,
        "total": 30,
        "seconds_left": 0.0,
        "loss": 0.25,
    }
    assert capsys.readouterr().out == "train: step 30 of 30  loss 0.25  0 s left\n"


def test_a_driver_is_told_at_most_twice_a_second(file: Path, clock: Clock) -> None:
    work = Progress("tokenize", 100_000, unit="row")
    for done in range(1, 1001):
        clock.now += 1 / 256
        work.update(done)
    assert [message["done"] for message in told(file)] == [128 * turn for turn in range(1, 8)]


def test_lines_are_appended_so_that_several_processes_can_tell(file: Path) -> None:
    file.write_text('{"what": "ingest"}\n', encoding="utf-8")
    Progress("split", 1).update(1)
    progress.error("the données are wrong")
    assert [message.get("what") for message in told(file)] == ["ingest", "split", None]
    assert told(file)[-1] == {"error": "the données are wrong"}


def test_the_time_left_counts_only_what_was_done_since_a_resume(file: Path, clock: Clock) -> None:
    work = Progress("train", 120, done=100)
    clock.now += 10
    work.update(110)
    assert told(file)[-1]["done"] == 110
    assert told(file)[-1]["seconds_left"] == 10


def test_without_a_driver_and_a_terminal_there_are_plain_lines_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    work = Progress("evaluate", 3, unit="row")
    for done in (1, 2, 3):
        work.update(done)
    work.close()
    progress.error("nobody asked")
    captured = capsys.readouterr()
    assert captured.out == "evaluate: row 3 of 3  0 s left\n"
    assert captured.err == ""
    assert list(tmp_path.iterdir()) == []
