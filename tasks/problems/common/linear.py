"""What anyone predicts of pictures and sounds without a network: a linear model of a few numbers of each."""

from collections.abc import Callable

import numpy as np
import polars as pl

# train rows that are looked at or listened to
MOST = 5000
SEED = 0


def predicted(
    train: pl.DataFrame,
    test: pl.DataFrame,
    column: str,
    features: Callable[[str], np.ndarray],
    most: int = MOST,
) -> pl.DataFrame:
    """Return what logistic regression says of each test row.

    column: of the files' names. features: of one file, (numbers,). most: train rows that it learns from; of
    more a sample, since rows of a label often follow each other.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    some = train
    if train.height > most:
        some = train[np.sort(np.random.default_rng(SEED).choice(train.height, most, replace=False))]
    if some["label"].n_unique() < 2:  # noqa: PLR2004 (one label needs no model)
        return pl.DataFrame({"predicted": [some["label"][0]] * test.height})
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(np.stack([features(name) for name in some[column]]), some["label"].to_list())
    said = model.predict(np.stack([features(name) for name in test[column]]))
    return pl.DataFrame({"predicted": said.tolist()})
