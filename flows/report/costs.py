"""What stages took when they ran here, and what they are likely to take, for the plan and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from flows.engine.workspace import STAGES
from tasks.shared.costs import (
    BY_ENGINE,
    COST,
    FOLDER,
    Cost,
    epochs_of,
    model_of,
    processes_of,
    rows_in,
    steps_of,
)
from tasks.shared.params import Params

# the last runs that an estimate is made of
LAST = 5
# stages whose time grows with the rows
BY_ROWS = ("ingest", "split", "tokenize", "train", "evaluate")
# bytes, and seconds from which on times are told in minutes and in hours
GIGABYTE, MINUTES, HOURS = 1e9, 600.0, 7200.0


@dataclass(frozen=True)
class Estimate:
    """What a stage is likely to take: the median seconds and the most memory of its last runs of this kind.

    They ran for the same problem and model, by the same engine and as many training processes, on one device,
    the last. runs: how many there were. Seconds are of as many rows, and in training epochs, as there will
    be, where both are known; of a training that ends after a number of steps, of so many steps.
    """

    seconds: float
    memory: int | None
    device: str
    runs: int


def taken(checkout: Path, stages: Sequence[str]) -> dict[str, list[Cost]]:
    """Return what each stage took, each time that is noted, the newest last; a broken line is passed over."""
    found: dict[str, list[Cost]] = {}
    for stage in stages:
        try:
            lines = (checkout / FOLDER / f"{stage}.jsonl").read_bytes().splitlines()
        except OSError:
            lines = []
        costs = [cost for line in lines if (cost := _cost(line)) is not None]
        if costs:
            found[stage] = costs
    return found


def estimates(costs: Mapping[str, Sequence[Cost]], params: Params, rows: int | None) -> dict[str, Estimate]:
    """Return what stages are likely to take with these params; without those that have not run so here.

    rows: how many ingest reads; None where that is not known.
    """
    found = {stage: _estimate(stage, its, params, rows) for stage, its in costs.items()}
    return {stage: estimate for stage, estimate in found.items() if estimate is not None}


def likely(checkout: Path, root: Path, params: Params) -> dict[str, Estimate]:
    """Return what each stage of a run in `root` is likely to take when it runs again."""
    return estimates(taken(checkout, STAGES), params, rows_in(root / "metrics"))


def rows_of(size: int | None, ingested: Sequence[Cost]) -> int | None:
    """Return about how many rows so many bytes of data hold, if they are like the data ingested last."""
    known = [(one.rows, one.size) for one in ingested if one.rows and one.size]
    return round(size * known[-1][0] / known[-1][1]) if size is not None and known else None


def memory(size: int | None) -> str:
    """Return bytes as people read them; nothing where they are not known."""
    if size is None:
        return ""
    return f"{size / GIGABYTE:.1f} GB" if size >= GIGABYTE else f"{size / 1e6:.0f} MB"


def time(seconds: float) -> str:
    """Return seconds as people read them."""
    if seconds >= HOURS:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= MINUTES else f"{seconds:.1f} s"


def _cost(line: bytes) -> Cost | None:
    try:
        return COST.validate_json(line)
    except ValidationError:
        return None


def _estimate(stage: str, costs: Sequence[Cost], params: Params, rows: int | None) -> Estimate | None:
    epochs, steps = epochs_of(stage, params), steps_of(stage, params)
    ends = _ends(stage, epochs, steps)
    engine = params.engine.name if stage in BY_ENGINE else ""
    of = (params.problem, model_of(params), engine, processes_of(stage, params), ends)
    alike = [cost for cost in costs if _kind(stage, cost) == of and not cost.is_rest]
    if not alike:
        return None
    device = alike[-1].device
    last = [cost for cost in alike if cost.device == device][-LAST:]
    seconds = [cost.seconds * _times(stage, cost, rows, epochs, steps) for cost in last]
    most = max((cost.memory for cost in last if cost.memory is not None), default=None)
    return Estimate(round(median(seconds), 1), most, device, len(last))


def _kind(stage: str, cost: Cost) -> tuple[str, ...]:
    ends = _ends(stage, cost.epochs, cost.steps)
    engine = cost.engine if stage in BY_ENGINE else ""
    return cost.problem, cost.model, engine, cost.processes, ends


def _ends(stage: str, epochs: float | None, steps: int | None) -> str:
    """Return by what a training ends; nothing for one of before steps were noted, which is like no other."""
    if stage != "train":
        return ""
    return "steps" if steps else "epochs" if epochs else ""


def _times(stage: str, cost: Cost, rows: int | None, epochs: float | None, steps: int | None) -> float:
    """Return by how much there is more to do than there was."""
    if steps and cost.steps:
        return steps / cost.steps
    times = rows / cost.rows if stage in BY_ROWS and rows and cost.rows else 1.0
    return times * (epochs / cost.epochs if epochs and cost.epochs else 1.0)
