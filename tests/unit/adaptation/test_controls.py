"""Models without pretrained knowledge."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.adaptation.controls import majority, words

TEXTS = ["good fine nice"] * 8 + ["bad poor awful"] * 8
TARGETS = np.array([0] * 8 + [1] * 8)
FOLDS = np.arange(16) % 4


def test_the_majority_is_the_frequency_of_each_class_for_every_item() -> None:
    found = majority(np.array([0, 0, 0, 2]), 2, n_classes=4)
    np.testing.assert_array_equal(found, [[0.75, 0, 0.25, 0]] * 2)


def test_words_that_tell_classes_apart_are_learned() -> None:
    found = words(TEXTS, TARGETS, FOLDS, ["a fine day", "an awful day"], n_classes=2)
    assert found.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_a_class_without_training_texts_has_probability_nought() -> None:
    found = words(TEXTS, np.where(TARGETS == 1, 2, 0), FOLDS, ["fine", "awful"], n_classes=4)
    assert found.argmax(axis=1).tolist() == [0, 2]
    np.testing.assert_array_equal(found[:, [1, 3]], 0)


def test_texts_without_a_word_fall_back_to_the_majority() -> None:
    found = words(["!!", "??", "…"], np.array([0, 0, 1]), np.array([0, 1, 1]), ["!"], n_classes=2)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3]])


def test_one_class_outside_of_the_first_fold_still_gives_a_model() -> None:
    found = words(TEXTS, TARGETS, np.where(TARGETS == 1, 0, 1), ["fine", "awful"], n_classes=2)
    assert found.argmax(axis=1).tolist() == [0, 1]


@pytest.mark.filterwarnings("error")
def test_a_control_that_is_nearly_converged_warns_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.linear_model

    original = sklearn.linear_model.LogisticRegression
    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", lambda C, max_iter: original(C=C, max_iter=1))
    assert words(TEXTS, TARGETS, FOLDS, ["fine"], n_classes=2).shape == (1, 2)
