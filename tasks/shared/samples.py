"""The rows that evaluate keeps for people to read, as a report or card shows them."""

from pathlib import Path

# rows that a report or card shows
MOST = 5


def read_samples(file: Path, most: int = MOST) -> list[dict[str, str]]:
    """Return the first rows that evaluate has kept for people to read; none where the problem keeps none."""
    if not file.exists():
        return []
    # it takes as long to import as all else that tells of a run in which nothing has changed
    import polars as pl

    read_in = pl.read_csv(file, infer_schema=False).head(most)
    return [{name: text or "" for name, text in row.items()} for row in read_in.iter_rows(named=True)]
