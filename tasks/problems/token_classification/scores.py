"""What is right of the entities that are predicted: whole ones, tags, and which type is taken for which."""

import polars as pl

from tasks.problems import Targets
from tasks.problems.token_classification.entities import Entity, tags_of
from tasks.problems.token_classification.rows import Spans, Tags
from tasks.shared.statistics import Statistic, Statistics

# the type of what is no entity
NONE = "(none)"


def statistics(rows: Tags | Spans, predicted: pl.Series, actual: pl.Series, targets: Targets) -> Statistics:
    """Return F1, precision and recall of whole entities of all types, and the share of words tagged right."""
    known = pl.Enum(targets["types"])
    mine, its = rows.entities(predicted), rows.entities(actual)
    hits = [sorted(set(one) & set(other)) for one, other in zip(mine, its, strict=True)]
    types, counts = {}, {}
    for name, of_rows in (("found", hits), ("predicted", mine), ("actual", its)):
        types[f"{name}_types"] = pl.Series(
            [[entity.type for entity in of_row] for of_row in of_rows], dtype=pl.List(known)
        )
        counts[name] = pl.Series(map(len, of_rows), dtype=pl.Int64)
    found = {"entity_f1": Statistic("typed_entity_f1", pl.DataFrame(types))}
    for name, beside in (("precision", "predicted"), ("recall", "actual")):
        found[name] = Statistic("rate", pl.DataFrame({"found": counts["found"], beside: counts[beside]}))
    if isinstance(rows, Tags):
        words = actual.list.len().cast(pl.Int64)
        right = words - _num_other_tags(mine, its, words, targets)
        found["accuracy"] = Statistic("rate", pl.DataFrame({"right": right, "words": words}))
    return found


def _num_other_tags(
    mine: list[list[Entity]], its: list[list[Entity]], words: pl.Series, targets: Targets
) -> pl.Series:
    """Return how many words of each row are tagged otherwise, in whatever scheme it was written."""
    counts = []
    for one, two, size in zip(mine, its, words, strict=True):
        said, true = (tags_of(entities, size, has_prefix=targets["has_prefix"]) for entities in (one, two))
        counts.append(sum(map(str.__ne__, said, true)))
    return pl.Series(counts, dtype=pl.Int64)


def types_of_parts(
    rows: Tags | Spans, predicted: pl.Series, actual: pl.Series
) -> tuple[pl.Series, pl.Series]:
    """Return the predicted and the actual type of each part of a row that is an entity in either; or NONE."""
    pairs = []
    for mine, its in zip(rows.entities(predicted), rows.entities(actual), strict=True):
        said, true = ({entity[:2]: entity.type for entity in of_row} for of_row in (mine, its))
        pairs += [(said.get(part, NONE), true.get(part, NONE)) for part in sorted({*said, *true})]
    one, other = (pl.Series([pair[side] for pair in pairs], dtype=pl.String) for side in (0, 1))
    return one, other
