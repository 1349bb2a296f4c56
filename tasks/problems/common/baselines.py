"""What anyone predicts of texts without a transformer."""

from typing import Any


def tfidf(*estimators: Any) -> Any:
    """Return TF-IDF of words (1-2) and letters (2-5), and what is to be learned of it, for scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, letters), *estimators)
