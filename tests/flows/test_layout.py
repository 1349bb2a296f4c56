"""The shape of the project: who may import whom, and params that explain themselves."""

import re
from functools import cache

import grimp
import pytest
from pydantic import BaseModel

from tasks.shared.params import Params, Section
from tasks.shared.params_file import load, read
from tests.support.project import ROOT

STAGES = {f"tasks.{name}" for name in ("ingest", "split", "tokenize", "train", "evaluate", "package")}


@cache
def graph() -> grimp.ImportGraph:
    """Return every import statement in flows and tasks, also those for a type checker."""
    return grimp.build_graph("flows", "tasks", include_external_packages=True, cache_dir=None)


def importers(library: str) -> set[str]:
    """Return the modules that import a library."""
    return graph().find_modules_that_directly_import(library) if library in graph().modules else set()


def imports(package: str) -> dict[str, set[str]]:
    """Return what each module of a package imports directly."""
    modules = {module for module in graph().modules if module == package or module.startswith(f"{package}.")}
    return {module: graph().find_modules_directly_imported_by(module) for module in modules}


def test_only_flows_imports_prefect() -> None:
    assert importers("prefect")
    assert all(module.startswith("flows.") for module in importers("prefect"))


def test_only_the_ledger_imports_dvc() -> None:
    assert importers("dvc")
    assert all(module.startswith("flows.ledger.") for module in importers("dvc"))


def test_only_metrics_imports_evaluate() -> None:
    assert importers("evaluate") == {"tasks.problems.common.metrics"}


def test_the_command_line_and_what_it_needs_to_find_nothing_to_do_import_no_prefect() -> None:
    assert importers("prefect").isdisjoint(
        {
            "flows.cli.app",
            "flows.__main__",
            "flows.engine.workspace",
            "flows.ledger",
            "flows.report.plan",
            "flows.report.summary",
            "flows.engine.fork_server",
        }
    )


def test_stages_never_import_each_other() -> None:
    assert graph().modules >= STAGES
    for stage in STAGES:
        assert graph().find_upstream_modules(stage).isdisjoint(STAGES), stage


def test_imports_run_from_flows_to_tasks_to_problems() -> None:
    assert all(not target.startswith("flows") for targets in imports("tasks").values() for target in targets)
    allowed = {
        "tasks",
        "tasks.shared.errors",
        "tasks.shared.params",
        "tasks.problems",
        "tasks.problems.common.metrics",
        "tasks.problems.common.pretrained",
    }
    for module, targets in imports("tasks.problems").items():
        assert {target for target in targets if target.startswith("tasks")} <= allowed, module


def test_the_packaged_model_is_served_without_this_project() -> None:
    assert not any(target.startswith(("tasks", "flows")) for target in imports("tasks.package.serve")["tasks.package.serve"])


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    modules = {module.rpartition(".")[2] for package in ("flows", "tasks") for module in imports(package)} - {"flows", "tasks", "ledger", "problems"}
    assert not {module for module in modules if module != "__main__" and not re.search(rf"\b{module}\b", page)}


@pytest.mark.parametrize("section", [Params, *Section.__subclasses__()], ids=lambda section: section.__name__)
def test_every_param_has_a_description(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert (field.description or "").endswith((".", "?")), f"{section.__name__}.{name}"


def test_params_yaml_holds_the_defaults_and_names_the_base_models_content() -> None:
    params = load(ROOT / "params.yaml")
    assert params.model.revision is not None
    defaults = Params()
    assert params == defaults.model_copy(update={"model": params.model.model_copy(update={"revision": params.model.revision})})
    assert params.model.name == defaults.model.name


def test_params_yaml_spells_out_every_param_in_the_order_of_the_schema() -> None:
    written = read(ROOT / "params.yaml")
    expected = Params().model_dump()
    assert list(written) == list(expected)
    for name, section in expected.items():
        if isinstance(section, dict):
            assert list(written[name]) == list(section), name
