"""Numbers and names as people read them: every digit on the page passes through here."""

from __future__ import annotations

import re
from datetime import datetime

from headstart.evaluation.records import Difference, Estimate

THIN = "\u202f"
"""A narrow no-break space, between a number and its unit."""
NBSP = "\u00a0"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with a replacement mark for what neither UTF-8 nor HTML can hold, such as undecodable file names."""
    return _UNPRINTABLE.sub("\ufffd", text)


def prose(sentence: str) -> str:
    """A sentence in which no line breaks between a number and its percent sign."""
    return re.sub(r"(?<=\d) (?=%)", THIN, sentence)


def shorten(text: str, length: int) -> str:
    """The beginning of a text.

    Args:
        text: Any text.
        length: How many characters to keep; an ellipsis says that there were more.
    """
    return text if len(text) <= length else text[:length].rstrip() + "…"


def percent(share: float, digits: int = 1) -> str:
    """A share of 0 to 1 as a percentage.

    Args:
        share: For example 0.9123, which becomes `91.2 %`.
        digits: Digits after the point.
    """
    return f"{100 * share:.{digits}f}{THIN}%"


def percent_range(estimate: Estimate) -> str:
    """The interval of a share, for example `88.0–93.5 %`."""
    return f"{100 * estimate.low:.1f}–{percent(estimate.high)}"


def percent_interval(estimate: Estimate) -> str:
    """A share with its interval, for example `91.2 % (88.0–93.5 %)`."""
    return f"{percent(estimate.value)} ({percent_range(estimate)})"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, always with its sign.

    Args:
        difference: From −1 to 1; 0.123 becomes `+12.3`.
    """
    return f"{100 * difference:+.1f}".replace("-", "−")


def points_range(difference: Difference | Estimate) -> str:
    """The interval of a difference in percentage points, for example `+8.1 to +16.5`."""
    return f"{points(difference.low)} to {points(difference.high)}"


def number(value: float) -> str:
    """A plain number with three digits after the point, for example a log loss in nats; a huge one is kept short."""
    return small(value) if value >= 1e6 else f"{value:.3f}".replace("-", "−")


def number_range(estimate: Estimate) -> str:
    """The interval of a plain number, for example `0.210–0.305`."""
    return f"{number(estimate.low)}–{number(estimate.high)}"


def p_value(value: float) -> str:
    """A p-value with its relation, for example `p = 0.034` or `p < 0.001`."""
    return f"p{NBSP}<{NBSP}0.001" if value < 0.001 else f"p{NBSP}={NBSP}{value:.3f}"


def count(value: int) -> str:
    """A whole number with separated thousands."""
    return f"{value:,}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """A whole number and its noun.

    Args:
        value: How many.
        noun: The singular.
        plural: The plural where it is not the singular and an s.
    """
    return f"{count(value)} {noun if value == 1 else plural or noun + 's'}"


def parameters(value: int) -> str:
    """The size of a network, for example `22.7 M` parameters."""
    return f"{value / 1e6:.1f}{THIN}M"


def megabytes(value: float) -> str:
    """A size in megabytes."""
    return f"{value:.1f}{THIN}MB"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds, or a dash when it was not measured."""
    return "–" if value is None else f"{value:.1f}{THIN}ms"


def seconds(value: float) -> str:
    """A time as people say it, for example `0.42 s`, `12.3 s`, `2 min 05 s` or `1 h 02 min`.

    Args:
        value: In seconds, 0 or greater.
    """
    whole = round(value)
    if value < 9.995:
        return f"{value:.2f}{THIN}s"
    if value < 99.95:
        return f"{value:.1f}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    minutes = round(value / 60)
    return f"{minutes // 60}{THIN}h {minutes % 60:02d}{THIN}min"


def training_name(fold: int | None) -> str:
    """What people call a training.

    Args:
        fold: The fold that was held out, from 0; None when none was.
    """
    return "All items" if fold is None else f"Fold {fold + 1}"


def small(value: float) -> str:
    """A number that may be very small, such as a learning rate, for example `0.003` or `3e-5`."""
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.3g}")


def sentence(words: str) -> str:
    """Words as a sentence: a capital at the beginning and a point at the end."""
    whole = words[:1].upper() + words[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def setting(value: str | float) -> str:
    """The value of a setting; a fraction gets four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def moment(created: str) -> str:
    """A time in ISO 8601 as a date and an hour, for example `21 November 2026, 14:03`; other texts stay as they are."""
    try:
        when = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{when.day} {_MONTHS[when.month - 1]} {when:%Y, %H:%M}"


# Not `%B`, which would follow the locale of the machine.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
