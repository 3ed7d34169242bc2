"""What a search for settings may try: of a strategy's settings those that nobody has fixed and nothing else chooses."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from headstart.adaptation.strategies.settings import Setting, Value, settings_of

Space = dict[str, Setting]
"""Settings by name, each with the range that is searched."""


def space_of(strategy: Any, fixed: Collection[str]) -> Space:
    """The settings that a search tries.

    A setting that is `auto` is left out: cross-validation chooses it for each trial, exactly and from one path, so that
    a search for it would find again what is known. Where nothing chooses it but what was measured on other items, its
    declaration says from where to where a search is worth it. What says what is wanted of the answers, or costs passes,
    is left out too (see `Setting`).

    Args:
        strategy: An instance, with what the user set.
        fixed: Names of settings that the user set.
    """
    return {
        name: setting if isinstance(setting.search, bool) else _narrowed(setting, *setting.search)
        for name, setting in settings_of(strategy).items()
        if setting.search and name not in fixed
        if getattr(strategy, name) is not None or not isinstance(setting.search, bool)
    }


def n_points(space: Space) -> float:
    """How many different settings there are; infinite where one is a real number."""
    return math.prod(_n_values(each) for each in space.values())


def points(space: Space) -> Iterator[dict[str, Value]]:
    """All settings of a space in which none is a real number, in order."""
    values: list[Sequence[Value]] = [
        each.choices or range(int(each.low), int(each.high) + 1) for each in space.values()
    ]
    for chosen in product(*values):
        yield dict(zip(space, chosen, strict=True))


def _n_values(setting: Setting) -> float:
    if setting.kind == "real":
        return math.inf
    return len(setting.choices) if setting.kind == "word" else setting.high - setting.low + 1


def _narrowed(setting: Setting, low: float, high: float) -> Setting:
    return replace(setting, low=low, high=high, auto=False)
