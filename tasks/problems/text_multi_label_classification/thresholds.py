"""From which score on a label applies: what gives the best F1 on validation.

Lipton, Elkan and Naryanaswamy 2014, arXiv 1402.1892: that is half the best F1, so rarely 0.5.
"""

import numpy as np

HALF = 0.5
# rows that must have a label before it gets a threshold of its own: of fewer, the best one is chance
ENOUGH = 10


def one(scores: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Return the one threshold (labels,) with the best F1 over all labels.

    scores: (rows, labels) of 0 to 1. has: (rows, labels), which labels rows have.
    """
    return np.full(scores.shape[1], best(scores.ravel(), has.ravel()))


def per_label(scores: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Return the threshold (labels,) with the best F1 of each label; of rare labels, the one for all."""
    found = one(scores, has)
    for label in np.flatnonzero(has.sum(axis=0) >= ENOUGH):
        found[label] = best(scores[:, label], has[:, label])
    return found


def best(scores: np.ndarray, has: np.ndarray) -> float:
    """Return the threshold with the best F1 of scores (n,), of equal ones that nearest to a half.

    It lies halfway between two scores. A half where nothing has a label.
    """
    if not has.any():
        return HALF
    order = np.argsort(-scores, kind="stable")
    down, hits = scores[order], np.cumsum(has[order])
    f1 = 2 * hits / (np.arange(1, len(down) + 1) + has.sum())
    between = np.append((down[:-1] + down[1:]) / 2, down[-1] / 2)
    # equal scores cannot be parted
    f1[np.append(down[:-1] == down[1:], False)] = -1
    ties = between[f1 == f1.max()]
    return float(ties[np.abs(ties - HALF).argmin()])
