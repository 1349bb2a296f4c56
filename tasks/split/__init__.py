"""Give every row to train, validation or test, so that equal rows stay together and growing data moves nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from tasks.shared.choices import SplitMethod
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import read_json, write_json
from tasks.shared.params import SPLITS, Split
from tasks.shared.stage import stage as stage
from tasks.shared.stage import warn
from tasks.shared.values import as_text
from tasks.split.times import times

SYNONYMS = {"val": "validation", "valid": "validation", "dev": "validation", "eval": "validation", "training": "train", "testing": "test"}


def split(params: Split, ingested: Path, out: Path, metrics: Path) -> None:
    """Write train.parquet, validation.parquet and test.parquet with the rows and columns of ingested/rows.parquet.

    ingested/columns.json tells which of those columns the params mean when they name one of the file's.

    Rows of equal content (`id`) get the same side under every method but `predefined`, where the overlap is counted and told.
    Raises InputError when a split would be empty or a label is missing from train.
    """
    rows = pl.read_parquet(ingested / "rows.parquet")
    params = _in_our_names(params, read_json(ingested / "columns.json"))
    _check_labels(rows, params)
    sides = METHODS[params.method](rows, params)
    parts = {name: rows.filter(sides == name) for name in SPLITS}
    warnings = [*_check_groups(rows, params), *_check_splits(parts)]
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        part.write_parquet(out / f"{name}.parquet", statistics=False)
    write_json(
        metrics,
        {
            **{name: part.height for name, part in parts.items()},
            "labels": {name: dict(part["label"].value_counts().sort("label").iter_rows()) for name, part in parts.items()},
            "in_train_and_test": parts["test"].filter(pl.col("id").is_in(parts["train"]["id"].to_list())).height,
            **warn(warnings),
        },
    )
    print(", ".join(f"{part.height} {name}" for name, part in parts.items()))


def uniform(key: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on nothing but `key` and `seed`: the first 53 bits of their SHA-256."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _by_share(keys: pl.Series, params: Split) -> pl.Series:
    """Test below test_share, validation below the sum of both, else train; a row keeps its side as others come and go."""
    draws = {key: uniform(key, params.seed) for key in keys.unique().to_list()}
    limit = params.test_share + params.validation_share
    return pl.Series(["test" if (u := draws[key]) < params.test_share else "validation" if u < limit else "train" for key in keys])


def stable(rows: pl.DataFrame, params: Split) -> pl.Series:
    """By hash of the content id."""
    return _by_share(rows["id"], params)


def by_group(rows: pl.DataFrame, params: Split) -> pl.Series:
    """By hash of the group, so that a group never stands on two sides.

    A text that occurs in several groups follows the first of them; a row without a group stands alone, by its content.
    """
    groups = _groups(rows, params)
    groups = groups.zip_with(groups.is_not_null(), rows["id"])
    # an equal text in two groups would straddle: such rows follow the first group that holds them
    first = rows.select("id", group=groups).group_by("id", maintain_order=True).first()
    return _by_share(rows.select("id").join(first, on="id", how="left", maintain_order="left")["group"], params)


def stratified(rows: pl.DataFrame, params: Split) -> pl.Series:
    """The same shares in every label, by rank of the hash within it; a row may move when its label grows."""
    first = rows.group_by("id", maintain_order=True).first().select("id", "label")
    ranked = first.with_columns(draw=pl.Series([uniform(key, params.seed) for key in first["id"]])).sort("label", "draw")
    position = pl.int_range(pl.len()).over("label")
    size = pl.len().over("label")
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
        raise InputError(f"split.time_column: {seen.null_count()} rows have no '{name}'; fill it in or use another split.method")
    first = rows.select("id", time=seen).group_by("id").agg(pl.col("time").min()).sort("time", "id")
    height = first.height
    test = round(height * params.test_share)
    validation = round(height * params.validation_share)
    sides = first.with_columns(side=pl.Series(["train"] * (height - test - validation) + ["validation"] * validation + ["test"] * test))
    return rows.select("id").join(sides.select("id", "side"), on="id", how="left", maintain_order="left")["side"]


def predefined(rows: pl.DataFrame, params: Split) -> pl.Series:
    """As the files or a column say; a missing validation split is drawn from train by hash."""
    if params.split_column is not None:
        said = as_text(_column(rows, params.split_column, "split.split_column")).str.strip_chars().str.to_lowercase()
    else:
        said = rows["source_split"]
        if said.null_count():
            raise InputError("split.method predefined needs data.train_file and data.test_file, or split.split_column")
    sides = said.replace(SYNONYMS)
    unknown = sides.filter(~sides.is_in(SPLITS) | sides.is_null())
    if unknown.len():
        raise InputError(f"split.split_column: '{unknown[0]}' is not a split ({unknown.len()} such rows); use train, validation, test")
    if (sides == "validation").any():
        return sides
    draws = {key: uniform(key, params.seed) for key in rows["id"].unique().to_list()}
    drawn = [side == "train" and draws[key] < params.validation_share for side, key in zip(sides, rows["id"], strict=True)]
    return pl.Series(["validation" if moved else side for moved, side in zip(drawn, sides, strict=True)])


METHODS = {"stable": stable, "stratified": stratified, "by_time": by_time, "by_group": by_group, "predefined": predefined}
COLUMNS: dict[str, str] = {"by_time": "time_column", "by_group": "group_column", "predefined": "split_column"}


def _in_our_names(params: Split, columns: Mapping[str, str]) -> Split:
    """Return `params` with the columns that they name under the names that ingest gave them, where it gave them others.

    Of our own columns only `source_file` can be named: a file is a group.
    """
    field = COLUMNS.get(params.method)
    name = field and getattr(params, field)
    if not field or not name:
        return params
    known = {"source_file": "source_file", **columns}
    if name.strip() not in known:
        raise InputError(f"split.{field}: there is no column '{name}' in the data{did_you_mean(name, known) or '.'} It has {', '.join(known)}")
    return params.model_copy(update={field: known[name.strip()]})


def _column(rows: pl.DataFrame, name: str | None, param: str) -> pl.Series:
    if name not in rows.columns:
        raise InputError(f"{param}: there is no column '{name}' in the ingested rows; they have {', '.join(rows.columns)}")
    return rows[name]


def _groups(rows: pl.DataFrame, params: Split) -> pl.Series:
    """Return each row's group as text, null where it has none."""
    groups = as_text(_column(rows, params.group_column, "split.group_column"))
    return groups.set(groups.str.strip_chars() == "", None)


def _check_groups(rows: pl.DataFrame, params: Split) -> list[str]:
    """Return a warning when rows have no group."""
    if params.method != SplitMethod.by_group or not (alone := _groups(rows, params).null_count()):
        return []
    return [f"{alone} of {rows.height} rows have no split.group_column; each of them stands alone"]


def _check_labels(rows: pl.DataFrame, params: Split) -> None:
    counts = rows["label"].value_counts().sort("count", "label")
    rare = counts.filter(pl.col("count") < params.min_rows_per_label)
    if rare.height:
        named = ", ".join(f"'{label}' ({count})" for label, count in rare.head(5).iter_rows())
        raise InputError(
            f"{rare.height} of {counts.height} labels have fewer rows than split.min_rows_per_label {params.min_rows_per_label}: {named}; "
            "add rows, merge labels, or lower it"
        )
    if counts.height < 2:  # noqa: PLR2004 (one label cannot be told from another)
        raise InputError(f"all rows have the label '{counts['label'][0]}'; a classifier needs at least two")


def _check_splits(parts: dict[str, pl.DataFrame]) -> list[str]:
    """Raise InputError when a split is empty or knows a label that train does not; return warnings for labels that are not tested."""
    for name, part in parts.items():
        if part.height == 0:
            raise InputError(
                f"the {name} split is empty; add rows, or raise split.{name}_share"
                if name != "train"
                else "the train split is empty; lower the other shares"
            )
    known = set(parts["train"]["label"])
    warnings = []
    for name in ("validation", "test"):
        there = set(parts[name]["label"])
        for label in sorted(there - known):
            count = parts[name].filter(pl.col("label") == label).height
            raise InputError(
                f"label '{label}' stands in the {name} split ({count} rows) but not in train; add train rows, correct the label, or drop it"
            )
        if missing := sorted(known - there):
            warnings.append(f"no {name} row has the label {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")  # noqa: PLR2004
    return warnings
