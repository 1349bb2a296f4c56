"""`retrain add`."""

from flows.cli.common import OK, say


def add(source: str, name: str | None = None, /) -> int:
    """Bring a file, folder or URL into data/raw under DVC, or take in its newer state.

    Examples: `retrain add ../exports/support.csv`, `retrain add s3://bucket/support support`,
    `retrain add hf://datasets/OWNER/NAME@REVISION`.

    Parameters
    ----------
    source
        A path or URL; `dvc import-url` takes it, so `dvc update data/raw/NAME.dvc` takes in its newer state
        too. A data set of the Hugging Face hub is hf://datasets/OWNER/NAME, with @REVISION and /FILES behind
        where not all of main is meant.
    name
        What to call it in data/raw; by default the last part of SOURCE.
    """
    from flows.engine import data, workspace

    checkout = workspace.root()
    path = data.add(source, name, checkout, say)
    say(f"train on it with: retrain run --data.path {path}")
    return OK
