"""Checks and parsers for what users type, and the words that answer it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence

from headstart.errors import OptionError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_COUNTS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None when nothing comes close."""
    by_lower = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, else all of them.

    Args:
        name: What was typed.
        names: What is known.
    """
    known = sorted(names)
    close = nearest(name, known)
    if close is not None:
        return f"Did you mean {close!r}?"
    return f"Known names: {', '.join(known)}." if known else ""


def nearest_of_these(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name where the message has named all that there are.

    Args:
        name: What was typed.
        names: What is known.
    """
    close = nearest(name, names)
    return "Choose one of these." if close is None else f"Did you mean {close!r}?"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in quotes for a sentence, and how many more there are.

    Args:
        names: At least one.
        most: How many are named.
    """
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def check_kind(what: str, value: object, kinds: type | tuple[type, ...], rule: str) -> None:
    """Refuse a value of another kind; a truth value is no number.

    Args:
        what: What it is, for the message.
        value: What was given.
        kinds: What it may be.
        rule: The same in words.

    Raises:
        OptionError: If it is something else.
    """
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise OptionError(
            f"the {what} must be {rule}, but got {value!r}, which is of type {type(value).__name__}",
            hint="Leave it out to take the default.",
        )


def parse_duration(text: str | float) -> float:
    """Seconds from `90`, `"90s"`, `"2m"` or `"1.5h"`.

    Raises:
        OptionError: If it is not a positive number with an optional unit s, m or h.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|min|h|)\s*", str(text).lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0 or not math.isfinite(seconds):
        raise OptionError(
            f"a duration must be a positive number with a unit s, m or h, but got {text!r}",
            hint="Write for example 20s, 2m or 1h.",
        )
    return seconds


def parse_size(text: str | int) -> int:
    """Bytes from `1000`, `"500MB"` or `"2GB"` (powers of ten).

    Raises:
        OptionError: If it is not a non-negative number with an optional unit.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMGT]?B?)\s*", str(text).upper())
    if match is None:
        raise OptionError(
            f"a size must be a number with a unit KB, MB, GB or TB, but got {text!r}", hint="Write for example 2GB."
        )
    unit = match[2] if match[2].endswith("B") or not match[2] else match[2] + "B"
    return int(float(match[1]) * _BYTES[unit])


def parse_count(text: str | int) -> int:
    """A number from `30000000`, `"30M"`, `"1.5B"` or `"500K"`.

    Raises:
        OptionError: If it is not a positive number with an optional unit.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMGB]?)\s*", str(text).upper())
    number = int(float(match[1]) * _COUNTS[match[2]]) if match else 0
    if number <= 0:
        raise OptionError(
            f"a number must be positive, with a unit K, M or B where it is large, but got {text!r}",
            hint="Write for example 30M.",
        )
    return number


def parse_folds(given: str | int | tuple[int, int]) -> tuple[int, int]:
    """Repeats and folds of a cross-validation, from `5`, `"10x5"` or `(10, 5)`.

    Raises:
        OptionError: If it is not a number of folds, 2 or more, with a number of repeats before it, 1 or more.
    """
    text = "x".join(map(str, given)) if isinstance(given, tuple) else str(given)
    match = re.fullmatch(r"\s*(?:([0-9]{1,4})\s*[x×*]\s*)?([0-9]{1,6})\s*", text.lower())
    repeats, folds = (int(match[1] or 1), int(match[2])) if match else (0, 0)
    if repeats < 1 or folds < 2:
        raise OptionError(
            "cross-validation is a number of folds, 2 or more, and before it the repeats where there are several, "
            f"but got {text!r}",
            hint="Write 5 for five folds, or 10x5 for ten repeats of five folds.",
        )
    return repeats, folds


def parse_trials(given: str | int) -> int:
    """The number of trials of a search.

    Raises:
        OptionError: If it is not a whole number, 1 or more.
    """
    match = re.fullmatch(r"\s*0*([1-9][0-9]{0,5})\s*", str(given))
    if match is None:
        raise OptionError(
            f"the trials must be a whole number, 1 or more and less than a million, but got {str(given)!r}",
            hint="Write for example --trials 30.",
        )
    return int(match[1])


def parse_setting(text: str) -> tuple[str, str]:
    """Name and value from `k=5`.

    Raises:
        OptionError: If it is not a name, an equals sign and a value.
    """
    name, _, value = (each.strip() for each in text.partition("="))
    if not (name and value):
        raise OptionError(f"a setting must be KEY=VALUE, but got {text!r}", hint="Write for example --set k=5.")
    return name, value
