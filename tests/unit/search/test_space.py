"""What a search may try: which settings, and in what range."""

from __future__ import annotations

import math

import pytest

from headstart.adaptation.strategies import STRATEGIES, Linear, Mlp
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


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_defaults_lie_in_what_is_searched(name: str) -> None:
    strategy = STRATEGIES[name](())
    assert all(setting.allows(getattr(strategy, key)) for key, setting in space_of(strategy, ()).items())


def test_the_points_of_a_space_are_counted() -> None:
    space = {"k": Setting("whole", 2, 4), "word": Setting("word", choices=("a", "b"))}
    assert n_points(space) == len(list(points(space))) == 6
    assert next(points(space)) == {"k": 2, "word": "a"}
    assert n_points({**space, "x": Setting("real", 0, 1)}) == math.inf
