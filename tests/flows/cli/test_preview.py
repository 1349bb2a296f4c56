"""`retrain preview`: what a run would read, said before anything is written, in ingest's own words."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.report.preview import _found
from tasks.shared.errors import InputError
from tasks.shared.files import digests
from tasks.shared.params_file import load
from tests.support.project import ROOT, Project

ROWS = 100_000
TOPICS = ("parcel", "refund", "jacket")


def previewed(project: Project, *words: str, status: int = 0) -> dict[str, Any]:
    return dict(json.loads(project.retrain(*words, "--json", command="preview", status=status).stdout))


def written(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def usable(count: int) -> list[str]:
    return [f"{TOPICS[number % 3]} number {number},{TOPICS[number % 3]}" for number in range(count)]


def tree(project: Project) -> dict[str, str]:
    """Return the SHA-256 of all files, ignored and hidden ones too, and what Git says."""
    found = digests(project.root)
    for folder in (".dvc", ".retrain"):
        found |= {f"{folder}/{name}": digest for name, digest in digests(project.root / folder).items()}
    return found | {"status": project.run("git", "status", "--porcelain").stdout}


def test_it_says_what_ingest_and_split_then_do_and_writes_nothing(project: Project) -> None:
    before = tree(project)
    found = previewed(project, "--rows", "2")
    assert tree(project) == before
    assert not (project.root / "data/ingested").exists()
    project.run(project.python, "-m", "tasks.ingest")
    project.run(project.python, "-m", "tasks.split")
    ingested = json.loads((project.root / "metrics/ingest.json").read_text("utf-8"))
    sides = json.loads((project.root / "metrics/split.json").read_text("utf-8"))
    assert {
        name: found[name] for name in ("read", "rows", "rejected", "duplicates", "labels")
    }.items() <= ingested.items()
    assert {its["column"]: its["holds"] for its in found["columns"]} == ingested["columns"]
    assert {name: found["split"][name] for name in ("train", "validation", "test")}.items() <= sides.items()
    rejected = (project.root / "data/ingested/rejected.jsonl").read_text("utf-8").splitlines()
    assert sum(its["rows"] for its in found["reasons"]) == len(rejected) == found["rejected"]
    assert [row["source_row"] for row in found["first_rows"]] == [1, 2]
    assert found["others"] == ["created_at"]
    assert found["tokens"]["rows"] == min(sides["train"], 1000)
    assert found["tokens"]["cut_at"] == 128
    assert found["tokens"]["length"]["p100"] <= 128


def test_rejected_rows_are_shown_with_their_reasons_though_a_run_would_stop(
    project: Project, tmp_path: Path
) -> None:
    file = written(tmp_path / "bad.csv", "text,label", ",parcel", ",refund", *usable(12), usable(1)[0])
    found = previewed(project, "--data.path", str(file), status=2)
    most = found["reasons"][0]
    assert (most["reason"], most["rows"], most["first"]["row"]) == ("text: blank", 2, 1)
    assert found["duplicates"] == 1
    (stop,) = [sentence for sentence in found["stops"] if sentence.startswith("ingest: ")]
    assert (
        "2 of 15 rows are rejected, more than ingest.max_rejected 5% allows: 2 text: blank (first: bad.csv row 1)"
        in stop
    )
    shown = project.retrain("--data.path", str(file), command="preview", status=2)
    assert f"a run would stop: {stop}" in shown.stdout
    assert "is read where it lies" in shown.stderr
    assert not (project.root / "data/raw/bad.csv").exists()


def test_rows_are_all_rejected_and_shown(project: Project, tmp_path: Path) -> None:
    file = written(tmp_path / "blank.csv", "text,label", ",parcel", ",refund")
    found = previewed(project, "--data.path", str(file), status=2)
    assert (found["read"], found["rows"], found["first_rows"]) == (2, 0, [])
    assert found["stops"][0].startswith("ingest: 2 of 2 rows are rejected")


@pytest.mark.slow
def test_wrong_input_is_the_sentence_of_ingest(project: Project, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", "message,label", *usable(12))

    def refused(*words: str) -> str:
        done = project.retrain(*words, command="preview", status=2)
        assert done.stdout == ""
        return done.stderr

    assert "there is no column 'text'" in refused("--data.path", str(file))
    assert "say which one is the text with --data.columns.text NAME" in refused("--data.path", str(file))
    assert "there is no file or folder" in refused("--data.path", str(tmp_path / "nowhere.csv"))
    assert "known only once it is fetched; `retrain add" in refused(
        "--data.path", "https://example.org/rows.csv"
    )
    assert "there is no option --data.colums.text; did you mean" in refused("--data.colums.text", "message")
    found = previewed(project, "--data.path", str(file), "--data.columns.text", "message")
    assert found["columns"][0]["in_files"] == "message"


def test_data_under_dvc_that_is_not_checked_out_says_how_to_get_it(project: Project, tmp_path: Path) -> None:
    written(project.root / "data/raw/more.csv", "text,label", *usable(12))
    project.dvc("add", "data/raw/more.csv")
    (project.root / "data/raw/more.csv").unlink()
    done = project.retrain("--data.path", "data/raw/more.csv", command="preview", status=2)
    assert "is under DVC but not checked out; get it with `dvc checkout`" in done.stderr


def test_of_another_problem_its_own_columns_are_described(project: Project, tmp_path: Path) -> None:
    rows = [{"text": f"{TOPICS[number % 3]} {number}", "number": number / 4} for number in range(20)]
    file = written(tmp_path / "ratings.jsonl", *map(json.dumps, rows))
    found = previewed(project, "--problem", "text_regression", "--data.path", str(file))
    (_, number) = found["columns"]
    assert number["holds"]["numbers"]["p0"] == 0
    assert number["holds"]["numbers"]["p100"] == 4.75
    assert found["labels"] == {}


@pytest.mark.slow
def test_many_rows_are_counted_in_full_and_tokens_of_the_first_thousand(
    project: Project, tmp_path: Path
) -> None:
    file = written(tmp_path / "many.csv", "text,label", *usable(ROWS))
    found = previewed(project, "--data.path", str(file), "--tokenize.max-length", "4")
    assert found["rows"] == sum(found["labels"].values()) == ROWS
    assert found["tokens"]["rows"] == found["tokens"]["cut"] == 1000
    assert found["tokens"]["cut_at"] == 4


@pytest.mark.slow
def test_a_tokenizer_that_is_still_to_be_learned_or_fetched_is_said(project: Project) -> None:
    learned = previewed(
        project, "--model.name", "none", "--model.from-scratch.type", "bert", "--tokenize.train.kind", "bpe"
    )
    assert "is learned by the run" in learned["tokens"]["why"]
    away = previewed(project, "--model.name", "somebody/something")
    assert "somebody/something" in away["tokens"]["why"]


def test_what_reads_the_data_may_be_killed(tmp_path: Path) -> None:
    package = tmp_path / "tasks/preview"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "__main__.py").write_text("import os\nos.kill(os.getpid(), 9)\n", "utf-8")
    params = load(ROOT / "params.yaml")
    with pytest.raises(InputError, match=r"^data\.path: what reads the data was killed"):
        _found(params, tmp_path, 1)
