"""Settings: declared beside the fields of a strategy, read from what people type, refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from headstart.adaptation.strategies.settings import (
    check_settings,
    read_settings,
    real,
    settings_of,
    settled,
    values_of,
    whole,
    word,
)
from headstart.errors import OptionError


@dataclass(frozen=True)
class Sample:
    parts: tuple[str, ...] = ()
    k: int | None = whole(None, 1, 50, log=True)
    rate: float = real(0.5, 0.0, 1.0)
    kind: str = word("soft", "hard", "odd")
    name: ClassVar[str] = "sample"

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Other:
    rate: float = real(0.1, 0.0, 9.0)
    name: ClassVar[str] = "other"


def test_what_is_no_setting_is_not_one() -> None:
    assert list(settings_of(Sample)) == ["k", "rate", "kind"]
    assert settings_of(Sample)["k"].log


def test_a_setting_with_a_default_may_be_left_to_choose_where_it_says_so() -> None:
    @dataclass(frozen=True)
    class Chosen:
        share: float | None = real(1.0, 0.0, 1.0, auto=True)

    assert settings_of(Chosen)["share"].rule == "a number from 0 to 1 or auto"
    assert read_settings({"share": "auto"}, {"chosen": Chosen}) == {"chosen": {"share": None}}
    assert values_of(Chosen()) == {"share": 1.0}


def test_what_held_out_items_chose_is_put_in_and_checked() -> None:
    assert settled(Sample(rate=0.1), {"k": 4}) == Sample(k=4, rate=0.1)
    assert settled(Sample(), {}) == Sample()
    with pytest.raises(OptionError, match="must be a whole number from 1 to 50 or auto, but got 99"):
        settled(Sample(), {"k": 99})


def test_what_is_left_to_choose_has_no_value() -> None:
    assert values_of(Sample()) == {"rate": 0.5, "kind": "soft"}
    assert values_of(Sample(k=3)) == {"k": 3, "rate": 0.5, "kind": "soft"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "the setting k of sample must be a whole number from 1 to 50 or auto, but got 0"),
        ({"k": 2.0}, "the setting k of sample must be a whole number from 1 to 50 or auto, but got 2.0"),
        ({"k": "many"}, "the setting k of sample must be a whole number from 1 to 50 or auto, but got 'many'"),
        ({"rate": 1.5}, "the setting rate of sample must be a number from 0 to 1, but got 1.5"),
        ({"rate": None}, "the setting rate of sample must be a number from 0 to 1, but got None"),
        ({"rate": True}, "the setting rate of sample must be a number from 0 to 1, but got True"),
        ({"rate": float("nan")}, "the setting rate of sample must be a number from 0 to 1, but got nan"),
        ({"kind": "sof"}, "the setting kind of sample must be soft, hard or odd, but got 'sof'"),
    ],
)
def test_what_is_outside_the_rule_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Sample(**settings)
    assert str(caught.value) == message


def test_a_change_is_checked_too() -> None:
    with pytest.raises(OptionError, match="must be a number from 0 to 1, but got 7"):
        replace(Sample(), rate=7)


def test_texts_become_values_for_each_strategy_that_has_the_setting() -> None:
    asked = {"k": "7", "rate": "0.25", "kind": "hard"}
    assert read_settings(asked, {"sample": Sample, "other": Other}) == {
        "sample": {"k": 7, "rate": 0.25, "kind": "hard"},
        "other": {"rate": 0.25},
    }
    assert read_settings({"k": "auto"}, {"sample": Sample}) == {"sample": {"k": None}}
    assert read_settings({"k": "2.5"}, {"sample": Sample}) == {"sample": {"k": "2.5"}}  # for the rule to refuse


def test_a_setting_that_nobody_has_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(OptionError) as caught:
        read_settings({"rat": "1"}, {"sample": Sample, "other": Other})
    assert str(caught.value) == "no setting of sample or other is called 'rat'; there is k, kind, rate"
    assert caught.value.hint == "Did you mean 'rate'?"
