"""What happened to the rows of a table since an earlier state of it: added, removed, relabelled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

# of each kind
EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """A row that was added, removed or relabelled, as a person would recognise it."""

    what: str
    target: str
    row: str


@dataclass(frozen=True)
class Changes:
    """How many rows were added, removed, or stand there with another target, with a few examples of each."""

    added: int = 0
    removed: int = 0
    relabelled: int = 0
    examples: tuple[Example, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.relabelled)

    def __str__(self) -> str:
        return f"{self.added} added, {self.removed} removed, {self.relabelled} relabelled"


def changes(
    before: Path,
    now: Path,
    targets: Sequence[str],
    show: Callable[[pl.DataFrame], list[str]] | None = None,
) -> Changes:
    """Compare two Parquet files of rows with `id` (what the content is) and columns to learn, of any type.

    A row may stand there several times. Of one id, as many rows as have lost a target and gained another are
    relabelled; what is over was added or removed, so that `added - removed` is the difference in rows.
    show: makes rows readable, for the examples.
    """
    old, new = _counts(before, targets), _counts(now, targets)
    both = old.join(new, on=["id", "target"], how="full", coalesce=True, suffix="_now")
    both = both.with_columns(pl.col("rows", "rows_now").fill_null(0))
    gone, come = (pl.col("rows") - pl.col("rows_now")).clip(0), (pl.col("rows_now") - pl.col("rows")).clip(0)
    moved = (
        both.with_columns(gone=gone, come=come)
        .filter(pl.col("gone") + pl.col("come") > 0)
        .group_by("id")
        .agg(
            pl.col("gone", "come").sum(),
            was=pl.col("target").filter(pl.col("gone") > 0).sort().str.join(", "),
            becomes=pl.col("target").filter(pl.col("come") > 0).sort().str.join(", "),
        )
        .with_columns(relabelled=pl.min_horizontal("gone", "come"))
        .with_columns(
            added=pl.col("come") - pl.col("relabelled"),
            removed=pl.col("gone") - pl.col("relabelled"),
        )
        .sort("id")
        .collect()
    )
    counts = {kind: int(moved[kind].sum()) for kind in ("added", "removed", "relabelled")}
    return Changes(**counts, examples=_examples(moved, before, now, show) if show else ())


def _counts(file: Path, targets: Sequence[str]) -> pl.LazyFrame:
    """Return how many rows there are of each id and target: text, or JSON that is equal where columns are."""
    rows = pl.scan_parquet(file)
    is_text = len(targets) == 1 and rows.collect_schema()[targets[0]] == pl.String
    target = pl.col(targets[0]) if is_text else pl.struct(targets).struct.json_encode()
    return rows.group_by("id", target.alias("target")).agg(rows=pl.len().cast(pl.Int64))


def _examples(
    moved: pl.DataFrame,
    before: Path,
    now: Path,
    show: Callable[[pl.DataFrame], list[str]],
) -> tuple[Example, ...]:
    found = []
    kinds = {
        "added": (now, pl.col("becomes")),
        "removed": (before, pl.col("was")),
        "relabelled": (now, pl.format("{} → {}", "was", "becomes")),
    }
    for what, (file, target) in kinds.items():
        some = moved.filter(pl.col(what) > 0).head(EXAMPLES).select("id", target=target)
        is_one = pl.col("id").is_in(some["id"].implode())
        rows = pl.scan_parquet(file).filter(is_one).collect().unique("id", maintain_order=True)
        shown = dict(zip(rows["id"], show(rows), strict=True))
        found += [Example(what, words, shown[id_]) for id_, words in some.iter_rows()]
    return tuple(found)
