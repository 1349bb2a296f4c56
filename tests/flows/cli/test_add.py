"""Bringing data in: what a model was trained on is under Git or DVC, wherever it came from."""

from pathlib import Path

import pytest

from tests.support.project import Project

HEADER = "text,label,created_at\n"


def outside(project: Project, rows: int) -> Path:
    path = project.root.parent / "export.csv"
    path.write_text(
        HEADER
        + "".join(
            f"where is parcel {i},order,2026-01-01\ngive me my {i} euro,refund,2026-01-01\n"
            for i in range(rows)
        )
    )
    return path


@pytest.mark.slow
def test_adding_imports_and_adding_again_takes_in_what_is_new(project: Project) -> None:
    source = outside(project, 10)
    assert "is now in data/raw/export.csv" in project.retrain(str(source), command="add").stderr
    assert (project.root / "data/raw/export.csv.dvc").exists()
    assert "unchanged" in project.retrain(str(source), command="add").stderr
    outside(project, 11)
    assert "is now in" in project.retrain("../export.csv", command="add").stderr
    assert len((project.root / "data/raw/export.csv").read_text("utf-8").splitlines()) == 23


def test_a_name_that_is_taken_is_refused(project: Project) -> None:
    source = outside(project, 10)
    project.retrain(str(source), "mine.csv", command="add")
    other = source.with_name("other.csv")
    other.write_text(source.read_text("utf-8"))
    assert "comes from" in project.retrain(str(other), "mine.csv", command="add", status=2).stderr
    assert "exists already" in project.retrain(str(other), "tickets.csv", command="add", status=2).stderr
    assert "no file or folder" in project.retrain("nowhere.csv", command="add", status=2).stderr


@pytest.mark.slow
def test_a_run_on_data_from_outside_imports_it_first_and_the_next_run_takes_in_its_newer_state(
    project: Project, server: str
) -> None:
    project.env["PREFECT_API_URL"] = server
    source = outside(project, 40)
    first = project.retrain("--data.path", str(source), "--train.max_steps", "2")
    assert "is now in data/raw/export.csv, under DVC" in first.stderr
    assert "path: data/raw/export.csv" in (project.root / "params.yaml").read_text("utf-8")
    outside(project, 45)
    again = project.retrain("--data.path", str(source))
    assert "90 rows read" in again.stderr
    assert "up to date" in project.dvc("status").stdout
