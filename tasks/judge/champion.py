"""What the champion answers to the candidate's test rows, measured with the labels of today."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tasks import problems
from tasks.problems import Encoded, Problem, Targets
from tasks.problems.common import counts, predicting
from tasks.problems.common.encoding import encoded
from tasks.shared import columns, params_file
from tasks.shared.champions import PARAM, Champion
from tasks.shared.errors import InputError
from tasks.shared.params import Params, Tokenize


@dataclass(frozen=True)
class Answers:
    """What a champion predicts for each row, and what it has learned of targets.

    unknown_share: of the tokens of these rows, those that its tokenizer does not know.
    """

    predicted: pl.DataFrame
    learned: Targets
    unknown_share: float


def unseen(rows: pl.DataFrame, tables: Iterable[Path]) -> pl.Series:
    """Return the numbers of the rows that stand in none of these tables, by their content ids."""
    seen = pl.concat([pl.scan_parquet(table).select("id") for table in tables]).unique()
    numbered = rows.lazy().select("id").with_row_index("row")
    return numbered.join(seen, on="id", how="anti", maintain_order="left").collect()["row"]


def answers(champion: Champion, problem: Problem, rows: pl.DataFrame, batch_size: int) -> Answers:
    """Return what the champion predicts for each row.

    Its inputs are made as they were for its own rows: by its processor and its params. A label that it does
    not know stands for its first one there, since what it predicts does not depend on it.
    Raises InputError when it is a model of another problem, or cannot be used.
    """
    its, tokenize = own_problem(champion, problem)
    train = pl.read_parquet(champion.splits / "train.parquet", columns=columns.targets(its.columns))
    learned = its.learn_targets(train)
    processor = its.load_processor(champion.package)

    def encode(some: pl.DataFrame) -> Iterator[Encoded]:
        return its.encode(processor, with_known_labels(some, its, learned), learned, tokenize)

    with TemporaryDirectory(prefix="retrain-judge-") as made:
        file = Path(made) / "rows.arrow"
        counted = counts.write(file, encoded(rows.lazy(), encode, its))
        found = predicting.predict_with(its, champion.package, file, rows, learned, batch_size, "judge")
    return Answers(found, learned, counted.unknown_share)


def today(targets: Targets, its: Targets) -> Targets:
    """Return today's targets, and at the end of their lists of names those that only the champion knows."""
    joined = dict(targets)
    for name, known in targets.items():
        if isinstance(known, list):
            joined[name] = list(dict.fromkeys([*known, *its.get(name, ())]))
    return joined


def as_made(champion: Champion) -> tuple[Problem, Params]:
    """Return the problem with the params that the champion was made with, and all of these."""
    params = params_file.lay_over(params_file.Layer(PARAM, dict(champion.params)))
    return problems.load(params.problem, params.own), params


def own_problem(champion: Champion, problem: Problem) -> tuple[Problem, Tokenize]:
    """Return the problem with the params that the champion was made with, and how its rows were tokenized."""
    its, params = as_made(champion)
    if type(its) is not type(problem):
        other = f"the champion is a model of {params.problem}, this one of another problem"
        raise InputError(f"{PARAM}: {other}; give this one a promote.name of its own")
    its.media = problem.media
    return its, params.tokenize


def with_known_labels(rows: pl.DataFrame, problem: Problem, learned: Targets) -> pl.DataFrame:
    """Return rows whose labels the champion knows."""
    labels = learned.get("labels")
    if not labels:
        return rows
    known: list[Any] = []
    for name in columns.targets(problem.columns):
        kind = problem.columns[name].kind
        if kind == "category":
            is_known = pl.col(name).is_in(labels)
            known.append(pl.when(is_known).then(pl.col(name)).otherwise(pl.lit(labels[0])).alias(name))
        elif kind == "categories":
            known.append(pl.col(name).list.filter(pl.element().is_in(labels)))
    return rows.with_columns(known)
