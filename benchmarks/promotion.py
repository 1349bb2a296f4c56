"""Whether the comparison that promotes a model holds what it promises, over simulated challengers.

What is promised: a candidate whose true difference is no more than the margin is called better in half of
alpha of comparisons at most (alpha is of both sides), however many nights the same test rows are looked at;
one as much better as the comparison says it could have seen is called better in 80 %; slices that are worse
are held. Every challenger stands at the margin exactly, which is the worst case. `--repeat` is how many there
are of each kind.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
from scipy.stats import binomtest

from benchmarks.measure import Options, Table
from benchmarks.simulated import Accuracy, EntityF1, MacroF1, Numbers, Pair, WordErrorRate
from tasks.shared.evidence import OfSums, evidence_of, of_flags, shape_of
from tasks.shared.paired import alpha_of_look, compare, verdict, worse_slices
from tasks.shared.proportions import Pairs
from tasks.shared.statistics import METRICS, Statistic
from tasks.shared.swaps import permutation

SEED = 15
CHALLENGERS = 2000
MARGIN, ALPHA = 0.01, 0.05
RESAMPLES = 400
LEVELS = (0.95, 0.999)
NIGHTS, FIRST_ROWS, NIGHTLY_ROWS = 365, 500, 20
# of a metric that must be bootstrapped; these looks may spend 98 % of what a year may
FEW_NIGHTS = 30
# disagreeing so much that one can be better by twice what could be seen, and still disagree as much
KINDS: dict[str, Pair] = {
    "accuracy, 2,000 rows": Accuracy(2000),
    "accuracy, 300 rows": Accuracy(300, made=0.06),
    "accuracy, 2,000 rows, the models hardly differ": Accuracy(2000, made=0.001),
    "accuracy, 60 groups of 1,000 rows": Accuracy(1000, 60, made=0.06, right=0.7),
    "accuracy, 15 groups of 300 rows": Accuracy(300, 15, made=0.1, right=0.6),
    "macro F1 of 20 labels, 1,000 rows": MacroF1(1000, made=0.06),
    "macro F1 of 20 labels, 60 groups of 1,000 rows": MacroF1(1000, 60, made=0.06),
    "entity F1, 500 rows": EntityF1(500, made=0.06),
    "entity F1, 40 groups of 500 rows": EntityF1(500, 40, made=0.06),
    "word error rate, 500 rows": WordErrorRate(500, made=0.04, loops=0),
    "word error rate, 40 groups of 500 rows": WordErrorRate(500, 40, made=0.04, loops=0),
    "word error rate, models that repeat themselves": WordErrorRate(500, made=0.04),
    "word error rate by groups, models that repeat themselves": WordErrorRate(500, 40, made=0.04),
}
# of units' differences: how many, their true mean, and how they are drawn
Draw = Callable[[np.random.Generator, int], np.ndarray]
DIFFERENCES: dict[str, tuple[int, float, Draw]] = {
    "1,000 rows, 1.1 % better, 0.1 % worse": (
        1000,
        0.01,
        lambda random, units: random.choice(3, units, p=(0.001, 0.988, 0.011)) - 1,
    ),
    "200 rows, 10 % better, 10 % worse": (
        200,
        0,
        lambda random, units: random.choice(3, units, p=(0.1, 0.8, 0.1)) - 1,
    ),
    "60 groups of unequal size, by rows": (
        60,
        0,
        lambda random, units: random.normal(0, 1, units) * random.geometric(0.1, units),
    ),
    # what is rare and large may not be seen at all, which no method can know
    "500 rows, 20 % differ by 1; 1 % worse by 10 on average, 0.3 % better": (
        500,
        -0.07,
        lambda random, units: (
            random.choice(3, units, p=(0.1, 0.8, 0.1))
            - 1
            + (random.random(units) < 0.003) * random.geometric(0.1, units)
            - (random.random(units) < 0.01) * random.geometric(0.1, units)
        ),
    ),
    "2,000 rows, 20 % better by 1, 2 % worse by 10 on average": (
        2000,
        0,
        lambda random, units: (
            (random.random(units) < 0.2) - 1.0 * (random.random(units) < 0.02) * random.geometric(0.1, units)
        ),
    ),
}


def measure(options: Options) -> Iterator[Table]:
    """Yield what was promised and what was seen."""
    repeat = options.repeat or CHALLENGERS
    yield _alone(repeat)
    yield _seen(max(repeat // 4, 1))
    yield _year(repeat)
    yield _held(max(repeat // 8, 1))
    yield _swapped(max(repeat // 2, 1))
    yield _tails(20 * repeat)


def _random(*which: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *which])


def _share(count: int, of: int) -> str:
    """Return a share with its 95 % interval (Clopper and Pearson)."""
    low, high = binomtest(count, of).proportion_ci()
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})"


def _at_most(count: int, of: int, limit: float) -> str:
    low, _ = binomtest(count, of).proportion_ci()
    return f"<= {limit:.4g} {'met' if low <= limit else 'MISSED'}"


def _at_least(count: int, of: int, limit: float) -> str:
    _, high = binomtest(count, of).proportion_ci()
    return f">= {limit:.4g} {'met' if high >= limit else 'MISSED'}"


def _alone(repeat: int) -> Table:
    """Return how often challengers at the margin are promoted, and intervals hold the true difference."""
    columns = ["challengers at the margin", "promoted", f"target {ALPHA / 2}"]
    for level in LEVELS:
        columns += [f"{level:.1%} interval holds it", "target"]
    table = Table(f"{repeat:,} challengers of each kind, compared once", columns)
    for number, (kind, pair) in enumerate(KINDS.items()):
        is_better = METRICS[pair.metric].higher_is_better
        true = MARGIN if is_better else -MARGIN
        random, promoted, held = _random(1, number), 0, [0] * len(LEVELS)
        for seed in range(repeat):
            mine, other, groups = pair.draw(random, MARGIN)
            evidence = evidence_of(mine, other, groups, RESAMPLES, seed)
            promoted += evidence.tail(MARGIN, 1 if is_better else -1) <= ALPHA / 2
            for place, level in enumerate(LEVELS):
                low, high = evidence.interval(level)
                held[place] += low <= true <= high
        row = [kind, _share(promoted, repeat), _at_most(promoted, repeat, ALPHA / 2)]
        for count, level in zip(held, LEVELS, strict=True):
            row += [_share(count, repeat), _at_least(count, repeat, level)]
        table.rows.append(row)
    table.notes.append(f"seed {SEED}, {RESAMPLES} resamples, margin {MARGIN}, alpha {ALPHA} of both sides")
    return table


def _seen(repeat: int) -> Table:
    """Return how often challengers are promoted that are as much better as could be seen, and more."""
    columns = ("challengers", "detectable", "promoted there", "target", "promoted at twice as much", "target")
    table = Table(f"{repeat:,} challengers of each kind that are better", columns)
    for number, (kind, pair) in enumerate(KINDS.items()):
        random = _random(2, number)
        said = []
        for seed in range(100):
            mine, other, groups = pair.draw(random, MARGIN)
            said.append(compare(mine, other, 1 - ALPHA, groups, RESAMPLES, seed).detectable(MARGIN))
        detectable = float(np.mean(said))
        row = [kind, f"{detectable:.4f}"]
        for times in (1, 2):
            better_by = MARGIN + times * (detectable - MARGIN)
            promoted = _promoted(pair, better_by, random, repeat)
            row.append(_share(promoted, repeat))
            if times == 1:
                low, high = binomtest(promoted, repeat).proportion_ci()
                row.append(f"0.75 to 0.85 {'met' if low <= 0.85 and high >= 0.75 else 'MISSED'}")
            else:
                row.append(_at_least(promoted, repeat, 0.98))
        table.rows.append(row)
    table.notes.append(
        "detectable: the mean of what 100 comparisons at the margin say; twice: beyond the margin"
    )
    return table


def _promoted(pair: Pair, better_by: float, random: np.random.Generator, repeat: int) -> int:
    promoted = 0
    for seed in range(repeat):
        mine, other, groups = pair.draw(random, better_by)
        compared = compare(mine, other, 1 - ALPHA, groups, RESAMPLES, seed)
        higher = METRICS[pair.metric].higher_is_better
        promoted += verdict(compared, MARGIN, higher_is_better=higher) == "better"
    return promoted


def _year(repeat: int) -> Table:
    """Return the share of years in which any nightly challenger at the margin is promoted."""
    title = f"Years of nightly looks at a growing test set: {FIRST_ROWS} rows, {NIGHTLY_ROWS} more each night"
    table = Table(title, ("challengers at the margin", "nights", "years", "with a promotion", "target"))
    few = max(repeat // 10, 1)
    kinds = {
        "accuracy, another challenger each night": (NIGHTS, repeat, _year_of_others),
        "accuracy, the same challenger each night": (NIGHTS, repeat, _year_of_the_same),
        "word error rate by groups, another each night": (FEW_NIGHTS, few, _year_of_words),
    }
    for number, (kind, (nights, years, year)) in enumerate(kinds.items()):
        random = _random(3, number)
        failed = sum(year(random) for _ in range(years))
        row = [kind, str(nights), f"{years:,}", _share(failed, years), _at_most(failed, years, ALPHA / 2)]
        table.rows.append(row)
    table.notes.append("alpha_k = 6 alpha / (pi k)^2; k counts every look, since no row leaves the test set")
    return table


def _year_of_others(random: np.random.Generator) -> bool:
    """Return whether any is promoted of challengers that have only the champion and the rows in common."""
    pair = Accuracy()
    rows = FIRST_ROWS + NIGHTLY_ROWS * np.arange(NIGHTS)
    right = np.cumsum(random.binomial(np.diff(rows, prepend=0), pair.right))
    mine = random.binomial(rows - right, pair.rates(MARGIN)[0])
    return _any_promoted(mine, random.binomial(right, pair.rates(MARGIN)[1]), rows)


def _year_of_the_same(random: np.random.Generator) -> bool:
    """Return whether it is promoted on any night, one challenger that gets more rows each night."""
    pair = Accuracy()
    new_rows = np.full(NIGHTS, NIGHTLY_ROWS)
    new_rows[0] = FIRST_ROWS
    right = random.binomial(new_rows, pair.right)
    mine = random.binomial(new_rows - right, pair.rates(MARGIN)[0])
    other = random.binomial(right, pair.rates(MARGIN)[1])
    return _any_promoted(np.cumsum(mine), np.cumsum(other), np.cumsum(new_rows))


def _any_promoted(mine: Numbers, other: Numbers, rows: Numbers) -> bool:
    nights = zip(mine, other, rows, strict=True)
    for look, (my_rows, its_rows, all_rows) in enumerate(nights, 1):
        # less than one standard deviation beyond the margin never suffices, and takes no time
        near = my_rows - its_rows - MARGIN * all_rows > (my_rows + its_rows) ** 0.5
        tail = of_flags(Pairs(int(my_rows), int(its_rows), int(all_rows))).tail(MARGIN, 1) if near else 1
        if tail <= alpha_of_look(look, ALPHA) / 2:
            return True
    return False


def _year_of_words(random: np.random.Generator) -> bool:
    for look in range(1, FEW_NIGHTS + 1):
        rows = FIRST_ROWS + NIGHTLY_ROWS * (look - 1)
        mine, other, groups = WordErrorRate(rows, rows // 10).draw(random, MARGIN)
        evidence = evidence_of(mine, other, groups, RESAMPLES, look)
        if evidence.tail(MARGIN, -1) <= alpha_of_look(look, ALPHA) / 2:
            return True
    return False


def _held(repeat: int) -> Table:
    """Return how often slices are held that are worse by twice what could be seen, and that are not."""
    columns = (
        "slices",
        "detectable",
        "held, one worse by twice that",
        "target",
        "held, all at the margin",
        "target",
    )
    table = Table(f"{repeat:,} challengers with five slices of 400 rows each", columns)
    for number, pair in enumerate(
        (Accuracy(400), MacroF1(400, labels=5), EntityF1(400, 40), WordErrorRate(400))
    ):
        random = _random(4, number)
        said = [_worse(pair, [0] * 5, random)["detectable"].to_numpy().mean() for _ in range(20)]
        detectable = float(np.mean(said))
        held = falsely = 0
        for _ in range(repeat):
            decision = _worse(pair, [-2 * detectable, 0, 0, 0, 0], random).filter(value="0")["decision"]
            held += decision.item() == "worse"
            falsely += "worse" in _worse(pair, [-MARGIN] * 5, random)["decision"]
        row = [f"{pair.metric}{' by groups' if pair.groups else ''}", f"{detectable:.4f}"]
        row += [_share(held, repeat), _at_least(held, repeat, 0.8)]
        table.rows.append([*row, _share(falsely, repeat), _at_most(falsely, repeat, ALPHA)])
    return table


def _worse(pair: Pair, better_by: Sequence[float], random: np.random.Generator) -> pl.DataFrame:
    """Return the table of slices that are better by so much each."""
    drawn = [pair.draw(random, by) for by in better_by]
    mine = Statistic(pair.metric, pl.concat([its.columns for its, _, _ in drawn]))
    other = Statistic(pair.metric, pl.concat([its.columns for _, its, _ in drawn]))
    slices = pl.DataFrame({"part": np.repeat(np.arange(len(drawn)), pair.rows)})
    groups = None
    if pair.groups is not None:
        own = [its for _, _, its in drawn if its is not None]
        groups = pl.concat([its + number * pair.groups for number, its in enumerate(own)])
    return worse_slices(mine, other, slices, MARGIN, ALPHA, groups, RESAMPLES, 0)


def _swapped(repeat: int) -> Table:
    """Return how often swaps give a p-value of at most so much for two models that are alike."""
    levels = (0.05, 0.01, 0.001)
    columns = ["models that are alike", *(f"p <= {level}" for level in levels), "target"]
    table = Table(f"Permutations of {repeat:,} pairs; 2.5 % and less are studentised", columns)
    alike = {
        "macro F1": MacroF1(1000),
        "entity F1 by groups": EntityF1(500, 40),
        "word errors": WordErrorRate(500),
    }
    for number, (kind, pair) in enumerate(alike.items()):
        random, counts = _random(5, number), np.zeros(len(levels), int)
        for seed in range(repeat):
            mine, other, groups = pair.draw(random, 0)
            mine, other = _exchanged(mine, other, groups, random)
            counts += permutation(mine, other, groups, RESAMPLES, seed) <= np.array(levels)
        met = [_at_most(count, repeat, level) for count, level in zip(counts.tolist(), levels, strict=True)]
        missed = [said for said in met if said.endswith("MISSED")]
        shares = [_share(count, repeat) for count in counts.tolist()]
        table.rows.append([kind, *shares, ", ".join(missed) or "<= p met"])
    return table


def _exchanged(
    mine: Statistic, other: Statistic, groups: pl.Series | None, random: np.random.Generator
) -> tuple[Statistic, Statistic]:
    """Return both with their rows, or groups, swapped by the toss of a coin."""
    unit = np.arange(mine.columns.height) if groups is None else groups.to_numpy()
    swap = pl.Series(random.random(unit.max() + 1)[unit] < 0.5)
    pairs = list(zip(mine.columns, other.columns, strict=True))
    return (
        Statistic(mine.metric, pl.DataFrame([its.zip_with(swap, my) for my, its in pairs])),
        Statistic(mine.metric, pl.DataFrame([my.zip_with(swap, its) for my, its in pairs])),
    )


def _tails(repeat: int) -> Table:
    """Return how often means of differences are beyond their true mean, at levels that many looks ask for."""
    levels = (0.01, 0.001, 0.0001)
    columns = ["differences of units", *(f"shown at {level}" for level in levels), "target"]
    table = Table(f"{repeat:,} means, studentised as sums are, the worse side of two", columns)
    for number, (kind, (units, true, draw)) in enumerate(DIFFERENCES.items()):
        random, counts = _random(6, number), np.zeros((2, len(levels)), int)
        for _ in range(repeat):
            drawn = draw(random, units).astype(float)
            error = float(drawn.std()) / (units - 1) ** 0.5
            differing = int(np.count_nonzero(drawn))
            evidence = OfSums(float(drawn.mean()), error, units, *shape_of(drawn), differing, kind)
            for side, sign in enumerate((1, -1)):
                counts[side] += evidence.tail(sign * true, sign) <= np.array(levels)
        # above or below the true mean, whichever was shown more often
        counts = counts.max(axis=0)
        met = [_at_most(count, repeat, level) for count, level in zip(counts.tolist(), levels, strict=True)]
        missed = [said for said in met if said.endswith("MISSED")]
        shares = [_share(count, repeat) for count in counts.tolist()]
        table.rows.append([kind, *shares, ", ".join(missed) or "met"])
    return table
