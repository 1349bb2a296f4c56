"""What the orchestration costs: `retrain run` from nothing beside the same six functions in one bare process (benchmarks/bare.py).

Each run has a fresh clone with an empty cache, the default params and the real base model. Wall time of the whole process; the clone is
not counted, nor is the making of Prefect's database, which a checkout needs once. `retrain run` comes twice: with no Prefect server configured,
so that it starts one, and against one that runs already.
"""

from collections.abc import Callable
from statistics import median

from benchmarks.clones import fresh_clone, seconds, server
from benchmarks.measure import Options, Table, compare, in_turn
from tasks.files import sha256

REPEAT = 3
ALONE, WATCHED, BARE = "retrain run, no server", "retrain run, running server", "bare process"
TARGET = "<= 1.10"


def measure(options: Options) -> list[Table]:
    """Return both kinds of run beside the bare process."""
    models: set[str] = set()
    database: list[float] = []

    def program(*words: str, url: str | None = None) -> Callable[[], float]:
        def run() -> float:
            with fresh_clone() as project:
                if words[0] == "flows" and url is None:
                    (project.root / ".retrain").mkdir()
                    database.append(seconds(project, "prefect", "server", "database", "upgrade", "-y"))
                took = seconds(project, *words, server=url)
                models.add(sha256(project.root / "models/package/model.safetensors"))
                return took

        return run

    with server() as url:
        programs = {ALONE: program("flows", "run"), WATCHED: program("flows", "run", url=url), BARE: program("benchmarks.bare")}
        measured = in_turn(programs, options.repeat or REPEAT)
    same = "all made the same model, byte for byte" if len(models) == 1 else f"the programs made {len(models)} different models"
    tables = [_beside_bare(name, measured) for name in (ALONE, WATCHED)]
    tables[0].notes.append(f"not counted: Prefect made its database, once per checkout, in {median(database):.1f} s")
    tables[-1].notes.append(same)
    return tables


def _beside_bare(ours: str, measured: dict[str, list[float]]) -> Table:
    return compare(f"A whole run from nothing: {ours}", "s", {name: measured[name] for name in (ours, BARE)}, ours, {BARE: TARGET})
