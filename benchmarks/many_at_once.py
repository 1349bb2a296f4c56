"""Four isolated runs with other learning rates, started at once, beside the same four one after another.

In one clone with the shipped model, after one run that leaves the stages before training in the cache,
against a server that runs already. Each run has its own learning rate, so that nothing is restored.
Wall time until the last has ended.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

from benchmarks.clones import fresh_clone, seconds, server
from benchmarks.measure import Options, Table, compare, in_turn
from tests.support.project import Project

REPEAT = 1
RUNS = 4
AT_ONCE, IN_TURN = f"{RUNS} runs at once", f"{RUNS} runs one after another"


def measure(options: Options) -> list[Table]:
    """Return one table."""
    rates = (f"{1 + number / 1000:.3f}e-4" for number in count())

    with fresh_clone() as project, server() as url:
        project.env["PREFECT_API_URL"] = url
        _train(project, next(rates), options.steps)

        def one_after_another() -> float:
            return sum(_train(project, next(rates), options.steps) for _ in range(RUNS))

        def at_once() -> float:
            chosen = [next(rates) for _ in range(RUNS)]
            with ThreadPoolExecutor(RUNS) as starters:
                return max(starters.map(lambda rate: _train(project, rate, options.steps), chosen))

        measured = in_turn({AT_ONCE: at_once, IN_TURN: one_after_another}, options.repeat or REPEAT)
    title = f"Isolated runs of {options.steps} steps that share a machine"
    return [compare(title, "s", measured, AT_ONCE, {IN_TURN: "<= 1.00"})]


def _train(project: Project, rate: str, steps: int) -> float:
    words = ("--train.learning-rate", rate, "--train.max-steps", str(steps))
    return seconds(project, "flows", "run", "--isolated", *words)
