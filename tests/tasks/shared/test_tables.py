"""Tables whose bytes do not depend on how many cores made them: through the stages that write them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tasks.shared import tables
from tasks.shared.files import digests
from tests.support.project import ROOT
from tests.support.wait import PATIENCE

# ingest and split, as a process of their own: polars counts cores when it is imported
STAGES = """
import sys
from pathlib import Path
from tasks import problems
from tasks.ingest import ingest
from tasks.shared.params import Data, Ingest, Split
from tasks.shared.paths import Paths
from tasks.split import split

problem, paths = problems.load("text_classification"), Paths(Path(sys.argv[2]))
ingest(Data(path=sys.argv[1]), Ingest(max_rejected=0.5), problem, paths)
split(Split(), problem.columns, paths)
"""


# the same of any table
FILTERED = """
import sys
from pathlib import Path
import polars as pl
from tasks.shared import tables

rows = pl.select(row=pl.int_range(200_000)).with_columns(text=pl.format("text {}", "row"))
tables.write(rows.filter(pl.col("row") % 9 > 0), Path(sys.argv[1]))
"""


def run(script: str, threads: int, *arguments: Path) -> None:
    env = {**os.environ, "POLARS_MAX_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, env=env, cwd=ROOT, check=True, timeout=PATIENCE)


def test_a_table_has_the_same_bytes_on_one_core_and_on_eight(tmp_path: Path) -> None:
    files = {threads: tmp_path / f"{threads}.parquet" for threads in (1, 8)}
    for threads, file in files.items():
        run(FILTERED, threads, file)
    assert files[1].read_bytes() == files[8].read_bytes()


def test_polars_writes_tables_nowhere_else() -> None:
    sources = {path: path.read_text("utf-8") for path in (ROOT / "tasks").rglob("*.py")}
    writing = [
        path.name for path, source in sources.items() if re.search(r"\.(write|sink)_(parquet|ipc)", source)
    ]
    assert writing == ["tables.py"]


@pytest.mark.slow
def test_ingest_and_split_write_the_same_bytes_on_one_core_and_on_eight(tmp_path: Path) -> None:
    # every ninth row is blank, so that each thread leaves a part of the rest
    lines = [f"{'' if row % 9 == 0 else f'text {row}'},{row % 3},{row}" for row in range(170_000)]
    source = tmp_path / "rows.csv"
    source.write_text("\n".join(["text,label,number", *lines]) + "\n", encoding="utf-8")
    outs = {threads: tmp_path / f"on {threads}" for threads in (1, 8)}
    for threads, out in outs.items():
        run(STAGES, threads, source, out)
    found = [digests(out) for out in outs.values()]
    assert found[0] == found[1]
    assert "data/ingested/rows.parquet" in found[0]


def test_chunks_leave_no_trace_in_a_file(tmp_path: Path) -> None:
    one = pl.DataFrame({"row": range(1000), "text": [str(row) * 20 for row in range(1000)]})
    many = pl.concat([one[start : start + 7] for start in range(0, 1000, 7)], rechunk=False)
    for name, table in (("one", one), ("many", many)):
        tables.write(table, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    assert pl.read_parquet(tmp_path / "many").equals(one)
