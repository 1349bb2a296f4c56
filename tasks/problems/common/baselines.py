"""What anyone predicts of texts without a transformer."""

from typing import Any

import polars as pl

# texts that stand with many labels need more than the 1,000 that are usual
ITERATIONS = 200_000


def tfidf(*estimators: Any) -> Any:
    """Return TF-IDF of words (1-2) and letters (2-5), and what is to be learned of it, for scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, letters), *estimators)


def tfidf_linear(texts: list[str], labels: pl.Series, asked: list[str]) -> pl.DataFrame:
    """Return what a linear SVM on TF-IDF, which has seen texts and their labels, says of others.

    Equal rows are one that weighs as much as all of them: where few texts stand with many labels, as
    questions about pictures do, it would take minutes.
    """
    from sklearn.svm import LinearSVC

    rows = pl.DataFrame({"text": texts, "label": labels})
    counted = rows.group_by("text", "label", maintain_order=True).len()
    model, weights = tfidf(LinearSVC(random_state=0, max_iter=ITERATIONS)), counted["len"].to_numpy()
    model.fit(counted["text"].to_list(), counted["label"].to_list(), linearsvc__sample_weight=weights)
    return pl.DataFrame({"predicted": model.predict(asked).tolist()}, schema={"predicted": pl.String})
