"""Every strategy that moves weights keeps the same promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from headstart.adaptation.strategies import MOVING, FineTune
from headstart.adaptation.tuning import Tuned
from headstart.testing.moving import (
    MOVING_CHECKS,
    MakeAnyMoving,
    check_frozen_stages_keep_their_bits,
    check_it_beats_the_majority,
    check_the_deadline_is_kept,
    check_there_is_one_record_an_epoch,
    check_weights_have_moved,
    check_what_was_chosen_needs_no_held_out_items,
)

# The others only have other defaults than `finetune`.
_QUICK = ("finetune", "lora", "contrastive")


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MOVING]
)
@pytest.mark.parametrize("check", MOVING_CHECKS, ids=lambda check: check.__name__)
def test_promises(name: str, check: Callable[[MakeAnyMoving], None]) -> None:
    check(MOVING[name])


def test_all_checks_are_listed() -> None:
    import headstart.testing.moving as suite

    written = {name for name in vars(suite) if name.startswith("check_")} - {"check_moving"}
    assert written == {check.__name__ for check in MOVING_CHECKS}
    assert len(MOVING_CHECKS) == 14
    assert [make.name for make in MOVING.values()] == list(MOVING)


def test_strategies_and_their_settings_are_listed_without_loading_what_trains() -> None:
    code = (
        "import sys\n"
        "from headstart.adaptation.strategies import MOVING, settings_of\n"
        "assert all(settings_of(make()) for make in MOVING.values())\n"
        "print([name for name in ('torch', 'peft', 'transformers', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@dataclass(frozen=True)
class _Careless(FineTune):
    """Moves all stages whatever was asked for, tells of nothing, and knows no deadline."""

    name: ClassVar[str] = "careless"

    def fit(self, *given: Any, **options: Any) -> Tuned:
        options |= {"deadline": None, "on_epoch": None}
        return replace(FineTune(n_stages=4, epochs=self.epochs, learning_rate=1e-3)).fit(*given, **options)


@pytest.mark.parametrize(
    ("check", "promise"),
    [
        (check_frozen_stages_keep_their_bits, "stages below the cut must stay as they were"),
        (check_the_deadline_is_kept, "no epoch may begin after the deadline"),
        (check_there_is_one_record_an_epoch, "what is told must be what is kept"),
    ],
)
def test_the_suite_notices_broken_promises(check: Callable[[MakeAnyMoving], None], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check(_Careless)


@dataclass(frozen=True)
class _Idle(FineTune):
    """Trains, and throws away what it has learnt; lets held-out items choose nothing."""

    name: ClassVar[str] = "idle"

    def fit(self, *given: Any, **options: Any) -> Tuned:
        return FineTune(epochs=1, interpolation=0.0).fit(*given, **options)


@pytest.mark.parametrize(
    ("check", "promise"),
    [
        (check_it_beats_the_majority, "accuracy on images must be clearly above 0.67, but is 0.67"),
        (check_weights_have_moved, "weights must move"),
        (check_what_was_chosen_needs_no_held_out_items, "held-out items must choose interpolation"),
    ],
)
def test_the_suite_notices_that_nothing_is_learnt(check: Callable[[MakeAnyMoving], None], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check(_Idle)
