"""What the orchestration costs: `retrain run` from nothing beside the same functions in one bare process.

That process is benchmarks/bare.py. Each run has a fresh clone with an empty cache, the default params and the
real base model. Wall time of the whole process; the clone is not counted. `retrain run` comes three times:
with no Prefect server configured, so that it starts one and has it make its database; the same with that
database there, as it is in every later run of a checkout; and against a server that runs already.
"""

from collections.abc import Callable

from benchmarks.clones import fresh_clone, seconds, server
from benchmarks.measure import Options, Table, compare, in_turn
from tasks.shared.files import sha256

REPEAT = 3
ALONE, AGAIN, WATCHED, BARE = (
    "retrain run, no server",
    "retrain run, no server, database there",
    "retrain run, running server",
    "bare process",
)
MAKE_DATABASE = ("prefect", "server", "database", "upgrade", "-y")
TARGET = "<= 1.10"


def measure(options: Options) -> list[Table]:
    """Return each kind of run beside the bare process."""
    models: set[str] = set()

    def program(*words: str, url: str | None = None, database: bool = False) -> Callable[[], float]:
        def run() -> float:
            with fresh_clone() as project:
                if database:
                    (project.root / ".retrain").mkdir()
                    seconds(project, *MAKE_DATABASE)
                took = seconds(project, *words, server=url)
                models.add(sha256(project.root / "models/package/model.safetensors"))
                return took

        return run

    with server() as url:
        programs = {
            ALONE: program("flows", "run"),
            AGAIN: program("flows", "run", database=True),
            WATCHED: program("flows", "run", url=url),
            BARE: program("benchmarks.bare"),
        }
        measured = in_turn(programs, options.repeat or REPEAT)
    same = (
        "all made the same model, byte for byte"
        if len(models) == 1
        else f"the programs made {len(models)} different models"
    )
    tables = [_beside_bare(name, measured) for name in (ALONE, AGAIN, WATCHED)]
    tables[-1].notes.append(same)
    return tables


def _beside_bare(ours: str, measured: dict[str, list[float]]) -> Table:
    return compare(
        f"A whole run from nothing: {ours}",
        "s",
        {name: measured[name] for name in (ours, BARE)},
        ours,
        {BARE: TARGET},
    )
