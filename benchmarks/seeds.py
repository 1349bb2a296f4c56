"""What runs in this checkout that differ in their seed alone would have been promoted for.

`retrain seeds --count 20` makes them. Of all experiments the largest set is taken whose runs differ in
train.seed and in nothing else; each pair is compared on its test rows by the rule of promotions, without
looks. Whoever is called better was only luckier.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from benchmarks.measure import Options, Table
from flows.engine.workspace import root
from flows.ledger import packages
from flows.ledger.experiments import experiments
from flows.ledger.history import Record, committed
from flows.registry.seeds import LEAST, Spread, but_for_seed
from tasks.shared import measured
from tasks.shared.measured import Measured
from tasks.shared.paired import compare, least_margin, verdict
from tasks.shared.statistics import METRICS, values

MARGIN, ALPHA = 0.01, 0.05
EVALUATED = "plots/evaluate"
FILE = "statistics.arrow"


def measure(_: Options) -> Iterator[Table]:
    """Yield a table of each metric's deviation, and of the pairs that differ by more than seeds should."""
    checkout = root()
    runs = _runs(checkout)
    if len(runs) < LEAST:
        none = (
            f"fewer than {LEAST} runs here differ in train.seed alone: `retrain seeds --count 20` makes them"
        )
        yield Table("Seeds alone", ["seeds"], notes=[none])
        return
    of_seeds = {seed: _measured(checkout, run) for seed, run in sorted(runs.items())}
    columns = ["metric", "mean", "deviation", "95 % interval", "least margin", "pairs beyond it"]
    columns += ["called better", f"called better at margin {MARGIN}"]
    first = next(iter(of_seeds.values()))
    pairs = len(runs) * (len(runs) - 1) // 2
    title = (
        f"{len(runs)} trainings that differ in their seed alone, {pairs} pairs, {len(first.ids):,} test rows"
    )
    table = Table(title, columns)
    for name in first.statistics:
        table.rows.append(_row(name, of_seeds))
    headline = next(iter(runs.values())).metric("evaluate")["headline"]["name"]
    table.notes += ["seeds: " + ", ".join(map(str, of_seeds)), _of_few(headline, of_seeds)]
    yield table


def _runs(checkout: Path) -> dict[int, Record]:
    """Return by their seeds the runs of the largest set that differ in nothing else."""
    alike: dict[str, dict[int, Record]] = defaultdict(dict)
    for experiment in experiments(checkout):
        run = committed(checkout, experiment.commit, experiment.name)
        if run.is_complete():
            seed = run.stages["train"]["params"]["params.yaml"]["train"]["seed"]
            alike[json.dumps(but_for_seed(run.stages), sort_keys=True)][seed] = run
    return max(alike.values(), key=len, default={})


def _measured(checkout: Path, run: Record) -> Measured:
    """Return what each test row adds to a run's metrics, out of the cache."""
    with packages.TakenOut(checkout, run, "benchmarks", print) as out:
        return measured.read(out.folder(EVALUATED, [FILE]) / FILE)


def _spread(name: str, of_seeds: Mapping[int, Measured]) -> Spread:
    scores = {}
    for seed, its in of_seeds.items():
        scores[seed] = values({name: its.statistics[name]}, its.groups)[name]
    rows = len(next(iter(of_seeds.values())).ids)
    return Spread(name, rows, scores, {}, MARGIN)


def _row(name: str, of_seeds: Mapping[int, Measured]) -> list[str]:
    spread = _spread(name, of_seeds)
    scores, margin = spread.scores, least_margin(0, spread.deviation)
    pairs = list(combinations(of_seeds, 2))
    beyond = sum(abs(scores[one] - scores[two]) > margin for one, two in pairs)
    better = dict.fromkeys((spread.least_margin, MARGIN), 0)
    for one, two in pairs:
        mine, other = of_seeds[one], of_seeds[two]
        its = compare(mine.statistics[name], other.statistics[name], 1 - ALPHA, mine.groups)
        higher = METRICS[mine.statistics[name].metric].higher_is_better
        for limit in better:
            # either of a pair may be the candidate
            better[limit] += verdict(its, limit, higher_is_better=higher) in ("better", "worse")
    low, high = spread.interval
    mean = sum(scores.values()) / len(scores)
    return [
        *(name, f"{mean:.4f}", f"{spread.deviation:.4g}", f"{low:.4g} to {high:.4g}", f"{margin:.4f}"),
        *(f"{beyond} of {len(pairs)}", f"{better[spread.least_margin]}", f"{better[MARGIN]}"),
    ]


def _of_few(name: str, of_seeds: Mapping[int, Measured]) -> str:
    """Return what deviations five trainings in a row would have said."""
    seeds = list(of_seeds)
    said = []
    for start in range(0, len(seeds) - LEAST + 1, LEAST):
        some = {seed: of_seeds[seed] for seed in seeds[start : start + LEAST]}
        said.append(f"{_spread(name, some).deviation:.4g}")
    return f"five at a time, {name} has the deviations {', '.join(said)}"
