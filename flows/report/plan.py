"""What a run would do, put before its user: each stage with the reasons, what it took last and will take."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from flows.engine.data import located, with_data
from flows.engine.prepare import refuse_unknown_names, resolved
from flows.git.commands import refuse_planted
from flows.ledger.data import refuse_changed_data
from flows.ledger.plan import Fate, Planned, plan
from flows.ledger.rollback import recover
from flows.ledger.sources import is_url, name_in_raw
from flows.registry.champion import resolved as resolved_champion
from flows.report import costs
from flows.report.console import printing
from flows.report.costs import Estimate
from tasks.shared.costs import Cost, rows_in, size_of
from tasks.shared.params import Params
from tasks.shared.params_file import (
    PARAMS,
    Layer,
    complete,
    differences,
    in_words,
    lay_over,
    written,
    written_in,
)
from tasks.shared.say import Say

STYLES = {Fate.unchanged: "green", Fate.restorable: "yellow", Fate.stale: "red"}
# reasons per stage in the table
SHOWN = 8


@dataclass(frozen=True)
class Plan:
    """All stages in order, and what would be done before them.

    took: what each took when it last ran here. likely: what it is likely to take.
    """

    stages: list[Planned]
    took: dict[str, Cost]
    likely: dict[str, Estimate]
    notes: list[str]

    @property
    def to_run(self) -> list[str]:
        """The stages that would run."""
        return self._with(Fate.stale)

    @property
    def to_restore(self) -> list[str]:
        """The stages whose outputs would be checked out from the cache."""
        return self._with(Fate.restorable)

    @property
    def seconds(self) -> float:
        """What the stages to run are likely to take, those of them that have run here."""
        return sum(self.likely[name].seconds for name in self.to_run if name in self.likely)

    @property
    def sum(self) -> str:
        """One line: how much there is to do."""
        if not self.to_run and not self.to_restore:
            return "nothing to do"
        untimed = [name for name in self.to_run if name not in self.likely]
        parts = [f"{_stages(self.to_run)} to run"] if self.to_run else []
        if self.seconds:
            parts += [f"about {costs.time(self.seconds)}"]
        if untimed:
            parts += [f"not run here yet: {', '.join(untimed)}"]
        return ", ".join([*parts, *([f"{_stages(self.to_restore)} to restore"] if self.to_restore else [])])

    def as_json(self) -> str:
        """Return the plan as JSON text."""
        stages = [{**asdict(stage), **self._costs(stage.stage)} for stage in self.stages]
        sums = {"to_run": self.to_run, "to_restore": self.to_restore, "seconds": self.seconds}
        whole = {"stages": stages, **sums, "notes": self.notes}
        return json.dumps(whole, indent=2, ensure_ascii=False, default=str)

    def _costs(self, stage: str) -> dict[str, object]:
        took, likely = self.took.get(stage), self.likely.get(stage)
        return {"took": took and asdict(took), "likely": likely and asdict(likely)}

    def _with(self, fate: Fate) -> list[str]:
        return [stage.stage for stage in self.stages if stage.fate == fate]


def foresee(given: Sequence[Layer], checkout: Path, say: Say, *, isolated: bool) -> Plan:
    """Return what `retrain run` would do when this is given, and say how it would change params.yaml.

    Raises InputError where the run would, before its first stage.
    """
    refuse_planted(checkout)
    recover(checkout, say)
    with chdir(checkout):
        standing = written_in(checkout / PARAMS)
        params = lay_over(standing, *given)
        if isolated:
            refuse_changed_data(checkout, params.data.path, say)
        params, source = located(params, checkout, checkout, isolated=isolated)
        arriving: dict[str, str] = {}
        if source is not None:
            source = source if is_url(source) else os.path.normpath(source)
            path = f"data/raw/{name_in_raw(source)}"
            arriving[path] = source
            params = with_data(params, path=path)
        promote = params.promote.model_copy(update={"champion": resolved_champion(params, checkout, say)})
        params = params.model_copy(update={"model": resolved(params, checkout, say), "promote": promote})
        text = written(params, checkout / PARAMS)
        changed = differences(complete(standing), params.model_dump())
        if changed:
            say(f"{'given' if isolated else f'{PARAMS} would change'}: {in_words(changed)}")
        texts = {} if text is None else {checkout / PARAMS: text}
        stages = plan(checkout, texts, arriving, sparse=isolated)
        if any(stage.fate != Fate.unchanged for stage in stages):
            refuse_unknown_names(params)
    notes = [f"{source} would be brought in as {path} first" for path, source in arriving.items()]
    known = costs.taken(checkout, [stage.stage for stage in stages])
    likely = costs.estimates(known, params, _rows(checkout, stages, params, arriving, known))
    return Plan(stages, {stage: its[-1] for stage, its in known.items()}, likely, notes)


def _rows(
    checkout: Path,
    stages: Sequence[Planned],
    params: Params,
    arriving: Mapping[str, str],
    known: Mapping[str, Sequence[Cost]],
) -> int | None:
    """Return how many rows the stages will have; None where that is not known."""
    if all(stage.fate == Fate.unchanged for stage in stages if stage.stage == "ingest"):
        return rows_in(checkout / "metrics")
    data = Path(arriving.get(params.data.path, params.data.path))
    return costs.rows_of(size_of(checkout / data), known.get("ingest", ()))


def show(plan: Plan, *, as_json: bool = False) -> None:
    """Print the plan as JSON, or as a table; rich on a terminal, plain elsewhere."""
    if as_json:
        print(plan.as_json())
        return
    console = printing()
    table = Table("stage", "plan", "took", "likely", "why", box=None)
    for column in table.columns[:4]:
        column.no_wrap = True
    for stage in plan.stages:
        why = [reason.text for reason in stage.reasons]
        if len(why) > SHOWN:
            why[SHOWN - 1 :] = [f"and {len(why) - SHOWN + 1} more; --json names all"]
        took, likely = plan.took.get(stage.stage), plan.likely.get(stage.stage)
        cells = [
            f"{costs.time(took.seconds)}, {costs.memory(took.memory)}".removesuffix(", ") if took else "",
            costs.time(likely.seconds) if likely and stage.fate == Fate.stale else "",
        ]
        table.add_row(stage.stage, Text(stage.fate, STYLES[stage.fate]), *cells, Text("\n".join(why)))
    console.print(table)
    console.print()
    devices = sorted({cost.device for cost in plan.took.values()})
    on = [f"Took, with peak memory, when last run here: on {'; '.join(devices)}."] if devices else []
    for line in (*on, *plan.notes, plan.sum):
        console.print(Text(line))


def _stages(names: list[str]) -> str:
    return f"{len(names)} stage{'s' if len(names) != 1 else ''}"
