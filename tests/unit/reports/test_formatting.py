from __future__ import annotations

import pytest

from headstart.evaluation.records import Difference, Estimate
from headstart.reports import formatting


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def test_a_share_is_a_percentage_with_one_digit_and_its_interval() -> None:
    estimate = Estimate(0.9123, 0.88, 0.9351, 153)
    assert plain(formatting.percent(0.9123)) == "91.2 %"
    assert plain(formatting.percent_range(estimate)) == "88.0–93.5 %"
    assert plain(formatting.percent_interval(estimate)) == "91.2 % (88.0–93.5 %)"


def test_a_difference_has_its_sign_and_a_true_minus() -> None:
    difference = Difference(-0.0123, -0.05, 0.0254, 0.3, 100)
    assert formatting.points(difference.value) == "−1.2"
    assert formatting.points_range(difference) == "−5.0 to +2.5"


def test_a_plain_number_has_three_digits() -> None:
    assert formatting.number(-0.12345) == "−0.123"
    assert formatting.number_range(Estimate(0.25, 0.2104, 0.3051, 9)) == "0.210–0.305"


def test_a_huge_number_is_kept_short() -> None:
    assert formatting.number(999_999.0) == "999999.000"
    assert formatting.number(1.7976931348623157e308) == "1.8e308"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.003, "0.003"), (0.00003, "3e-5"), (2.5e-10, "2.5e-10"), (12.345, "12.3")]
)
def test_a_rate_is_short(value: float, shown: str) -> None:
    assert formatting.small(value) == shown


def test_words_become_a_sentence_once() -> None:
    assert formatting.sentence("all 12 epochs") == "All 12 epochs."
    assert formatting.sentence("The loss diverged in epoch 2.") == "The loss diverged in epoch 2."


@pytest.mark.parametrize(("value", "shown"), [(0.0009, "p < 0.001"), (0.001, "p = 0.001"), (0.0344, "p = 0.034")])
def test_a_small_p_value_is_a_bound(value: float, shown: str) -> None:
    assert plain(formatting.p_value(value)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0.0, "0.00 s"), (0.42, "0.42 s"), (9.996, "10.0 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s")),
        *((125, "2 min 05 s"), (3599.6, "1 h 00 min"), (3720, "1 h 02 min"), (7199.9, "2 h 00 min")),
    ],
)
def test_times_read_as_people_say_them(value: float, shown: str) -> None:
    assert plain(formatting.seconds(value)) == shown


def test_small_things_read_well() -> None:
    assert formatting.count(12345) == "12,345"
    assert formatting.counted(1, "item") == "1 item"
    assert formatting.counted(2, "class", "classes") == "2 classes"
    assert plain(formatting.parameters(22_713_000)) == "22.7 M"
    assert plain(formatting.milliseconds(9.84)) == "9.8 ms"
    assert formatting.milliseconds(None) == "–"
    assert formatting.setting(0.00316227766) == "0.003162"
    assert formatting.setting("last") == "last"
    assert formatting.setting(7) == "7"
    assert formatting.shorten("abcdef", 3) == "abc…"
    assert formatting.shorten("abc", 3) == "abc"
    assert formatting.prose("right in 41 % of all") == "right in 41\u202f% of all"


def test_a_moment_is_a_date_and_an_hour() -> None:
    assert formatting.moment("2026-11-21T14:03:27+01:00") == "21 November 2026, 14:03"
    assert formatting.moment("yesterday") == "yesterday"


def test_only_what_cannot_be_printed_is_replaced() -> None:
    assert formatting.printable("a\udcffb\x00c\x9fd") == "a�b�c�d"
    assert formatting.printable("🦄\tשלום\n") == "🦄\tשלום\n"
