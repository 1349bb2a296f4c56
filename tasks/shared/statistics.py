"""Metrics as functions of sums: what each test row adds, and what the sums make.

Accuracy is right rows over rows; macro F1, perplexity, Pearson's r and calibration are functions of a few
more sums. So a problem only says what its rows add. Values are made here, intervals, slices and comparisons
in bootstrap.py, and measured.py keeps it all in a file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.shared.errors import InputError, did_you_mean

Array = NDArray[np.float64]
# scipy.sparse.csr_array: a row per sum, a column per test row (or cell, or group)
Added = Any
Name = TypeVar("Name")
# of confidence: Guo et al. 2017 use fifteen
BINS = 15
# of a sum of squares, what is nothing beside it
ROUNDING = 1e-12


@dataclass(frozen=True)
class Metric:
    """A function of k sums over rows.

    takes: the columns that it is made from and their kinds, a key of KINDS each.
    adds: what n rows add to the sums, (k, n), from these columns in this order.
    value: what sums (..., k) make, (...); NaN where they make nothing, such as a rate of no words.
    of_units: where the sums also hold products within what is resampled (a row, or a group of rows): from
    (k, units) to all of them. of_resample: what a resample's sums make, where that is not `value`.
    A problem with a metric of its own adds it to METRICS.
    """

    takes: Mapping[str, str]
    adds: Callable[..., Added]
    value: Callable[[Array], Array]
    higher_is_better: bool = True
    of_units: Callable[[Added], Added] | None = None
    of_resample: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Statistic:
    """What each test row adds to the sums of a metric, and which metric that is.

    metric: a name in METRICS. columns: what the metric takes, in its order, a row per test row. Statistics
    that share one frame (not a copy of it) are summed once. Raises InputError when a column holds what the
    metric cannot use.
    """

    metric: str
    columns: pl.DataFrame

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(f"there is no metric '{self.metric}'{did_you_mean(self.metric, METRICS)}")
        takes = METRICS[self.metric].takes
        if self.columns.width != len(takes):
            held = ", ".join(self.columns.columns) or "nothing"
            raise InputError(f"{self.metric} takes {', '.join(takes)}, not {held}")
        labels = None
        for kind, column in zip(takes.values(), self.columns, strict=True):
            wrong = _wrong(column, kind)
            if wrong is None and kind == "label":
                labels = labels or _labels(column)
                wrong = None if labels == _labels(column) else "has other labels than the column before it"
            if wrong is not None:
                raise InputError(f"{self.metric}: the column '{column.name}' {wrong}")


Statistics = Mapping[str, Statistic]


def classification(
    predicted: np.ndarray,
    actual: np.ndarray,
    labels: Sequence[str],
    confidence: np.ndarray | None = None,
) -> dict[str, Statistic]:
    """Return accuracy, macro and weighted F1 of label numbers (n,), and the calibration error.

    confidence: (n,) in 0..1, the probability of what was predicted; without it there is no calibration error.
    """
    names = pl.Enum(labels)
    numbers = {"predicted": predicted, "actual": actual}
    counted = pl.DataFrame({name: pl.Series(array).cat.to(names) for name, array in numbers.items()})
    right = pl.DataFrame({"correct": np.equal(predicted, actual)})
    statistics = {
        "accuracy": Statistic("accuracy", right),
        "macro_f1": Statistic("macro_f1", counted),
        "weighted_f1": Statistic("weighted_f1", counted),
    }
    if confidence is not None:
        sure = right.with_columns(confidence=pl.Series(confidence, dtype=pl.Float64))
        statistics["calibration_error"] = Statistic("calibration_error", sure)
    return statistics


def take(statistics: Mapping[Name, Statistic], rows: Any) -> dict[Name, Statistic]:
    """Return the statistics of some rows, by their numbers; those that share a frame still do."""
    frames = {id(statistic.columns): statistic.columns[rows] for statistic in statistics.values()}
    return {name: Statistic(of.metric, frames[id(of.columns)]) for name, of in statistics.items()}


def added(statistic: Statistic, groups: pl.Series | None = None) -> Added:
    """Return what each row, or each group in the order of their names, adds to the sums: (k, units)."""
    from scipy import sparse

    metric = METRICS[statistic.metric]
    found = metric.adds(*statistic.columns)
    if groups is not None:
        group = groups.rank("dense").to_numpy().astype(int) - 1
        found @= sparse.csr_array((np.ones(len(group)), (np.arange(len(group)), group)))
    return found if metric.of_units is None else metric.of_units(found)


def values(statistics: Statistics, groups: pl.Series | None = None) -> dict[str, float]:
    """Return what the sums over all rows make of each statistic; NaN where a metric is not defined."""
    found = {}
    for name, statistic in statistics.items():
        by_unit = added(statistic, groups)
        with np.errstate(all="ignore"):
            found[name] = float(METRICS[statistic.metric].value(by_unit @ np.ones(by_unit.shape[1])))
    return found


def per_label(statistic: Statistic) -> dict[str, dict[str, float]]:
    """Return precision, recall, f1 (0 for 0 / 0) and support (rows) of each label of such as macro_f1."""
    hits, predicted, actual = (added(statistic) @ np.ones(statistic.columns.height)).reshape(3, -1)
    columns = (hits / np.maximum(predicted, 1), hits / np.maximum(actual, 1), _f1(hits, predicted, actual))
    found = {}
    for index, label in enumerate(_labels(statistic.columns.to_series())):
        precision, recall, f1 = (float(column[index]) for column in columns)
        found[label] = {"precision": precision, "recall": recall, "f1": f1, "support": int(actual[index])}
    return found


def reliability(correct: pl.Series, confidence: pl.Series) -> pl.DataFrame:
    """Return share of rows, accuracy and mean confidence of each of 15 equal bins that holds a row.

    Columns: confidence_up_to (the bin's upper edge), share, accuracy, confidence.
    """
    bins = _bins(confidence)
    rows, right, sure = (np.bincount(bins, of, BINS) for of in (None, correct, confidence))
    held = rows > 0
    return pl.DataFrame(
        {
            "confidence_up_to": (np.flatnonzero(held) + 1) / BINS,
            "share": rows[held] / len(bins),
            "accuracy": right[held] / rows[held],
            "confidence": sure[held] / rows[held],
        },
    )


# what a column may hold


def _wrong(column: pl.Series, kind: str) -> str | None:
    """Return what is wrong with a column, as the rest of a sentence that begins with its name; or None."""
    fits, is_right, meant = KINDS[kind]
    if not fits(column.dtype):
        return f"holds {column.dtype.base_type()}, which is no {kind}"
    if column.null_count():
        return f"has no value in row {column.is_null().arg_max()}"
    wrong = [] if is_right is None else (~is_right(column)).arg_true().to_list()
    return f"holds {column[wrong[0]]} in row {wrong[0]}, where {meant} must stand" if wrong else None


def _is_label(dtype: pl.DataType) -> bool:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    return isinstance(inner, pl.Enum)


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_float()


def _is_named(column: pl.Series) -> pl.Series:
    """Return whether every label of a row has a name."""
    if isinstance(column.dtype, pl.List):
        return column.list.drop_nulls().list.len() == column.list.len()
    return column.is_not_null()


# of a column's kind: whether a type fits, which values do (None: all), and those in words
KINDS: dict[str, tuple[Callable[[Any], bool], Callable[[pl.Series], pl.Series] | None, str]] = {
    "flag": (lambda dtype: dtype == pl.Boolean, None, ""),
    "count": (lambda dtype: dtype.is_integer(), lambda column: column >= 0, "a count"),
    "number": (_is_number, lambda column: column.is_finite(), "a finite number"),
    "share": (
        _is_number,
        lambda column: column.is_between(0, 1) & column.is_finite(),
        "a number from 0 to 1",
    ),
    # one of an Enum's labels, or a list of them where a row has several
    "label": (_is_label, _is_named, "names of labels"),
}


# what rows add


def _sums_of(*parts: Any) -> Added:
    """Return the numbers (n,) of each part as what n rows add to so many sums."""
    from scipy import sparse

    return sparse.csr_array(np.stack([np.asarray(part, dtype=np.float64) for part in parts]))


def _and_rows(column: pl.Series) -> Added:
    """Return a column's numbers, and 1 for each row: their mean is a ratio of sums."""
    return _sums_of(column, np.ones(len(column)))


def _labels(column: pl.Series) -> list[str]:
    dtype: Any = column.dtype
    names: Any = dtype.inner if isinstance(dtype, pl.List) else dtype
    return list(names.categories)


def _label_counts(predicted: pl.Series, actual: pl.Series) -> Added:
    """Return what rows add to the hits, predicted and actual rows of each of C labels: (3 C, n)."""
    from scipy import sparse

    said, true = _of_labels(predicted), _of_labels(actual)
    return sparse.vstack([said * true, said, true], format="csr")


def _entity_counts(*columns: pl.Series) -> Added:
    """Return how often each of C labels stands in each row of three columns: (3 C, n)."""
    from scipy import sparse

    return sparse.vstack([_times(column) for column in columns], format="csr")


def _of_labels(column: pl.Series) -> Added:
    """Return 1 where a row has a label: (C, n)."""
    has = _times(column)
    # a label that a row names twice is the same label
    has.data[:] = 1
    return has


def _times(column: pl.Series) -> Added:
    """Return how often a row names a label: (C, n)."""
    from scipy import sparse

    rows = np.arange(len(column))
    flat = column
    if isinstance(column.dtype, pl.List):
        rows = np.repeat(rows, column.list.len().to_numpy())
        flat = column.explode(empty_as_null=False)
    numbers = flat.to_physical().to_numpy()
    return sparse.csr_array((np.ones(len(rows)), (numbers, rows)), shape=(len(_labels(column)), len(column)))


def _bins(confidence: pl.Series) -> NDArray[np.int64]:
    """Return the bin (n,) of each confidence."""
    number: NDArray[np.int64] = (confidence.to_numpy() * BINS).astype(np.int64)
    return np.minimum(number, BINS - 1)


def _residuals(correct: pl.Series, confidence: pl.Series) -> Added:
    """Return what rows add to the rows and to the sum of correct - confidence of each bin: (2 * BINS, n)."""
    from scipy import sparse

    number, row = _bins(confidence), np.arange(len(correct))
    numbers = np.concatenate([np.ones(len(row)), correct.to_numpy() - confidence.to_numpy()])
    places = (np.concatenate([number, BINS + number]), np.concatenate([row, row]))
    return sparse.csr_array((numbers, places), shape=(2 * BINS, len(row)))


def _and_products(by_unit: Added) -> Added:
    """Return rows and residuals of units, and the products that the variance of a bin's mean needs."""
    from scipy import sparse

    rows, residuals = by_unit[:BINS], by_unit[BINS:]
    parts = [rows, residuals, residuals * residuals, residuals * rows, rows * rows]
    return sparse.vstack(parts, format="csr")


def _absolute_error(predicted: pl.Series, actual: pl.Series) -> Added:
    return _and_rows((predicted - actual).abs())


def _squared_error(predicted: pl.Series, actual: pl.Series) -> Added:
    return _and_rows((predicted - actual) ** 2)


def _f1_of_rows(predicted: pl.Series, actual: pl.Series) -> Added:
    """Return the F1 of each row's labels, 1 where it has none and none was predicted, and 1 for each row."""
    said, true = _of_labels(predicted), _of_labels(actual)
    hits, both = (said * true).sum(axis=0), said.sum(axis=0) + true.sum(axis=0)
    return _sums_of(np.where(both > 0, 2 * hits / np.maximum(both, 1), 1), np.ones(len(predicted)))


def _pair(predicted: pl.Series, actual: pl.Series) -> Added:
    """Return what rows add to n, x, y, xx, yy, xy and the squared error.

    x and y are counted from their means: what is made of them does not depend on that, but squares of large
    numbers would lose their last digits (Chan, Golub and LeVeque 1983).
    """
    x, y = predicted.to_numpy(), actual.to_numpy()
    error = x - y
    # numpy adds in one order, polars chunk by chunk
    x, y = x - x.mean(), y - y.mean()
    return _sums_of(np.ones(len(x)), x, y, x * x, y * y, x * y, error * error)


# what sums make


def _ratio(sums: Array) -> Array:
    return sums[..., 0] / sums[..., 1]


def _root_of_ratio(sums: Array) -> Array:
    return np.sqrt(_ratio(sums))


def _f1(hits: Array, predicted: Array, actual: Array) -> Array:
    """Return the harmonic mean of precision and recall; 0 where nothing is there or was predicted."""
    f1: Array = 2 * hits / np.maximum(predicted + actual, 1)
    return f1


def _f1_per_label(sums: Array) -> tuple[Array, Array]:
    """Return F1 and the number of rows of each label that has any, both (..., labels)."""
    hits, predicted, actual = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    # left out first, so that those of all rows are added in the same order as scikit-learn adds them
    known = (actual > 0).reshape(-1, actual.shape[-1]).any(axis=0)
    return np.compress(known, _f1(hits, predicted, actual), axis=-1), np.compress(known, actual, axis=-1)


def _macro_f1(sums: Array) -> Array:
    """Return the mean F1 of the labels that have a row: one without any has no recall."""
    f1, rows = _f1_per_label(sums)
    mean: Array = np.where(rows > 0, f1, 0).sum(axis=-1) / (rows > 0).sum(axis=-1)
    return mean


def _weighted_f1(sums: Array) -> Array:
    f1, rows = _f1_per_label(sums)
    mean: Array = (f1 * rows).sum(axis=-1) / rows.sum(axis=-1)
    return mean


def _micro_f1(sums: Array) -> Array:
    counts = sums.reshape(*sums.shape[:-1], 3, -1).sum(axis=-1)
    return _f1(counts[..., 0], counts[..., 1], counts[..., 2])


def _calibration_error(sums: Array, times: int = 1) -> Array:
    """Return how far accuracy is from confidence: root mean square over rows, by bins, without its bias.

    A bin's mean residual d is off by chance, so d * d is too large by its variance on average (Bröcker 2012;
    Kumar, Liang and Ma 2019, arXiv 1909.10155, definition 5.2). That is taken off, and the sum cut at 0. A
    resample's d is off by chance twice: there it is taken off twice. Not the mean of abs(d), as in Guo et al.
    2017: its bias cannot be taken off where d is near 0 (docs/decisions.md). A bin with a single row says
    nothing of chance: it counts as 0.
    """
    rows, residual, rr, rn, nn = np.moveaxis(sums.reshape(*sums.shape[:-1], 5, BINS), -2, 0)
    mean = np.divide(residual, rows, out=np.zeros_like(rows), where=rows > 0)
    # as many units of equal size would do for this bin (Kish 1965): rows, where no groups are resampled
    units = np.divide(rows * rows, nn, out=np.zeros_like(rows), where=nn > 0)
    several = units > 1 + 1e-9
    spread = (rr - 2 * mean * rn + mean * mean * nn) / np.maximum(rows * rows, 1)
    inflated = np.divide(units, units - 1, out=np.ones_like(units), where=several)
    bias = spread * (inflated if times == 1 else inflated + inflated**2)
    squares = np.where(several, mean * mean - bias, 0)
    square: Array = (rows * squares).sum(axis=-1) / rows.sum(axis=-1)
    return np.sqrt(np.maximum(square, 0))


def _calibration_error_of_resample(sums: Array) -> Array:
    return _calibration_error(sums, times=2)


def _r2(sums: Array) -> Array:
    n, _, y, _, yy, _, squared_error = np.moveaxis(sums, -1, 0)
    r2: Array = 1 - squared_error / _spread(n, y, yy)
    return r2


def _pearson(sums: Array) -> Array:
    n, x, y, xx, yy, xy, _ = np.moveaxis(sums, -1, 0)
    r: Array = (xy - x * y / n) / np.sqrt(_spread(n, x, xx) * _spread(n, y, yy))
    return r


def _spread(n: Array, x: Array, xx: Array) -> Array:
    """Return the sum of squares around the mean; NaN where all n numbers are equal.

    There nothing but rounding is left of it, as in a resample without the one number that is another.
    """
    spread = xx - x * x / n
    return np.where(spread > ROUNDING * xx, spread, np.nan)


def _bleu(sums: Array) -> Array:
    """Return sacrebleu's BLEU (Post 2018): orders without a hit count half, a quarter, ... of one ("exp")."""
    predicted, actual = sums[..., 0], sums[..., 1]
    hits, every = sums[..., 2:6], sums[..., 6:10]
    halved = 0.5 ** np.cumsum((hits == 0) & (every > 0), axis=-1)
    shares = np.where(hits > 0, hits, halved) / np.maximum(every, 1)
    is_defined = (hits > 0).any(axis=-1) & (every > 0).all(axis=-1)
    brevity = np.minimum(1 - actual / np.maximum(predicted, 1), 0)
    bleu: Array = np.where(is_defined, np.exp(brevity + np.log(shares).mean(axis=-1)), 0)
    return bleu


def _chrf(sums: Array) -> Array:
    """Return chrF (Popović 2015), recall twice as important, of all orders' mean precision and recall."""
    counts = sums.reshape(*sums.shape[:-1], 6, 3)
    predicted, actual, hits = (counts[..., place] for place in range(3))
    is_defined = (predicted > 0) & (actual > 0)
    orders = np.maximum(is_defined.sum(axis=-1), 1)
    precision = np.where(is_defined, hits / np.maximum(predicted, 1), 0).sum(axis=-1) / orders
    recall = np.where(is_defined, hits / np.maximum(actual, 1), 0).sum(axis=-1) / orders
    both = 4 * precision + recall
    chrf: Array = np.divide(5 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return chrf


def _perplexity(sums: Array) -> Array:
    return np.exp(_ratio(sums))


LABELS = {"predicted": "label", "actual": "label"}
ENTITIES = {"hits": "label", "predicted": "label", "actual": "label"}
PAIR = {"predicted": "number", "actual": "number"}
NGRAMS = ("hits", "predicted")
BLEU = {"predicted": "count", "actual": "count"} | {
    f"{part}_{order}": "count" for part, order in product(NGRAMS, range(1, 5))
}
CHRF = {f"{part}_{order}": "count" for order, part in product(range(1, 7), ("predicted", "actual", "hits"))}
# higher_is_better
LOWER = False

METRICS: dict[str, Metric] = {
    "accuracy": Metric({"correct": "flag"}, _and_rows, _ratio),
    # of the rows (or tokens, ...) that count, such as those of one class, how many are right
    "rate": Metric({"hits": "count", "of": "count"}, _sums_of, _ratio),
    # of a number per row, such as the token F1 of an answer
    "mean": Metric({"number": "number"}, _and_rows, _ratio),
    "macro_f1": Metric(LABELS, _label_counts, _macro_f1),
    "weighted_f1": Metric(LABELS, _label_counts, _weighted_f1),
    "micro_f1": Metric(LABELS, _label_counts, _micro_f1),
    # the mean F1 of a row's labels (Godbole and Sarawagi 2004)
    "samples_f1": Metric(LABELS, _f1_of_rows, _ratio),
    "calibration_error": Metric(
        {"correct": "flag", "confidence": "share"},
        _residuals,
        _calibration_error,
        LOWER,
        of_units=_and_products,
        of_resample=_calibration_error_of_resample,
    ),
    # whole entities, all types together (Tjong Kim Sang and De Meulder 2003)
    "entity_f1": Metric({"hits": "count", "predicted": "count", "actual": "count"}, _sums_of, _micro_f1),
    # the same of each type's entities, a list of types for each row:
    # those found, those predicted, those there
    "typed_entity_f1": Metric(ENTITIES, _entity_counts, _micro_f1),
    # exp of nats per token (Jelinek et al. 1977)
    "perplexity": Metric({"nats": "number", "tokens": "count"}, _sums_of, _perplexity, LOWER),
    # the same in nats, and per character, by which models of different tokens can be compared
    "nats_per_token": Metric({"nats": "number", "tokens": "count"}, _sums_of, _ratio, LOWER),
    "nats_per_character": Metric({"nats": "number", "characters": "count"}, _sums_of, _ratio, LOWER),
    # right rows of those that were looked at, where not all are
    "share_right": Metric({"right": "count", "asked": "count"}, _sums_of, _ratio),
    # edits (Levenshtein 1966) per reference word, over all rows
    "word_error_rate": Metric({"edits": "count", "words": "count"}, _sums_of, _ratio, LOWER),
    "character_error_rate": Metric(
        {"character_edits": "count", "characters": "count"}, _sums_of, _ratio, LOWER
    ),
    # words and hits of 1 to 4 words in a row (Papineni et al. 2002)
    "bleu": Metric(BLEU, _sums_of, _bleu),
    "chrf": Metric(CHRF, _sums_of, _chrf),
    "mean_absolute_error": Metric(PAIR, _absolute_error, _ratio, LOWER),
    "mean_squared_error": Metric(PAIR, _squared_error, _ratio, LOWER),
    "root_mean_squared_error": Metric(PAIR, _squared_error, _root_of_ratio, LOWER),
    # the share of the actual numbers' variance that is predicted
    "r2": Metric(PAIR, _pair, _r2),
    "pearson": Metric(PAIR, _pair, _pearson),
}
