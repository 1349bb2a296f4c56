"""`python -m benchmarks [NAME ...]`: run the benchmarks and print their tables; all when none is named."""

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path

from benchmarks.measure import Options, machine

# the quick ones first
NAMES = (
    "statistics",
    "promotion",
    "seeds",
    "tokenization",
    "padding",
    "cached_run",
    "many_at_once",
    "queued_runs",
    "many_experiments",
    "busy_machine",
    "sweeps",
    "verifying",
    "evaluate_memory",
    "pictures",
    "sounds",
    "whole_run",
    "training",
    "training_others",
    "gpu_options",
    "scaling",
)
# the plain scripts that training has
PLAIN = "abcd"
# a group_by_length sampler sorts within 50 batches at a time, so a part of that would not be typical
STEPS = 50


def options() -> tuple[list[str], Options]:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(NAMES)}")
    parser.add_argument(
        "--sets",
        type=Path,
        help="padding, evaluate_memory, training_others: a folder of the data sets that examples/*.yaml name",
    )
    parser.add_argument(
        "--examples",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the same: only these, such as wnut17 (default: all)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder with train.csv and test.csv (columns text and category), such as BANKING77",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=STEPS,
        help="training, many_at_once, sweeps: optimizer steps (default: %(default)s), accuracy not measured",
    )
    parser.add_argument(
        "--epochs", type=float, help="training: passes over the data instead of steps, accuracy measured too"
    )
    parser.add_argument(
        "--full", action="store_const", const=1.0, dest="epochs", help="training: one whole epoch"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="training: rows per step (default: %(default)s)"
    )
    parser.add_argument(
        "--plain",
        default=PLAIN,
        metavar="LETTERS",
        help="training: which plain scripts to run beside ours (default: %(default)s)",
    )
    parser.add_argument("--rows", type=int, default=100_000, help="tokenization: rows (default: %(default)s)")
    parser.add_argument(
        "--repeat",
        type=int,
        help="how often to run each program; promotion: challengers (default: as each thinks right)",
    )
    given = vars(parser.parse_args())
    names = given.pop("names") or list(NAMES)
    for name in names:
        if name not in NAMES:
            parser.error(f"there is no benchmark '{name}'; choose from {', '.join(NAMES)}")
    if unknown := set(given["plain"]) - set(PLAIN):
        parser.error(f"--plain: there is no plain script '{min(unknown)}'; choose letters of {PLAIN}")
    if given["data"] and not (given["data"] / "train.csv").exists():
        parser.error(f"there is no {given['data'] / 'train.csv'}")
    return names, Options(**given)


def main() -> None:
    """Run what was asked for."""
    names, asked = options()
    # nothing here needs a hub, and nobody's network is to be measured
    os.environ["HF_HUB_OFFLINE"] = "1"
    # end what was started before going
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    print(machine(), end="\n\n", flush=True)
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for table in importlib.import_module(f"benchmarks.{name}").measure(asked):
            table.show()


if __name__ == "__main__":
    main()
