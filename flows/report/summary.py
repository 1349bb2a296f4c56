"""What a run did and what its model is worth, read from the metrics that the stages wrote. Knows nothing of Prefect."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.engine.workspace import STAGES
from flows.ledger.results import Experiment
from flows.report.certificate import Certificate
from flows.report.comparison import Since
from tasks.shared.files import read_json
from tasks.shared.markup import plain
from tasks.shared.verdict import beside_baselines

PERCENT = 100


@dataclass(frozen=True)
class Summary:
    """The result and seconds of every stage, what metrics/*.json hold, the experiment that an isolated run was saved as, and the last run."""

    results: dict[str, str]
    seconds: dict[str, float]
    metrics: dict[str, Any]
    saved: Experiment | None
    since: Since | None

    @property
    def num_cached(self) -> int:
        """How many stages did not run."""
        return sum(happened != "ran" for happened in self.results.values())

    @property
    def sentence(self) -> str:
        """One line: how much there was to do, what the model is worth, and where it is kept."""
        scores = self.metrics["evaluate"]
        low, high = scores["interval"]["macro_f1"]
        parts = [f"{self.num_cached} of {len(STAGES)} stages cached", f"macro F1 {scores['macro_f1']:.2f} [{low:.2f}, {high:.2f}]"]
        if self.saved is not None:
            # the UI reads it as Markdown, and others may have chosen the name
            name = plain(self.saved.name)
            parts.append(f"experiment {name}" if self.saved.is_new else f"nothing new, equals {name}")
        return "; ".join(parts)


def summarize(root: Path, results: dict[str, str], seconds: dict[str, float], saved: Experiment | None = None, since: Since | None = None) -> Summary:
    """Read what the stages measured."""
    metrics = {name: read_json(root / "metrics" / f"{name}.json") for name in STAGES}
    return Summary(results, seconds, metrics, saved, since)


def show(summary: Summary, *, stays: bool = True) -> None:
    """Print the stages and the scores; rich on a terminal, plain elsewhere. stays: the checkout keeps what the run has made of it."""
    console = Console(highlight=False, width=None if Console().is_terminal else 100)
    stages = Table("stage", "what happened", "seconds", box=None)
    stages.columns[2].justify = "right"
    for name in STAGES:
        happened = summary.results[name]
        stages.add_row(name, happened if happened == "ran" else f"cached ({happened})", f"{summary.seconds.get(name, 0):.1f}")
    console.print(stages)
    scores = summary.metrics["evaluate"]
    others = {summary.since.name: summary.since.scores} if summary.since and summary.since.scores else {}
    others |= scores["baselines"]
    table = Table(f"test ({scores['rows']} rows)", "model", "interval", *others, box=None)
    for name, (low, high) in scores["interval"].items():
        beside = [f"{other[name]:.4f}" if name in other.get("interval", other) else "" for other in others.values()]
        table.add_row(name, f"{scores[name]:.4f}", f"{low:.4f} to {high:.4f}", *beside)
    console.print()
    console.print(table)
    console.print(f"\n{': '.join(beside_baselines(scores))}.", soft_wrap=True)
    where = "The model is in models/package; `dvc plots show` draws its curves."
    if not stays:
        where = "Nothing of it stays here: without --once the same command restores it from the cache."
    elif summary.saved is not None:
        how = "It is the experiment" if summary.saved.is_new else "Nothing new: it equals"
        where = f"{how} {summary.saved.name}; `dvc exp apply {summary.saved.name}` brings its model here."
    console.print(f"\n{summary.num_cached} of {len(STAGES)} stages cached. {where}", soft_wrap=True)


def show_certificate(certificate: Certificate) -> None:
    """Print how a rebuilt model compares with the one on record."""
    console = Console(highlight=False, width=None if Console().is_terminal else 100)
    table = Table("stage", "result", "differing", "seconds", box=None)
    table.columns[3].justify = "right"
    for name, stage in certificate.stages.items():
        files = [f"{output['path']}{'/' if file else ''}{file}" for output in stage["outputs"] for file in output["differing"] or ("",)]
        different = [] if stage["grade"] == "bit-identical" else files
        table.add_row(name, stage["grade"], ", ".join(different[:3]) + (" ..." if len(different) > 3 else ""), f"{stage['seconds']:.1f}")  # noqa: PLR2004
    console.print(table)
    console.print(
        f"\n{certificate.revision} ({certificate.commit[:10]}): {certificate.grade}{f'; {certificate.cause}' if certificate.cause else ''}",
        soft_wrap=True,
    )
    console.print(f"The certificate: git notes --ref=retrain show {certificate.commit[:10]}")
