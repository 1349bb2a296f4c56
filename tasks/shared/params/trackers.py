"""The section `trackers` of params.yaml."""

from typing import Literal

from pydantic import Field, field_validator

from tasks.shared.params.constrained import PublicName
from tasks.shared.section import Section

# a module of flows/trackers/, an extra of pyproject.toml and a distribution each
Tracker = Literal["tensorboard", "mlflow", "wandb", "trackio"]


class Trackers(Section):
    """Who is told how training goes. No stage depends on it, and no bit of any output."""

    report_to: list[Tracker] = Field(
        default_factory=list,
        description="Which tools are told: tensorboard, mlflow, wandb, trackio; none: nobody.",
    )
    project: PublicName | None = Field(
        None,
        description=(
            "MLflow's experiment, the project of W&B and Trackio; "
            "empty: what MLFLOW_EXPERIMENT_NAME and WANDB_PROJECT say, else retrain."
        ),
    )
    run_name: PublicName | None = Field(
        None,
        description=(
            "What the run is called there; empty: the flow run's name in Prefect, "
            "else the package's name and a part of the training's key."
        ),
    )

    @field_validator("report_to")
    @classmethod
    def _each_is_told_once(cls, tools: list[Tracker]) -> list[Tracker]:
        return list(dict.fromkeys(tools))
