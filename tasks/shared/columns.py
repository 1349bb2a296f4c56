"""What columns hold, and what follows from it: how values are read, judged, known, described and compared."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import polars as pl

from tasks.shared import answers, tagged
from tasks.shared.params import Ingest
from tasks.shared.values import as_text, from_json, written

WHOLE = re.compile(r"-?\d+(\.0+)?")
SEPARATORS = re.compile("[,;|]")
# labels that a note lists
SPELLINGS = 5
# characters of what is no number
SHOWN = 80
# parts of the ranks of a number that a stratified split treats alike
STRATA = 10
PERCENTILES = (5, 50, 95, 99, 100)

Kinds = Literal[
    "text",
    "category",
    "categories",
    "number",
    "answers",
    "tokens",
    "tags",
    "spans",
    "messages",
    "image",
    "audio",
]
# kinds whose values are files, and what ingest finds out of each, beside it in columns such as image_width
FACTS = {"image": ("width", "height"), "audio": ("seconds", "rate")}
MEDIA = tuple(FACTS)
# where a row's file lies among the raw ones, which people know it by
SOURCE_MEDIA = "source_media"


@dataclass(frozen=True)
class Column:
    """A column of a problem's table: what it holds, and whether the model is given it or learns to say it."""

    kind: Kinds
    role: Literal["input", "target"]
    # rows have it only where data.columns names it
    optional: bool = False


Columns = Mapping[str, Column]


def _fault(texts: pl.Expr, more: Any = None) -> pl.Expr:
    """Return what is wrong with texts that may not be missing or blank; with the others, `more` says it."""
    is_blank = texts.str.strip_chars().str.len_bytes() == 0
    return (
        pl.when(texts.is_null()).then(pl.lit("missing")).when(is_blank).then(pl.lit("blank")).otherwise(more)
    )


def _fault_of_text(texts: pl.Expr, params: Ingest) -> pl.Expr:
    is_long = texts.str.len_chars() > params.max_chars
    return _fault(texts, pl.when(is_long).then(pl.lit(f"longer than ingest.max_chars {params.max_chars}")))


def _fault_of_number(texts: pl.Expr, _: Ingest) -> pl.Expr:
    is_number = _as_number(texts).is_finite().fill_null(value=False)
    return _fault(
        texts, pl.when(~is_number).then(pl.format("no finite number: {}", texts.str.slice(0, SHOWN)))
    )


def _as_number(texts: pl.Expr) -> pl.Expr:
    return texts.str.strip_chars().cast(pl.Float64, strict=False)


def _one_spelling(texts: pl.Series) -> tuple[pl.Series, str]:
    """Return labels without blanks around them; whole numbers and truth values in one spelling each.

    A program that once meets a missing value writes 1.0 for 1 from there on, and two spellings in one table
    are one label.
    """
    labels = texts.str.strip_chars()
    distinct = [label for label in labels.unique() if label]
    if all(WHOLE.fullmatch(label) for label in distinct):
        one = {label: label.partition(".")[0] for label in distinct}
    elif all(label.lower() in ("true", "false") for label in distinct):
        one = {label: label.lower() for label in distinct}
    else:
        return labels, ""
    mixed = {"." in label for label in distinct} == {True, False}
    if not mixed and len(set(one.values())) == len(one):
        return labels, ""
    changed = sorted(label for label in distinct if one[label] != label)
    return labels.replace(one), ", ".join(f"{label} is written {one[label]}" for label in changed[:SPELLINGS])


def _fault_of_lists(texts: pl.Expr, params: Ingest) -> pl.Expr:
    are_needed = params.missing_labels == "reject"
    is_nested = texts.map_batches(
        lambda column: pl.Series([_labels_in(text) is None for text in column]), pl.Boolean
    )
    nested = pl.when(is_nested).then(
        pl.format("a list of lists or objects, not of labels: {}", texts.str.slice(0, SHOWN))
    )
    return pl.when(texts.is_null()).then(pl.lit("missing") if are_needed else None).otherwise(nested)


def _labels_in(text: str | None) -> list[str] | None:
    """Return the labels in a list of JSON, or in names with , ; or | between; sorted, each once.

    What is null in a list is no label. None where a list holds others, or objects.
    """
    value = from_json(text)
    if not isinstance(value, list):
        names = SEPARATORS.split(text or "")
    elif any(isinstance(one, list | dict) for one in value):
        return None
    else:
        names = [written(one) or "" for one in value]
    return sorted({name.strip() for name in names} - {""})


def _fault_of_answers(texts: pl.Expr, _: Ingest) -> pl.Expr:
    has_none = texts.map_batches(
        lambda column: pl.Series([answers.parsed(text) is None for text in column]), pl.Boolean
    )
    return _fault(
        texts, pl.when(has_none).then(pl.lit("no {text, answer_start}: ") + texts.str.slice(0, SHOWN))
    )


def _describe_answers(column: pl.Series) -> dict[str, Any]:
    texts = [[one.text for one in answers.answers(said)] for said in column]
    lengths = pl.Series([len(its[0]) for its in texts if its], dtype=pl.Int64)
    return {"answers": {"none": sum(not its for its in texts), "chars": percentiles(lengths)}}


def _other_answer(predicted: pl.Series, actual: pl.Series) -> pl.Series:
    """Return 1 where the first answer is none of the actual ones."""
    other = []
    for said, given in zip(predicted, actual, strict=True):
        first = [one.text for one in answers.answers(said)[:1]]
        right = [one.text for one in answers.answers(given)]
        other.append(float(first[0] not in right if first else bool(right)))
    return pl.Series(other, dtype=pl.Float64)


def _fault_of_list(
    read: Callable[[str | None], list[Any] | None], meant: str, texts: pl.Expr, params: Ingest
) -> pl.Expr:
    """Return what is wrong with texts that `read` cannot read as a list."""
    is_list = texts.map_batches(
        lambda column: pl.Series([read(text) is not None for text in column]), pl.Boolean
    )
    no_list = pl.when(~is_list).then(pl.format("no {}: {}", pl.lit(meant), texts.str.slice(0, SHOWN)))
    is_long = texts.str.len_chars() > params.max_chars
    long = pl.when(is_long).then(pl.lit(f"longer than ingest.max_chars {params.max_chars}"))
    return _fault(texts, long.otherwise(no_list))


def _of_rows(function: Callable[..., Any], *columns: pl.Series, dtype: Any = pl.String) -> pl.Series:
    return pl.Series(columns[0].name, map(function, *columns), dtype=dtype)


def _types(function: Callable[[Any], list[str]]) -> Callable[[pl.Series], pl.Series]:
    """Return what returns the types in rows, each once for each row."""
    return lambda rows: _of_rows(function, rows, dtype=pl.List(pl.String)).explode(empty_as_null=False)


def percentiles(numbers: pl.Series) -> dict[str, Any]:
    """Return the numbers that some percent of all do not exceed, such as p50; 0 of none."""
    return {f"p{q}": numbers.quantile(q / 100, "nearest") or 0 for q in PERCENTILES}


@dataclass(frozen=True)
class Kind:
    """What is known of the values of a kind of column, which are read from text and written by `as_text`."""

    # why a text says no value; null where it says one
    fault: Callable[[pl.Expr, Ingest], pl.Expr]
    # what is worth watching from run to run
    describe: Callable[[pl.Series], dict[str, Any]]
    # how wrong a prediction of a value is; 0 where it is right
    distance: Callable[[pl.Series, pl.Series], pl.Series] = lambda predicted, actual: (
        predicted != actual
    ).cast(pl.Float64)
    # the values in usable texts
    parse: Callable[[pl.Series], pl.Series] = lambda texts: texts
    # texts that say the same value in one spelling, and what was changed for that
    one_spelling: Callable[[pl.Series], tuple[pl.Series, str]] = lambda texts: (texts, "")
    # every label that rows bear, once for each row; None where values are no labels
    labels: Callable[[pl.Series], pl.Series] | None = None
    # what rows of a stratified split have in common
    stratum: Callable[[pl.Series], pl.Series] = as_text
    dtype: Any = pl.String
    # whether a file may hold a list in one cell, or an object
    has_lists: bool = False
    has_objects: bool = False


KINDS: dict[str, Kind] = {
    "text": Kind(
        fault=_fault_of_text,
        describe=lambda texts: {"chars": percentiles(texts.str.len_chars().cast(pl.Int64))},
        stratum=lambda texts: pl.repeat("", len(texts), eager=True),
    ),
    # one of several labels, as long as anybody likes
    "category": Kind(
        fault=lambda texts, _: _fault(texts),
        describe=lambda labels: {"labels": labels.n_unique()},
        one_spelling=_one_spelling,
        labels=lambda labels: labels,
    ),
    # any number of labels, in no order; none is a value too
    "categories": Kind(
        fault=_fault_of_lists,
        describe=lambda lists: {"labels": lists.explode().n_unique()},
        distance=lambda predicted, actual: (
            predicted.list.set_symmetric_difference(actual).list.len().cast(pl.Float64)
        ),
        parse=lambda texts: _of_rows(_labels_in, texts, dtype=pl.List(pl.String)),
        labels=lambda lists: lists.explode().drop_nulls(),
        dtype=pl.List(pl.String),
        has_lists=True,
    ),
    # a conversation as JSON: [{"role": "user", "content": ...}, ...], with whatever else messages hold
    "messages": Kind(
        fault=_fault_of_text,
        describe=lambda texts: {"chars": percentiles(texts.str.len_chars().cast(pl.Int64))},
        stratum=lambda texts: pl.repeat("", len(texts), eager=True),
        has_lists=True,
        has_objects=True,
    ),
    "number": Kind(
        fault=_fault_of_number,
        describe=lambda numbers: {"numbers": {"p0": numbers.min(), **percentiles(numbers)}},
        distance=lambda predicted, actual: (predicted - actual).abs(),
        parse=lambda texts: texts.to_frame().select(_as_number(pl.col(texts.name))).to_series(),
        stratum=lambda numbers: ((numbers.rank("ordinal") - 1) * STRATA // len(numbers)).cast(pl.String),
        dtype=pl.Float64,
    ),
    # parts of a text that answer a question, in JSON; none is a value too
    "answers": Kind(
        fault=_fault_of_answers,
        describe=_describe_answers,
        distance=_other_answer,
        parse=lambda texts: pl.Series(texts.name, map(answers.parsed, texts), dtype=pl.String),
        stratum=lambda texts: pl.Series([str(bool(answers.answers(said))) for said in texts]),
        has_objects=True,
    ),
    # the words of a text, in its order
    "tokens": Kind(
        fault=partial(_fault_of_list, lambda text: tagged.words(text) or None, "list of words"),
        describe=lambda lists: {"tokens": percentiles(lists.list.len().cast(pl.Int64))},
        parse=lambda texts: _of_rows(tagged.words, texts, dtype=tagged.WORDS),
        stratum=lambda lists: pl.repeat("", len(lists), eager=True),
        dtype=tagged.WORDS,
        has_lists=True,
    ),
    # a tag for each of them, as in B-person, I-person, O
    "tags": Kind(
        fault=partial(_fault_of_list, tagged.words, "list of tags"),
        describe=lambda lists: {"labels": _types(tagged.types_in_tags)(lists).n_unique()},
        distance=lambda predicted, actual: _of_rows(
            tagged.num_other_tags, predicted, actual, dtype=pl.Float64
        ),
        parse=lambda texts: _of_rows(tagged.words, texts, dtype=tagged.WORDS),
        labels=_types(tagged.types_in_tags),
        stratum=lambda lists: _of_rows(lambda tags: " ".join(tagged.types_in_tags(tags)), lists),
        dtype=tagged.WORDS,
        has_lists=True,
    ),
    # parts of a text, from `start` to before `end` in code points, and what each is
    "spans": Kind(
        fault=partial(_fault_of_list, tagged.spans, "list of {start, end, label}"),
        describe=lambda lists: {"spans": percentiles(lists.list.len().cast(pl.Int64))},
        distance=lambda predicted, actual: _of_rows(
            tagged.num_other_spans, predicted, actual, dtype=pl.Float64
        ),
        parse=lambda texts: _of_rows(tagged.spans, texts, dtype=tagged.SPANS),
        labels=_types(tagged.types_in_spans),
        stratum=lambda lists: _of_rows(lambda spans: " ".join(tagged.types_in_spans(spans)), lists),
        dtype=tagged.SPANS,
        has_lists=True,
    ),
}

# the name of a file below data/media: the SHA-256 of what is in it; in raw files, where it lies there
KINDS |= dict.fromkeys(
    MEDIA,
    Kind(
        fault=lambda texts, _: _fault(texts),
        describe=lambda names: {"files": names.n_unique()},
        stratum=lambda names: pl.repeat("", len(names), eager=True),
    ),
)


def kind(column: Column) -> Kind:
    """Return what is known of values of a column's kind."""
    return KINDS[column.kind]


def present(columns: Columns, named: Collection[str]) -> Columns:
    """Return the columns that rows have: of the optional ones, those that are named."""
    return {name: column for name, column in columns.items() if not column.optional or name in named}


def inputs(columns: Columns, rows: pl.DataFrame | None = None) -> list[str]:
    """Return the names of the columns that a model is given; optional ones only if these rows have them."""
    there = present(columns, () if rows is None else rows.columns)
    return [name for name, column in there.items() if column.role == "input"]


def targets(columns: Columns) -> list[str]:
    """Return the names of the columns that a model learns to say."""
    return [name for name, column in columns.items() if column.role == "target"]


def media(columns: Columns) -> str | None:
    """Return the name of the column whose values are files; None where there is none."""
    return next((name for name, column in columns.items() if column.kind in MEDIA), None)


def media_facts(columns: Columns) -> dict[str, str]:
    """Return what is found out of each file, by the column where it stands: {"image_width": "width"}."""
    name = media(columns)
    return {} if name is None else {f"{name}_{fact}": fact for fact in FACTS[columns[name].kind]}


def faults(table: pl.DataFrame, columns: Columns, params: Ingest) -> pl.Series:
    """Return of each row of texts the first column (by name) that cannot be used, and why; else null."""
    found = [
        pl.format("{}: {}", pl.lit(name), kind(columns[name]).fault(pl.col(name), params))
        for name in sorted(columns)
    ]
    return table.select(reason=pl.coalesce(found)).to_series()


def parse(table: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Return a table of usable texts with the values that they say."""
    return table.with_columns(kind(column).parse(table[name]) for name, column in columns.items())


def content(rows: pl.DataFrame, columns: Columns) -> list[bytes]:
    """Return what identifies each row: its inputs, white space folded, for a blank makes no other message.

    Rows with equal content must never stand in two splits.
    """
    parts = [[" ".join(text.split()) for text in as_text(rows[name])] for name in inputs(columns, rows)]
    whole = (
        parts[0]
        if len(parts) == 1
        else [json.dumps(texts, ensure_ascii=False) for texts in zip(*parts, strict=True)]
    )
    return [text.encode() for text in whole]


def shown(rows: pl.DataFrame, columns: Columns) -> list[str]:
    """Return each row as a person would recognise it: its inputs, named where there are several."""
    names = inputs(columns, rows)
    if SOURCE_MEDIA in rows.columns:
        # nobody recognises a hash
        rows = rows.with_columns(pl.col(SOURCE_MEDIA).alias(name) for name in names if name == media(columns))
    said = [[f"{name}: {text}" for text in as_text(rows[name])] for name in names]
    return (
        as_text(rows[names[0]]).to_list()
        if len(names) == 1
        else ["; ".join(texts) for texts in zip(*said, strict=True)]
    )


def served(rows: pl.DataFrame, columns: Columns) -> list[Any]:
    """Return each row as the serving pipeline takes it: its one input, or all by their names."""
    names = inputs(columns, rows)
    return rows[names[0]].to_list() if len(names) == 1 else rows.select(names).to_dicts()


def said(rows: pl.DataFrame, columns: Columns) -> pl.Series:
    """Return the targets of each row as text."""
    return _joined([as_text(rows[name]) for name in targets(columns)], rows)


def strata(rows: pl.DataFrame, columns: Columns) -> pl.Series:
    """Return what rows have in common whose shares must be the same in all splits."""
    return _joined([kind(columns[name]).stratum(rows[name]) for name in targets(columns)], rows)


def _joined(texts: list[pl.Series], rows: pl.DataFrame) -> pl.Series:
    return pl.select(pl.concat_str(texts or [pl.repeat("", rows.height)], separator=" / ")).to_series()


def labels(rows: pl.DataFrame, columns: Columns) -> dict[str, pl.Series]:
    """Return the labels that rows bear, of each target that has any."""
    found = {}
    for name in targets(columns):
        of = kind(columns[name]).labels
        if of is not None:
            found[name] = of(rows[name])
    return found


def rows_per_label(labels: pl.Series, *, by_rows: bool = False) -> dict[str, int]:
    """Return how many rows have each label, by its name or from many rows to few."""
    counts = labels.alias("label").value_counts(name="rows")
    order = counts.sort("rows", "label", descending=[True, False]) if by_rows else counts.sort("label")
    return dict(order.iter_rows())
