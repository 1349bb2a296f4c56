"""What anyone predicts of texts without a transformer. It takes a while to import: scikit-learn does."""

import re
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

# texts that stand with many labels need more than the 1,000 that are usual
ITERATIONS = 200_000
# numbers that a linear model learns, one for each n-gram and answer: 0.5 GB
MOST_WEIGHTS = 2**26
# a word as scikit-learn has it; of texts without any, such as digits or emoji, what stands between blanks
WORD, ANY = r"(?u)\b\w\w+\b", r"(?u)\S+"


class Frequent(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the n-grams that most texts hold, where there are more than `most`; else it changes nothing."""

    def __init__(self, most: int) -> None:
        self.most = most

    def fit(self, counted: Any, _: Any = None) -> Self:
        """Learn which of the columns of a sparse matrix (texts, n-grams) are kept."""
        self.kept_: np.ndarray | None = None
        if counted.shape[1] > self.most:
            num_texts = np.bincount(counted.indices, minlength=counted.shape[1])
            self.kept_ = np.sort(np.argsort(-num_texts, kind="stable")[: self.most])
        return self

    def transform(self, counted: Any) -> Any:
        """Return them."""
        return counted if self.kept_ is None else counted[:, self.kept_]


def tfidf(texts: Sequence[str], *estimators: Any, num_answers: int = 1) -> Any:
    """Return TF-IDF of words (1-2) and letters (2-5), and what is to be learned of it, for scikit-learn.

    texts: which it will be fitted to. num_answers: for how many answers an estimator weighs each n-gram.
    """
    has_words = any(re.search(WORD, text) for text in texts)
    pattern = WORD if has_words else ANY
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, letters), Frequent(MOST_WEIGHTS // num_answers), *estimators)


def tfidf_linear(texts: list[str], labels: pl.Series, asked: list[str]) -> pl.DataFrame:
    """Return what a linear SVM on TF-IDF, which has seen texts and their labels, says of others.

    Equal rows are one that weighs as much as all of them: where few texts stand with many labels, as
    questions about pictures do, it would take minutes.
    """
    rows = pl.DataFrame({"text": texts, "label": labels})
    counted = rows.group_by("text", "label", maintain_order=True).len()
    svm, seen = LinearSVC(random_state=0, max_iter=ITERATIONS), counted["text"].to_list()
    model = tfidf(seen, svm, num_answers=labels.n_unique())
    model.fit(seen, counted["label"].to_list(), linearsvc__sample_weight=counted["len"].to_numpy())
    return pl.DataFrame({"predicted": model.predict(asked).tolist()}, schema={"predicted": pl.String})
