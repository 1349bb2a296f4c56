"""Attack a checkout in every way that docs/security.md promises to withstand, and count what went wrong.

`python -m tests.campaign` runs the long form, within three hours; `--short` what CI runs; names of parts run those alone.
Every attempt is drawn from the seed that is printed with it, so that a fault can be made again.
"""

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests import attacks
from tests.attacks import Attempt

PARTS = sorted(module.name for module in pkgutil.iter_modules(attacks.__path__))


def outcomes(part: str, seed: int, *, is_short: bool) -> Iterator[Attempt]:
    """Yield the attempts of a part; one that raises ends the part, as a fault."""
    module = importlib.import_module(f"tests.attacks.{part}")
    count = module.SHORT if is_short else module.LONG
    with tempfile.TemporaryDirectory(prefix=f"campaign-{part}-") as scratch:
        try:
            yield from module.attempts(seed, count, Path(scratch))
        except Exception as error:  # noqa: BLE001 (whatever an attack provokes is what the campaign looks for)
            yield Attempt(f"{part}, seed {seed}", f"raised {type(error).__name__}: {error}")


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are named, or all; return 1 when anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all, if none is named")
    parser.add_argument("--short", action="store_true", help="the few minutes that CI takes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rows: list[tuple[str, Counter[bool], float]] = []
    for part in given.parts or PARTS:
        started = time.monotonic()
        right: Counter[bool] = Counter()
        for attempt in outcomes(part, given.seed, is_short=given.short):
            right[attempt.fault is None] += 1
            if attempt.fault:
                print(f"FAULT {part}: {attempt.case}: {attempt.fault}", flush=True)
        rows.append((part, right, time.monotonic() - started))
        print(f"{part}: {right[True]} right, {right[False]} wrong", flush=True)
    print(f"\nseed {given.seed}\n{'part':<14}{'tried':>7}{'wrong':>7}{'seconds':>9}")
    for part, right, seconds in rows:
        print(f"{part:<14}{right.total():>7}{right[False]:>7}{seconds:>9.0f}")
    return int(any(right[False] for _, right, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
