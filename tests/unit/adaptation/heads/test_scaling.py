from __future__ import annotations

import numpy as np
import pytest

from headstart.adaptation.heads.logistic import LinearHead, cross_validate
from headstart.adaptation.heads.scaling import Scaling, unit_rows
from headstart.errors import DataError, OptionError

RNG = np.random.default_rng(0)
FEATURES = (RNG.gamma(0.5, 1.0, (60, 12)) * RNG.uniform(0.01, 5, 12) + 3).astype(np.float32)


@pytest.mark.parametrize("kind", ["soften", "standardise", "normalise"])
@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_every_kind_centres_and_brings_the_mean_squared_length_to_one(kind, factor):
    features = FEATURES * np.float32(factor)
    scaled = Scaling.fit(features, kind).apply(features)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert np.square(scaled, dtype=np.float64).sum(axis=1).mean() == pytest.approx(1, rel=1e-3)


def test_softened_columns_spread_as_the_square_root_of_what_they_did():
    before = FEATURES.std(axis=0, dtype=np.float64)
    after = Scaling.fit(FEATURES).apply(FEATURES).std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(after / after[0], np.sqrt(before / before[0]), rtol=1e-3)


def test_standardised_columns_spread_alike():
    after = Scaling.fit(FEATURES, "standardise").apply(FEATURES).std(axis=0)
    np.testing.assert_allclose(after, 1 / np.sqrt(12), rtol=1e-4)


def test_each_block_gets_the_same_length():
    scaled = Scaling.fit(FEATURES, blocks=[2, 9, 1]).apply(FEATURES)
    lengths = [np.square(part).sum(axis=1).mean() for part in np.split(scaled, [2, 11], axis=1)]
    np.testing.assert_allclose(lengths, 1 / 3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["soften", "standardise", "normalise"])
def test_constant_columns_become_zero_and_stay_small_on_new_items(kind):
    features = np.concatenate([FEATURES, np.full((60, 2), [0.1, 0.0], np.float32)], axis=1)
    if kind == "normalise":
        features = np.repeat(features[:1], 60, axis=0)
    scaling = Scaling.fit(features, kind, blocks=[12, 2])
    columns = slice(12, None) if kind != "normalise" else slice(None)
    np.testing.assert_allclose(scaling.apply(features)[:, columns], 0, atol=1e-6)
    assert np.abs(scaling.apply(features + 1)[:, columns]).max() < 2


@pytest.mark.parametrize("kind", ["soften", "standardise", "normalise"])
def test_a_folded_head_gives_the_logits_of_scaling_and_head(kind):
    scaling = Scaling.fit(FEATURES, kind, blocks=[5, 7])
    head = LinearHead(RNG.standard_normal((3, 12)).astype(np.float32), RNG.standard_normal(3).astype(np.float32))
    seen = unit_rows(FEATURES) if scaling.normalise else FEATURES
    assert scaling.normalise == (kind == "normalise")
    expected = head.logits(scaling.apply(FEATURES))
    np.testing.assert_allclose(scaling.fold_into(head).logits(seen), expected, atol=1e-3)


def test_unit_rows_have_length_one_and_zeros_stay():
    unit = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 0.0]])


def test_a_scale_of_all_items_gives_the_out_of_fold_results_of_a_scale_inside_each_fold():
    rng = np.random.default_rng(3)
    targets = np.arange(300) % 3
    features = rng.standard_normal((3, 20))[targets] + 2 * rng.standard_normal((300, 20))
    features = (features * rng.uniform(0.01, 3, 20)).astype(np.float32)
    folds = np.arange(300) // 3 % 5
    together = cross_validate(Scaling.fit(features).apply(features), targets, folds, n_classes=3, strengths=[0.3])
    apart = np.empty((300, 3))
    for fold in range(5):
        scaled = Scaling.fit(features[folds != fold]).apply(features)
        path = cross_validate(scaled, targets, folds, n_classes=3, strengths=[0.3])
        apart[folds == fold] = path.oof_logits[0, folds == fold]
    agreement = (together.oof_logits[0].argmax(axis=1) == apart.argmax(axis=1)).mean()
    assert agreement > 0.98
    assert together.accuracy[0] == pytest.approx((apart.argmax(axis=1) == targets).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("features", "options", "error", "message"),
    [
        (
            FEATURES,
            {"kind": "standardize"},
            OptionError,
            r"soften, standardise, normalise, but got 'standardize'",
        ),
        (FEATURES, {"blocks": [5, 6]}, OptionError, r"must be positive and add up to 12, but got \[5, 6\]"),
        (FEATURES, {"blocks": [12, 0]}, OptionError, r"must be positive and add up to 12, but got \[12, 0\]"),
        (FEATURES, {"blocks": []}, OptionError, r"must be positive and add up to 12, but got \[\]"),
        (FEATURES[:0], {}, DataError, r"a row and a column at least"),
        (np.array([[1.0, np.inf]]), {}, DataError, r"finite numbers, but row 0 has inf in column 1"),
    ],
)
def test_fit_refuses(features, options, error, message):
    with pytest.raises(error, match=message):
        Scaling.fit(features, **options)


def test_an_unknown_kind_is_told_the_nearest():
    with pytest.raises(OptionError) as caught:
        Scaling.fit(FEATURES, "standardize")
    assert caught.value.hint == "Did you mean 'standardise'?"
