"""`retrain seeds`."""

import json
import os
from typing import TYPE_CHECKING

from flows.cli.common import AsJson, Flag, say
from flows.cli.session import Session

if TYPE_CHECKING:
    from flows.registry.seeds import Spread


def seeds(*, count: int = 5, dry_run: Flag = False, as_json: AsJson = False) -> int:
    """Measure what seeds alone make: train again with other seeds, and write promote.seed_deviation.

    Each training is an isolated run like any other, with the params that stand in params.yaml but for
    train.seed, which counts on from there. What has been trained is not trained again, so the same command
    goes on where it was killed. A model must be better by 1.645 * sqrt(2) deviations at least.

    Examples: `retrain seeds`, `retrain seeds --count 20 --dry-run`.

    Parameters
    ----------
    count
        How many trainings, the present one among them; at least 5.
    dry_run
        Train and measure, but leave params.yaml as it is.
    as_json
        Print JSON.
    """
    from flows.engine import workspace
    from flows.registry.seeds import LEAST, MOST
    from tasks.shared.errors import InputError

    if not LEAST <= count <= MOST:
        few = f"a deviation takes {LEAST} to {MOST} trainings"
        raise InputError(f"--count {count}: {few}; give --count {LEAST}")
    checkout = workspace.root()
    os.chdir(checkout)
    session = Session(checkout)
    session.start()
    from flows.seeds import seeds as flow

    spread, status = session.run(lambda: flow(count, not dry_run, return_state=True))
    if spread is None:
        return status
    if as_json:
        print(json.dumps(spread.to_dict(), indent=2))
    else:
        _show(spread)
        say("params.yaml is as it was" if dry_run else f"promote.seed_deviation is {spread.deviation:g} now")
    return status


def _show(spread: "Spread") -> None:
    from rich.table import Table

    from flows.report.console import printing

    table = Table("train.seed", spread.metric, "experiment", box=None)
    for seed, score in spread.scores.items():
        table.add_row(str(seed), f"{score:.4f}", spread.experiments[seed])
    console = printing(80)
    console.print(table)
    console.print(f"\n{spread.sentence}", soft_wrap=True)
