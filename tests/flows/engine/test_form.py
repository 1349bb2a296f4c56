"""What a form, the API and a command may give a run: some of the params, and never one that nobody gave."""

from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.engine.form import form
from flows.retrain import retrain
from flows.watch import watch
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over
from tasks.shared.section import Section

SCHEMA = dict(parameter_schema(retrain).model_dump())


def properties(section: str) -> dict[str, Any]:
    return dict(SCHEMA["definitions"][section]["properties"])


def test_no_form_holds_a_value_of_params_yaml() -> None:
    for definition in SCHEMA["definitions"].values():
        assert not any("default" in field for field in definition.get("properties", {}).values())
    assert SCHEMA["properties"]["params"]["default"] == {}
    assert parameter_schema(watch).properties["path"]["default"] == ""


def test_every_param_is_in_the_form_with_its_bounds_and_what_params_yaml_says() -> None:
    for _, standing in Params():
        if isinstance(standing, Section) and type(standing).model_fields:
            assert set(properties(type(standing).__name__)) == set(type(standing).model_fields)
    rate = properties("Train")["learning_rate"]
    assert (rate["type"], rate["exclusiveMinimum"], rate["maximum"]) == ("number", 0, 1)
    assert rate["description"] == "The peak learning rate. params.yaml: 0.0002. Above 0, at most 1."
    menu, switch = properties("Data")["header"]["anyOf"]
    assert (menu["enum"], switch["type"]) == (["true", "false"], "boolean"), (
        "a switch alone is sent although untouched"
    )
    assert properties("Split")["method"]["enum"] == [
        "stable",
        "stratified",
        "by_time",
        "by_group",
        "by_position",
        "predefined",
    ]
    assert properties("Train")["cpu_shortcuts"]["enum"] == ["auto", "off"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"train": {"max_steps": 2}},
        {"train": {"early_stopping_patience": "none", "distributed": {"nproc_per_node": 2}}, "data": {}},
        {"data": {"header": True}},
        {"train": {"cpu_shortcuts": "off"}},
        {
            "model": {"name": "other", "revision": "none"},
            "data": {"columns": {"text": "message"}, "header": False},
        },
    ],
)
def test_the_api_takes_a_part_of_the_params_and_the_run_is_given_just_that(params: dict[str, Any]) -> None:
    validate({"params": params}, SCHEMA, raise_on_error=True)
    received = form(Layer("params.yaml", {})).model_validate(params).model_dump(mode="json")
    assert received == params
    base = Layer("params.yaml", {"model": {"revision": "a" * 40}, "train": {"early_stopping_patience": 3}})
    laid = lay_over(base, Layer("params", received))
    assert laid.train.max_steps == params.get("train", {}).get("max_steps", -1)
    assert laid.train.early_stopping_patience == (
        None if "early_stopping_patience" in params.get("train", {}) else 3
    )
    assert laid.model.revision == (None if "model" in params else "a" * 40)


@pytest.mark.parametrize(
    "params", [{"train": {"learning_rate": -1}}, {"train": {"optimizer": "x"}}, {"split": {"method": "best"}}]
)
def test_the_api_refuses_a_wrong_part(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate({"params": params}, SCHEMA, raise_on_error=True)


def test_a_menus_word_is_a_truth_value() -> None:
    for word, value in (("true", True), ("false", False)):
        params = {"data": {"header": word}}
        validate({"params": params}, SCHEMA, raise_on_error=True)
        assert form(Layer("params.yaml", {})).model_validate(params).model_dump(mode="json") == {
            "data": {"header": value}
        }
