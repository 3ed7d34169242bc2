"""What a search may try: which settings, and in what range."""

from __future__ import annotations

import math

import pytest

from headstart.adaptation.strategies import MOVING, STRATEGIES, FineTune, Linear, Lora, Mlp
from headstart.adaptation.strategies.settings import Setting, settings_of
from headstart.search.space import n_points, points, space_of
from search.dial import Dial


def test_what_is_fixed_chosen_otherwise_or_a_wish_is_not_searched() -> None:
    assert list(space_of(Dial(()), ())) == ["x", "n", "kind"]
    assert list(space_of(Dial((), x=0.5), ("x",))) == ["n", "kind"]
    # Asked for as `auto`, a setting stays with cross-validation; with a value it is fixed.
    assert "free" not in space_of(Dial((), free=2), ("free",))


def test_only_the_part_of_a_range_that_is_worth_it_is_searched() -> None:
    decay = space_of(Mlp(()), ())["weight_decay"]
    assert (decay.low, decay.high, decay.log) == (1e-3, 10.0, True)
    assert settings_of(Mlp)["weight_decay"].rule == "a number from 0 to 10"


def test_what_linear_leaves_to_search_is_its_scaling_alone() -> None:
    space = space_of(Linear(()), ())
    assert list(points(space)) == [{"scaling": "soften"}, {"scaling": "standardise"}]


def test_what_costs_passes_or_makes_another_strategy_is_not_searched_where_weights_move() -> None:
    asked = ["learning_rate", "stage_decay", "weight_decay", "label_smoothing", "dropout"]
    assert list(space_of(FineTune(), ())) == asked
    assert set(space_of(Lora(), ())) == {*asked, "rank"}
    wishes = {"balance", "class_weights", "epochs", "batch_size", "n_views", "n_stages", "trains", "interpolation"}
    assert all(not wishes & space_of(make(), ()).keys() for make in MOVING.values())


def test_a_rate_that_was_measured_to_be_good_is_searched_and_one_that_was_asked_for_is_not() -> None:
    rate = space_of(FineTune(), ())["learning_rate"]
    assert (rate.low, rate.high, rate.log) == (3e-5, 3e-3, True)
    assert rate.rule == "a number from 3e-05 to 0.003"
    assert not rate.allows(None)
    for value in (None, 1e-3):  # as `auto` too
        assert "learning_rate" not in space_of(FineTune(learning_rate=value), ("learning_rate",))


@pytest.mark.parametrize("name", MOVING)
def test_the_defaults_that_are_known_lie_in_what_is_searched_where_weights_move(name: str) -> None:
    strategy = MOVING[name]()
    known = {key: getattr(strategy, key) for key in space_of(strategy, ())}
    assert all(setting.allows(known[key]) for key, setting in space_of(strategy, ()).items() if known[key] is not None)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_defaults_lie_in_what_is_searched(name: str) -> None:
    strategy = STRATEGIES[name](())
    assert all(setting.allows(getattr(strategy, key)) for key, setting in space_of(strategy, ()).items())


def test_the_points_of_a_space_are_counted() -> None:
    space = {"k": Setting("whole", 2, 4), "word": Setting("word", choices=("a", "b"))}
    assert n_points(space) == len(list(points(space))) == 6
    assert next(points(space)) == {"k": 2, "word": "a"}
    assert n_points({**space, "x": Setting("real", 0, 1)}) == math.inf
