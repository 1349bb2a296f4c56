"""Whole keys: dvc.yaml names every source, param and pin that a stage's bytes depend on, derived here from the code."""

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tasks import problems
from tasks.shared import keys, stage
from tasks.shared.params import Params
from tests.support.project import ROOT

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package")
PROBLEM = "text_classification"
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where it is not the name that is imported


@cache
def graph() -> grimp.ImportGraph:
    """Return who imports whom when it runs, inside functions too; what only a type checker imports is left out."""
    return grimp.build_graph("tasks", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)


@cache
def dvc_yaml() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    return stages


def closure(name: str) -> set[str]:
    """Return the project modules that a stage runs: imports of imports, packages above them, and the problem, which is loaded by name."""
    start = f"tasks.{name}"
    found = {start, *graph().find_upstream_modules(start)}
    if "tasks.problems" in found:
        problem = f"tasks.problems.{PROBLEM}"
        found |= {problem, *graph().find_upstream_modules(problem)}
    ours = {module for module in found if module.partition(".")[0] == "tasks"}
    return ours | {module.rpartition(".")[0] for module in ours if "." in module}


def source(module: str) -> str:
    """Return a module's file as dvc.yaml spells it."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def sources(modules: set[str]) -> set[str]:
    return {source(module) for module in modules}


def listed_sources(name: str) -> set[str]:
    return {dep.replace("${problem}", PROBLEM) for dep in dvc_yaml()[name]["deps"] if dep.endswith(".py")}


def listed_sections(name: str) -> set[str]:
    return {param for param in dvc_yaml()[name]["params"] if isinstance(param, str)}


def listed_pins(name: str) -> set[str]:
    """Return the distributions whose pin is part of a stage's key."""
    (listed,) = (param["pins.yaml"] for param in dvc_yaml()[name]["params"] if isinstance(param, dict))
    return set(stage.pins(ROOT / "pins.yaml") if listed is None else listed)


def pinned(libraries: set[str]) -> set[str]:
    """Return the distributions of imported libraries, those that decide numbers only."""
    return {DISTRIBUTIONS.get(library, library) for library in libraries} & stage.pins(ROOT / "pins.yaml").keys()


def imported(tree: ast.AST) -> set[str]:
    """Return the libraries that the import statements below a node name."""
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


def asked_of(owner: str, node: ast.AST) -> set[str]:
    """Return what is asked of a variable below a node, as in `owner.this`."""
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == owner}


def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / f"tasks/{name}.py").read_text("utf-8"))


def problem_methods(name: str) -> list[ast.FunctionDef]:
    """Return the methods of the problem that a stage asks for, and those that these call."""
    (definition,) = ast.parse(inspect.getsource(type(problems.load(PROBLEM)))).body
    assert isinstance(definition, ast.ClassDef)
    methods = {node.name: node for node in definition.body if isinstance(node, ast.FunctionDef)}
    found: set[str] = set()
    pending = asked_of("problem", parsed(name)) & methods.keys()
    while pending:
        found |= pending
        pending = {called for method in pending for called in asked_of("self", methods[method])} & methods.keys() - found
    return [methods[method] for method in sorted(found)]


def computes_with(name: str) -> set[str]:
    """Return the pinned distributions that a stage's own modules import, or the problem's methods that it calls use.

    A problem's file serves all stages, and so does what it asks of pretrained: what that imports for one stage says nothing of the others.
    """
    of_pretrained = {node.name: node for node in parsed("pretrained").body if isinstance(node, ast.FunctionDef)}
    serves_all = {f"tasks.problems.{PROBLEM}", "tasks.problems", "tasks.problems.common.metrics", "tasks.problems.common.pretrained"}
    own = closure(name) - serves_all
    libraries = {library for module in own for library in graph().find_modules_directly_imported_by(module)}
    short = {"np": "numpy", "pl": "polars"}  # imported at the head of the problem's file
    for method in problem_methods(name):
        libraries |= imported(method)
        for called in asked_of("pretrained", method):
            libraries |= imported(of_pretrained[called])
        libraries |= {short[node.id] for statement in method.body for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id in short}
        if any(isinstance(node, ast.Name) and node.id == "metrics" for node in ast.walk(method)):
            libraries |= imported(ast.Module([node for node in parsed("metrics").body if isinstance(node, ast.Import | ast.ImportFrom)], []))
    return pinned(libraries)


def test_dvc_yaml_has_the_six_stages_in_order() -> None:
    assert tuple(dvc_yaml()) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_one_module_run_as_one_command_without_a_parameter_in_it(name: str) -> None:
    assert dvc_yaml()[name]["cmd"] == f"exec python -m tasks.{name}"


@pytest.mark.parametrize("name", STAGES[:-1])
def test_the_sources_in_dvc_yaml_are_the_import_closure(name: str) -> None:
    assert listed_sources(name) == sources(closure(name))


def test_package_depends_on_the_sources_of_every_stage_because_it_names_them() -> None:
    everything = {module for name in STAGES for module in closure(name)}
    assert listed_sources("package") == sources(everything)
    assert listed_sources("package") == keys.sources(PROBLEM).keys()


def test_deps_are_sorted_and_named_once() -> None:
    for name in STAGES:
        listed = [dep for dep in dvc_yaml()[name]["deps"] if dep.endswith(".py")]
        assert len(listed) == len(set(listed))
        assert listed == sorted(listed, key=lambda dep: dep.replace("${problem}", PROBLEM))


def test_only_the_problem_in_use_is_part_of_a_key() -> None:
    named = {dep for name in STAGES for dep in dvc_yaml()[name]["deps"] if "problems/" in dep}
    assert named == {"tasks/problems/__init__.py", "tasks/problems/${problem}.py"}
    for name in STAGES:
        uses = "tasks/problems/${problem}.py" in dvc_yaml()[name]["deps"]
        assert uses == ("problem" in listed_sections(name))


@pytest.mark.parametrize("name", STAGES[:-1])
def test_the_sections_in_dvc_yaml_are_those_that_the_stage_reads(name: str) -> None:
    read = asked_of("params", parsed(name).body[-1])
    assert read <= Params.model_fields.keys()
    assert listed_sections(name) == read


def test_package_depends_on_all_params_and_all_pins_because_it_names_them() -> None:
    assert listed_sections("package") == set(Params.model_fields)
    assert listed_pins("package") == set(stage.pins(ROOT / "pins.yaml"))


@pytest.mark.parametrize("name", STAGES)
def test_every_library_that_a_stage_computes_with_is_pinned_in_its_key(name: str) -> None:
    assert computes_with(name) - listed_pins(name) == set()


def test_every_pin_is_part_of_some_key_and_every_listed_pin_exists() -> None:
    pins = set(stage.pins(ROOT / "pins.yaml"))
    listed = {pin for name in STAGES[:-1] for pin in listed_pins(name)}
    assert listed == pins
    everything = {library for name in STAGES for module in closure(name) for library in graph().find_modules_directly_imported_by(module)}
    loaded_by_others = {"accelerate", "safetensors", "tokenizers"}  # under transformers
    assert pins - loaded_by_others <= pinned(everything)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_outputs_of_earlier_stages_only(name: str) -> None:
    before = STAGES[: STAGES.index(name)]
    made = {out for earlier in before for out in dvc_yaml()[earlier]["outs"]}
    made |= {metric for earlier in before for entry in dvc_yaml()[earlier]["plots"] for metric in entry}
    inputs = {dep for dep in dvc_yaml()[name]["deps"] if not dep.endswith(".py")}
    assert inputs <= made | {"${data.path}"}


# fingerprints of interrupted trainings


def test_a_fingerprint_is_the_same_for_the_same_and_another_for_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    one = keys.fingerprint(PROBLEM, {"params": {"seed": 1, "epochs": 2}, "device": "cpu"})
    assert one == keys.fingerprint(PROBLEM, {"device": "cpu", "params": {"epochs": 2, "seed": 1}})
    assert len(one) == 16
    assert one != keys.fingerprint(PROBLEM, {"params": {"seed": 2, "epochs": 2}, "device": "cpu"})


def test_a_fingerprint_holds_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = set()
    for version in ("1.0", "1.1"):
        (tmp_path / "pins.yaml").write_text(f'torch: "{version}"\n', encoding="utf-8")
        found.add(keys.fingerprint(PROBLEM, {}))
    assert len(found) == 2
