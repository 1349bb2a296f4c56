"""What nothing costs: an all-cached `retrain run` beside `dvc repro`, with a server beside an empty flow.

In one clone, after one run that is made quick by two training steps:
what is cached makes no difference to how long finding that out takes. Wall time of whole processes, in turn.
The empty flow (benchmarks/empty_flow.py) is the least that anything under Prefect costs.
"""

from benchmarks.clones import fresh_clone, seconds, server
from benchmarks.measure import Options, Table, compare, in_turn

REPEAT = 7
ALONE, REPRO, WATCHED, EMPTY = (
    "retrain run, no server",
    "dvc repro",
    "retrain run, running server",
    "empty flow, running server",
)
QUICK = ("--train.max-steps", "2", "--evaluate.n-resamples", "100")


def measure(options: Options) -> list[Table]:
    """Return one table without and one with a server."""
    with fresh_clone() as project, server() as url:
        seconds(project, "flows", "run", *QUICK, server=url)
        measured = in_turn(
            {
                ALONE: lambda: seconds(project, "flows", "run"),
                REPRO: lambda: seconds(project, "dvc", "repro"),
                WATCHED: lambda: seconds(project, "flows", "run", server=url),
                EMPTY: lambda: seconds(project, "benchmarks.empty_flow", server=url),
            },
            options.repeat or REPEAT,
        )
    alone = {name: measured[name] for name in (ALONE, REPRO)}
    watched = {name: measured[name] for name in (WATCHED, EMPTY)}
    return [
        compare("All cached, no server", "s", alone, ALONE, {REPRO: "<= 1.30"}),
        compare("All cached, running server", "s", watched, WATCHED, {EMPTY: "<= 1.20"}),
    ]
