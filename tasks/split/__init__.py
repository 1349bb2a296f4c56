"""Give every row to train, validation or test: equal rows stay together, and growing data moves nothing."""

import hashlib
from collections.abc import Mapping

import polars as pl

from tasks.shared import tables
from tasks.shared.columns import Columns, labels, rows_per_label, strata
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import read_json, write_json
from tasks.shared.params import Split
from tasks.shared.params.split import SPLITS
from tasks.shared.paths import Paths
from tasks.shared.stage import warn
from tasks.shared.values import as_text
from tasks.split.times import times

SYNONYMS = {"val": "validation", "valid": "validation", "dev": "validation", "eval": "validation"}
SYNONYMS |= {"training": "train", "testing": "test"}
# labels that a sentence names
FEW = 5


def split(params: Split, columns: Columns, paths: Paths) -> None:
    """Write train.parquet, validation.parquet and test.parquet with the rows that ingest has taken.

    Its columns.json tells which of those columns the params mean when they name one of the file's. Under
    by_group `source_group` names each row's group, by which evaluate resamples. Rows of equal content (`id`)
    get the same side under every method but `predefined` and `by_position`, where the overlap is counted and
    told; that goes before groups, and how many it divides is told too. Raises InputError when a split would
    be empty or a label is missing from train.
    """
    rows = pl.read_parquet(paths.ingested / "rows.parquet")
    params = _in_our_names(params, read_json(paths.ingested / "columns.json"))
    for name, its in labels(rows, columns).items():
        _check_labels(its, 2 if columns[name].kind == "category" else 1, params)
    if params.method == "by_group":
        rows = with_groups(rows, params)
    told = rows
    if params.method == "stratified":
        told = rows.with_columns(stratum=strata(rows, columns))
    sides = METHODS[params.method](told, params)
    parts = {name: rows.filter(sides == name) for name in SPLITS}
    labels_of = {name: labels(part, columns) for name, part in parts.items()}
    warnings = [*_check_groups(rows, sides, params), *_check_splits(parts, labels_of)]
    paths.splits.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        tables.write(part, paths.split(name))
    in_both = parts["test"].filter(pl.col("id").is_in(parts["train"]["id"].to_list())).height
    numbers = {name: part.height for name, part in parts.items()}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name, labelled in labels_of.items():
        for target, its in labelled.items():
            counts.setdefault(target, {})[name] = rows_per_label(its)
    found = {**numbers, "labels": counts, "in_train_and_test": in_both, **warn(warnings)}
    write_json(paths.metric("split"), found)
    print(", ".join(f"{number} {name}" for name, number in numbers.items()))


def uniform(key: str, seed: int) -> float:
    """Return a number in [0, 1) of nothing but `key` and `seed`: the first 53 bits of their SHA-256."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _by_share(keys: pl.Series, params: Split) -> pl.Series:
    """Test below test_share, validation below the sum of both, else train: rows keep their side."""
    draws = {key: uniform(key, params.seed) for key in keys.unique().to_list()}
    limit = params.test_share + params.validation_share
    sides = {}
    for key, draw in draws.items():
        sides[key] = "test" if draw < params.test_share else "validation" if draw < limit else "train"
    return pl.Series([sides[key] for key in keys])


def stable(rows: pl.DataFrame, params: Split) -> pl.Series:
    """By hash of the content id."""
    return _by_share(rows["id"], params)


def by_group(rows: pl.DataFrame, params: Split) -> pl.Series:
    """By hash of the group: its rows stand on one side, but for texts that an earlier group has too.

    An equal text in two groups would straddle, so all its rows follow the first group that holds it. Joining
    the groups instead would move old rows, and in the end make one group of all who say "thank you".
    """
    first = rows.select("id", "source_group").group_by("id", maintain_order=True).first()
    followed = rows.select("id").join(first, on="id", how="left", maintain_order="left")
    return _by_share(followed["source_group"], params)


def stratified(rows: pl.DataFrame, params: Split) -> pl.Series:
    """The same shares in every label, by rank of the hash within it; a row may move when its label grows."""
    first = rows.select("id", "stratum").group_by("id", maintain_order=True).first()
    draws = pl.Series([uniform(key, params.seed) for key in first["id"]])
    ranked = first.with_columns(draw=draws).sort("stratum", "draw")
    position = pl.int_range(pl.len()).over("stratum")
    size = pl.len().over("stratum")
    limit = params.test_share + params.validation_share
    side = (
        pl.when(position < (size * params.test_share).round())
        .then(pl.lit("test"))
        .when(position < (size * limit).round())
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
    )
    sides = ranked.with_columns(side=side).select("id", "side")
    return rows.select("id").join(sides, on="id", how="left", maintain_order="left")["side"]


def by_time(rows: pl.DataFrame, params: Split) -> pl.Series:
    """Oldest rows train, newest test; a row takes the time its content was first seen."""
    name = params.time_column or ""
    seen = times(_column(rows, name, "split.time_column"), name, params.time_format)
    if seen.null_count():
        without = f"{seen.null_count()} rows have no '{name}'"
        raise InputError(f"split.time_column: {without}; fill it in or use another split.method")
    first = rows.select("id", time=seen).group_by("id").agg(pl.col("time").min()).sort("time", "id")
    height = first.height
    test = round(height * params.test_share)
    validation = round(height * params.validation_share)
    in_time = ["train"] * (height - test - validation) + ["validation"] * validation + ["test"] * test
    sides = first.select("id", side=pl.Series(in_time))
    return rows.select("id").join(sides, on="id", how="left", maintain_order="left")["side"]


def by_position(rows: pl.DataFrame, params: Split) -> pl.Series:
    """The first rows train, the last test, as they stand in the files: for text that goes on from row to row.

    Nothing is drawn, so equal rows may stand on both sides; how many do is told.
    """
    test, validation = round(rows.height * params.test_share), round(rows.height * params.validation_share)
    train = rows.height - test - validation
    return pl.Series(["train"] * train + ["validation"] * validation + ["test"] * test, dtype=pl.String)


def predefined(rows: pl.DataFrame, params: Split) -> pl.Series:
    """As the files or a column say; a missing validation split is drawn from train by hash."""
    if params.split_column is not None:
        column = _column(rows, params.split_column, "split.split_column")
        said = as_text(column).str.strip_chars().str.to_lowercase()
    else:
        said = rows["source_split"]
        if said.null_count():
            needs = "data.train_file and data.test_file, or split.split_column"
            raise InputError(f"split.method predefined needs {needs}")
    sides = said.replace(SYNONYMS)
    unknown = sides.filter(~sides.is_in(SPLITS) | sides.is_null())
    if unknown.len():
        no_split = f"'{unknown[0]}' is not a split ({unknown.len()} such rows)"
        if params.split_column is None:
            remedy = "name those files that are with data.train_file and data.test_file"
            raise InputError(f"data.path: {no_split}; {remedy}")
        raise InputError(f"split.split_column: {no_split}; use train, validation, test")
    if (sides == "validation").any():
        return sides
    draws = {key: uniform(key, params.seed) for key in rows["id"].unique().to_list()}
    given = []
    for side, key in zip(sides, rows["id"], strict=True):
        is_drawn = side == "train" and draws[key] < params.validation_share
        given.append("validation" if is_drawn else side)
    return pl.Series(given)


METHODS = {
    "stable": stable,
    "stratified": stratified,
    "by_time": by_time,
    "by_group": by_group,
    "by_position": by_position,
    "predefined": predefined,
}
COLUMNS: dict[str, str] = {"by_time": "time_column", "by_group": "group_column", "predefined": "split_column"}


def _in_our_names(params: Split, columns: Mapping[str, str]) -> Split:
    """Return `params` with the columns that they name under the names that ingest gave them.

    Of our own columns only `source_file` can be named: a file is a group.
    """
    field = COLUMNS.get(params.method)
    name = field and getattr(params, field)
    if not field or not name:
        return params
    known = {"source_file": "source_file", **columns}
    if name.strip() not in known:
        missing = f"there is no column '{name}' in the data{did_you_mean(name, known) or '.'}"
        raise InputError(f"split.{field}: {missing} It has {', '.join(known)}")
    return params.model_copy(update={field: known[name.strip()]})


def _column(rows: pl.DataFrame, name: str | None, param: str) -> pl.Series:
    if name not in rows.columns:
        missing = f"there is no column '{name}' in the ingested rows"
        raise InputError(f"{param}: {missing}; they have {', '.join(rows.columns)}")
    return rows[name]


def with_groups(rows: pl.DataFrame, params: Split) -> pl.DataFrame:
    """Return rows with their groups as `source_group`: text, blanks around it left out.

    A row without a group stands alone, by its content.
    """
    groups = as_text(_column(rows, params.group_column, "split.group_column")).str.strip_chars()
    is_known = groups.is_not_null() & (groups != "")
    return rows.with_columns(source_group=groups.zip_with(is_known, rows["id"]))


def _check_groups(rows: pl.DataFrame, sides: pl.Series, params: Split) -> list[str]:
    """Return warnings when rows have no group, and when groups stand on two sides."""
    if params.method != "by_group":
        return []
    warnings = []
    alone = rows.filter(pl.col("source_group") == pl.col("id")).height
    if alone:
        without = f"{alone} of {rows.height} rows have no split.group_column"
        warnings.append(f"{without}; each of them stands alone")
    stands = rows.select("source_group", side=sides).group_by("source_group").n_unique()
    divided = stands.filter(pl.col("side") > 1).height
    if divided:
        groups = f"{divided} of {stands.height} groups stand on more than one side"
        warnings.append(f"{groups}: equal rows stay together, in the first group that has them")
    return warnings


def _check_labels(its: pl.Series, fewest: int, params: Split) -> None:
    """Raise InputError when a label has too few rows, or there are fewer labels than can be told apart."""
    counts = its.alias("label").value_counts().sort("count", "label")
    rare = counts.filter(pl.col("count") < params.min_rows_per_label)
    if rare.height:
        named = ", ".join(f"'{label}' ({count})" for label, count in rare.head(FEW).iter_rows())
        raise InputError(
            f"{rare.height} of {counts.height} labels have fewer rows than split.min_rows_per_label "
            f"{params.min_rows_per_label}: {named}; add rows, merge labels, or lower it"
        )
    if counts.height < fewest:
        said = f"all rows have the label '{counts['label'][0]}'" if counts.height else "no row has a label"
        raise InputError(f"{said}; a classifier needs at least two")


def _check_splits(parts: dict[str, pl.DataFrame], labels_of: dict[str, dict[str, pl.Series]]) -> list[str]:
    """Raise InputError when a split is empty or knows a label that train does not.

    Returns warnings for labels that are not tested.
    """
    for name, part in parts.items():
        if part.height == 0:
            share = f"add rows, or raise split.{name}_share" if name != "train" else "lower the other shares"
            raise InputError(f"the {name} split is empty; {share}")
    warnings = []
    for name in ("validation", "test"):
        for target, its in labels_of[name].items():
            known, there = set(labels_of["train"][target]), set(its)
            for label in sorted(there - known):
                rows = f"the {name} split ({(its == label).sum()} rows)"
                remedy = "add train rows, correct the label, or drop it"
                raise InputError(f"label '{label}' stands in {rows} but not in train; {remedy}")
            missing = sorted(known - there)
            if missing:
                more = " ..." if len(missing) > FEW else ""
                warnings.append(f"no {name} row has the label {', '.join(missing[:FEW])}{more}")
    return warnings
