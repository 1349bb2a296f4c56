"""Compare the candidate with the champion, row by row; a first model with the best of its baselines.

What is written are paired statistics and their intervals. Whether that is proof enough to promote the
candidate depends on how often the test rows have been looked at, and is decided outside the stages.
"""

import math
from dataclasses import replace
from typing import Any

import polars as pl

from tasks.judge import champion
from tasks.problems import Problem
from tasks.problems.common import predicting
from tasks.shared import champions, measured, paired, predictions, swaps
from tasks.shared.champions import Champion
from tasks.shared.files import folder_digest, read_json, write_json
from tasks.shared.measured import Measured
from tasks.shared.params import Evaluate
from tasks.shared.paths import Paths
from tasks.shared.statistics import METRICS, Statistic, take, values
from tasks.shared.verdict import best_baseline, difference_in_words, number

CANDIDATE, OTHER = "candidate.arrow", "other.arrow"


def judge(params: Evaluate, digest: str | None, problem: Problem, paths: Paths) -> None:
    """Write what each row adds to both models' metrics, and how far apart the metrics are.

    digest: the champion's, `promote.champion`. metrics/judge.json: who is compared, on how many rows, each
    metric of both and the difference with its interval, and beside a champion which share of the test rows'
    tokens each does not know. plots/judge: candidate.arrow and other.arrow, the
    statistics of the same rows in the same order, and predictions.csv of the champion. Rows that either model
    was trained or selected on are left out.
    """
    problem.media = paths.media
    paths.judged.mkdir(parents=True, exist_ok=True)
    mine = measured.read(paths.plots / "statistics.arrow")
    found: dict[str, Any] = {"champion": digest, "package": f"sha256:{folder_digest(paths.package)}"}
    other: Measured | None = mine
    if digest is None:
        found["baseline"] = name = best_baseline(read_json(paths.metric("evaluate")))
        other = measured.read(paths.baselines / f"{name}.arrow") if name else None
    elif digest == found["package"]:
        found["is_same"] = True
    else:
        total = len(mine.ids)
        kept = champions.fetch(digest)
        mine, other, unknown_share = _beside_champion(kept, mine, params, problem, paths)
        found["left_out"] = total - len(mine.ids)
        found["validation"] = _on_validation(kept, params, problem, paths)
        tokens = read_json(paths.metric("tokenize"))
        if "vocabulary" in tokens:
            found["unknown_share"] = {"candidate": tokens["test"]["unknown_share"], "other": unknown_share}
    if other is None or mine.ids.is_empty():
        found["rows"] = 0
    else:
        measured.write(mine, paths.judged / CANDIDATE)
        measured.write(other, paths.judged / OTHER)
        found |= _compared(mine, other, params, problem.headline)
    write_json(paths.metric("judge"), found)
    _say(found)


def _beside_champion(
    kept: Champion, mine: Measured, params: Evaluate, problem: Problem, paths: Paths
) -> tuple[Measured, Measured, float]:
    """Return the statistics of both on the rows that neither was trained or selected on.

    And the share of the test rows' tokens that the champion's tokenizer does not know.
    """
    test = pl.read_parquet(paths.split("test"))
    its_answers = champion.answers(kept, problem, test, params.batch_size)
    predicted = its_answers.predicted
    predictions.write(predicted, problem.comparable(test), problem.columns, paths.judged / "predictions.csv")
    targets = champion.today(read_json(paths.tokens / "targets.json"), its_answers.learned)
    # what some metrics say of a row depends on the others: rows are left out afterwards
    its = Measured(mine.ids, dict(problem.measure(predicted, test, targets)), mine.groups, mine.slices)
    seen = [*kept.tables(), *(paths.split(name) for name in ("train", "validation"))]
    rows = champion.unseen(test, seen)
    return with_labels_of(mine, its).take(rows), its.take(rows), its_answers.unknown_share


def _on_validation(kept: Champion, params: Evaluate, problem: Problem, paths: Paths) -> dict[str, Any]:
    """Return the headline of both on the validation rows that the champion was not trained on.

    Both may have been selected on them; only a candidate that wins here is worth a look at test rows.
    """
    validation = pl.read_parquet(paths.split("validation"))
    rows = champion.unseen(validation, [kept.splits / "train.parquet"])
    if rows.is_empty():
        return {"rows": 0}
    inputs, targets = paths.tokens / "validation.arrow", read_json(paths.tokens / "targets.json")
    mine = predicting.predict_with(
        problem, paths.package, inputs, validation, targets, params.batch_size, "judge: validation"
    )
    its = champion.answers(kept, problem, validation, params.batch_size)
    found: dict[str, Any] = {"rows": len(rows)}
    together = champion.today(targets, its.learned)
    for name, predicted in (("candidate", mine), ("other", its.predicted)):
        statistics = take(problem.measure(predicted, validation, together), rows)
        found[name] = values({problem.headline: statistics[problem.headline]})[problem.headline]
    return {name: value for name, value in found.items() if math.isfinite(value)}


def with_labels_of(mine: Measured, other: Measured) -> Measured:
    """Return statistics whose labels are those of another model's, which knows at least as many."""
    found = {}
    frames: dict[int, pl.DataFrame] = {}
    for name, statistic in mine.statistics.items():
        if name in other.statistics:
            types = other.statistics[name].columns.schema
            columns = frames.setdefault(id(statistic.columns), _cast(statistic.columns, types))
            found[name] = Statistic(statistic.metric, columns)
    return replace(mine, statistics=found)


def _cast(columns: pl.DataFrame, types: pl.Schema) -> pl.DataFrame:
    """Return columns with the labels of other ones."""
    found = []
    for column in columns:
        of: Any = types[column.name]
        texts = pl.List(pl.String) if isinstance(of, pl.List) else pl.String
        found.append(column if column.dtype == of else column.cast(texts).cast(of))
    return pl.DataFrame(found)


def _compared(mine: Measured, other: Measured, params: Evaluate, headline: str) -> dict[str, Any]:
    """Return both models' metrics, their differences with intervals, and what chance alone would make."""
    names = [name for name in mine.statistics if name in other.statistics]
    both = {name: (mine.statistics[name], other.statistics[name]) for name in names}
    differences = {}
    for name, pair in both.items():
        its = paired.compare(*pair, params.confidence_level, mine.groups, params.n_resamples, params.seed)
        if math.isfinite(its.value):
            ends = {"low": its.low, "high": its.high} if math.isfinite(its.high - its.low) else {}
            differences[name] = {"value": its.value, **ends, "method": its.method}
    if headline not in differences:
        # as recall of a label that no row left here has
        return {"rows": 0, "undefined": headline}
    chance = {"permutation": swaps.permutation(*both[headline], mine.groups, params.n_resamples, params.seed)}
    if "accuracy" in both and both["accuracy"][0].metric == "accuracy" and mine.groups is None:
        chance["mcnemar"] = swaps.mcnemar(*both["accuracy"])
    higher = METRICS[mine.statistics[headline].metric].higher_is_better
    mine_on_all, its_on_all = values(mine.statistics, mine.groups), values(other.statistics, mine.groups)
    return {
        "rows": len(mine.ids),
        "groups": None if mine.groups is None else mine.groups.n_unique(),
        "headline": {"name": headline, "higher_is_better": higher},
        "candidate": {name: mine_on_all[name] for name in differences},
        "other": {name: its_on_all[name] for name in differences},
        "difference": differences,
        "p_value": {name: p for name, p in chance.items() if math.isfinite(p)},
    }


def _say(found: dict[str, Any]) -> None:
    digest = found["champion"]
    against = f"champion {digest[:19]}..." if digest else f"baseline {found['baseline']}"
    if not found["rows"]:
        print(f"nothing to compare with the {against}")
        return
    print(f"{found['rows']} test rows beside the {against}")
    for name, its in found["difference"].items():
        both = f"{number(found['candidate'][name])} beside {number(found['other'][name])}"
        print(f"{name} {both}: {difference_in_words(its)}")
