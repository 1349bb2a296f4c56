"""What a sweep has found, for people: a table; pictures of its history, of what mattered, of each param."""

from pathlib import Path

from rich.table import Table

from flows.report import sweep_pictures
from flows.report.artifacts import pictures, publish_document
from flows.report.console import printing
from flows.sweeps.results import Sweep, shown
from tasks.shared.files import private_folder
from tasks.shared.pictures import save
from tasks.shared.templates import render
from tasks.shared.verdict import number

TEMPLATE = Path(__file__).parent / "templates/sweep.md.j2"


def publish(sweep: Sweep, folder: Path) -> None:
    """Draw a sweep into a folder, and leave its report as an artifact of this run."""
    save(sweep_pictures.pictures(sweep), private_folder(folder))
    document = render(TEMPLATE, sweep=sweep, shown=shown, pictures=pictures(folder))
    publish_document("sweep", document, sweep.sentence)


def show(sweep: Sweep) -> None:
    """Print the trials, the best of them, and what to do next."""
    console = printing(80)
    params = list(sweep.tried[0].params) if sweep.tried else []
    # a section is no help where all are of it
    names = [param.rpartition(".")[2] for param in params]
    heads = names if len(set(names)) == len(names) else params
    table = Table("trial", *heads, box=None)
    for head in (sweep.metric, "seconds", "experiment"):
        # where all is too wide, values are cut rather than names
        table.add_column(head, no_wrap=True)
    for trial in sweep.tried:
        is_best = sweep.best is not None and trial.number == sweep.best.number
        values = [shown(trial.params[param]) if param in trial.params else "" for param in params]
        table.add_row(
            str(trial.number),
            *values,
            trial.state if trial.score is None else f"{number(trial.score)}{' best' if is_best else ''}",
            "" if trial.seconds is None else f"{trial.seconds:.0f}",
            trial.experiment or "",
        )
    console.print(table)
    for param, share in sweep.importance.items():
        console.print(f"{share:.0%} of how scores differ goes with {param}", soft_wrap=True)
    console.print(f"\n{sweep.sentence}.\n{sweep.todo}", soft_wrap=True)
