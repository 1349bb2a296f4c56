"""The params files in examples/, and the stages before training on the data sets that they name."""

import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.measure import ROOT, Options, Table
from tasks import problems
from tasks.ingest import ingest
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, Layer, lay_over, written_in
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize


def params_of(file: Path, sets: Path | None) -> Params:
    """Return the params of a file, whose first lines say where its data lies in a folder of data sets.

    Raises InputError when there is no such folder, or no base model.
    """
    layers = [written_in(ROOT / PARAMS), written_in(file)]
    named = re.search(r"PATH/TO/(\S+)", file.read_text("utf-8"))
    if named and sets is None:
        raise InputError("--sets names no folder of data sets")
    data = sets / named[1] if named and sets else ROOT / "data/raw/tickets.csv"
    params = lay_over(*layers, Layer("--sets", {"data": {"path": str(data)}}))
    return params.model_copy(update={"model": base_models.resolve(params.model)})


def by_example(table: Table, options: Options, row: Callable[[Params], list[str]]) -> Table:
    """Return a table with a row of each params file; a note says whose data set is not there."""
    for file in sorted((ROOT / "examples").glob("*.yaml")):
        if not options.examples or file.stem in options.examples:
            print(f"  {file.name}", file=sys.stderr, flush=True)
            try:
                table.rows.append([file.name, *row(params_of(file, options.sets))])
            except InputError as error:
                table.notes.append(f"{file.name}: left out: {error}")
            else:
                # a set can take minutes: what is known is said, should the rest be interrupted
                print(f"  {' | '.join(table.rows[-1])}", file=sys.stderr, flush=True)
    return table


def prepare(params: Params, folder: Path) -> Paths:
    """Ingest, split and tokenize into a folder; what the stages say is no part of the tables."""
    problem, paths = problems.load(params.problem, params.own), Paths(folder)
    with redirect_stdout(sys.stderr):
        ingest(params.data, params.ingest, problem, paths)
        split(params.split, problem.columns, paths)
        tokenize(params.tokenize, params.model, problem, paths)
    return paths
