"""What a model predicts, a row per row, in a table and in the file that people and the package stage read."""

from pathlib import Path
from typing import Any

import polars as pl

from tasks.shared.columns import Columns, kind, shown, targets
from tasks.shared.values import as_text


def table(found: list[dict[str, Any]], columns: Columns) -> pl.DataFrame:
    """Return what a problem predicts as a table, `predicted` of the type of the one target that there is."""
    one = _one_target(columns)
    known = {"predicted": kind(columns[one]).dtype} if one else {}
    return pl.DataFrame(found, schema_overrides=known, infer_schema_length=None)


def write(predicted: pl.DataFrame, rows: pl.DataFrame, columns: Columns, file: Path) -> pl.DataFrame:
    """Write predictions.csv and return what it holds: id, the targets as `actual`, and the predictions."""
    one = _one_target(columns)
    actual = [as_text(rows[name]).alias("actual" if one else f"actual_{name}") for name in targets(columns)]
    found = [as_text(column) if isinstance(column.dtype, pl.List) else column for column in predicted]
    written = pl.DataFrame([rows["id"], *actual, *found])
    written.write_csv(file, float_precision=6)
    return written


def read(file: Path, columns: Columns) -> pl.DataFrame:
    """Return predictions.csv as text, `predicted` of the type of the one target that there is."""
    written = pl.read_csv(file, infer_schema=False)
    one = _one_target(columns)
    return written.with_columns(kind(columns[one]).parse(written["predicted"])) if one else written


def mistakes(predicted: pl.DataFrame, rows: pl.DataFrame, columns: Columns, most: int) -> pl.DataFrame:
    """Return the worst mistakes, largest and then surest first, with the row as a person would know it."""
    one = _one_target(columns)
    if one is None:
        return pl.DataFrame()
    told = {
        "distance": kind(columns[one]).distance(predicted["predicted"], rows[one]),
        "actual": as_text(rows[one]),
        "predicted": as_text(predicted["predicted"]),
        "row": pl.Series(shown(rows, columns), dtype=pl.String),
        "id": rows["id"],
    }
    surest = {"confidence": predicted["confidence"]} if "confidence" in predicted.columns else {}
    wrong = pl.DataFrame({**surest, **told}).filter(pl.col("distance") > 0)
    order = ["distance", *surest, "id"]
    descending = [name != "id" for name in order]
    # one text may stand in several rows: they stay in their order, on however many cores they are sorted
    return wrong.sort(order, descending=descending, maintain_order=True).head(most).drop("distance")


def _one_target(columns: Columns) -> str | None:
    names = targets(columns)
    return names[0] if len(names) == 1 else None
