"""The settings of a strategy: fields of its dataclass, with the range that makes sense declared beside each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, cast

from headstart._checks import nearest_of_these
from headstart.errors import OptionError

AUTO = "auto"
Value = int | float | str
_KEY = "headstart.setting"
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting may be, and what a search may try.

    Attributes:
        kind: `whole` and `real` numbers lie between `low` and `high`, both allowed; a `word` is one of `choices`.
        low: The least number.
        high: The greatest.
        log: Whether a search should take steps of equal ratio.
        choices: The words.
        auto: Whether it may be None, `auto` for people: cross-validation then chooses it.
        search: What a search tries: all that is allowed, unless cross-validation chooses it; from a least to a greatest
            number, where only a part is worth it; or nothing, where it says what is wanted of the answers, costs
            passes, makes another strategy, or is a further penalty that most strengths of do harm.
    """

    kind: Literal["whole", "real", "word"]
    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    choices: tuple[str, ...] = ()
    auto: bool = False
    search: bool | tuple[float, float] = True

    @property
    def rule(self) -> str:
        """What is allowed, in words."""
        words = (*self.choices, AUTO) if self.auto else self.choices
        if self.kind == "word":
            return f"{', '.join(words[:-1])} or {words[-1]}"
        number = "a whole number" if self.kind == "whole" else "a number"
        return f"{number} from {self.low:g} to {self.high:g}{f' or {AUTO}' if self.auto else ''}"

    def allows(self, value: object) -> bool:
        """Whether a value is within the rule."""
        if value is None:
            return self.auto
        if self.kind == "word":
            return value in self.choices
        numbers = int if self.kind == "whole" else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and self.low <= value <= self.high

    def read(self, text: Value | None) -> Value | None:
        """The value that a text stands for; what does not stand for one stays, to be refused by the rule."""
        if not isinstance(text, str):
            return text
        if self.auto and text == AUTO:
            return None
        try:
            return text if self.kind == "word" else int(text) if self.kind == "whole" else float(text)
        except ValueError:
            return text


def whole(default: int | None, low: int, high: int, *, log: bool = False, search: bool | tuple[int, int] = True) -> Any:
    """A field that is a whole number; None as default means that cross-validation chooses it."""
    return _declared(default, Setting("whole", low, high, log=log, auto=default is None, search=search))


def real(
    default: float | None,
    low: float,
    high: float,
    *,
    log: bool = False,
    auto: bool = False,
    search: bool | tuple[float, float] = True,
) -> Any:
    """A field that is a number; None, as default or where `auto` allows it, means that cross-validation chooses it."""
    return _declared(default, Setting("real", low, high, log=log, auto=auto or default is None, search=search))


def word(default: str, *others: str, search: bool = True) -> Any:
    """A field that is one of some words."""
    return _declared(default, Setting("word", choices=(default, *others), search=search))


def _declared(default: Value | None, setting: Setting) -> Any:
    return field(default=default, metadata={_KEY: setting})


def settings_of(strategy: Any) -> dict[str, Setting]:
    """The settings of a strategy, or of its class, by name.

    Args:
        strategy: A dataclass whose fields were declared with `whole`, `real` or `word`; others are no settings.
    """
    return {each.name: each.metadata[_KEY] for each in fields(strategy) if _KEY in each.metadata}


def values_of(strategy: Any) -> dict[str, Value]:
    """The settings of a strategy that are set, by name; what cross-validation chooses is not among them."""
    values = {name: getattr(strategy, name) for name in settings_of(strategy)}
    return {name: value for name, value in values.items() if value is not None}


def settled(strategy: Made, chosen: Mapping[str, Value]) -> Made:
    """The same strategy with what held-out items or a search chose.

    Args:
        strategy: An instance.
        chosen: Settings by name.

    Raises:
        OptionError: If a value is outside its rule.
    """
    return replace(cast("Any", strategy), **chosen)  # type: ignore[no-any-return]


def check_settings(strategy: Any) -> None:
    """Refuse settings outside their rule; for `__post_init__`.

    Args:
        strategy: An instance.

    Raises:
        OptionError: If one is outside its rule.
    """
    for each in fields(strategy):
        value = getattr(strategy, each.name)
        if _KEY in each.metadata and not each.metadata[_KEY].allows(value):
            default = AUTO if each.default in (None, MISSING) else each.default
            raise OptionError(
                f"the setting {each.name} of {strategy.name} must be {each.metadata[_KEY].rule}, but got {value!r}",
                hint=f"Left out, it is {default}.",
            )


def _who_has(setting: str, strategies: Mapping[str, Any]) -> str:
    having = [name for name, strategy in strategies.items() if setting in settings_of(strategy)]
    return f"It is a setting of {', '.join(having)}: name --strategy {having[0]}." if having else ""


def read_settings(
    asked: Mapping[str, Value | None], strategies: Mapping[str, Any], *, others: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Value | None]]:
    """For each of some strategies those of the asked settings that it has, as values.

    Args:
        asked: Values, or the texts that a user typed, by the name of the setting.
        strategies: The classes, by name.
        others: Further ones, to name to who asks for a setting that only these have.

    Raises:
        OptionError: If no strategy has such a setting.
    """
    known = {name: settings_of(strategy) for name, strategy in strategies.items()}
    everywhere = sorted({key for settings in known.values() for key in settings})
    for key in asked:
        if key not in everywhere:
            raise OptionError(
                f"no setting of {' or '.join(strategies)} is called {key!r}; there is {', '.join(everywhere)}",
                hint=_who_has(key, others or {}) or nearest_of_these(key, everywhere),
            )
    return {
        name: {key: settings[key].read(value) for key, value in asked.items() if key in settings}
        for name, settings in known.items()
    }
