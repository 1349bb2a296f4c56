"""The shape of the project: who may import whom, what reads easily, and params that explain themselves."""

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest
from pydantic import BaseModel

from tasks.shared.params import Params
from tasks.shared.params_file import load, read
from tasks.shared.section import Section
from tests.support.project import ROOT
from tests.support.stages import STAGES

# the rooms of flows/, each with those that it may import besides itself and tasks.shared
ROOMS = {
    "cli": {"flow", "report", "sweeps", "fsck", "server", "engine", "registry", "ledger", "git"},
    "flow": {"report", "sweeps", "server", "engine", "registry", "ledger", "git"},
    "report": {"sweeps", "engine", "registry", "ledger", "git"},
    "sweeps": {"engine", "ledger", "git"},
    "fsck": {"engine", "ledger", "git"},
    "server": set(),
    "engine": {"registry", "ledger", "git"},
    "registry": {"ledger", "git"},
    "ledger": {"git"},
    "git": set(),
    # run by stages, imported by nobody
    "trackers": {"git"},
}
PREFECT = {"flow", "engine", "report", "server"}
DVC = {"ledger", "fsck"}


@cache
def graph() -> grimp.ImportGraph:
    """Return every import statement in flows and tasks, inside functions and for a type checker too."""
    return grimp.build_graph("flows", "tasks", include_external_packages=True, cache_dir=None)


def modules(package: str) -> set[str]:
    return {module for module in graph().modules if module.partition(".")[0] == package}


def imports(module: str) -> set[str]:
    return graph().find_modules_directly_imported_by(module)


def importers(library: str) -> set[str]:
    """Return the modules that import a library."""
    return graph().find_modules_that_directly_import(library) if library in graph().modules else set()


def room(module: str) -> str:
    """Return the room of a module of flows; a module in none is a flow, or the way into the command line."""
    parts = module.split(".")
    if parts == ["flows"] or (parts[-1] == "__main__" and len(parts) == 2):
        return "cli"
    return parts[1] if parts[1] in ROOMS else "flow"


def test_each_room_of_flows_imports_only_those_below_it() -> None:
    wrong = {}
    for module in modules("flows"):
        for target in imports(module) & modules("flows") - {"flows"}:
            if room(target) != room(module) and room(target) not in ROOMS[room(module)]:
                wrong[module] = target
    assert wrong == {}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Packages are left out: to import a module of one is to import the package."""
    wrong = [module for module in graph().modules if module in graph().find_upstream_modules(module)]
    assert wrong == []


def test_prefect_and_dvc_stay_in_their_rooms() -> None:
    assert {room(module) for module in importers("prefect")} == PREFECT
    assert {room(module) for module in importers("dvc")} == DVC
    assert importers("prefect") | importers("dvc") <= modules("flows")


def test_evaluate_is_for_people_and_no_stage_imports_it() -> None:
    assert importers("evaluate") == {"tasks.problems.metric"}
    assert not graph().find_modules_that_directly_import("tasks.problems.metric")


def test_what_finds_nothing_to_do_imports_no_prefect() -> None:
    quick = {
        *(module for module in modules("flows") if room(module) == "cli"),
        *("flows.engine.workspace", "flows.engine.prepare", "flows.engine.data", "flows.engine.processes"),
        *("flows.report.plan", "flows.report.summary", "flows.engine.fork_server"),
    }
    assert quick <= modules("flows")
    assert importers("prefect").isdisjoint(quick)


def test_stages_never_import_each_other() -> None:
    for stage in STAGES:
        others = tuple(f"tasks.{other}" for other in STAGES if other != stage)
        for module in modules("tasks"):
            if module.startswith(f"tasks.{stage}"):
                assert not [
                    target for target in graph().find_upstream_modules(module) if target.startswith(others)
                ], module


def test_imports_run_from_flows_to_stages_to_problems_to_what_all_share() -> None:
    for module in modules("tasks"):
        targets = imports(module)
        assert not targets & modules("flows"), module
        if module.startswith("tasks.problems"):
            assert all(
                target.startswith(("tasks.problems", "tasks.shared")) for target in targets & modules("tasks")
            ), module
        if module.startswith("tasks.shared"):
            assert all(target.startswith("tasks.shared") for target in targets & modules("tasks")), module
    asked = {target for module in modules("flows") for target in imports(module) & modules("tasks")}
    assert all(target.startswith("tasks.shared") or target == "tasks.problems" for target in asked)


def test_tests_share_helpers_through_support_and_import_no_other_test() -> None:
    whole = grimp.build_graph("tests", "benchmarks", cache_dir=None)
    allowed = {
        "tests": ("tests.support", "tests.attacks", "tests.campaign", "tests.soak", "benchmarks"),
        "benchmarks": ("tests.support", "benchmarks"),
    }
    wrong = {}
    for module in whole.modules:
        for target in whole.find_modules_directly_imported_by(module):
            if not target.startswith(allowed[module.partition(".")[0]]):
                wrong[module] = target
    assert wrong == {}


def test_the_packaged_model_is_served_without_this_project() -> None:
    assert not imports("tasks.package.serve") & (modules("tasks") | modules("flows"))


def test_the_architecture_page_names_every_folder_but_those_of_single_problems() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("flows", "tasks")
        for path in (ROOT / top).rglob("__init__.py")
    }
    problems = {folder for folder in folders if folder.startswith("tasks/problems/")} - {
        "tasks/problems/common"
    }
    folders -= problems
    assert [folder for folder in sorted(folders) if f"`{folder}/`" not in page] == []


@pytest.mark.parametrize("section", [Params, *Section.__subclasses__()], ids=lambda section: section.__name__)
def test_every_param_has_a_description(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert (field.description or "").endswith((".", "?")), f"{section.__name__}.{name}"


def test_params_yaml_holds_the_defaults_and_names_the_base_models_content() -> None:
    params = load(ROOT / "params.yaml")
    assert params.model.revision is not None
    defaults = Params()
    assert params == defaults.model_copy(
        update={"model": params.model.model_copy(update={"revision": params.model.revision})}
    )
    assert params.model.name == defaults.model.name


def test_params_yaml_spells_out_every_param_in_the_order_of_the_schema() -> None:
    written = read(ROOT / "params.yaml")
    expected = Params().values()
    assert list(written) == list(expected)
    for name, section in expected.items():
        if isinstance(section, dict):
            assert list(written[name]) == list(section), name


CODE = [*(ROOT / "flows").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def comments_beside_code(file: Path) -> Iterator[int]:
    """Yield the lines of comments that share them with code, but for those that tools read."""
    lines = file.read_text("utf-8").splitlines()
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        line, column = token.start
        is_for_tools = token.string.startswith(("# noqa", "# type"))
        if token.type == tokenize.COMMENT and lines[line - 1][:column].strip() and not is_for_tools:
            yield line


def functions_two_deep(node: ast.AST, depth: int = 0) -> Iterator[int]:
    """Yield the lines of functions in functions in functions."""
    for child in ast.iter_child_nodes(node):
        inside = depth + isinstance(child, FUNCTIONS)
        if inside > 2 and isinstance(child, FUNCTIONS):
            yield child.lineno
        yield from functions_two_deep(child, 0 if isinstance(child, ast.ClassDef) else inside)


def test_a_comment_has_a_line_of_its_own() -> None:
    wrong = {str(file): found for file in CODE if (found := [*comments_beside_code(file)])}
    assert wrong == {}


def test_a_comprehension_has_one_for_and_one_if() -> None:
    wrong = {}
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, COMPREHENSIONS):
                continue
            if len(node.generators) > 1 or len(node.generators[0].ifs) > 1:
                wrong[str(file)] = node.lineno
    assert wrong == {}


def test_no_function_is_in_a_function_in_a_function() -> None:
    wrong = {
        str(file): found
        for file in CODE
        if (found := [*functions_two_deep(ast.parse(file.read_text("utf-8")))])
    }
    assert wrong == {}
