"""What a run would read, put before its user: files, rejected rows, columns, labels, lengths, splits."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from rich.text import Text

from flows.engine.data import located, under_dvc, with_data
from flows.engine.prepare import refuse_unknown_names
from flows.ledger.sources import is_url
from flows.report.console import printing
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, Layer, lay_over, written_in
from tasks.shared.say import Say

# labels that are named
LABELS = 20
# of a value that is shown
CHARS = 200
# files and other columns that are named
FEW = 8


def looked_at(given: Sequence[Layer], checkout: Path, num_rows: int, say: Say) -> dict[str, Any]:
    """Return what `tasks.preview` finds in a process of its own; nothing in the checkout is written.

    Data from outside is read where it lies. Raises InputError with the sentences of a run.
    """
    with chdir(checkout):
        params = lay_over(written_in(checkout / PARAMS), *given)
        params, source = located(params, checkout, checkout, isolated=False)
        refuse_unknown_names(params)
        if source is not None and is_url(source):
            fetched = f"what is in {source} is known only once it is fetched"
            raise InputError(f"data.path: {fetched}; `retrain add SOURCE` does that")
        if source is not None:
            say(f"{source} is read where it lies; `retrain run` brings it into data/raw first")
            params = with_data(params, path=os.path.normpath(params.data.path))
        if not Path(params.data.path).exists() and under_dvc(checkout, params.data.path):
            away = f"'{params.data.path}' is under DVC but not checked out"
            raise InputError(f"data.path: {away}; get it with `dvc checkout` or `dvc pull`")
        return _found(params, checkout, num_rows)


def _found(params: Params, checkout: Path, num_rows: int) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 (our own interpreter and module, no shell)
        [sys.executable, "-m", "tasks.preview", str(num_rows)],
        input=params.model_dump_json(),
        stdout=subprocess.PIPE,
        cwd=checkout,
        text=True,
        check=False,
    )
    if done.returncode:
        killed = "was killed, as by a system without memory left"
        ended = killed if done.returncode < 0 else f"ended with status {done.returncode}, as said above"
        raise InputError(f"data.path: what reads the data {ended}; try some of it with data.files")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise InputError(found["error"])
    return found


def show(found: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print what was found as JSON, or for people; rich on a terminal, plain elsewhere."""
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = printing()
    for title, lines in _parts(found).items():
        if lines:
            console.print(Text(title, "bold"))
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)
    for sentence in found["stops"]:
        console.print(Text(f"a run would stop: {sentence}", "red"), soft_wrap=True)


def _parts(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return lines by what they are about."""
    rejected = f"{found['rejected']:,} rejected ({found['duplicates']:,} duplicates)"
    rows = [f"{found['read']:,} read, {found['rows']:,} taken, {rejected}"]
    if found["conflicting_labels"]:
        rows.append(f"{found['conflicting_labels']:,} under more than one label")
    files = [
        f"{its['file']}: {its['taken']:,} rows taken, {its['rejected']:,} rejected" for its in found["files"]
    ]
    return {
        f"{found['data']} for {found['problem']}": rows,
        "files": _few(files, FEW),
        "notes": found["notes"],
        "rejected": [_reason(its) for its in found["reasons"]],
        "columns": [*_columns(found["columns"]), *_others(found["others"])],
        "labels": _few([f"{count:>7,}  {label}" for label, count in found["labels"].items()], LABELS),
        "split": _split(found["split"]),
        "tokens": _tokens(found["tokens"]),
        "first rows": [_row(row) for row in found["first_rows"]],
    }


def _few(lines: Sequence[str], most: int) -> list[str]:
    """Return no more lines than so many, the last of which says how many there are more."""
    return (
        [*lines]
        if len(lines) <= most
        else [*lines[: most - 1], f"and {len(lines) - most + 1:,} more; --json has all"]
    )


def _reason(its: Mapping[str, Any]) -> str:
    first = its["first"]
    rest = " ".join(first["said"].removeprefix(its["reason"]).split())[:CHARS]
    return f"{its['rows']:>7,}  {its['reason']} (first: {first['file']} row {first['row']}{rest})"


def _columns(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for its in columns:
        called = f" (in the files: {its['in_files']})" if its["in_files"] != its["column"] else ""
        holds = [f"{what} {_numbers(value)}" for what, value in its["holds"].items()]
        lines.append(f"{its['column']}{called}: {its['kind']}, {its['role']}; {'; '.join(holds)}")
    return lines


def _numbers(value: Any) -> str:
    """Return a number, or several with their names: percentiles p5 12, p50 40, ..."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_numbers(inside)}" for name, inside in value.items())
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _others(names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return [f"carried along: {', '.join(names[:FEW])}{more}"] if names else []


def _split(split: Mapping[str, Any]) -> list[str]:
    """Return how rows fall, in counts and shares."""
    counts = {name: count for name, count in split.items() if name in ("train", "validation", "test")}
    if not counts:
        return []
    total = sum(counts.values())
    lines = [", ".join(f"{count:,} {name} ({count / total:.0%})" for name, count in counts.items())]
    both = split["in_train_and_test"]
    return [*lines, *([f"{both:,} test rows stand in train too"] if both else []), *split.get("warnings", [])]


def _tokens(tokens: Mapping[str, Any] | None) -> list[str]:
    if tokens is None:
        return []
    if "why" in tokens:
        return [f"not known: {tokens['why']}"]
    inputs = f"{tokens['rows']:,} train rows make {tokens['inputs']:,} model inputs"
    cut = f"{tokens['cut']:,} rows are cut at {tokens['cut_at']:,}"
    unknown = f", {tokens['unknown_share']:.1%} of tokens unknown" if tokens["unknown_share"] else ""
    return [f"{inputs}: {_numbers(tokens['length'])} tokens; {cut}{unknown}"]


def _row(row: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON, long values cut."""
    values = {}
    for name, value in row.items():
        long = isinstance(value, str) and len(value) > CHARS
        values[name] = f"{value[:CHARS]}... ({len(value):,} characters)" if long else value
    return json.dumps(values, ensure_ascii=False)
