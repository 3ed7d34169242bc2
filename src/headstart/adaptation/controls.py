"""Models without pretrained knowledge: what a result has to beat before it means anything."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

_PENALTY_INVERSES = (1.0, 10.0, 100.0)


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
    texts: Sequence[str],
    targets: Int[np.ndarray, " train"],
    folds: Int[np.ndarray, " train"],
    unseen: Sequence[str],
    *,
    n_classes: int,
) -> Float64[np.ndarray, "items classes"]:
    """Logistic regression on TF-IDF of words, its penalty chosen on the first fold.

    Pairs of words as well changed test accuracy by less than 0.3 points on agnews and sst2, for many times the time.

    Args:
        texts: The training texts.
        targets: Their classes, two at least.
        folds: The fold of each.
        unseen: The texts to predict.
        n_classes: The number of classes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = r"(?u)\b\w+\b"
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=pattern, dtype=np.float32)
    try:
        seen = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a single word
        return majority(targets, len(unseen), n_classes=n_classes)
    inner = folds != folds.min()
    best = _PENALTY_INVERSES[0]
    if len(np.unique(targets[inner])) > 1:
        rights = [
            float((_fitted(seen[inner], targets[inner], inverse).predict(seen[~inner]) == targets[~inner]).mean())
            for inverse in _PENALTY_INVERSES
        ]
        best = _PENALTY_INVERSES[int(np.argmax(rights))]
    model = _fitted(seen, targets, best)
    probabilities = np.zeros((len(unseen), n_classes))
    probabilities[:, model.classes_] = model.predict_proba(vectorizer.transform(unseen))
    return probabilities


def _fitted(features: object, targets: Int[np.ndarray, " items"], inverse: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A control that is nearly converged is as good a control.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=inverse, max_iter=300).fit(features, targets)
