"""What a run would do, put before its user: each stage with the reasons and the time it took last."""

import json
import os
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.engine.data import Say, located, with_data
from flows.engine.durations import last_seconds
from flows.engine.prepare import refuse_unknown_names, resolved
from flows.git.commands import refuse_planted
from flows.ledger.data import refuse_changed_data
from flows.ledger.plan import Fate, Planned, plan
from flows.ledger.rollback import recover
from flows.ledger.sources import is_url, name_in_raw
from flows.registry.champion import resolved as resolved_champion
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

STYLES = {Fate.unchanged: "green", Fate.restorable: "yellow", Fate.stale: "red"}
SHOWN = 8  # reasons per stage in the table


@dataclass(frozen=True)
class Plan:
    """All stages in order, the seconds each took when it last ran, and what would be done before them."""

    stages: list[Planned]
    took: dict[str, float]
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
        """What the stages to run took last, those of them that have been timed."""
        return sum(self.took.get(name, 0) for name in self.to_run)

    @property
    def sum(self) -> str:
        """One line: how much there is to do."""
        if not self.to_run and not self.to_restore:
            return "nothing to do"
        untimed = [name for name in self.to_run if name not in self.took]
        parts = [f"{_stages(self.to_run)} to run"] if self.to_run else []
        if self.seconds:
            parts += [f"about {self.seconds:.0f} s"]
        if untimed:
            parts += [f"time not known of {', '.join(untimed)}"]
        return ", ".join([*parts, *([f"{_stages(self.to_restore)} to restore"] if self.to_restore else [])])

    def as_json(self) -> str:
        """Return the plan as JSON text."""
        stages = [{**asdict(stage), "seconds": self.took.get(stage.stage)} for stage in self.stages]
        sums = {"to_run": self.to_run, "to_restore": self.to_restore, "seconds": self.seconds}
        whole = {"stages": stages, **sums, "notes": self.notes}
        return json.dumps(whole, indent=2, ensure_ascii=False, default=str)

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
        if text is not None:
            refuse_unknown_names(params)
        changed = differences(complete(standing), params.model_dump())
        if changed:
            say(f"{'given' if isolated else f'{PARAMS} would change'}: {in_words(changed)}")
        texts = {} if text is None else {checkout / PARAMS: text}
        stages = plan(checkout, texts, arriving, sparse=isolated)
    notes = [f"{source} would be brought in as {path} first" for path, source in arriving.items()]
    return Plan(stages, last_seconds(checkout), notes)


def show(plan: Plan, *, as_json: bool = False) -> None:
    """Print the plan as JSON, or as a table; rich on a terminal, plain elsewhere."""
    if as_json:
        print(plan.as_json())
        return
    console = Console(highlight=False, width=None if Console().is_terminal else 100)
    table = Table("stage", "plan", "took (s)", "why", box=None)
    table.columns[2].justify = "right"
    for stage in plan.stages:
        why = [reason.text for reason in stage.reasons]
        if len(why) > SHOWN:
            why[SHOWN - 1 :] = [f"and {len(why) - SHOWN + 1} more; --json names all"]
        took = f"{plan.took[stage.stage]:.1f}" if stage.stage in plan.took else ""
        table.add_row(stage.stage, Text(stage.fate, STYLES[stage.fate]), took, Text("\n".join(why)))
    console.print(table)
    console.print()
    for line in (*plan.notes, plan.sum):
        console.print(Text(line))


def _stages(names: list[str]) -> str:
    return f"{len(names)} stage{'s' if len(names) != 1 else ''}"
