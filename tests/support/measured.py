"""What metrics/*.json hold after a run, made up."""

from typing import Any

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package", "judge")


def scores(
    value: float, low: float, high: float, name: str = "macro_f1", *, higher_is_better: bool = True
) -> dict[str, Any]:
    """Return what metrics/evaluate.json holds where one metric, the headline, has this value and interval."""
    return {
        "rows": 10,
        "headline": {"name": name, "higher_is_better": higher_is_better},
        name: value,
        "interval": {name: [low, high]},
        "baselines": {"majority": {name: 0.1}},
    }


MEASURED: dict[str, Any] = {
    "ingest": {
        "read": 12,
        "rows": 10,
        "rejected": 2,
        "duplicates": 1,
        "conflicting_labels": 0,
        "labels": {"a": 6, "b": 4},
    },
    "split": {"train": 6, "validation": 2, "test": 2},
    "tokenize": {
        "tokenizer": "BertTokenizerFast",
        "vocabulary": 100,
        "train": {"truncated_share": 0.5, "unknown_share": 0.25},
        "example": {"text": "where is it", "tokens": ["where", "is", "it"]},
    },
    "train": {},
    "evaluate": scores(0.6, 0.5, 0.7),
    "package": {},
    "judge": {"champion": None, "baseline": "majority", "rows": 0},
}
