"""Neighbours: brute force for some thousands, and an index that misses few beyond."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.auditing.neighbours import nearest, unit_rows


def _rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, width))
    return unit_rows((centres[random.integers(40, size=n)] + random.standard_normal((n, width))).astype(np.float32))


def test_unit_rows_have_no_common_mean_and_length_one() -> None:
    rows = np.array([[3, 0], [1, 0], [2, 0], [2, 4], [2, -4]], dtype=np.float32)
    before = rows.copy()
    unit = unit_rows(rows)
    np.testing.assert_allclose(unit, [[1, 0], [-1, 0], [0, 0], [0, 1], [0, -1]])
    np.testing.assert_array_equal(rows, before)


def test_exact_neighbours_are_those_of_brute_force() -> None:
    rows = _rows(1_300, 12)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    found = nearest(rows, 4)
    np.testing.assert_allclose(
        np.take_along_axis(likeness, found, axis=1), -np.sort(-likeness, axis=1)[:, :4], atol=1e-6
    )


def test_views_find_neighbours_of_their_own() -> None:
    rows = _rows(60, 8)
    found = nearest(rows, 2, queries=iter([rows, -rows]))
    assert found.shape == (60, 4)
    np.testing.assert_array_equal(found[:, :2], nearest(rows, 2))
    away = rows @ rows.T
    np.fill_diagonal(away, np.inf)
    np.testing.assert_array_equal(found[:, 2], away.argmin(axis=1))


@pytest.mark.parametrize("width", [24, 160])
def test_the_index_finds_near_copies(width: int) -> None:
    rows = _rows(3_000, width)
    copies = unit_rows(np.concatenate([rows, rows[:300] + 0.02 * _rows(300, width, seed=1)]))
    exact, approximate = nearest(copies, 3), nearest(copies, 3, most_exact=0)
    assert (approximate[:300, 0] == np.arange(3_000, 3_300)).mean() >= 0.97
    assert np.mean([len(set(one) & set(other)) / 3 for one, other in zip(exact, approximate, strict=True)]) >= 0.6
    assert not (approximate == np.arange(len(copies))[:, None]).any()


@pytest.mark.parametrize(("n", "shape"), [(0, (0, 0)), (1, (1, 0)), (2, (2, 1))])
def test_few_items_have_few_neighbours(n: int, shape: tuple[int, int]) -> None:
    assert nearest(np.ones((n, 3), dtype=np.float32), 5).shape == shape
