"""How long a candidate takes to answer a row beside the champion, measured here when it is decided.

That depends on the machine and on what else it does: no stage's output, but evidence that goes into the tag.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import problems
from tasks.shared import columns
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.say import Say

if TYPE_CHECKING:
    from flows.ledger.packages import TakenOut

# test rows that are answered
ROWS = 50
MEDIA = str(Paths().media)
PARAM = "promote.max_latency_ratio"


def measured(checkout: Path, out: "TakenOut", params: Params, champion: str, say: Say) -> dict[str, Any]:
    """Return the median milliseconds per row, of `candidate` and `other`, and of how many `rows`.

    out: the candidate's run, which was made with these params. champion: the digest of the other package,
    which is kept. Raises InputError when one of them cannot answer.
    """
    import polars as pl

    from flows.ledger import packages

    say(f"measuring how long both models take for {ROWS} test rows ({PARAM})")
    candidate = packages.keep_champion(checkout, str(out.record.commit), out.record.name, say)
    test = pl.read_parquet(out.folder(packages.SPLITS, ["test.parquet"]) / "test.parquet")
    rows = test.gather_every(max(1, test.height // ROWS)).head(ROWS)
    file, media = out.made / "rows.parquet", out.made / MEDIA
    rows.write_parquet(file)
    name = columns.media(problems.load(params.problem, params.own).columns)
    if name is not None:
        out.folder(MEDIA, set(rows[name].to_list()))
    words = [candidate, champion, str(file.absolute()), str(media.absolute())]
    done = subprocess.run(  # noqa: S603 (our own interpreter and module, no shell)
        [sys.executable, "-m", "tasks.latency", *words],
        stdout=subprocess.PIPE,
        cwd=checkout,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(
            f"{PARAM}: what measures it ended with status {done.returncode}, as said above; "
            "set it to none to do without"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise InputError(f"{PARAM}: {found['error']}")
    return found
