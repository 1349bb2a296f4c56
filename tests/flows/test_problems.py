"""A problem of somebody's own is one file in one folder: seven stages, both drivers, and all that is said of a run."""

import ast
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.shared.files import read_json, rounded
from tests.support.plans import plan
from tests.support.project import ROOT, Project, copy_of
from tests.support.rows import write
from tests.support.server import artifacts, flow_run
from tests.support.stages import STAGES, happened, outputs

EXAMPLES = ROOT / "examples/problems"
ROWS = {"text_rating": "ratings.csv", "text_tags": "tags.jsonl"}


@pytest.fixture(params=ROWS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a problem that stands in no stage, template, page of the report, param or pin."""
    return str(request.param)


def problem(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name / "__init__.py"))["PROBLEM"]


@pytest.fixture
def theirs(trained: Project, name: str) -> Project:
    """A clone in which text classification is computed, with this folder more, and a file of rows, all committed."""
    shutil.copytree(EXAMPLES / name, trained.root / "tasks/problems" / name)
    write(trained.root / "data/raw" / ROWS[name], problem(name).columns, 90)
    trained.run("git", "add", "-A")
    trained.run("git", "commit", "-qm", "a problem of our own")
    return trained


def flags(name: str) -> tuple[str, ...]:
    return "--problem", name, "--data.path", f"data/raw/{ROWS[name]}"


def test_an_example_is_one_short_file(name: str) -> None:
    (file,) = (EXAMPLES / name).iterdir()
    assert len(file.read_text("utf-8").splitlines()) < 80


@pytest.mark.slow
def test_a_new_problem_runs_through_all_stages_under_both_drivers(
    theirs: Project, name: str, server: str, tmp_path: Path
) -> None:
    theirs.env["PREFECT_API_URL"] = server
    planned = plan(theirs, *flags(name))
    assert planned["to_run"] == list(STAGES)
    assert "problem text_classification -> " + name in json.dumps(planned)

    other = copy_of(theirs, tmp_path / "other")
    run = theirs.retrain(*flags(name))
    assert happened(run.stdout) == dict.fromkeys(STAGES, "ran")
    assert "up to date" in theirs.dvc("status").stdout
    assert "Running stage" not in theirs.dvc("repro").stdout
    again = theirs.retrain(*flags(name))
    assert happened(again.stdout) == dict.fromkeys(STAGES, "cached (unchanged)")

    shutil.copy2(theirs.root / "params.yaml", other.root / "params.yaml")
    assert other.dvc("repro").stdout.count("Running stage") == 7
    assert outputs(other) == outputs(theirs), "DVC alone makes the same bits"

    headline = problem(name).headline
    report = artifacts(server, flow_run(server, run.stderr))["report"]["data"]
    assert headline.replace("_", "\\_") in report or headline in report
    assert report.count("![") == len(list((theirs.root / "plots/evaluate/figures").iterdir()))
    assert "`models/package/README.md` is the model's card" in report
    card = (theirs.root / "models/package/README.md").read_text("utf-8")
    assert f"| `{headline}` |" in card
    assert headline in theirs.dvc("metrics", "show").stdout
    theirs.dvc("plots", "show", "-o", "shown")
    page = (theirs.root / "shown/index.html").read_text("utf-8")
    assert f"validation_{headline}.csv" in page
    assert "learning_curve.png" in page

    # the next run is compared with this one
    file = theirs.root / "data/raw" / ROWS[name]
    file.write_text("\n".join(file.read_text("utf-8").splitlines()[:-3]) + "\n", encoding="utf-8")
    run = theirs.retrain("--train.max_steps", "2")
    report = artifacts(server, flow_run(server, run.stderr))["report"]["data"]
    assert "0 added, 3 removed, 0 relabelled" in report
    assert "the run before" in run.stdout
    # its pins are part of its own key
    (theirs.root / "tasks/problems" / name / "pins.yaml").write_text('funcy: "2.0"\n')
    assert plan(theirs)["to_run"] == list(STAGES)


def test_the_form_of_a_deployment_takes_a_new_problem(theirs: Project, name: str) -> None:
    code = f"""
from flows.engine.form import form
from tasks.shared.params_file import PARAMS, Layer, lay_over, written_in
standing = written_in(PARAMS)
received = form(standing).model_validate({{"problem": "{name}"}}).model_dump(mode="json")
print(lay_over(standing, Layer("form", received)).problem)
"""
    assert theirs.run("python", "-c", code).stdout.strip() == name


@pytest.mark.slow
def test_editing_a_problem_or_its_pins_leaves_the_stages_of_others_up_to_date(
    theirs: Project, name: str
) -> None:
    folder = theirs.root / "tasks/problems" / name
    (folder / "__init__.py").open("a").write("\n# edited\n")
    (folder / "pins.yaml").write_text('funcy: "2.0"\n')
    assert "up to date" in theirs.dvc("status").stdout
    assert plan(theirs)["to_run"] == []


@pytest.mark.slow
def test_a_run_is_measured_by_evaluate_as_the_page_says_with_the_same_figures(trained: Project) -> None:
    page = (ROOT / "docs/problems.md").read_text("utf-8")
    (block,) = (
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "as_metric" in block
    )
    measured = ast.literal_eval(trained.run("python", "-c", block).stdout.splitlines()[-1])
    scores = read_json(trained.root / "metrics/evaluate.json")
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        assert rounded(measured[name]) == scores[name]


@pytest.mark.slow
def test_the_page_of_problems_shows_the_example_as_it_is_and_its_commands_work(trained: Project) -> None:
    page = (ROOT / "docs/problems.md").read_text("utf-8")
    assert (EXAMPLES / "text_rating/__init__.py").read_text("utf-8") in page
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    (commands,) = (block for block in blocks if block.startswith("cp "))
    (conformance,) = (block for block in blocks if "test_conformance" in block)
    write(trained.root / "data/raw/ratings.csv", problem("text_rating").columns, 90)
    copied, run = commands.splitlines()
    trained.run(*shlex.split(copied))
    assert happened(trained.retrain(*shlex.split(run)[2:]).stdout) == dict.fromkeys(STAGES, "ran")
    words = shlex.split(conformance)
    tried = trained.run(*words, "-q", "-k", "text_rating and (columns or targets or encoded or headline)")
    assert re.search(r"\d+ passed", tried.stdout)
