"""The race: who goes on, what each round computes, and what happens when time or items are missing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from headstart.backbones.resolve import Local
from headstart.recipes.climb import FEWEST_ITEMS
from headstart.recipes.race import MOST_PASSES, Raced, race, rank_passes, shortlist
from headstart.recipes.workspace import Clock
from headstart.selection.ranking import Ranking
from recipes.made import Machine, climb, dataset, expected, local, machine, said

__all__ = ["machine"]

DATA = dataset(1500)
ROWS = np.arange(len(DATA))


def _race(machine: Machine, field: list[Local], *, budget_s: float = 3600.0, n: int = 1500, **priors: float) -> Raced:
    found = climb(DATA.items, budget_s=budget_s)
    train, rows = DATA.take(ROWS[:n]), ROWS[:n]
    return race(found, field, train, rows, priors=expected(**{each.spec.name: 0.0 for each in field} | priors))


def _n_items(ranking: Ranking) -> dict[str, int]:
    return {each.backbone.name: each.n_items for each in ranking.rows}


def test_few_backbones_are_judged_on_the_whole_sample_at_once(machine: Machine) -> None:
    ranking = _race(machine, [local(name) for name in "abc"])
    assert machine.asked == [("a", 1000), ("b", 1000), ("c", 1000)]
    assert set(_n_items(ranking).values()) == {1000}


def test_the_field_halves_while_the_sample_doubles(machine: Machine) -> None:
    machine.skill = {name: 8.0 - place for place, name in enumerate("abcdefgh")} | {"a": 3.0, "b": 2.4, "c": 1.8}
    machine.skill |= dict(zip("defgh", (1.2, 0.9, 0.6, 0.3, 0.0), strict=True))
    ranking = _race(machine, [local(name) for name in "abcdefgh"], a=1.0)
    assert _n_items(ranking) == {"a": 1000, "b": 1000, "c": 500, "d": 500, "e": 250, "f": 250, "g": 250, "h": 250}
    assert [n for _, n in machine.asked] == [250] * 8 + [500] * 4 + [1000] * 2
    assert ranking.chosen.name == "a"
    assert ranking.why.startswith("6 of 8 promised less on a first sample and went no further. It is ahead")
    # Behind are first those that came furthest, and of them the more accurate.
    names = [each.backbone.name for each in ranking.rows]
    assert set(names[2:4]) == set("cd")
    assert [each.accuracy.value for each in ranking.rows[4:]] == sorted(
        (each.accuracy.value for each in ranking.rows[4:]), reverse=True
    )


def test_a_longer_sample_computes_no_item_twice(machine: Machine) -> None:
    _race(machine, [local(name) for name in "abcdef"])
    assert machine.computed
    for keys in machine.computed.values():
        assert len(keys) == len(set(keys))


def test_at_least_half_go_on_however_clear_it_is(machine: Machine) -> None:
    machine.skill = {"a": 9.0}
    ranking = _race(machine, [local(name) for name in "abcdef"], a=1.0)
    assert sum(n == 1000 for n in _n_items(ranking).values()) == 3


def test_the_favourite_goes_on_whatever_few_items_say(machine: Machine) -> None:
    machine.skill = dict.fromkeys("abcdefg", 4.0) | {"f": 2.0, "g": 2.0, "favourite": 0.0}
    ranking = _race(machine, [local(name) for name in [*"abcdefg", "favourite"]], favourite=5.0)
    there = _n_items(ranking)
    assert there["favourite"] == 1000
    assert ranking.favourite.backbone.name == "favourite"
    assert not next(each for each in ranking.rows if each.backbone.name == "favourite").tie


def test_all_that_tie_go_on(machine: Machine) -> None:
    machine.skill = dict.fromkeys("abcdef", 12.0)  # none makes a mistake
    assert set(_n_items(_race(machine, [local(name) for name in "abcdef"])).values()) == {1000}


def test_ranks_do_not_depend_on_the_order_of_the_candidates(machine: Machine) -> None:
    machine.skill = {"a": 2.0, "b": 1.9, "c": 1.8, "d": 0.2}
    seen = set()
    for order in itertools.permutations("abcd"):
        ranking = _race(machine, [local(name) for name in order], b=1.0)
        seen.add((tuple((each.backbone.name, each.tie, each.accuracy.value) for each in ranking.rows), ranking.why))
    assert len(seen) == 1


def test_a_backbone_without_time_is_said_and_the_others_go_on(machine: Machine) -> None:
    machine.pace = {"slow": 1.0}
    ladder = climb(DATA.items, budget_s=100.0)
    field = [local("a"), local("slow"), local("b")]
    ranking = race(ladder, field, DATA, ROWS, priors=expected(a=0.0, slow=9.0, b=0.0))
    assert set(_n_items(ranking)) == {"a"}
    assert "slow is left out: 905 items were still to do when its time was up; the others are kept." in said(ladder)
    assert ranking.why == "It is the only backbone that was judged on 1,000 items."
    assert machine.now <= 100.0


def test_one_whose_pace_is_known_to_be_too_slow_is_not_begun(machine: Machine) -> None:
    ladder = climb(DATA.items, budget_s=100.0)
    ladder.speeds.remember_speed("slow", 1.0, device="cpu", dtype="float32")
    ranking = race(ladder, [local("a"), local("slow"), local("b")], DATA, ROWS, priors=expected(a=0, slow=9, b=0))
    assert set(_n_items(ranking)) == {"a", "b"}
    assert "slow is left out: it needs about 1001 s, and the budget leaves 95 s for it." in said(ladder)
    assert "slow" not in machine.computed


def test_where_nothing_fits_the_first_one_is_computed_for_a_few_items(machine: Machine) -> None:
    machine.pace = {"a": 1.0}
    ladder = climb(DATA.items, budget_s=5.0)
    ranking = race(ladder, [local("a"), local("b")], DATA, ROWS, priors=expected(a=0.0, b=9.0))
    assert _n_items(ranking) == {"a": FEWEST_ITEMS}
    assert ranking.n_looked == {"a": FEWEST_ITEMS}
    assert len(machine.computed["a"]) == FEWEST_ITEMS
    assert "The budget is too short: a is computed for 64 items alone." in said(ladder)


def test_what_the_store_has_is_judged_whatever_the_budget(machine: Machine) -> None:
    field, ladder = [local("a"), local("b")], climb(DATA.items)
    for each in field:
        ladder.look(each, ROWS)
    ladder.clock = Clock(machine.now, 0.0)
    assert _n_items(race(ladder, field, DATA, ROWS, priors=expected(a=0, b=0))) == {"a": 1000, "b": 1000}


def test_one_of_unknown_pace_is_judged_by_the_cost_of_the_others(machine: Machine) -> None:
    machine.pace = {"a": 100.0, "dear": 1.0}
    ladder, field = climb(DATA.items, budget_s=60.0), [local("a"), local("dear", gflops=100.0)]
    assert _n_items(race(ladder, field, DATA, ROWS, priors=expected(a=0, dear=9))) == {"a": 1000}
    assert "dear is left out: it needs about 1001 s" in said(ladder)
    assert "dear" not in machine.computed


def test_a_dear_favourite_without_time_for_more_leaves_the_round_that_all_have_finished(machine: Machine) -> None:
    machine.skill, machine.pace = {"b": 3.0, "c": 2.0, "dear": 1.0}, {"dear": 5.0}
    ladder = climb(DATA.items, budget_s=100.0)
    field = [local(name) for name in ["a", "dear", "b", "c", "d", "e"]]
    ranking = race(ladder, field, DATA, ROWS, priors=expected(a=0, dear=9, b=0, c=0, d=0, e=0))
    assert _n_items(ranking) == dict.fromkeys(["a", "dear", "b", "c", "d", "e"], 250)
    assert ranking.n_looked == _n_items(ranking)
    assert "The budget left no time for more items for dear, so this is what a first sample says." in ranking.why
    assert "promised less" not in ranking.why
    assert machine.now <= 100.0


def test_one_that_is_not_decisive_keeps_what_it_had_when_time_is_up(machine: Machine) -> None:
    machine.skill, machine.pace = {"b": 9.0, "slow": 2.0, "c": 1.5}, {"slow": 5.0}
    ladder = climb(DATA.items, budget_s=100.0)
    field = [local(name) for name in ["a", "b", "c", "slow", "d", "e"]]
    ranking = race(ladder, field, DATA, ROWS, priors=expected(a=0, b=9, c=0, slow=0, d=0, e=0))
    assert _n_items(ranking) == {"b": 1000, "c": 1000, "slow": 250, "a": 250, "d": 250, "e": 250}
    assert ranking.n_looked == _n_items(ranking)
    assert ranking.chosen.name == "b"
    assert "1 of 3 went no further than a first sample, because the budget left no time." in ranking.why
    assert ranking.why.startswith("3 of 6 promised less on a first sample and went no further.")


def test_an_item_that_none_can_see_is_left_out_for_all(machine: Machine) -> None:
    machine.damaged = {"b": {"3", "7"}, "a": {"3", "7"}}
    ranking = _race(machine, [local("a"), local("b")], n=100)
    assert _n_items(ranking) == {"a": 98, "b": 98}
    assert ranking.n_looked == {"a": 100, "b": 100}


@pytest.mark.parametrize("order", ["a overflows b", "overflows a b"])
def test_a_network_that_overflows_costs_the_others_no_item(order: str, machine: Machine) -> None:
    names = order.split()
    machine.damaged = {"overflows": set(map(str, range(100))) - {"5"}, "a": {"3"}, "b": {"3"}}
    ladder = climb(DATA.items)
    ranking = race(
        ladder,
        [local(name) for name in names],
        DATA.take(ROWS[:100]),
        ROWS[:100],
        priors=expected(a=0, b=0, overflows=9),
    )
    assert _n_items(ranking) == {"a": 99, "b": 99}
    assert ladder.unfit == {"overflows": "it gives no features for 98 items"}
    assert "overflows is left out: it gives no features for 98 items." in said(ladder)


def test_one_that_overflows_in_a_later_round_is_gone_and_the_round_before_decides_again(machine: Machine) -> None:
    machine.skill = {"bad": 9.0, "b": 2.0, "a": 1.5, "c": 0.5}
    machine.damaged = {"bad": {"700"}}
    ladder = climb(DATA.items)
    field = [local(name) for name in ["a", "b", "bad", "c", "d", "e"]]
    ranking = race(ladder, field, DATA, ROWS, priors=expected(a=0, b=0, bad=9, c=0, d=0, e=0))
    assert set(_n_items(ranking)) == set("abcde")
    assert _n_items(ranking)["b"] == 1000
    assert ranking.chosen.name == "b"
    assert list(ladder.unfit) == ["bad"]


def test_targets_stay_with_their_items_when_some_are_left_out(machine: Machine) -> None:
    machine.damaged = {"b": {str(row) for row in range(0, 60, 3)}}
    machine.skill = dict.fromkeys("ab", 12.0)
    assert {each.accuracy.value for each in _race(machine, [local("a"), local("b")], n=100).rows} == {1.0}


def test_groups_stay_with_their_items(machine: Machine) -> None:
    train = replace(DATA.take(ROWS[:100]), groups=tuple(f"patient {row // 10}" for row in range(100)))
    machine.damaged, machine.skill = {"a": {"5"}}, {"a": 1.0}
    (row,) = race(climb(DATA.items), [local("a")], train, ROWS[:100], priors=expected(a=0.0)).rows
    assert row.n_items == 99


def _ranked(machine: Machine, names: str, **priors: float) -> tuple[Ranking, list[Local]]:
    field = [local(name) for name in names]
    return _race(machine, field, **priors), field


def test_the_shortlist_has_the_first_the_favourite_and_the_best_of_the_others(machine: Machine) -> None:
    machine.skill = {"d": 3.0, "e": 2.0}
    ranking, field = _ranked(machine, "abcde", c=1.0)
    chosen = shortlist(ranking, field, first=field[0])
    assert [each.spec.name for each in chosen] == ["a", "c", "d"]
    assert len(chosen) == MOST_PASSES


@pytest.mark.parametrize("favourite", ["a", "d"])
def test_no_place_on_the_shortlist_is_wasted(machine: Machine, favourite: str) -> None:
    machine.skill = {"d": 3.0, "e": 2.0}
    ranking, field = _ranked(machine, "abcde", **{favourite: 1.0})
    assert [each.spec.name for each in shortlist(ranking, field, first=field[0])] == ["a", "d", "e"]


def test_after_the_passes_those_of_the_race_alone_stand_below_as_they_were_found(machine: Machine) -> None:
    machine.skill = {"d": 3.0, "e": 2.0}
    raced, field = _ranked(machine, "abcde", c=1.0)
    ladder = climb(DATA.items)
    for each in shortlist(raced, field, first=field[0]):
        ladder.seen[each.spec.name] = ladder.look(each, ROWS)
    ranking = rank_passes(ladder, DATA, priors=expected(a=0, b=0, c=1, d=0, e=0), raced=raced)
    assert {each.backbone.name for each in ranking.rows[:3]} == {"a", "c", "d"}
    assert {each.backbone.name for each in ranking.rows[3:]} == {"b", "e"}
    found = {each.backbone.name: each for each in raced.rows}
    assert all(each is found[each.backbone.name] for each in ranking.rows[3:])
    assert ranking.why.startswith("2 of 5 promised less on a first sample")
