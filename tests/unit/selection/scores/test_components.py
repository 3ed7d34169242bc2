from __future__ import annotations

import numpy as np
import pytest
from tests.unit.selection.scores.made import made, unit_scale

from headstart.errors import DataError
from headstart.selection.scores.components import decompose


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (20, 50), (2, 1)])
def test_components_are_those_of_the_singular_value_decomposition(n_items, width):
    features, _ = made(n_items, width)
    parts = decompose(features)
    singular = np.linalg.svd(unit_scale(features), compute_uv=False)
    np.testing.assert_allclose(parts.squares, np.square(singular[: len(parts.squares)]), rtol=1e-8)
    assert np.square(singular[len(parts.squares) :]).sum() < 1e-8
    np.testing.assert_allclose(parts.squares.sum(), n_items)
    np.testing.assert_allclose(parts.basis.T @ parts.basis, np.eye(len(parts.squares)), atol=1e-6)
    # The distances between items are those of the features.
    scaled = unit_scale(features)
    np.testing.assert_allclose(parts.coordinates() @ parts.coordinates().T, scaled @ scaled.T, atol=1e-6)
    assert decompose(parts) is parts


def test_axes_do_not_depend_on_order_rotation_scale_or_offset():
    features, _ = made(50, 12)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    items = rng.permutation(50)
    parts, other = decompose(features), decompose(1e3 * (features @ rotation)[items] + 7)
    np.testing.assert_allclose(other.basis, parts.basis[items], atol=1e-3)
    np.testing.assert_array_equal(items[other.order], parts.order)
    assert len(decompose(features).coordinates(3).T) == 3


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 1e30])
def test_features_that_are_the_same_for_all_items_have_no_components(value):
    parts = decompose(np.full((7, 3), value, np.float32))
    assert parts.basis.shape == (7, 0)
    assert parts.width == 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((1, 2)), r"2 items or more, but the features have the shape \(1, 2\)"),
        (np.ones((3, 0)), r"2 items or more, but the features have the shape \(3, 0\)"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), r"must be finite numbers, but 1 of them are not"),
    ],
)
def test_decompose_refuses(features, message):
    with pytest.raises(DataError, match=message):
        decompose(features)
