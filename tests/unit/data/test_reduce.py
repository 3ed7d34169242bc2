"""Names that tell items apart, the order in which items are computed, and leaving some out."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.dataset import Dataset, Items, LeftOut, Side
from headstart.data.reduce import leave_out, spread_out, tell_apart
from headstart.errors import DataError


def _dataset(targets: list[int], *, names: list[str] | None = None, sides: tuple[Side, ...] | None = None) -> Dataset:
    n = len(targets)
    values = tuple(f"text {row}" for row in range(n))
    names = names or [f"row {row}" for row in range(n)]
    items = Items("text", values, tuple(names), tuple(f"{row:04d}" for row in range(n)))
    return Dataset(items, np.array(targets), ("a", "b", "c"), sides=sides)


def test_names_that_differ_stay() -> None:
    dataset = _dataset([0, 1])
    assert tell_apart(dataset) is dataset


def test_a_test_row_of_the_same_name_as_a_training_row_is_called_so() -> None:
    dataset = _dataset(
        [0, 1, 0, 1], names=["row 1", "row 2", "row 1", "row 3"], sides=("train", "train", "test", "test")
    )
    assert tell_apart(dataset).items.names == ("row 1", "row 2", "test row 1", "row 3")


def test_repeats_are_numbered_around_names_that_exist() -> None:
    dataset = _dataset([0, 1, 0, 1, 0], names=["x", "x", "x (2)", "x", "x (4)"])
    names = tell_apart(dataset).items.names
    assert names[0] == "x"
    assert (names[2], names[4]) == ("x (2)", "x (4)")
    assert len(set(names)) == 5


def test_every_beginning_is_a_stratified_sample() -> None:
    targets = [0] * 60 + [1] * 30 + [2] * 10
    ordered = spread_out(_dataset(targets), seed=0)
    for size in (10, 20, 50, 100):
        counts = np.bincount(ordered.targets[:size], minlength=3)
        assert np.abs(counts - size * np.array([0.6, 0.3, 0.1])).max() <= 1.5


def test_the_users_sides_alternate_at_first_each_a_stratified_sample() -> None:
    sides: tuple[Side, ...] = tuple("test" if row % 5 == 0 else "train" for row in range(100))
    ordered = spread_out(_dataset([0, 1] * 50, sides=sides), seed=0)
    assert ordered.sides is not None
    assert [ordered.sides[:size].count("test") for size in (10, 20, 40, 60)] == [5, 10, 20, 20]
    on_test = ordered.targets[[row for row, side in enumerate(ordered.sides) if side == "test"]]
    assert 4 <= on_test[:10].sum() <= 6


def test_with_enough_of_both_sides_more_of_training_comes_than_of_the_test() -> None:
    sides: tuple[Side, ...] = ("test",) * 1_500 + ("train",) * 2_000
    ordered = spread_out(_dataset([0, 1] * 1_750, sides=sides), seed=0)
    assert ordered.sides is not None
    n_test = [ordered.sides[:size].count("test") for size in (100, 600, 1_100, 2_000, 3_500)]
    assert n_test == [50, 300, 400, 580, 1_500]
    assert abs(int(ordered.targets[:1_100].sum()) - 550) <= 2


def test_the_order_depends_on_contents_and_seed_not_on_the_order_of_reading() -> None:
    dataset = _dataset([0, 1, 2] * 10)
    backwards = dataset.take(np.arange(30)[::-1])
    first, second, other = spread_out(dataset, seed=0), spread_out(backwards, seed=0), spread_out(dataset, seed=1)
    assert first.items.keys == second.items.keys != other.items.keys
    assert sorted(first.items.keys) == sorted(dataset.items.keys)


def test_items_left_out_are_listed_with_what_was_left_out_before() -> None:
    dataset = _dataset([0, 1, 0, 1])
    dataset = Dataset(dataset.items, dataset.targets, dataset.classes, left_out=(LeftOut("z", "no label"),))
    fewer = leave_out(dataset, {2: "truncated"})
    assert fewer.items.names == ("row 0", "row 1", "row 3")
    assert fewer.left_out == (LeftOut("z", "no label"), LeftOut("row 2", "truncated"))


def test_a_class_without_any_item_goes_and_the_others_keep_their_meaning() -> None:
    dataset = _dataset([0, 1, 2, 2, 0])
    fewer = leave_out(dataset, {1: "damaged"})
    assert fewer.classes == ("a", "c")
    assert [fewer.classes[target] for target in fewer.targets] == ["a", "c", "c", "a"]
    assert leave_out(_dataset([0, 2]), {}).classes == ("a", "c")


def test_one_class_left_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError) as caught:
        leave_out(_dataset([0, 0, 1]), {2: "truncated file"})
    assert str(caught.value) == (
        "items of at least two classes are needed, but the 2 items that can be used have 1 (row 2: truncated file)"
    )
    assert caught.value.hint == "Mend or replace the items that cannot be used."


def test_nothing_left_is_an_error_too() -> None:
    with pytest.raises(DataError, match="the 0 items that can be used have 0"):
        leave_out(_dataset([0, 1]), {0: "bad", 1: "bad"})
