"""Train rows that baselines learn from: all of them, or where they are many, a sample."""

import numpy as np
import polars as pl

from tasks.shared.columns import Columns, present

# of more, n-grams take minutes and gigabytes
MOST_CHARACTERS = 10_000_000


def sample(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Return rows of at most MOST_CHARACTERS of text, in their order; fewer are drawn by a fixed seed."""
    texts = [pl.lit(0)]
    for name, column in present(columns, rows.columns).items():
        if column.kind in ("text", "messages"):
            texts.append(pl.col(name).str.len_chars())
        elif column.kind == "tokens":
            texts.append(pl.col(name).list.join("").str.len_chars())
    sizes = rows.select(pl.sum_horizontal(texts)).to_series().to_numpy()
    if sizes.sum() <= MOST_CHARACTERS:
        return rows
    drawn = np.random.default_rng(0).permutation(rows.height)
    fits = np.cumsum(sizes[drawn]) <= MOST_CHARACTERS
    # one at least, however long it is
    fits[0] = True
    return rows[np.sort(drawn[fits])]
