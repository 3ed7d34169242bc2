"""Models without pretrained knowledge: what a result has to beat before it means anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

_PENALTY_INVERSES = (1.0, 10.0, 100.0)
_HELD_OUT = 5  # every fifth training text decides on the penalty


def majority(
    targets: Int[np.ndarray, " train"], n_items: int, *, n_classes: int
) -> Float64[np.ndarray, "items classes"]:
    """The class frequencies of the training items, for every item.

    Args:
        targets: The classes of the training items.
        n_items: For how many items.
        n_classes: The number of classes.
    """
    shares = np.bincount(targets, minlength=n_classes) / len(targets)
    return np.tile(shares, (n_items, 1))


def words(
    texts: Sequence[str], targets: Int[np.ndarray, " train"], unseen: Sequence[str], *, n_classes: int
) -> Float64[np.ndarray, "items classes"]:
    """Logistic regression on TF-IDF of words and pairs of words, its penalty chosen on every fifth training text.

    Args:
        texts: The training texts.
        targets: Their classes.
        unseen: The texts to predict.
        n_classes: The number of classes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    try:
        seen = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a single word
        return majority(targets, len(unseen), n_classes=n_classes)
    held_out = np.arange(len(texts)) % _HELD_OUT == 0
    inner = targets[~held_out]
    best = _PENALTY_INVERSES[0]
    if len(np.unique(inner)) > 1:
        rights = [
            float((_fitted(seen[~held_out], inner, inverse).predict(seen[held_out]) == targets[held_out]).mean())
            for inverse in _PENALTY_INVERSES
        ]
        best = _PENALTY_INVERSES[int(np.argmax(rights))]
    model = _fitted(seen, targets, best)
    probabilities = np.zeros((len(unseen), n_classes))
    probabilities[:, model.classes_] = model.predict_proba(vectorizer.transform(unseen))
    return probabilities


def _fitted(features: object, targets: Int[np.ndarray, " items"], inverse: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse, max_iter=300).fit(features, targets)
