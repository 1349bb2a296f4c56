"""Problems, put before people: what a row of each is, what leads, how it is served, what it has to tune."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from flows.report.console import printing
from tasks import problems
from tasks.problems import Problem
from tasks.shared.param_names import names
from tasks.shared.params import PROBLEMS, Params, problem_names
from tasks.shared.params_file import read, word
from tasks.shared.section import Section

EXAMPLES = PROBLEMS.parents[1] / "examples"
# the param by which a problem takes rows of several kinds
KIND = "rows"


def listed() -> list[dict[str, Any]]:
    """Return of every problem, by its name, what `told` says of it."""
    return [told(name) for name in problem_names()]


def told(name: str) -> dict[str, Any]:
    """Return what there is to know of a problem before it is run, as JSON can hold it.

    rows: for each kind of rows that it takes, the option that chooses it (the default one first),
    the columns, and example rows.
    """
    problem = _loaded(name)
    return {
        "name": name,
        "about": _about(name),
        "headline": problem.headline,
        "metrics": [*problem.metrics],
        "task": problem.task,
        "served_by": "serve.py" if problem.serve else "pipeline",
        "rows": [_rows(option, its) for option, its in _kinds(name)],
        "formats": [*problem.formats, *_media(problem)],
        "params": _params(name),
        "params_files": _params_files(name),
    }


def show(those: Sequence[Mapping[str, Any]], *, whole: bool, as_json: bool) -> None:
    """Print problems as JSON, or for people; rich on a terminal, plain elsewhere.

    whole: with all example rows, formats, params and params files.
    """
    if as_json:
        print(json.dumps([*those], indent=2, ensure_ascii=False))
        return
    console = printing()
    for number, its in enumerate(those):
        if number:
            console.print()
        _show(its, console, whole=whole)


def _loaded(name: str, **own: str) -> Problem:
    return problems.load(name, Params.model_validate({"problem": name, name: own}).own)


def _media(problem: Problem) -> Iterator[str]:
    """Yield what files rows can be, or name, beside tables."""
    if problem.media_endings:
        endings = ", ".join(problem.media_endings)
        yield f"files ({endings}) that a table names, or whose folders are labels; see data.media_path"


def _about(name: str) -> str:
    """Return what a problem says of itself first, before how it is served."""
    text = (PROBLEMS / name / "__init__.py").read_text("utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return first.partition(" Served by")[0]


def _kinds(name: str) -> Iterator[tuple[str | None, Problem]]:
    """Yield the problem for each kind of rows that it takes, the default first, with the option for it."""
    section = type(Params.model_validate({"problem": name}).own)
    field = section.model_fields.get(KIND)
    kinds = [] if field is None else [kind for kind in get_args(field.annotation) if isinstance(kind, str)]
    if field is None or not kinds:
        yield None, _loaded(name)
        return
    for kind in sorted(kinds, key=lambda kind: kind != field.default):
        yield f"--{name}.{KIND} {kind}", _loaded(name, **{KIND: kind})


def _rows(option: str | None, problem: Problem) -> dict[str, Any]:
    columns = {}
    for name, column in problem.columns.items():
        columns[name] = {"kind": column.kind, "role": column.role, "optional": column.optional}
    return {"option": option, "columns": columns, "examples": [*problem.examples]}


def _params(name: str) -> list[dict[str, Any]]:
    """Return what only this problem has to tune: each param, its default, what it may be and what it does."""
    section: Section = getattr(Params(), name)
    found = []
    for own in dict.fromkeys(own for _, own in names(type(section), f"{name}.")):
        *inside, field = own.split(".")[1:]
        holder: Section = section
        for part in inside:
            holder = getattr(holder, part)
        default = getattr(holder, field)
        if isinstance(default, Section):
            # its params come next
            continue
        schema = type(holder).model_json_schema()["properties"][field]
        its = {"choices": schema.get("enum", []), "description": schema["description"]}
        found.append({"name": own, "default": default, **its})
    return found


def _params_files(name: str) -> list[dict[str, str]]:
    """Return the params files in examples that are for a problem, and what the first line of each says."""
    found = []
    for file in sorted(EXAMPLES.glob("*.yaml")):
        if read(file).get("problem", Params().problem) == name:
            first = file.read_text("utf-8").split("\n")[0]
            about = first.removeprefix("#").strip() if first.startswith("#") else ""
            found.append({"file": f"{EXAMPLES.name}/{file.name}", "about": about})
    return found


def _show(its: Mapping[str, Any], console: Console, *, whole: bool) -> None:
    """Print a problem."""
    console.print(Text.assemble((its["name"], "bold"), f": {its['about']}"))
    for rows in its["rows"]:
        if rows["option"]:
            console.print(Text(f"  with {rows['option']}"))
        for line in _columns(rows["columns"]):
            console.print(Text(f"  {line}"))
        for example in rows["examples"] if whole else rows["examples"][:1]:
            console.print(Text(f"  {json.dumps(example, ensure_ascii=False)}", "dim"), soft_wrap=True)
    how = (
        f"the {its['task']} pipeline"
        if its["served_by"] == "pipeline"
        else f"{its['served_by']} in the package"
    )
    others = (
        f" beside {', '.join(name for name in its['metrics'] if name != its['headline'])}" if whole else ""
    )
    console.print(Text(f"  {its['headline']} leads{others}; served by {how}"))
    if whole:
        _show_more(its, console)


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each column: its name, kind and role."""
    longest = max(map(len, columns))
    for name, column in columns.items():
        optional = ", where data.columns names it" if column["optional"] else ""
        yield f"{name:{longest}}  {column['kind']:10}  {column['role']}{optional}"


def _show_more(its: Mapping[str, Any], console: Console) -> None:
    """Print what formats a problem reads, what it has to tune, and which params files are for it."""
    console.print("\nfiles: tables (CSV, TSV, JSONL, JSON, Parquet, Arrow)")
    for words in its["formats"]:
        console.print(Text(f"  and {words}"))
    console.print()
    console.print("params, as they are by default:" if its["params"] else "nothing of its own to tune")
    for param in its["params"]:
        default = None if param["default"] == [] else param["default"]
        choices = f" One of {', '.join(map(str, param['choices']))}." if param["choices"] else ""
        console.print(Text.assemble("  ", (f"{param['name']} {word(default)}", "bold")))
        console.print(Padding(Text(f"{param['description']}{choices}"), (0, 0, 0, 6), expand=False))
    if its["params_files"]:
        console.print("\nparams files, for --params:")
    for file in its["params_files"]:
        console.print(Text(f"  {file['file']}  {file['about']}"), soft_wrap=True)
