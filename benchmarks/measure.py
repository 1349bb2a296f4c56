"""Running programs in turn, and setting what they measured side by side."""

import operator
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tasks.shared.devices import cpu_flags

ROOT = Path(__file__).parent.parent
VERSIONS = ("torch", "transformers", "datasets", "tokenizers", "polars", "prefect", "dvc")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
SIGNS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    # a folder with train.csv and test.csv (columns text and category); None: the embedded tickets
    data: Path | None
    # a folder of the data sets that params files in examples/ name
    sets: Path | None
    # names of those params files; none: all
    examples: list[str]
    # optimizer steps of a training, where epochs is None
    steps: int
    epochs: float | None
    batch_size: int
    # which plain scripts to train with beside ours: letters of benchmarks/training.py's PLAIN
    plain: str
    # to tokenize
    rows: int
    # None: as often as each benchmark thinks right
    repeat: int | None


@dataclass
class Table:
    """What one benchmark found."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print it: rich on a terminal, Markdown elsewhere."""
        console = Console(highlight=False)
        if console.is_terminal:
            table = RichTable(*self.columns, title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
            for column in table.columns[1:]:
                column.justify = "right"
            for row in self.rows:
                table.add_row(*map(escape, row))
            console.print(table, *self.notes, "", sep="\n")
            return
        rule = ["---", *("---:" for _ in self.columns[1:])]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows)]
        print(
            f"## {self.title}",
            "",
            *lines,
            "",
            *(f"- {note}" for note in self.notes),
            "",
            sep="\n",
            flush=True,
        )


def in_turn(programs: Mapping[str, Callable[[], float]], repeat: int) -> dict[str, list[float]]:
    """Run the programs A B C A B C ...; return what each measured, in order.

    In turn, so that what else the machine does hits all alike.
    """
    measured: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(1, repeat + 1):
        for name, program in programs.items():
            measured[name].append(program())
            print(f"  {turn} of {repeat}: {name}: {measured[name][-1]:.4g}", file=sys.stderr, flush=True)
    return measured


def compare(
    title: str, unit: str, measured: Mapping[str, Sequence[float]], ours: str, targets: Mapping[str, str]
) -> Table:
    """Set the medians beside `ours`, a key of `measured`.

    `targets` such as {"dvc repro": "<= 1.30"} are for ours / that row.
    """
    table = Table(title, ("program", f"median {unit}", "range", "ours / this", "target"))
    for name, values in measured.items():
        ratio = statistics.median(measured[ours]) / statistics.median(values)
        beside = ["", ""] if name == ours else [f"{ratio:.2f}", _verdict(ratio, targets.get(name, ""))]
        table.rows.append(
            [
                name,
                _number(statistics.median(values)),
                f"{_number(min(values))} to {_number(max(values))}",
                *beside,
            ]
        )
    return table


def _verdict(ratio: float, target: str) -> str:
    if not target:
        return ""
    sign, limit = target.split()
    return f"{target} {'met' if SIGNS[sign](ratio, float(limit)) else 'MISSED'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def machine() -> str:
    """Return a line on what the numbers hold for: cores, instruction sets, versions, and the load before."""
    text = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")),
        "unknown CPU",
    )
    flags = " ".join(flag for flag in FLAGS if flag in cpu_flags()) or "no AVX"
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in VERSIONS)
    python = ".".join(map(str, sys.version_info[:3]))
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{cores} cores of {name} ({flags}), load {load:.1f}; Python {python}, {versions}"


def peak() -> float:
    """Return the most memory that this process has had, in MiB: what rusage says begins with its parent's."""
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
