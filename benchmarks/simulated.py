"""Test rows of two simulated models whose true difference is known, for benchmarks/promotion.py.

The candidate is the champion with some mistakes mended and some made: how much a group (a speaker, a
document) takes part in either is drawn from 0.5 to 1.5, so that rows of a group are alike, and the true
difference stays what it is. The true difference is that of the metrics of the expected sums.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.random import Generator

from tasks.shared.statistics import METRICS, Statistic

Numbers = np.ndarray


@dataclass(frozen=True)
class Pair(ABC):
    """A champion, and a candidate that is better by a difference that is given (worse, if that is negative).

    right, made: the probability that the champion is right (row, entity, word), and that what is right
    becomes wrong. rows: in a test set. groups: None, or how many rows' groups there are; group sizes are as
    unequal as those of a log-normal.
    """

    rows: int = 1000
    groups: int | None = None
    made: float = 0.03
    right: float = 0.85

    metric = ""

    def draw(self, random: Generator, better_by: float) -> tuple[Statistic, Statistic, pl.Series | None]:
        """Return statistics of the candidate and of the champion, and the groups of their rows."""
        groups = None
        mends, makes = np.ones(self.rows), np.ones(self.rows)
        if self.groups is not None:
            sizes = random.lognormal(0, 0.7, self.groups)
            group = random.choice(self.groups, self.rows, p=sizes / sizes.sum())
            mends, makes = (random.uniform(0.5, 1.5, self.groups)[group] for _ in range(2))
            groups = pl.Series("group", group)
        mended, made = self.rates(better_by)
        # a group may take part half as much again
        if max(mended, made) > (1 if self.groups is None else 2 / 3):
            raise ValueError(f"{self} cannot be better by {better_by}")
        frames = self._frames(random, mends * mended, makes * made)
        mine, other = (Statistic(self.metric, frame) for frame in frames)
        return mine, other, groups

    def rates(self, better_by: float) -> tuple[float, float]:
        """Return the probabilities that a mistake is mended, and that one is made, for such a difference.

        The models disagree as often as two equal ones do, as far as that is possible: `made` is for those.
        """
        from scipy.optimize import brentq

        sign, start = 1 if METRICS[self.metric].higher_is_better else -1, self._true(0, 0)
        equal = self.right / (1 - self.right) * self.made

        def moved(by: float) -> tuple[float, float]:
            return max(equal + by / (1 - self.right), 0), max(self.made - by / self.right, 0)

        def off(by: float) -> float:
            return sign * (self._true(*moved(by)) - start) - better_by

        return moved(float(brentq(off, -0.5, 0.5)))

    @abstractmethod
    def _frames(self, random: Generator, mended: Numbers, made: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return what the candidate's and the champion's metric takes, with these probabilities of rows."""

    @abstractmethod
    def _true(self, mended: float, made: float) -> float:
        """Return the metric of the expected sums."""


@dataclass(frozen=True)
class Accuracy(Pair):
    """Rows that are right or not."""

    metric = "accuracy"

    def _frames(self, random: Generator, mended: Numbers, made: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
        its = random.random(self.rows) < self.right
        mine = its ^ (random.random(self.rows) < np.where(its, made, mended))
        return pl.DataFrame({"correct": mine}), pl.DataFrame({"correct": its})

    def _true(self, mended: float, made: float) -> float:
        return self.right * (1 - made) + (1 - self.right) * mended


@dataclass(frozen=True)
class MacroF1(Pair):
    """Labels, the most frequent ten times as frequent as the rarest; mistakes are any other label."""

    right: float = 0.8
    labels: int = 20
    metric = "macro_f1"

    @property
    def _shares(self) -> Numbers:
        falling = np.geomspace(10, 1, self.labels)
        shares: Numbers = falling / falling.sum()
        return shares

    def _frames(self, random: Generator, mended: Numbers, made: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
        names = pl.Enum([f"label {number}" for number in range(self.labels)])
        actual = random.choice(self.labels, self.rows, p=self._shares)
        wrong, another = (
            (actual + random.integers(1, self.labels, self.rows)) % self.labels for _ in range(2)
        )
        is_right = random.random(self.rows) < self.right
        is_other = random.random(self.rows) < np.where(is_right, made, mended)
        its = np.where(is_right, actual, wrong)
        mine = np.where(is_other, np.where(is_right, another, actual), its)
        columns = [pl.Series(numbers).cat.to(names) for numbers in (mine, its, actual)]
        mine_frame, its_frame = (pl.DataFrame({"predicted": of, "actual": columns[2]}) for of in columns[:2])
        return mine_frame, its_frame

    def _true(self, mended: float, made: float) -> float:
        right, shares = self.right * (1 - made) + (1 - self.right) * mended, self._shares
        hits = shares * right
        predicted = hits + (1 - shares) * (1 - right) / (self.labels - 1)
        return float(np.mean(2 * hits / (predicted + shares)))


@dataclass(frozen=True)
class EntityF1(Pair):
    """Entities, two a row on average; `extra` wrong ones are found, half of them by both models."""

    right: float = 0.7
    extra: float = 0.4
    metric = "entity_f1"

    def _frames(self, random: Generator, mended: Numbers, made: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
        actual = random.poisson(2, self.rows)
        its = random.binomial(actual, self.right)
        mine = random.binomial(its, 1 - made) + random.binomial(actual - its, mended)
        both, mine_alone, its_alone = random.poisson(self.extra / 2, (3, self.rows))
        return (
            pl.DataFrame({"hits": mine, "predicted": mine + both + mine_alone, "actual": actual}),
            pl.DataFrame({"hits": its, "predicted": its + both + its_alone, "actual": actual}),
        )

    def _true(self, mended: float, made: float) -> float:
        hits = 2 * (self.right * (1 - made) + (1 - self.right) * mended)
        return 2 * hits / (hits + self.extra + 2)


@dataclass(frozen=True)
class WordErrorRate(Pair):
    """Words, ten a row on average; in a share `loops` of rows a model repeats ten words, on average."""

    made: float = 0.01
    loops: float = 0.005
    metric = "word_error_rate"

    def _frames(self, random: Generator, mended: Numbers, made: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
        words = 1 + random.poisson(9, self.rows)
        its = random.binomial(words, 1 - self.right)
        mine = random.binomial(its, 1 - mended) + random.binomial(words - its, made)
        repeats = (random.random((2, self.rows)) < self.loops) * random.geometric(0.1, (2, self.rows))
        mine_frame, its_frame = (
            pl.DataFrame({"edits": edits, "words": words}) for edits in (mine + repeats[0], its + repeats[1])
        )
        return mine_frame, its_frame

    def _true(self, mended: float, made: float) -> float:
        return (1 - self.right) * (1 - mended) + self.right * made + self.loops * 10 / 10
