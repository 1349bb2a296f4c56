"""The baseline of pictures and sounds: a linear model of a few numbers."""

import numpy as np
import polars as pl

from tasks.problems.common import linear

# as a folder per label has them: all of one, then all of the other
ROWS = pl.DataFrame({"image": [f"{number}" for number in range(60)], "label": ["low"] * 30 + ["high"] * 30})


def feature(name: str) -> np.ndarray:
    return np.array([float(name)])


def test_of_many_rows_a_sample_is_learned_from_so_that_labels_in_order_are_all_known() -> None:
    said = linear.predicted(ROWS, ROWS, "image", feature, most=20)
    right = (said["predicted"] == ROWS["label"]).mean()
    assert isinstance(right, float)
    assert right > 0.8
    assert said.equals(linear.predicted(ROWS, ROWS, "image", feature, most=20))


def test_of_one_label_there_is_nothing_to_learn() -> None:
    said = linear.predicted(ROWS.head(30), ROWS, "image", feature)
    assert said["predicted"].unique().to_list() == ["low"]
