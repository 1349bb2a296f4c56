"""Everything a user can get wrong, one by one: one clear sentence, exit status 1 or 2, and nothing lost."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.cli.common import given
from flows.engine.workspace import isolated
from flows.report.plan import foresee
from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer, lay_over, save, written_in
from tests.support.errors import only_error
from tests.support.project import Project
from tests.support.server import ask, flow_run
from tests.support.stages import STAGES
from tests.support.wait import until

ROWS = [
    f"{word} number {i},{label}"
    for i in range(40)
    for word, label in (("where is my parcel", "order"), ("give me my money", "refund"))
]
TABLE = "text,label\n" + "\n".join(ROWS) + "\n"


def told(project: Project, status: int, *words: str) -> str:
    """Run `retrain run` and return the one line that starts with `error:`; where a server watches, its states say the same."""
    done = project.retrain(*words, status=status)
    sentence = only_error(done)
    assert "NoneType: None" not in done.stderr
    assert (done.stdout + done.stderr).count(sentence.removeprefix("error: ")) == 1, "a failure is said once"
    if "PREFECT_API_URL" in project.env and status == 1:
        run = flow_run(project.env["PREFECT_API_URL"], done.stderr)
        asked = {
            "flow_runs": {"id": {"any_": [run["id"]]}},
            "task_runs": {"state": {"type": {"any_": ["FAILED"]}}},
        }
        # the server learns of tasks later than of the run
        (task,) = until(lambda: ask(project.env["PREFECT_API_URL"], "task_runs/filter", **asked))
        assert f"error: {run['state']['message']}" == f"error: {task['state']['message']}" == sentence
    return sentence


def data(project: Project, content: str | bytes, name: str = "mine.csv") -> str:
    path = project.root / "data/raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return f"data/raw/{name}"


def misspelled(project: Project) -> None:
    """Write a metric that there is not into params.yaml, as an editor does."""
    file = project.root / "params.yaml"
    text = file.read_text("utf-8")
    file.write_text(text.replace("metric_for_best_model:", "metric_for_best_model: accurasy"), "utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data.path", "nowhere.csv"], ["data.path", "nowhere.csv"]),
        (["--train.learning_rat", "1"], ["--train.learning_rat", "did you mean --train.learning-rate?"]),
        (["--train.learning_rate", "-1"], ["train.learning_rate", "-1", "greater than 0"]),
        (["--train.precision", "int3"], ["train.precision", "int3", "bf16"]),
        (
            ["--train.extra.neftune_noise_alfa", "5"],
            ["neftune_noise_alfa", "did you mean 'neftune_noise_alpha'"],
        ),
        (["--problem", "text-clasification"], ["text-clasification", "text_classification"]),
        (["--model.name", "nobody/nothing"], ["nobody/nothing", "hub"]),
        (["--model.name", "./no/folder"], ["./no/folder"]),
        (["--params", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--train.metric_for_best_model", "accurasy"], ["metric_for_best_model", "accuracy"]),
    ],
)
def test_what_can_be_told_before_anything_runs_ends_with_status_2(
    project: Project, words: list[str], says: list[str]
) -> None:
    before = (project.root / "params.yaml").read_text("utf-8")
    sentence = told(project, 2, *words)
    assert all(part in sentence for part in says), sentence
    assert (project.root / "params.yaml").read_text("utf-8") == before, "a refused value is not written down"


@pytest.mark.slow
@pytest.mark.parametrize("has_server", [False, True])
def test_a_name_that_was_edited_into_params_is_refused_before_any_stage(
    trained: Project, server: str, has_server: bool
) -> None:
    if has_server:
        trained.env["PREFECT_API_URL"] = server
    misspelled(trained)
    done = trained.retrain(status=2)
    assert "there is no validation metric 'accurasy'; did you mean 'accuracy'?" in only_error(done)
    assert "running:" not in done.stderr


def test_a_name_that_was_edited_into_params_is_refused_by_a_plan_and_an_isolated_run(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    misspelled(trained)
    monkeypatch.chdir(trained.root)
    for name, value in trained.env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="there is no validation metric 'accurasy'"):
        foresee([], trained.root, print, isolated=False)
    with (
        pytest.raises(InputError, match="there is no validation metric 'accurasy'"),
        isolated(Layer("params", {}), "nightly", print, update_data=False),
    ):
        pass


def test_a_params_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--params: .*: Is a directory; give a file that you may read$"):
        given(None, tmp_path, None, tmp_path)


CASES: dict[str, tuple[str, Callable[[Project], list[str]], list[str]]] = {
    "an empty file": ("ingest", lambda p: ["--data.path", data(p, "")], ["mine.csv", "empty"]),
    "only a header": ("ingest", lambda p: ["--data.path", data(p, "text,label\n")], ["mine.csv", "no rows"]),
    "a missing column": (
        "ingest",
        lambda p: ["--data.path", data(p, TABLE.replace("text,", "message,", 1))],
        ["text", "message", "--data.columns.text"],
    ),
    "binary junk": (
        "ingest",
        lambda p: ["--data.path", data(p, bytes(range(256)) * 40)],
        ["mine.csv", "binary"],
    ),
    "invalid UTF-8": (
        "ingest",
        lambda p: [
            "--data.path",
            data(p, TABLE.encode() + "caf\u00e9 table broke,refund\n".encode("cp1252")),
        ],
        ["mine.csv", "line 82", "utf-8", "data.encoding"],
    ),
    "a class with one row": (
        "split",
        lambda p: ["--data.path", data(p, TABLE + "hello there,greeting\n")],
        ["greeting", "min_rows_per_label"],
    ),
    "an unknown label in a predefined test file": (
        "split",
        lambda p: [
            *(
                "--data.path",
                str(Path(data(p, TABLE, "mine/train.csv")).parent),
                "--data.train_file",
                "train.csv",
            ),
            *(
                "--data.test_file",
                Path(data(p, TABLE + "hi,greet\nhey you,greet\n", "mine/test.csv")).name,
                "--split.method",
                "predefined",
            ),
        ],
        ["greet", "test", "not in train"],
    ),
    "too many rejects": (
        "ingest",
        lambda p: ["--data.path", data(p, TABLE + ",order\n" * 20)],
        ["max_rejected", "20 of 100"],
    ),
}


def found(project: Project, stage: str, words: list[str]) -> str:
    """Run the stages up to one that fails, each as dvc.yaml runs it, with what the words of a command line set."""
    file = project.root / "params.yaml"
    changes: dict[str, dict[str, str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        section, _, name = option.removeprefix("--").partition(".")
        changes.setdefault(section, {})[name] = value
    save(lay_over(written_in(file), Layer("words", changes)), file)
    for before in STAGES[: STAGES.index(stage)]:
        project.run("python", "-m", f"tasks.{before}")
    return only_error(project.run("python", "-m", f"tasks.{stage}", status=1))


@pytest.mark.parametrize("case", CASES)
def test_a_stage_says_what_it_finds_in_a_sentence_and_ends_with_status_1(project: Project, case: str) -> None:
    stage, words, says = CASES[case]
    sentence = found(project, stage, words(project))
    assert sentence.startswith(f"error: {stage}: ")
    assert all(part in sentence for part in says), sentence


@pytest.mark.parametrize(
    "case", ["a missing column", pytest.param("a class with one row", marks=pytest.mark.slow)]
)
def test_a_run_ends_with_its_stages_sentence_and_status_1(trained: Project, server: str, case: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    _, words, says = CASES[case]
    sentence = told(trained, 1, *words(trained))
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


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize(("folder", "size"), [("models", "100k"), (".dvc/cache", "300k")])
def test_a_full_disk_is_said_and_the_next_run_goes_on(
    project: Project, server: str, folder: str, size: str
) -> None:
    project.env["PREFECT_API_URL"] = server
    with small_disk(project.root / folder, size):
        assert "disk is full" in told(project, 1)
    assert "of 7 stages cached" in project.retrain().stdout
    assert "up to date" in project.dvc("status").stdout
