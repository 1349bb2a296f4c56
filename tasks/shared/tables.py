"""Tables on the disk: equal rows as equal bytes, on however many cores they were made."""

from pathlib import Path

import polars as pl


def write(table: pl.DataFrame, file: Path) -> None:
    """Write a table as Parquet.

    polars filters on each core apart and leaves as many chunks, which its pages would follow: they are made
    one before.
    """
    table.rechunk().write_parquet(file, statistics=False)
