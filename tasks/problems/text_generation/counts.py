"""What predictions count: nats of tokens and letters, and final answers that are right."""

from collections.abc import Sequence

import polars as pl

from tasks.shared.statistics import Statistic, Statistics


def statistics(predictions: pl.DataFrame, rows: pl.DataFrame, right: Sequence[bool] | None) -> Statistics:
    """Return nats per character and token, and how often a final answer is right, as far as that is known.

    right: of each row whether what was generated for it is; None where rows have no final answers.
    """
    found = {}
    if "nats" in predictions.columns:
        has_them = "characters" in predictions.columns
        characters = predictions["characters"] if has_them else rows["text"].str.len_chars()
        counted = pl.DataFrame([predictions["nats"], characters.cast(pl.Int64).alias("characters")])
        found["nats_per_character"] = Statistic("nats_per_character", counted)
    if "tokens" in predictions.columns:
        counted = predictions.select("nats", pl.col("tokens").cast(pl.Int64))
        found |= {name: Statistic(name, counted) for name in ("nats_per_token", "perplexity")}
    if right is not None:
        asked = predictions["predicted"].is_not_null().alias("asked")
        counted = pl.DataFrame([pl.Series("right", right), asked])
        found["exact_match"] = Statistic("share_right", counted.cast(pl.Int64))
    return found
