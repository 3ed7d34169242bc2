"""Every strategy keeps the same promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import headstart
from headstart.adaptation.strategies import STRATEGIES, Linear, OutOfFold, Prototype
from headstart.testing.strategies import (
    STRATEGY_CHECKS,
    MakeAny,
    check_fold_by_fold_ends_with_what_cross_validation_says,
    check_it_beats_the_majority,
    check_out_of_fold_answers_do_not_know_the_item,
    check_strategy,
)


@pytest.mark.parametrize("check", STRATEGY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STRATEGIES)
def test_promises(name: str, check: Callable[[MakeAny], None]) -> None:
    check(STRATEGIES[name])


def test_all_checks_are_listed_and_run() -> None:
    import headstart.testing.strategies as suite

    written = {name for name in vars(suite) if name.startswith("check_")} - {"check_strategy"}
    assert written == {check.__name__ for check in STRATEGY_CHECKS}
    assert check_strategy(Prototype) == len(STRATEGY_CHECKS) == 19
    assert list(STRATEGIES) == ["linear", "prototype", "knn", "mlp", "head2toe", "views"]
    assert headstart.strategies.STRATEGIES is STRATEGIES


@dataclass(frozen=True)
class _Peeking(Linear):
    """A strategy that knows the answers when it is asked out-of-fold."""

    name: ClassVar[str] = "peeking"

    def cross_validate(self, features, targets, folds, *, n_classes, seed=0):
        return OutOfFold(9.0 * np.eye(n_classes)[targets], {"l2": 1.0}, 1.0)


@dataclass(frozen=True)
class _Stubborn(Linear):
    """A strategy that always says the first class."""

    name: ClassVar[str] = "stubborn"

    def cross_validate(self, features, targets, folds, *, n_classes, seed=0):
        return OutOfFold(np.tile(np.arange(n_classes)[::-1].astype(float), (len(targets), 1)), {"l2": 1.0}, 1.0)


@dataclass(frozen=True)
class _Hasty(Linear):
    """A strategy that says all at once that it judges fold by fold."""

    name: ClassVar[str] = "hasty"

    def fold_by_fold(self, features, targets, folds, *, n_classes, seed=0):
        whole = self.cross_validate(features, targets, folds, n_classes=n_classes, seed=seed)
        yield np.ones(len(targets), dtype=bool), whole


def test_the_suite_notices_broken_promises() -> None:
    with pytest.raises(AssertionError, match="after 1 folds 1 must be tested, but 5 are"):
        check_fold_by_fold_ends_with_what_cross_validation_says(_Hasty)
    with pytest.raises(AssertionError, match=r"out-of-fold accuracy must be chance, but is 1\.00"):
        check_out_of_fold_answers_do_not_know_the_item(_Peeking)
    with pytest.raises(AssertionError, match="out-of-fold accuracy must be clearly above"):
        check_it_beats_the_majority(_Stubborn)
