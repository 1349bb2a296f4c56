"""Every tunable, typed once: the schema of params.yaml, of the command line and of the Prefect form.

A module per section; what only one problem has to tune is in its folder.
"""

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, create_model, field_validator, model_validator

from tasks.shared.errors import did_you_mean
from tasks.shared.params.data import Data
from tasks.shared.params.engine import Engine
from tasks.shared.params.evaluate import Evaluate
from tasks.shared.params.ingest import Ingest
from tasks.shared.params.model import Model
from tasks.shared.params.package import Package
from tasks.shared.params.promote import Promote
from tasks.shared.params.split import Split
from tasks.shared.params.tokenize import Tokenize
from tasks.shared.params.trackers import Trackers
from tasks.shared.params.train import Train
from tasks.shared.section import Section

__all__ = [
    "ENGINE",
    "PROBLEMS",
    "PROMOTE",
    "TRACKERS",
    "Data",
    "Engine",
    "Evaluate",
    "Ingest",
    "Model",
    "Package",
    "Params",
    "Promote",
    "Split",
    "StageParams",
    "Tokenize",
    "Trackers",
    "Train",
    "problem_names",
]

PROBLEMS = Path(__file__).parents[2] / "problems"
# the sections that no stage depends on
TRACKERS = "trackers"
ENGINE = "engine"
# decided once the model is made; of this section a stage reads the champion alone
PROMOTE = "promote"


def problem_names() -> list[str]:
    """Return the names of all problems, which are those of their folders."""
    return sorted({path.parent.name for path in PROBLEMS.glob("*/__init__.py")} - {"common"})


class StageParams(Section):
    """What can be tuned whatever the problem, one section per stage."""

    problem: str = Field(
        "text_classification", description="The Hugging Face task, a folder each in tasks/problems/."
    )
    model: Model = Field(Model(), description="The base model.")
    data: Data = Field(Data(), description="The raw rows.")
    ingest: Ingest = Field(Ingest(), description="What is taken in.")
    split: Split = Field(Split(), description="Train, validation and test.")
    tokenize: Tokenize = Field(Tokenize(), description="Rows to model inputs.")
    train: Train = Field(Train(), description="Fine-tuning.")
    evaluate: Evaluate = Field(Evaluate(), description="Measuring.")
    package: Package = Field(Package(), description="Packaging.")
    promote: Promote = Field(Promote(), description="The model in production.")
    trackers: Trackers = Field(Trackers(), description="Who is told how training goes.")
    engine: Engine = Field(Engine(), description="Where shards of stages are computed.")

    @model_validator(mode="after")
    def _split_files_are_used(self) -> Self:
        if self.data.train_file and self.split.method != "predefined":
            raise ValueError(
                "data.train_file and data.test_file make the splits, "
                f"but split.method is {self.split.method}; set it to predefined"
            )
        return self

    @model_validator(mode="after")
    def _tokenizer_fits_the_model(self) -> Self:
        sizes, kind, name = self.model.from_scratch, self.tokenize.train.kind, self.model.name
        if not sizes and name is None:
            such = "bert" if self.own.has_tokenizer else "resnet"
            raise ValueError(
                "model.name is none and model.from_scratch is empty: "
                f"name a base model, or say what to build, such as {{type: {such}}}"
            )
        if not self.own.has_tokenizer:
            return self
        if not sizes and kind:
            own = f"tokenize.train.kind {kind} makes a tokenizer whose tokens '{name}' has never seen"
            raise ValueError(
                f"{own}; give model.from_scratch too, such as {{type: bert}}, "
                "or set tokenize.train.kind to none"
            )
        if sizes and name is None and kind is None:
            raise ValueError(
                "model.from_scratch needs a tokenizer: give tokenize.train.kind, such as bpe, "
                "or the model.name whose tokenizer to use"
            )
        if sizes and kind and (sizes["type"] == "canine") != (kind == "code_point"):
            raise ValueError(
                f"tokenize.train.kind {kind} does not fit a {sizes['type']}: "
                "canine reads code_point, and no other model does"
            )
        return self

    @field_validator("problem")
    @classmethod
    def _problem_is_known(cls, problem: str) -> str:
        name, there = problem.replace("-", "_"), problem_names()
        if name not in there:
            raise ValueError(
                f"there is no problem '{problem}'{did_you_mean(name, there)} Known: {', '.join(there)}"
            )
        return name

    @property
    def own(self) -> Section:
        """What only this run's problem has to tune."""
        section: Section = getattr(self, self.problem)
        return section

    @property
    def registered_name(self) -> str:
        """The model's name in the registry: promote.name, else package.name as it can stand there."""
        plain = re.sub(r"[^a-zA-Z0-9_-]+", "-", self.package.name).strip("-_")
        return self.promote.name or plain or "model"

    def values(self) -> dict[str, Any]:
        """Return all that stands in params.yaml, without what only other problems have to tune."""
        return self.model_dump(exclude={*problem_names()} - {self.problem})

    def deciding(self) -> dict[str, Any]:
        """Return all that decides what this run makes."""
        return {
            name: value for name, value in self.values().items() if name not in (TRACKERS, ENGINE, PROMOTE)
        }


def _own_params(problem: str) -> type[Section]:
    """Return the type of what only one problem has to tune: `Own` in its folder's params.py.

    It is read by its path: imported, it would import the problem first, and with it polars.
    """
    file = PROBLEMS / problem / "params.py"
    if not file.exists():
        return Section
    own: type[Section] = runpy.run_path(str(file))["Own"]
    return create_model(problem.title().replace("_", ""), __base__=own, __doc__=own.__doc__)


def _params() -> type[StageParams]:
    """Return the type of everything that can be tuned: a section per stage, and one of each problem's own."""
    own: dict[str, Any] = {}
    for name in problem_names():
        section = _own_params(name)
        has = (
            f"What only {name} has to tune."
            if section.model_fields
            else f"{name} has nothing of its own to tune."
        )
        own[name] = (section, Field(section(), description=has))
    return create_model("Params", __base__=StageParams, __doc__="Everything that can be tuned.", **own)


if TYPE_CHECKING:
    Params = StageParams
else:
    Params = _params()
