from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from headstart.adaptation.heads import _path, logistic
from headstart.adaptation.heads._door import prepare
from headstart.adaptation.heads._geometry import ByColumns, ByItems
from headstart.adaptation.heads._groups import group
from headstart.adaptation.heads.logistic import STRENGTHS, cross_validate, fit, fit_subsets
from headstart.errors import DataError, OptionError


def clusters(n_items: int, width: int, n_classes: int, *, spread: float = 1.0, seed: int = 0):
    """Items around one centre for each class, rows of a mean squared length near 1."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n_items) % n_classes
    features = rng.standard_normal((n_classes, width))[targets] + spread * rng.standard_normal((n_items, width))
    return (features / np.sqrt(width * (1 + spread**2))).astype(np.float32), targets


def gradient(head, features, targets, l2, weights=None):
    residuals = softmax(head.logits(features.astype(np.float64)), axis=1)
    residuals[np.arange(len(targets)), targets] -= 1
    residuals *= 1 if weights is None else weights[:, None]
    return residuals.T @ features + l2 * head.weight, residuals.sum(axis=0)


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (40, 90)])
@pytest.mark.parametrize("l2", [10.0, 0.1, 1e-3])
def test_the_gradient_vanishes_at_the_fit(n_items, width, l2):
    features, targets = clusters(n_items, width, 4)
    weights = np.random.default_rng(1).uniform(0.5, 2, n_items)
    head = fit(features, targets, l2=l2, n_classes=4, weights=weights)
    of_weight, of_bias = gradient(head, features, targets, l2, weights)
    assert np.abs(of_weight).max() < 2e-4
    assert np.abs(of_bias).max() < 2e-4
    assert head.weight.dtype == head.bias.dtype == np.float32
    assert head.weight.shape == (4, width)


def test_both_geometries_are_used_and_give_the_same_head():
    features, targets = clusters(50, 12, 3)
    padded = np.concatenate([features, np.zeros((50, 200), np.float32)], axis=1)
    everything = np.ones((1, 50), dtype=bool)
    kinds = [type(group(prepare(table, targets, n_classes=3), everything)[0].geometry) for table in (features, padded)]
    assert kinds == [ByColumns, ByItems]
    narrow = fit(features, targets, l2=0.05, n_classes=3)
    wide = fit(padded, targets, l2=0.05, n_classes=3)
    np.testing.assert_allclose(wide.weight[:, :12], narrow.weight, atol=2e-4)
    np.testing.assert_array_equal(wide.weight[:, 12:], 0)


def test_an_item_of_weight_two_counts_as_two_and_one_of_weight_zero_as_none():
    features, targets = clusters(30, 6, 3)
    weights = np.ones(30)
    weights[:5], weights[5:9] = 2, 0
    rows = np.concatenate([np.arange(5), np.arange(5), np.arange(9, 30)])
    weighted = fit(features, targets, l2=0.1, n_classes=3, weights=weights)
    repeated = fit(features[rows], targets[rows], l2=0.1, n_classes=3)
    np.testing.assert_allclose(weighted.logits(features), repeated.logits(features), atol=1e-3)


@pytest.mark.parametrize(("n_items", "width"), [(120, 10), (60, 150)])
def test_out_of_fold_logits_are_those_of_refits_without_the_fold(n_items, width):
    features, targets = clusters(n_items, width, 3, spread=2.0)
    folds = (np.arange(n_items) // 3) % 4
    path = cross_validate(features, targets, folds, n_classes=3, strengths=[0.05, 2.0])
    assert path.strengths == (2.0, 0.05)
    for position, l2 in enumerate(path.strengths):
        expected = np.empty((n_items, 3))
        for fold in range(4):
            head = fit(features[folds != fold], targets[folds != fold], l2=l2, n_classes=3)
            expected[folds == fold] = head.logits(features[folds == fold])
        found = path.oof_logits[position]
        np.testing.assert_allclose(softmax(found, axis=1), softmax(expected, axis=1), atol=0.01)
        own = softmax(expected, axis=1)[np.arange(n_items), targets]
        assert path.log_loss[position] == pytest.approx(-np.log(own).mean(), abs=2e-3)
        assert path.accuracy[position] == pytest.approx((found.argmax(axis=1) == targets).mean())


def test_folds_may_have_any_numbers():
    features, targets = clusters(40, 6, 2)
    folds = np.arange(40) // 2 % 2
    plain = cross_validate(features, targets, folds, n_classes=2, strengths=[1.0])
    renamed = cross_validate(features, targets, np.where(folds == 0, -3, 17), n_classes=2, strengths=[1.0])
    np.testing.assert_array_equal(plain.oof_logits, renamed.oof_logits)


@pytest.mark.parametrize("spread", [6.0, 2.0, 0.1])
def test_the_search_ends_where_all_strengths_say_that_the_best_is(spread):
    features, targets = clusters(80, 40, 2, spread=spread)
    folds = np.arange(80) // 2 % 5
    path = cross_validate(features, targets, folds, n_classes=2)
    whole = cross_validate(features, targets, folds, n_classes=2, strengths=STRENGTHS)
    assert len(whole.strengths) == len(STRENGTHS)
    assert path.l2 == whole.l2
    assert path.log_loss[path.best] == pytest.approx(whole.log_loss[whole.best], abs=1e-3)


def test_only_strengths_on_the_way_to_the_best_are_tried():
    features, targets = clusters(80, 40, 2, spread=6.0)
    path = cross_validate(features, targets, np.arange(80) // 2 % 5, n_classes=2)
    places = [STRENGTHS.index(l2) for l2 in path.strengths]
    assert places == list(range(places[0], places[-1] + 1))
    assert places[0] <= STRENGTHS.index(logistic._BEGIN) <= places[-1]
    assert 3 <= len(places) <= 6
    assert path.log_loss[0] > path.log_loss[path.best] + _path._BUMP < path.log_loss[-1]


def test_a_bump_of_rounding_does_not_end_the_search(monkeypatch: pytest.MonkeyPatch):
    losses = dict(zip(STRENGTHS, [9, 8, 7, 6, 5, 4, 3, 2, 1.0, 1.0005, 0.9, 1.2, 3, 4, 5, 6], strict=True))
    tried = []

    def at(folds: _path.Folds, l2: float, states: list[object]) -> tuple[list[object], _path.Tried]:
        tried.append(l2)
        return states, _path.Tried(np.zeros((1, 2)), losses[l2], 0.0)

    monkeypatch.setattr(_path.Folds, "_at", at)
    folds = _path.Folds(prepare(*clusters(4, 2, 2), n_classes=2), np.zeros(4, dtype=np.int64), [], 1e-5)
    found = folds.best_of(STRENGTHS, begin=STRENGTHS[8])
    assert tried == [*STRENGTHS[8:12]]
    assert min(found, key=lambda l2: found[l2].log_loss) == STRENGTHS[10]
    tried.clear()
    losses[STRENGTHS[9]] = 1.0011
    folds.best_of(STRENGTHS, begin=STRENGTHS[8])
    assert tried == [STRENGTHS[8], STRENGTHS[9], STRENGTHS[7]]


def test_weaker_strengths_are_tried_while_the_weakest_is_the_best():
    features, targets = clusters(60, 30, 3, spread=0.1)
    path = cross_validate(features, targets, np.arange(60) // 3 % 5, n_classes=3)
    assert path.strengths == STRENGTHS[STRENGTHS.index(logistic._BEGIN) :]


def test_stronger_strengths_are_tried_while_the_strongest_is_the_best():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 30)).astype(np.float32)
    path = cross_validate(features, rng.permutation(60) % 2, np.arange(60) % 5, n_classes=2)
    assert path.l2 > 10 > logistic._BEGIN
    assert path.best <= 1


def test_strengths_that_were_asked_for_are_all_tried():
    features, targets = clusters(60, 30, 2, spread=6.0)
    path = cross_validate(features, targets, np.arange(60) // 2 % 3, n_classes=2, strengths=[1e-4, 10, 1, 1])
    assert path.strengths == (10.0, 1.0, 1e-4)
    assert path.oof_logits.shape == (3, 60, 2)


@pytest.mark.parametrize(("n_items", "width"), [(200, 5), (40, 80)])
def test_subsets_are_those_of_single_fits(n_items, width, monkeypatch):
    monkeypatch.setattr("headstart.adaptation.heads._groups._MOST_LOGITS", 2 * 3 * n_items)
    features, targets = clusters(n_items, width, 3, spread=1.5)
    masks = np.random.default_rng(0).random((5, n_items)) < 0.5
    logits = fit_subsets(features, targets, masks, l2=0.1, n_classes=3)
    for mask, found in zip(masks, logits, strict=True):
        expected = fit(features[mask], targets[mask], l2=0.1, n_classes=3).logits(features)
        np.testing.assert_allclose(softmax(found, axis=1), softmax(expected, axis=1), atol=0.01)


def test_nothing_depends_on_chance_and_inputs_are_left_alone():
    features, targets = clusters(40, 60, 4)
    folds = np.arange(40) // 4 % 5
    copies = features.copy(), targets.copy(), folds.copy()
    first, second = (cross_validate(features, targets, folds, n_classes=4) for _ in range(2))
    np.testing.assert_array_equal(first.oof_logits, second.oof_logits)
    fit(features, targets, l2=0.1, n_classes=4)
    for now, before in zip((features, targets, folds), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_centring_changes_nothing():
    features, targets = clusters(40, 10, 2)
    folds = np.arange(40) // 2 % 4
    here = cross_validate(features, targets, folds, n_classes=2, strengths=[0.1])
    there = cross_validate(features + np.float32(3), targets, folds, n_classes=2, strengths=[0.1])
    np.testing.assert_allclose(here.oof_logits, there.oof_logits, atol=5e-3)


def hard_features() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    features, targets = clusters(24, 40, 3)
    narrow, _ = clusters(24, 4, 3)
    noisy = targets.copy()
    noisy[12:] = np.roll(noisy[12:], 1)
    return {
        "constant": (np.full((24, 5), 7.0, np.float32), targets),
        "constant column": (np.concatenate([narrow, np.ones((24, 1), np.float32)], axis=1), targets),
        "duplicates that disagree": (np.concatenate([features[:12]] * 2), noisy),
        "narrow duplicates that disagree": (np.concatenate([narrow[:12]] * 2), noisy),
        "one column": (narrow[:, :1].copy(), targets),
        "separable": (np.eye(3, dtype=np.float32)[targets], targets),
        "huge": (features * np.float32(1e30), targets),
        "tiny": (features * np.float32(1e-30), targets),
        "columns of very different size": (narrow * np.float32([1e-8, 1, 1e4, 1e8]), targets),
        "far from the origin": (narrow + np.float32(1e4), targets),
        "absent class": (features, np.where(targets == 2, 1, targets)),
        "one class": (features, np.zeros(24, dtype=int)),
        "class of one item": (features, np.where(np.arange(24) == 23, 2, targets % 2)),
        "float16": (features.astype(np.float16), targets),
    }


@pytest.mark.parametrize("name", hard_features())
def test_hard_features_give_finite_logits_at_every_strength(name):
    features, targets = hard_features()[name]
    folds = np.arange(24) % 4
    path = cross_validate(features, targets, folds, n_classes=3, strengths=[1e4, 10, 0.1, 1e-3, 1e-6, 1e-9])
    assert np.isfinite(path.oof_logits).all()
    for l2 in (1e3, 1e-2, 1e-7):
        assert np.isfinite(fit(features, targets, l2=l2, n_classes=3).logits(features)).all()


def test_perfectly_separable_items_are_all_right_without_penalty_to_speak_of():
    features, targets = clusters(60, 100, 3, spread=0.5)
    head = fit(features, targets, l2=1e-6, n_classes=3)
    assert (head.logits(features).argmax(axis=1) == targets).all()
    assert np.abs(head.weight).max() < 1e3


def test_two_items_and_two_folds_are_enough():
    features = np.array([[0.0], [1.0]], np.float32)
    path = cross_validate(features, np.array([0, 1]), np.array([0, 1]), n_classes=2, strengths=[1.0])
    assert path.accuracy == (0.0,)  # each head has seen the other class only
    head = fit(features, np.array([0, 1]), l2=0.1, n_classes=2)
    assert head.logits(features).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("n_present", [1, 2])
def test_a_class_without_items_counts_half_an_item(n_present):
    features, targets = clusters(60, 5, n_present)
    probabilities = softmax(fit(features, targets, l2=1e9, n_classes=3).logits(features), axis=1)
    np.testing.assert_allclose(probabilities[:, 2], 0.5 / 61.5, rtol=1e-3)
    penalised = softmax(fit(features, targets, l2=0.1, n_classes=3).logits(features), axis=1)
    assert 1e-4 < penalised[:, 2].mean() < 0.5 / 61.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": np.full((6, 2), np.nan)}, DataError, r"must be finite numbers, but row 0 has nan in column 0"),
        ({"features": np.zeros((0, 2))}, DataError, r"a row and a column at least, but their shape is \(0, 2\)"),
        ({"features": np.zeros(6)}, OptionError, r"a table of items × width, but their shape is \(6,\)"),
        ({"targets": np.array([0, 1, 0, 1, 0, 3])}, DataError, r"must be from 0 to 1, but one is 3"),
        ({"targets": np.zeros(5, int)}, OptionError, r"one target for each row of features, but \(5,\) does not fit"),
        ({"n_classes": 1}, OptionError, r"needs 2 classes or more, but got n_classes=1"),
        ({"folds": np.zeros(6, int)}, OptionError, r"needs 2 folds or more, but all items are in fold 0"),
        ({"folds": np.zeros(5, int)}, OptionError, r"one fold for each of the 6 items, but the shape is \(5,\)"),
        ({"strengths": [0.0]}, OptionError, r"strength l2 must be a positive number, but got 0.0"),
        ({"strengths": []}, OptionError, r"strengths must be one number or more, but there is none"),
    ],
)
def test_cross_validation_refuses(change, error, message):
    arguments = {"features": np.eye(6, 2), "targets": np.arange(6) % 2, "folds": np.arange(6) % 3, "n_classes": 2}
    arguments |= change
    with pytest.raises(error, match=message):
        cross_validate(arguments.pop("features"), arguments.pop("targets"), arguments.pop("folds"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2": -1.0}, r"strength l2 must be a positive number, but got -1.0"),
        ({"weights": np.ones(5)}, r"one weight for each of the 6 items, but the shape is \(5,\)"),
        ({"weights": np.zeros(6)}, r"weights must be 0 or greater and not all 0, but they go from 0.0 to 0.0"),
        ({"weights": -np.ones(6)}, r"weights must be 0 or greater and not all 0, but they go from -1.0 to -1.0"),
    ],
)
def test_fit_refuses(change, message):
    with pytest.raises(OptionError, match=message):
        fit(np.eye(6, 2), np.arange(6) % 2, **({"l2": 1.0, "n_classes": 2} | change))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((2, 5), bool), r"truth values, subsets × 6 items, but got bool of shape \(2, 5\)"),
        (np.ones((2, 6)), r"truth values, subsets × 6 items, but got float64 of shape \(2, 6\)"),
        (np.array([[True] * 6, [False] * 6]), r"must have an item at least, but subset 1 has none"),
    ],
)
def test_subsets_are_refused(masks, message):
    with pytest.raises(OptionError, match=message):
        fit_subsets(np.eye(6, 2), np.arange(6) % 2, masks, l2=1.0, n_classes=2)


def test_one_thread_is_given_back():
    from threadpoolctl import threadpool_info

    features, targets = clusters(20, 5, 2)
    before = [pool["num_threads"] for pool in threadpool_info()]
    fit(features, targets, l2=1.0, n_classes=2)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_the_default_strengths_go_from_strong_to_weak():
    assert list(STRENGTHS) == sorted(STRENGTHS, reverse=True)
    assert logistic._BEGIN in STRENGTHS
