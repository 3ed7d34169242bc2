"""The strategy `views`: what it fits is the plain view, and no view of an item is on both sides of a fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Linear, Views
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.errors import OptionError
from headstart.features.extract import Features
from headstart.testing.strategies import Example, example

PARTS = (Part("pixels", "early"), Part("pixels", "last"))


def _seen(given: Example) -> Features:
    return given.features["pixels"]


def _with(given: Example, *views: np.ndarray) -> Example:
    """The same items with other further views."""
    made = tuple(replace(_seen(given), values=view.astype(np.float32), views=()) for view in views)
    return replace(given, features={"pixels": replace(_seen(given), views=made)})


def _chosen(strategy: Linear | Views, given: Example) -> OutOfFold:
    return strategy.cross_validate(given.features, given.targets, given.folds, n_classes=given.n_classes)


def _probabilities(strategy: Linear | Views, given: Example, chosen: OutOfFold) -> np.ndarray:
    predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen)
    return predictor.probabilities(given.features)


@pytest.mark.parametrize("n_views", [2, 3])
def test_each_view_counts_as_its_share_of_an_item(n_views: int) -> None:
    given, l2 = example(), 0.3
    strategy = Views(PARTS, n_views=n_views, l2=l2)
    chosen = _chosen(strategy, given)
    rows = np.concatenate([_seen(given).values, *(view.values for view in _seen(given).views[: n_views - 1])])
    scaling = Scaling.fit(rows, blocks=[6, 10])
    n_items = len(given.targets)
    model = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000)
    weights = np.full(len(rows), 1 / n_views)
    model.fit(scaling.apply(rows), np.tile(given.targets, n_views), sample_weight=weights)
    logits = model.decision_function(scaling.apply(rows[:n_items])) / chosen.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # The penalty of rows that count fully would be off by a hundredth and more.
    np.testing.assert_allclose(_probabilities(strategy, given, chosen), expected, atol=2e-3)


def test_views_that_are_the_plain_one_change_nothing() -> None:
    given = example()
    same = _with(given, _seen(given).values, _seen(given).values)
    plain, several = (_chosen(strategy, same) for strategy in (Linear(PARTS), Views(PARTS, n_views=3)))
    assert several.chosen == plain.chosen
    np.testing.assert_allclose(several.logits, plain.logits, atol=0.02)
    found, expected = (_probabilities(strategy, same, plain) for strategy in (Views(PARTS, n_views=3), Linear(PARTS)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_out_of_fold_is_a_refit_without_any_view_of_the_fold() -> None:
    given, strategy = example(), Views(PARTS, n_views=3, l2=0.3)
    chosen = _chosen(strategy, given)
    rows = np.concatenate([_seen(given).values, *(view.values for view in _seen(given).views[:2])])
    scaled = Scaling.fit(rows, blocks=[6, 10]).apply(rows)
    folds, targets = np.tile(given.folds, 3), np.tile(given.targets, 3)
    for fold in range(5):
        kept = folds != fold
        model = LogisticRegression(C=1 / 0.3, tol=1e-8, max_iter=10_000)
        model.fit(scaled[kept], targets[kept], sample_weight=np.full(kept.sum(), 1 / 3))
        out = given.folds == fold
        expected = model.decision_function(scaled[: len(out)][out])
        np.testing.assert_allclose(_centred(chosen.logits[out]), _centred(expected), atol=0.1)


def test_targets_of_a_fold_play_no_part_in_what_it_is_predicted() -> None:
    given, strategy = example(), Views(PARTS, n_views=4, l2=0.1)
    out = given.folds == 0
    changed = replace(given, targets=np.where(out, (given.targets + 1) % 3, given.targets))
    found, expected = _chosen(strategy, changed).logits[out], _chosen(strategy, given).logits[out]
    # All folds are solved together until the last is, so the others go on a little; a leak would change the answer.
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_the_penalty_is_chosen_on_plain_views() -> None:
    """Where views of one item are the same noise, only the plain ones can say that the penalty must be strong."""
    given = example((60, 60), apart=0.0)
    plain = np.random.default_rng(0).normal(size=_seen(given).values.shape)
    told = given.targets[:, None] + 0.01 * np.random.default_rng(1).normal(size=plain.shape)
    seen = replace(_seen(given), values=plain.astype(np.float32))
    noisy = _with(replace(given, features={"pixels": seen}), told, told, told)
    tried = {l2: _chosen(Views(PARTS, n_views=4, l2=l2), noisy) for l2 in (0.01, 1.0, 100.0)}
    losses = {l2: _log_loss(each.logits, noisy.targets) for l2, each in tried.items()}
    best = _chosen(Views(PARTS, n_views=4), noisy)
    assert _log_loss(best.logits, noisy.targets) <= min(losses.values()) + 1e-3
    assert float(best.chosen["l2"]) >= 1.0


def test_views_that_show_what_plain_ones_do_not_help() -> None:
    given = example((100, 100), apart=0.8)
    random = np.random.default_rng(0)
    centres = np.stack([_seen(given).values[given.targets == target].mean(axis=0) for target in (0, 1)])
    spread = (_seen(given).values - centres[given.targets]).std(axis=0)
    views = [centres[given.targets] + spread * random.normal(size=_seen(given).values.shape) for _ in range(7)]
    richer = _with(given, *views)
    chosen = {each.name: _chosen(each, richer) for each in (Linear(PARTS), Views(PARTS, n_views=8))}
    losses = {name: _log_loss(each.logits, given.targets) for name, each in chosen.items()}
    assert losses["views"] < losses["linear"]


def test_too_few_views_are_refused() -> None:
    given = _with(example(), _seen(example()).values)
    message = "4 views of each training item are needed, but the features of 'pixels' hold 2"
    for ask in (_chosen, lambda strategy, it: _probabilities(strategy, it, OutOfFold(np.zeros((1, 1)), {"l2": 1}, 1))):
        with pytest.raises(OptionError, match=message) as caught:
            ask(Views(PARTS, n_views=4), given)
        assert "set n_views to fewer" in caught.value.hint


def _centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(axis=1, keepdims=True)


def _log_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]).mean())
