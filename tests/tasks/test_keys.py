"""Whole keys: dvc.yaml names every folder of source, param and pin that a stage's bytes depend on, derived here from the code."""

import ast
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tasks.shared import keys, stage
from tasks.shared.params import ENGINE, PROMOTE, TRACKERS, Params, problem_names
from tests.support.project import ROOT
from tests.support.stages import STAGES

PROBLEM = "text_classification"
# where a library is installed by another name
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "ruamel": "ruamel.yaml"}
# what transformers imports for some tokenizers, and nobody here
OF_TRANSFORMERS = {"sentencepiece"}
# decide no number: text and files, processes, what is shown
# gguf reads files of one kind, and its version is checked where it does
NO_NUMBERS = {
    "filelock",
    "funcy",
    "gguf",
    "httpx",
    "huggingface_hub",
    "jinja2",
    "psutil",
    "pydantic",
    "pydantic_core",
    "pyyaml",
    "ray",
    "ruamel.yaml",
    "tqdm",
}
SOURCES = ("tasks/",)
# it names the sources and params of all stages that make the model, and its own are among them
PACKAGE = STAGES.index("package")


@cache
def graph() -> grimp.ImportGraph:
    """Return who imports whom when it runs, inside functions too; what only a type checker imports is left out."""
    return grimp.build_graph(
        "tasks", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


@cache
def dvc_yaml() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    return stages


def closure(name: str) -> set[str]:
    """Return the project modules that a stage runs: imports of imports, packages above them, and the problem, which is loaded by name."""
    start = f"tasks.{name}.__main__"
    found = {start, *graph().find_upstream_modules(start)}
    if "tasks.problems" in found:
        problem = f"tasks.problems.{PROBLEM}"
        found |= {problem, *graph().find_upstream_modules(problem)}
    ours = {module for module in found if module.partition(".")[0] == "tasks"}
    return ours | {module.rpartition(".")[0] for module in ours if "." in module}


def source(module: str) -> str:
    """Return a module's file as dvc.yaml would spell it."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def listed_sources(name: str) -> list[str]:
    return [dep.replace("${problem}", PROBLEM) for dep in dvc_yaml()[name]["deps"] if dep.startswith(SOURCES)]


def listed_sections(name: str) -> set[str]:
    return {param.partition(".")[0] for param in dvc_yaml()[name]["params"] if isinstance(param, str)}


def lies_in(file: str, folders: list[str]) -> bool:
    return any(file == folder or file.startswith(f"{folder}/") for folder in folders)


def test_dvc_yaml_has_the_seven_stages_in_order() -> None:
    assert tuple(dvc_yaml()) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_one_folder_run_as_one_command_without_a_parameter_in_it(name: str) -> None:
    assert dvc_yaml()[name]["cmd"] == f"exec python -m tasks.{name}"


@pytest.mark.parametrize("name", STAGES)
def test_all_that_a_stage_imports_lies_in_the_folders_that_dvc_yaml_lists(name: str) -> None:
    outside = {
        source(module) for module in closure(name) if not lies_in(source(module), listed_sources(name))
    }
    assert outside == {"tasks/__init__.py"}


def test_the_one_module_that_no_key_holds_says_nothing() -> None:
    (docstring,) = ast.parse((ROOT / "tasks/__init__.py").read_text("utf-8")).body
    assert isinstance(docstring, ast.Expr)


@pytest.mark.parametrize("name", [name for name in STAGES if name != "package"])
def test_a_stage_imports_something_of_each_folder_that_dvc_yaml_lists(name: str) -> None:
    files = [source(module) for module in closure(name)]
    assert [
        folder for folder in listed_sources(name) if not any(lies_in(file, [folder]) for file in files)
    ] == []


def test_package_depends_on_the_sources_of_every_stage_because_it_names_them() -> None:
    making = STAGES[: PACKAGE + 1]
    assert set(listed_sources("package")) == {folder for name in making for folder in listed_sources(name)}
    assert all(
        lies_in(file, [*listed_sources("package"), "tasks/__init__.py"]) for file in keys.sources(PROBLEM)
    )


def test_deps_are_sorted_and_named_once() -> None:
    for name in STAGES:
        listed = [dep for dep in dvc_yaml()[name]["deps"] if dep.startswith(SOURCES)]
        assert listed == sorted(set(listed))


def test_only_the_problem_in_use_is_part_of_a_key() -> None:
    named = {dep for name in STAGES for dep in dvc_yaml()[name]["deps"] if "problems/" in dep}
    assert named == {"tasks/problems/__init__.py", "tasks/problems/common", "tasks/problems/${problem}"}
    for name in STAGES:
        uses = "tasks/problems/${problem}" in dvc_yaml()[name]["deps"]
        assert uses == ("problem" in listed_sections(name))


@pytest.mark.parametrize("name", [name for name in STAGES if name != "package"])
def test_the_sections_in_dvc_yaml_are_those_that_the_stage_reads(name: str) -> None:
    # all params are handed on only to what starts a training's processes
    files = [ROOT / f"tasks/{name}/{module}.py" for module in ("__main__", "launching")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files if file.exists()]
    nodes = chain.from_iterable(map(ast.walk, trees))
    asked = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    read = {node.attr for node in asked if isinstance(node.value, ast.Name) and node.value.id == "params"}
    assert read <= {"own", *Params.model_fields}
    assert {section.replace("${problem}", "own") for section in listed_sections(name)} == read - {ENGINE}


def test_package_depends_on_all_params_of_a_run_because_it_names_them() -> None:
    of_other_problems = {*problem_names()} - {PROBLEM}
    named = {section.replace("${problem}", PROBLEM) for section in listed_sections("package")}
    assert named == set(Params.model_fields) - of_other_problems - {TRACKERS, ENGINE, PROMOTE}
    assert named == set(Params().deciding())


def test_who_is_told_is_part_of_no_key_and_neither_is_the_code_that_tells() -> None:
    assert TRACKERS in Params.model_fields
    for name in STAGES:
        assert TRACKERS not in listed_sections(name)
        # its schema is a part of that of all params
        assert [module for module in closure(name) if "trackers" in module] == [
            "tasks.shared.params.trackers"
        ]
    assert [file for file in keys.sources(PROBLEM) if "trackers" in file] == [
        "tasks/shared/params/trackers.py"
    ]


def test_where_shards_are_computed_is_part_of_no_key() -> None:
    assert ENGINE in Params.model_fields
    for name in STAGES:
        assert ENGINE not in listed_sections(name)


def test_of_what_is_promoted_a_key_holds_nothing_but_the_champion() -> None:
    listed = [param for name in STAGES for param in dvc_yaml()[name]["params"] if PROMOTE in str(param)]
    assert listed == ["promote.champion"]


def test_every_stage_depends_on_the_pins_of_all_problems() -> None:
    for name in STAGES:
        assert {"pins.yaml": ["core"]} in dvc_yaml()[name]["params"]


def test_every_library_that_decides_a_number_is_pinned_and_every_pin_is_one() -> None:
    modules = {module for name in STAGES for module in closure(name)}
    libraries = {
        library for module in modules for library in graph().find_modules_directly_imported_by(module)
    }
    installed = {
        DISTRIBUTIONS.get(library, library)
        for library in libraries
        if library != "tasks" and "." not in library
    }
    ours = set(stage.pins(PROBLEM, ROOT))
    others = {name for name in installed if name not in sys.stdlib_module_names} - NO_NUMBERS
    assert others | OF_TRANSFORMERS == ours


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_outputs_of_earlier_stages_only(name: str) -> None:
    before = STAGES[: STAGES.index(name)]
    made = {out for earlier in before for out in dvc_yaml()[earlier]["outs"]}
    made |= {metric for earlier in before for entry in dvc_yaml()[earlier]["plots"] for metric in entry}
    inputs = {dep for dep in dvc_yaml()[name]["deps"] if not dep.startswith(SOURCES)}
    assert inputs <= made | {"${data.path}"}


# fingerprints of interrupted trainings


def test_a_fingerprint_is_the_same_for_the_same_and_another_for_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    one = keys.fingerprint(PROBLEM, {"params": {"seed": 1, "epochs": 2}, "device": "cpu"})
    assert one == keys.fingerprint(PROBLEM, {"device": "cpu", "params": {"epochs": 2, "seed": 1}})
    assert len(one) == 16
    assert one != keys.fingerprint(PROBLEM, {"params": {"seed": 2, "epochs": 2}, "device": "cpu"})


def test_a_fingerprint_holds_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = set()
    for version in ("1.0", "1.1"):
        (tmp_path / "pins.yaml").write_text(f'core:\n  torch: "{version}"\n', encoding="utf-8")
        found.add(keys.fingerprint(PROBLEM, {}))
    assert len(found) == 2
