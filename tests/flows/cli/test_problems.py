"""`retrain problems`: a list of all, and one in full."""

import json
import shutil
import sys

import pytest

from tasks.shared.params import problem_names
from tests.support.project import ROOT, Project


def listed(project: Project, *words: str) -> list[dict[str, object]]:
    return list(json.loads(project.retrain(*words, "--json", command="problems").stdout))


def test_all_are_listed_with_their_columns_a_row_the_headline_and_how_they_are_served(
    project: Project,
) -> None:
    found = {its["name"]: its for its in listed(project)}
    assert [*found] == problem_names()
    ours = found["text_classification"]
    assert ours["headline"] == "macro_f1"
    assert (ours["task"], ours["served_by"]) == ("text-classification", "pipeline")
    (rows,) = ours["rows"]
    assert rows["columns"]["text_pair"] == {"kind": "text", "role": "input", "optional": True}
    assert found["question_answering"]["served_by"] == "serve.py"
    kinds = [rows["option"] for rows in found["text_generation"]["rows"]]
    assert kinds == [f"--text_generation.rows {kind}" for kind in ("instructions", "text", "messages")]
    shown = project.retrain(command="problems").stdout
    for its in found.values():
        assert f"{its['name']}: {its['about']}"[:80] in shown
        for rows in its["rows"]:
            assert json.dumps(rows["examples"][0], ensure_ascii=False) in shown


def test_one_is_shown_with_its_params_formats_and_params_files(project: Project) -> None:
    shown = project.retrain("token-classification", command="problems").stdout
    assert "token_classification.tag_column -1" in shown
    assert "CoNLL" in shown
    assert "examples/wnut17.yaml" in shown
    (its,) = listed(project, "text_generation")
    names = {param["name"]: param["default"] for param in its["params"]}
    assert names["text_generation.lora.r"] == 0
    assert "text_generation.lora" not in names
    assert [file["file"] for file in its["params_files"]] == [
        f"examples/{name}.yaml" for name in ("gsm8k", "gsm8k_lora", "tinyshakespeare")
    ]
    refused = project.retrain("text_regresion", command="problems", status=2).stderr
    assert "there is no problem 'text_regresion'; did you mean 'text_regression'?" in refused


def test_every_params_file_in_examples_is_named_by_one_problem(project: Project) -> None:
    named = [file["file"] for its in listed(project) for file in its["params_files"]]
    assert sorted(named) == sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("examples/*.yaml"))


def test_a_problem_of_ones_own_is_listed_as_soon_as_its_folder_is_there(project: Project) -> None:
    shutil.copytree(ROOT / "examples/problems/text_rating", project.root / "tasks/problems/text_rating")
    (its,) = listed(project, "text_rating")
    assert its["about"].startswith("A rating per text")
    assert its["params"] == []


@pytest.mark.slow
def test_no_heavy_library_is_imported(project: Project) -> None:
    program = (
        "import sys\nfrom flows.cli.app import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'prefect', 'datasets', 'sklearn'} & set(sys.modules)))"
    )
    done = project.run(sys.executable, "-c", program, "problems")
    assert done.stdout.splitlines()[-1] == "[]"
