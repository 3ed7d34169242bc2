"""What to do about the findings: sides that share nothing, and what becomes of each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from headstart._randomness import generator
from headstart.auditing.copies import Copies
from headstart.auditing.repair import Repair, SplitRepair, plan, repair_split
from headstart.data.dataset import Dataset, Items


def _dataset(
    keys: Sequence[str],
    *,
    targets: Sequence[int] | None = None,
    sides: str | None = None,
    groups: Sequence[str] | None = None,
) -> Dataset:
    """Items by their contents; `sides` has a letter for each, r for training and e for test."""
    names = tuple(f"item {row}" for row in range(len(keys)))
    return Dataset(
        Items("text", names, names, tuple(keys)),
        np.array([row % 2 for row in range(len(keys))] if targets is None else targets),
        ("a", "b"),
        sides=None if sides is None else tuple("test" if side == "e" else "train" for side in sides),
        groups=None if groups is None else tuple(groups),
    )


def _copies(dataset: Dataset, *near: Sequence[int]) -> Copies:
    """Exact copies by their keys, and near-copies as they are given."""
    keys = dataset.items.keys
    sets = [[row for row, each in enumerate(keys) if each == key] for key in dict.fromkeys(keys)]
    exact = np.array([keys.count(key) > 1 for key in keys])
    for some in near:
        touched = [each for each in sets if set(each) & set(some)]
        sets = [each for each in sets if each not in touched] + [sorted({row for each in touched for row in each})]
    clusters = np.full(len(keys), -1)
    for number, rows in enumerate(each for each in sets if len(each) > 1):
        clusters[rows] = number
    return Copies(clusters, exact, np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32), 0.9)


def _plan(dataset: Dataset, copies: Copies, split: SplitRepair, **others: Mapping[int, object]) -> tuple[Repair, ...]:
    known: dict[str, Mapping[int, object]] = {"useless": {}, "suspects": {}} | others
    return plan(dataset, copies, split, **known)  # type: ignore[arg-type]


def test_where_nothing_belongs_together_nothing_is_done() -> None:
    dataset = _dataset("abcd", sides="rree")
    split = repair_split(dataset, _copies(dataset))
    assert (split.groups, dict(split.leave_out), split.remade) == (("",) * 4, {}, False)
    assert len(set(split.complete_groups)) == 4
    assert _plan(dataset, _copies(dataset), split) == (Repair(),) * 4


def test_copies_series_and_the_users_groups_connect() -> None:
    # 0–1 are copies, 1–2 one series, 2–3 one of the user's groups; 4 and 5 are alone.
    dataset = _dataset("aabcde", groups=["\x001", "\x002", "visit", "visit", "\x003", "\x004"])
    split = repair_split(dataset, _copies(dataset), np.array([-1, 0, 0, -1, -1, -1]))
    assert split.groups == ("visit", "visit", "visit", "visit", "", "")
    assert split.complete_groups[0] == split.complete_groups[3]
    assert len(set(split.complete_groups)) == 3


def test_groups_are_named_by_what_makes_them() -> None:
    dataset = _dataset("aabbcd")
    split = repair_split(dataset, _copies(dataset), np.array([-1, -1, -1, -1, 0, 0]))
    assert split.groups == ("copies 1", "copies 1", "copies 2", "copies 2", "series 1", "series 1")


def test_a_group_of_an_earlier_list_does_not_lend_its_name_to_another() -> None:
    dataset = _dataset("abcc", groups=["copies 1", "copies 1", "\x001", "\x002"])
    assert repair_split(dataset, _copies(dataset)).groups == ("copies 1", "copies 1", "copies 1 (2)", "copies 1 (2)")


def test_two_groups_of_the_user_that_share_a_copy_become_one() -> None:
    dataset = _dataset("abac", groups=["x", "x", "y", "y"])
    assert len(set(repair_split(dataset, _copies(dataset)).complete_groups)) == 1


def test_training_items_that_belong_with_test_items_go() -> None:
    dataset = _dataset("abcdefghijklmnoabcp", sides="r" * 15 + "e" * 4)
    copies = _copies(dataset, (3, 18))
    split = repair_split(dataset, copies, None)
    # Four of fifteen would be more than a fifth.
    assert split.remade
    assert dict(split.leave_out) == {}
    larger = _dataset([*map(str, range(20)), "0", "x", "y"], sides="r" * 20 + "e" * 3)
    series = np.full(23, -1)
    series[[5, 22]] = 0
    copies = _copies(larger, (3, 21))
    split = repair_split(larger, copies, series)
    assert not split.remade
    assert dict(split.leave_out) == {
        0: "an exact copy of a test item: item 20",
        3: "a near-copy of a test item: item 21",
        5: "belongs with a test item: item 22",
    }
    repairs = _plan(larger, copies, split)
    assert {row for row, each in enumerate(repairs) if each.action == "remove"} == {0, 3, 5}
    assert repairs[20].action == "regroup"


@pytest.mark.parametrize(("n_shared", "remade"), [(4, False), (5, True)])
def test_the_sides_are_made_anew_where_more_than_a_fifth_would_go(n_shared: int, remade: bool) -> None:
    keys = [*map(str, range(20)), *map(str, range(n_shared))]
    dataset = _dataset(keys, sides="r" * 20 + "e" * n_shared)
    split = repair_split(dataset, _copies(dataset))
    assert split.remade is remade
    assert len(split.leave_out) == (0 if remade else n_shared)
    assert split.groups[0] == split.groups[20] != ""


def test_no_group_is_on_both_sides_afterwards() -> None:
    rng = generator(0, "repair")
    for _ in range(20):
        n_items = 60
        keys = [str(key) for key in rng.integers(0, 80, n_items)]
        sides = "".join("e" if test else "r" for test in rng.random(n_items) < 0.1)
        numbers = rng.integers(0, 90, n_items).tolist()
        groups = [f"g{number}" if number < 9 else f"\0{row}" for row, number in enumerate(numbers)]
        dataset = _dataset(keys, sides=sides, groups=groups)
        series = np.where(rng.random(n_items) < 0.8, -1, rng.integers(0, 8, n_items))
        split = repair_split(dataset, _copies(dataset, rng.integers(0, n_items, 2).tolist()), series)
        assert dataset.sides is not None
        if split.remade:
            continue
        found, stay = split.complete_groups, [row for row in range(n_items) if row not in split.leave_out]
        test, train = ({found[row] for row in stay if dataset.sides[row] == side} for side in ("test", "train"))
        assert not test & train
        assert all(dataset.sides[row] == "train" for row in split.leave_out)


def test_of_exact_copies_the_first_of_each_side_stays() -> None:
    dataset = _dataset("aaabbcdefghijk", targets=[0] * 14, sides="r" * 3 + "e" * 2 + "r" * 9)
    repairs = _plan(dataset, _copies(dataset), repair_split(dataset, _copies(dataset)))
    assert [each.action for each in repairs[:5]] == ["regroup", "remove", "remove", "regroup", "remove"]
    assert repairs[2].why == "an exact copy of item 0"
    assert repairs[4].why == "an exact copy of item 3"


def test_copies_that_contradict_each_other_go_from_training_but_not_from_the_test() -> None:
    dataset = _dataset("aabbcdef", targets=[0, 1, 0, 1, 0, 0, 0, 0], sides="rreerrrr")
    repairs = _plan(dataset, _copies(dataset), repair_split(dataset, _copies(dataset)))
    assert [each.action for each in repairs[:4]] == ["remove", "remove", "regroup", "remove"]
    assert repairs[0].why == repairs[1].why == "copies of it have other labels, and nothing says which is right"


def test_near_copies_stay_together_and_none_is_removed() -> None:
    dataset = _dataset("abcd")
    copies = _copies(dataset, (1, 2))
    repairs = _plan(dataset, copies, repair_split(dataset, copies))
    assert [each.action for each in repairs] == ["keep", "regroup", "regroup", "keep"]
    assert repairs[1].why == "kept together with the rest of its group"
    assert repairs[1].group == repairs[2].group == "copies 1"


def test_nothing_is_removed_for_a_label_that_looks_wrong() -> None:
    dataset = _dataset("aabc", targets=[0, 0, 0, 0])
    copies = _copies(dataset)
    doubts = {row: ("b", f"check the label: it looks like 'b' (0.9{row})") for row in range(4)}
    repairs = _plan(dataset, copies, repair_split(dataset, copies), suspects=doubts)
    assert [each.action for each in repairs] == ["regroup", "remove", "keep", "keep"]
    assert [each.suggestion for each in repairs] == ["b"] * 4
    assert repairs[0].why == "kept together with the rest of its group; check the label: it looks like 'b' (0.90)"
    assert repairs[2].why == "check the label: it looks like 'b' (0.92)"
    assert repairs[1].why == "an exact copy of item 0"


def test_what_shows_nothing_is_removed_with_its_reason() -> None:
    dataset = _dataset("abc")
    repairs = _plan(dataset, _copies(dataset), repair_split(dataset, _copies(dataset)), useless={1: "blank"})
    assert [(each.action, each.why) for each in repairs] == [("keep", ""), ("remove", "blank"), ("keep", "")]


def test_series_that_join_a_whole_class_are_given_up() -> None:
    names = [f"{letter}{number}" for letter in "xy" for number in range(12)]
    dataset = Dataset(
        Items("text", tuple(names), tuple(names), tuple(names)), np.array([0] * 12 + [1] * 12), ("x", "y")
    )
    lone = Copies(
        np.full(24, -1), np.zeros(24, bool), np.empty((0, 2), np.int64), np.empty(0, np.float32), threshold=0.9
    )
    everything, halves = np.zeros(24, np.int64), np.arange(24) // 6
    assert repair_split(dataset, lone, everything).given_up == "series"
    assert set(repair_split(dataset, lone, everything).groups) == {""}
    assert repair_split(dataset, lone, halves).given_up == ""
    near = Copies(everything, np.zeros(24, bool), np.empty((0, 2), np.int64), np.empty(0, np.float32), threshold=0.9)
    assert repair_split(dataset, near).given_up == "series and near-copies"


def test_groups_have_names_of_their_own_when_near_copies_are_given_up() -> None:
    keys = tuple(f"{letter}{number}" for letter in "xy" for number in range(12) for _ in range(2))
    names = tuple(map(str, range(len(keys))))
    dataset = Dataset(Items("text", names, names, keys), np.array([0] * 24 + [1] * 24), ("x", "y"))
    near = Copies(
        np.zeros(48, np.int64), np.ones(48, bool), np.empty((0, 2), np.int64), np.empty(0, np.float32), threshold=0.9
    )
    repaired = repair_split(dataset, near)
    assert repaired.given_up == "series and near-copies"
    assert len(set(repaired.groups)) == 24
    assert all(repaired.groups[row] == repaired.groups[row + 1] for row in range(0, 48, 2))


def test_a_class_that_is_one_group_of_the_users_does_not_cost_the_copies() -> None:
    names = tuple(map(str, range(24)))
    groups = tuple(["one"] * 12 + [f"own {number}" for number in range(12)])
    dataset = Dataset(Items("text", names, names, names), np.array([0] * 12 + [1] * 12), ("x", "y"), groups=groups)
    clusters = np.array([-1] * 22 + [0, 0])
    near = Copies(clusters, np.zeros(24, bool), np.empty((0, 2), np.int64), np.empty(0, np.float32), threshold=0.9)
    repaired = repair_split(dataset, near)
    assert repaired.given_up == ""
    assert repaired.groups[22] == repaired.groups[23] != ""
