"""MLflow: the server or store that MLFLOW_TRACKING_URI names, or an SQLite file in the checkout."""

import os
from collections.abc import Sequence

# a server that is down is tried again by us, later; seconds, so that a stage's end need not wait
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from flows.trackers.run import PROJECT, Measured, Run
from tasks.shared import tracking

# the most that a server takes at once
METRICS, PARAMS = 1000, 100
LONGEST = 500
STATUS = {
    tracking.TRAINED: "FINISHED",
    tracking.MEASURED: "FINISHED",
    tracking.FAILED: "FAILED",
    tracking.INTERRUPTED: "KILLED",
}


class Mlflow:
    """A run of an experiment, told by the client alone, without what the fluent API watches and patches."""

    def begin(self, run: Run, known: str | None) -> str:
        """Begin a run in the experiment, which is made where it is not."""
        self.client = MlflowClient(_store(run))
        if known:
            self.id = known
            self.client.update_run(known, status="RUNNING")
            return known
        project = run.project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self.client.get_experiment_by_name(project)
        number = (
            experiment.experiment_id
            if experiment
            else self.client.create_experiment(project, _artifacts(run))
        )
        tags = {"mlflow.source.name": "retrain", "retrain.key": run.key}
        if run.commit:
            tags["mlflow.source.git.commit"] = run.commit
        self.id = str(self.client.create_run(number, run_name=run.name, tags=tags).info.run_id)
        params = [Param(name, str(value)[:LONGEST]) for name, value in run.params.items()]
        for start in range(0, len(params), PARAMS):
            self.client.log_batch(self.id, params=params[start : start + PARAMS])
        return self.id

    def scores(self, measured: Sequence[Measured]) -> None:
        """Send them, many at once."""
        metrics = []
        for step, scores, at in measured:
            metrics += [Metric(name, score, int(at * 1000), step) for name, score in scores.items()]
        for start in range(0, len(metrics), METRICS):
            self.client.log_batch(self.id, metrics=metrics[start : start + METRICS])

    def text(self, name: str, text: str) -> None:
        """Set a tag."""
        self.client.log_batch(self.id, tags=[RunTag(f"retrain.{name}", text[:LONGEST])])

    def take(self) -> None:
        """Each call has waited for the answer."""

    def end(self, state: str) -> None:
        """Set the status that people see."""
        self.client.set_terminated(self.id, STATUS[state])


def _store(run: Run) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.place / 'mlflow.db'}"


def _artifacts(run: Run) -> str | None:
    """Return where artifacts would be, were there any: a store in a file would take the current folder."""
    return None if os.environ.get("MLFLOW_TRACKING_URI") else (run.place / "mlflow-artifacts").as_uri()
