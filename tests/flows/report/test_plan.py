"""`retrain plan`: what a run with other params or data would do and why, found out without touching anything."""

import json
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tasks.shared.costs import Cost, model_of
from tasks.shared.files import private_folder, read_json
from tasks.shared.params_file import load
from tests.support.edits import remove, rewrite
from tests.support.forking import forking
from tests.support.plans import fates, plan, settled, texts, tree
from tests.support.project import Once, Project, copy_of, tiny
from tests.support.stages import STAGES

# a learning rate that has been computed too, before the one in params.yaml
OTHER = "0.001"


@pytest.fixture(scope="session")
def twice(once: Once, computed: Project, python: Path) -> Project:
    """A clone in which DVC has run the last four stages with the other learning rate too, and stands at its own again."""

    def make(folder: Path) -> None:
        made = forking(copy_of(computed, folder), python)
        rewrite(made.root / "params.yaml", "learning_rate: 0.0002", f"learning_rate: {OTHER}")
        assert made.dvc("repro").stdout.count("Running stage") == 4
        made.run("git", "checkout", "-q", ".")
        made.dvc("checkout")

    return forking(tiny(once("computed_twice", make) / "project"), python)


@pytest.fixture
def project(twice: Project, tmp_path: Path) -> Project:
    """A copy of that clone, cache and all, to change at will."""
    return copy_of(twice, tmp_path)


def test_nothing_has_changed(project: Project) -> None:
    done = project.retrain("--exit-code", command="plan")
    lines = [line.split() for line in done.stdout.splitlines()[1:8]]
    assert [words[:2] for words in lines] == [[name, "unchanged"] for name in STAGES]
    assert all(words[3] == "s," for words in lines), "DVC ran them, and they have noted what they took"
    assert done.stdout.endswith("nothing to do\n")
    assert "\x1b" not in done.stdout
    planned = plan(project)
    assert fates(planned) == ["unchanged"] * 7
    assert (planned["to_run"], planned["to_restore"], planned["notes"]) == ([], [], [])


def test_a_changed_param_is_shown_with_its_old_and_new_value_and_params_yaml_is_left_alone(
    project: Project,
) -> None:
    before = tree(project)
    planned = plan(project, "--train.learning-rate", "1e-4", "--train.early_stopping_patience", "3")
    assert fates(planned) == ["unchanged"] * 3 + ["stale"] * 4
    rate, patience = planned["train"]["reasons"]
    assert (rate["kind"], rate["name"], rate["old"], rate["new"]) == (
        "param",
        "train.learning_rate",
        0.0002,
        0.0001,
    )
    assert rate["text"] == "train.learning_rate 0.0002 -> 0.0001"
    assert patience["text"] == "train.early_stopping_patience none -> 3"
    assert "its input models/checkpoint will be made anew by train" in texts(planned, "evaluate")
    assert tree(project) == before, "nothing at all is written"


@pytest.mark.slow
def test_options_a_file_and_params_yaml_plan_the_same(project: Project, tmp_path: Path) -> None:
    by_option = plan(project, "--tokenize.max_length", "64")
    (tmp_path / "some.yaml").write_text("tokenize:\n  max_length: 64\n", encoding="utf-8")
    assert plan(project, "--params", str(tmp_path / "some.yaml")) == by_option
    rewrite(project.root / "params.yaml", "max_length: 128", "max_length: 64")
    assert plan(project) == by_option
    assert fates(by_option) == ["unchanged", "unchanged", *["stale"] * 5]


@pytest.mark.slow
def test_a_plan_begins_with_the_params_of_a_revision_and_keeps_nothing_of_the_checkouts(
    project: Project,
) -> None:
    file = project.root / "params.yaml"
    committed = file.read_text("utf-8")
    rewrite(file, "max_length: 128", "max_length: 64")
    rewrite(file, "extra: {}", "extra: {neftune_noise_alpha: 5}")
    changed = file.read_text("utf-8")
    assert fates(plan(project)) == ["unchanged", "unchanged", *["stale"] * 5]
    done = project.retrain("--from", "HEAD", command="plan")
    assert "params.yaml would change: " in done.stderr
    assert "train.extra.neftune_noise_alpha 5 -> none" in done.stderr
    assert fates(plan(project, "--from", "HEAD")) == ["unchanged"] * 7
    assert fates(plan(project, "--from", "HEAD", "--lr", "1e-4")) == ["unchanged"] * 3 + ["stale"] * 4
    assert file.read_text("utf-8") == changed, "nothing is written"
    nowhere = project.retrain("--from", "nowhere", command="plan", status=2)
    assert "no commit, branch, tag or experiment 'nowhere'" in nowhere.stderr
    # starts nothing: all is there
    project.retrain("--from", "HEAD")
    assert file.read_text("utf-8") == committed


@pytest.mark.slow
def test_what_was_computed_before_is_restored_through_a_chain_of_stages(project: Project) -> None:
    planned = plan(project, "--train.learning-rate", OTHER)
    assert fates(planned) == ["unchanged"] * 3 + ["restorable"] * 4
    assert any(
        "its input models/checkpoint will be restored by train with other content (" in text
        for text in texts(planned, "evaluate")
    )
    assert project.retrain("--train.learning-rate", OTHER, command="plan").stdout.endswith(
        "\n4 stages to restore\n"
    )
    project.retrain("--exit-code", "--train.learning-rate", OTHER, command="plan")
    rewrite(project.root / "params.yaml", "learning_rate: 0.0002", f"learning_rate: {OTHER}")
    assert "Running stage" not in project.dvc("repro").stdout
    assert fates(plan(project)) == ["unchanged"] * 7


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["0.0003", OTHER])
def test_the_plan_is_what_a_run_does(project: Project, rate: str) -> None:
    rewrite(project.root / "params.yaml", "learning_rate: 0.0002", f"learning_rate: {rate}")
    remove(project, "data/tokens", "models/checkpoint")
    planned = ["restored" if fate == "restorable" else fate for fate in fates(plan(project))]
    assert planned == [
        "unchanged",
        "unchanged",
        "restored",
        *(["restored"] * 4 if rate == OTHER else ["stale"] * 4),
    ]
    done = settled(project)
    assert done == planned[: len(done)]
    assert len(done) == (7 if rate == OTHER else 4)


@pytest.mark.slow
def test_an_isolated_run_starts_from_the_cache_not_from_the_folders_here(project: Project) -> None:
    remove(project, "models/checkpoint", "data/splits")
    (project.root / "data/splits").mkdir()
    before = tree(project)
    assert fates(plan(project, "--isolated")) == ["unchanged"] * 7
    assert (
        fates(plan(project, "--isolated", "--train.learning-rate", OTHER))
        == ["unchanged"] * 3 + ["restorable"] * 4
    )
    assert tree(project) == before
    remove(project, ".dvc/cache/files")
    planned = plan(project, "--isolated")
    assert fates(planned) == ["stale"] * 7
    gone = ("data/ingested", "data/media")
    assert texts(planned, "ingest") == [f"its output {name} is not in the DVC cache" for name in gone]


@pytest.mark.slow
def test_data_from_outside_is_not_brought_in_and_what_it_would_be_is_said(
    project: Project, tmp_path: Path
) -> None:
    source = tmp_path / "outside.csv"
    shutil.copy(project.root / "data/raw/tickets.csv", source)
    before = tree(project)
    planned = plan(project, "--data.path", "../outside.csv")
    assert planned["notes"] == [f"{source} would be brought in as data/raw/outside.csv first"]
    assert "data.path data/raw/tickets.csv -> data/raw/outside.csv" in texts(planned, "ingest")
    assert planned["to_run"] == list(STAGES)
    url = "https://example.org/new.csv"
    assert (
        f"its input data/raw/new.csv would be brought in from {url}; what is in it is known only then"
        in texts(plan(project, "--data.path", url), "ingest")
    )
    source.rename(tmp_path / "tickets.csv")
    refused = project.retrain("--data.path", "../tickets.csv", command="plan", status=2).stderr
    assert "data/raw/tickets.csv exists already; choose another name" in refused
    assert tree(project) == before


@pytest.mark.slow
def test_costs_are_those_of_the_last_runs_of_this_model_by_rows_and_are_summed_up(project: Project) -> None:
    (project.root / ".retrain").mkdir(exist_ok=True)
    params = load(project.root / "params.yaml")
    rows = read_json(project.root / "metrics/ingest.json")["rows"]
    epochs = params.train.num_train_epochs
    train = Cost(
        45.02, 1_200_000_000, "cpu, 2 cores", None, params.problem, model_of(params), epochs, rows // 2
    )
    lines = [json.dumps(asdict(replace(train, seconds=seconds))) for seconds in (1.0, 45.02, 90.0)]
    shutil.rmtree(project.root / ".retrain/costs", ignore_errors=True)
    costs = private_folder(project.root / ".retrain/costs")
    (costs / "train.jsonl").write_text("\n".join([*lines, '{"seconds": 1']), encoding="utf-8")
    other = replace(train, seconds=5.0, model="another")
    (costs / "evaluate.jsonl").write_text(json.dumps(asdict(other)) + "\n", encoding="utf-8")
    words = ("--train.learning-rate", "1e-4")
    planned = plan(project, *words)
    assert planned["seconds"] == pytest.approx(90.0, abs=2)
    assert planned["train"]["took"]["seconds"] == 90.0
    assert planned["train"]["likely"]["runs"] == 3
    assert (planned["evaluate"]["took"]["seconds"], planned["evaluate"]["likely"]) == (5.0, None)
    shown = project.retrain(*words, command="plan", status=0).stdout
    assert shown.endswith("s, not run here yet: evaluate, package, judge\n")
    assert "90.0 s, 1.2 GB" in shown
    project.retrain("--exit-code", *words, command="plan", status=1)


def test_wrong_input_is_one_sentence(project: Project) -> None:
    assert (
        "error: data.path: there is no file or folder 'nowhere.csv'"
        in project.retrain("--data.path", "nowhere.csv", command="plan", status=2).stderr
    )
    assert "greater than 0" in project.retrain("--train.learning_rate", "-1", command="plan", status=2).stderr


def test_no_heavy_library_is_imported(project: Project) -> None:
    program = (
        "import sys\nfrom flows.cli.app import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'prefect'} & set(sys.modules)))"
    )
    done = project.run(sys.executable, "-c", program, "plan", "--train.learning-rate", "1e-4")
    assert done.stdout.splitlines()[-1] == "[]"
    assert os.fspath(project.root) not in done.stderr
