"""What a run did and what its model is worth, read from the metrics that the stages wrote."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.engine.workspace import STAGES
from flows.ledger.results import Experiment
from flows.report.comparison import LastRun
from flows.report.console import printing
from flows.report.costs import Estimate, memory, time
from tasks.shared import verdict
from tasks.shared.costs import Cost
from tasks.shared.files import read_json
from tasks.shared.paths import Paths
from tasks.shared.verdict import number, score, with_interval

if TYPE_CHECKING:
    from flows.registry.policy import Outcome
    from flows.report.certificate import Certificate

# files that are named of a stage that came out different
NAMED = 3


@dataclass(frozen=True)
class Summary:
    """The result and seconds of every stage, what metrics/*.json hold, the experiment saved, the last run.

    outcome: whether the model was promoted, where that was asked for. costs: what the stages that ran took.
    likely: what running each is likely to take.
    """

    results: dict[str, str]
    seconds: dict[str, float]
    metrics: dict[str, Any]
    saved: Experiment | None = None
    last_run: LastRun | None = None
    outcome: "Outcome | None" = None
    costs: dict[str, Cost] = field(default_factory=dict)
    likely: dict[str, Estimate] = field(default_factory=dict)

    @property
    def num_cached(self) -> int:
        """How many stages did not run."""
        return sum(happened != "ran" for happened in self.results.values())

    @property
    def sentence(self) -> str:
        """One line: whether it was promoted, how much there was to do, what it is worth, where it is kept."""
        scores = self.metrics["evaluate"]
        name, _ = verdict.headline(scores)
        parts = [f"{self.num_cached} of {len(STAGES)} stages cached", f"{name} {with_interval(scores, name)}"]
        if self.saved is not None:
            how = "experiment" if self.saved.is_new else "nothing new, equals"
            parts.append(f"{how} {self.saved.name}")
        told = "; ".join(parts)
        return f"{self.outcome.sentence} {told}" if self.outcome else told


def measured(root: Path) -> dict[str, Any]:
    """Return what the stages measured, by their names."""
    return {name: read_json(Paths(root).metric(name)) for name in STAGES}


def show(summary: Summary, *, stays: bool = True) -> None:
    """Print the stages and the scores; rich on a terminal, plain elsewhere.

    stays: the checkout keeps what the run has made of it.
    """
    console = printing(80)
    stages = Table("stage", "what happened", "seconds", "peak memory", "likely", box=None)
    for column in stages.columns[2:]:
        column.justify = "right"
    for name in STAGES:
        result = summary.results[name]
        happened = result if result == "ran" else f"cached ({result})"
        stages.add_row(name, happened, f"{summary.seconds.get(name, 0):.1f}", *cost_cells(summary, name)[:2])
    console.print(stages)
    if devices := sorted({cost.device for cost in summary.costs.values()}):
        told = f"Ran on {'; '.join(devices)}; likely: what running a stage again takes."
        console.print(f"\n{told}", soft_wrap=True)
    console.print()
    console.print(_scores(summary))
    console.print(f"\n{_verdicts(summary)}", soft_wrap=True)
    where = "The model is in models/package; `dvc plots show` draws its curves."
    if not stays:
        where = "Nothing of it stays here: without --once the same command restores it from the cache."
    elif summary.saved is not None:
        how = "It is the experiment" if summary.saved.is_new else "Nothing new: it equals"
        where = f"{how} {summary.saved.name}; `dvc exp apply {summary.saved.name}` brings its model here."
    console.print(f"\n{summary.num_cached} of {len(STAGES)} stages cached. {where}", soft_wrap=True)


def cost_cells(summary: Summary, stage: str) -> tuple[str, str, str]:
    """Return the peak memory of a stage that ran, what running it is likely to take, and the device."""
    cost, likely = summary.costs.get(stage), summary.likely.get(stage)
    took = ""
    if cost is not None:
        on_device = f", {memory(cost.device_memory)} on the device" if cost.device_memory else ""
        took = memory(cost.memory) + on_device
    known = cost or likely
    return took, time(likely.seconds) if likely else "not run here yet", known.device if known else ""


def _verdicts(summary: Summary) -> str:
    """Return a line on the model beside its best baseline, and one beside the last run's."""
    scores, last = summary.metrics["evaluate"], summary.last_run
    lines = [f"{': '.join(verdict.beside_baselines(scores))}."]
    if last and last.scores:
        word, numbers = verdict.beside(scores, last.scores)
        lines.append(f"{word} {last.name}: {numbers}.")
    beside = verdict.beside_champion(summary.metrics["judge"])
    if beside is not None:
        lines.append(f"{beside}.")
    if summary.outcome is not None:
        lines.insert(0, summary.outcome.sentence)
    return "\n".join(lines)


def _scores(summary: Summary) -> Table:
    """Return a table of the test scores, beside the last run's and the baselines'."""
    scores, last = summary.metrics["evaluate"], summary.last_run
    others = {"last run": last.scores} if last and last.scores else {}
    others |= scores["baselines"]
    table = Table(f"test ({scores['rows']} rows)", "model", "interval", *others, box=None)
    for name in verdict.metrics(scores):
        ends = verdict.interval(scores, name)
        cells = [number(score(other, name)) if name in other else "" for other in others.values()]
        table.add_row(name, number(score(scores, name)), verdict.spelled(ends) if ends else "", *cells)
    return table


def show_certificate(certificate: "Certificate") -> None:
    """Print how a rebuilt model compares with the one on record."""
    console = printing(80)
    table = Table("stage", "result", "differing", "seconds", box=None)
    table.columns[3].justify = "right"
    for name, stage in certificate.stages.items():
        different = _differing(stage)
        shown = ", ".join(different[:NAMED]) + (" ..." if len(different) > NAMED else "")
        table.add_row(name, stage["grade"], shown, f"{stage['seconds']:.1f}")
    console.print(table)
    cause = f"; {certificate.cause}" if certificate.cause else ""
    commit = certificate.commit[:10]
    console.print(f"\n{certificate.revision} ({commit}): {certificate.grade}{cause}", soft_wrap=True)
    console.print(f"The certificate: git notes --ref=retrain show {commit}")


def _differing(stage: dict[str, Any]) -> list[str]:
    """Return the paths of a stage's outputs, and of the files in them, that are not as recorded."""
    paths = []
    for output in stage["outputs"]:
        if output["computed"] != output["recorded"] or output["recorded"] is None:
            paths += [f"{output['path']}/{file}" for file in output["differing"]] or [output["path"]]
    return paths
