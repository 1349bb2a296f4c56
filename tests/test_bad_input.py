"""Everything a user can get wrong, one by one: one clear sentence, exit status 1 or 2, and nothing lost."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Project

ROWS = [f"{word} number {i},{label}" for i in range(40) for word, label in (("where is my parcel", "order"), ("give me my money", "refund"))]
TABLE = "text,label\n" + "\n".join(ROWS) + "\n"


def told(project: Project, status: int, *words: str) -> str:
    """Run `retrain run` and return the one line that starts with `error:`."""
    done = project.retrain(*words, status=status)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return lines[0]


def data(project: Project, content: str | bytes, name: str = "mine.csv") -> str:
    path = project.root / "data/raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return f"data/raw/{name}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data.path", "nowhere.csv"], ["data.path", "nowhere.csv"]),
        (["--train.learning_rat", "1"], ["--train.learning_rat", "Did you mean"]),
        (["--train.learning_rate", "-1"], ["train.learning_rate", "-1", "greater than 0"]),
        (["--train.precision", "int3"], ["train.precision", "int3", "bf16"]),
        (["--train.extra.neftune_noise_alfa", "5"], ["neftune_noise_alfa", "did you mean 'neftune_noise_alpha'"]),
        (["--problem", "text-clasification"], ["text-clasification", "text_classification"]),
        (["--model.name", "nobody/nothing"], ["nobody/nothing", "hub"]),
        (["--model.name", "./no/folder"], ["./no/folder"]),
        (["--params", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_what_can_be_told_before_anything_runs_ends_with_status_2(project: Project, words: list[str], says: list[str]) -> None:
    before = (project.root / "params.yaml").read_text("utf-8")
    sentence = told(project, 2, *words)
    assert all(part in sentence for part in says), sentence
    assert (project.root / "params.yaml").read_text("utf-8") == before, "a refused value is not written down"


CASES: dict[str, tuple[Callable[[Project], list[str]], list[str]]] = {
    "an empty file": (lambda p: ["--data.path", data(p, "")], ["mine.csv", "empty"]),
    "only a header": (lambda p: ["--data.path", data(p, "text,label\n")], ["mine.csv", "no rows"]),
    "a missing column": (lambda p: ["--data.path", data(p, TABLE.replace("text,", "message,", 1))], ["text", "message", "--data.columns.text"]),
    "binary junk": (lambda p: ["--data.path", data(p, bytes(range(256)) * 40)], ["mine.csv", "binary"]),
    "invalid UTF-8": (
        lambda p: ["--data.path", data(p, TABLE.encode() + "caf\u00e9 table broke,refund\n".encode("cp1252"))],
        ["mine.csv", "line 82", "utf-8", "data.encoding"],
    ),
    "a class with one row": (lambda p: ["--data.path", data(p, TABLE + "hello there,greeting\n")], ["greeting", "min_rows_per_label"]),
    "an unknown label in a predefined test file": (
        lambda p: [
            *("--data.path", str(Path(data(p, TABLE, "mine/train.csv")).parent), "--data.train_file", "train.csv"),
            *("--data.test_file", Path(data(p, TABLE + "hi,greet\nhey you,greet\n", "mine/test.csv")).name, "--split.method", "predefined"),
        ],
        ["greet", "test", "not in train"],
    ),
    "too many rejects": (lambda p: ["--data.path", data(p, TABLE + ",order\n" * 20)], ["max_rejected", "20 of 100"]),
    "a metric that does not exist": (lambda p: ["--train.metric_for_best_model", "accurasy"], ["metric_for_best_model", "accuracy"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_stage_finds_ends_with_status_1(project: Project, server: str, case: str) -> None:
    project.env["PREFECT_API_URL"] = server
    words, says = CASES[case]
    sentence = told(project, 1, *words(project))
    assert all(part in sentence for part in says), sentence


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Put a small file system under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize(("folder", "size"), [("models", "100k"), (".dvc/cache", "300k")])
def test_a_full_disk_is_said_and_the_next_run_goes_on(project: Project, server: str, folder: str, size: str) -> None:
    project.env["PREFECT_API_URL"] = server
    with small_disk(project.root / folder, size):
        assert "disk is full" in told(project, 1)
    assert "of 6 stages cached" in project.retrain().stdout
    assert "up to date" in project.dvc("status").stdout
