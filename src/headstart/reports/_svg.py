"""The few pieces of SVG that the figures are made of, and the axes that place values on them.

Horizontal positions are percentages and vertical ones too, so that a figure takes the width of its column while its
text keeps the size of the page's text. Every piece is `Markup`: what is not, is escaped where it is put in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from headstart.reports.formatting import printable

_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie on one direction of a figure.

    Attributes:
        low: The value at the beginning.
        high: The value at the end, greater than `low`.
        ticks: The values that get a line and a label.
        logarithmic: Whether equal distances are equal ratios.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """The position of a value in percent of the axis; values outside lie at its ends."""
        low, high, inside = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, inside = math.log(low), math.log(high), math.log(inside)
        return 100 * (inside - low) / (high - low)


def share_axis(lowest: float, highest: float = 1.0) -> Axis:
    """An axis for shares that shows the given range and has about five round ticks.

    Args:
        lowest: The smallest share to show, 0 to 1.
        highest: The largest.
    """
    span = max(highest - lowest, 0.01)
    step = next((size for size in _STEPS if span / size <= 5), _STEPS[-1])
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(index * step, 6) for index in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def amount_axis(highest: float) -> Axis:
    """An axis from 0 for amounts such as milliseconds, with about five round ticks.

    Args:
        highest: The largest amount to show.
    """
    span = highest if highest > 0 else 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * magnitude for size in (1, 2, 2.5, 5, 10) if span / (size * magnitude) <= 5)
    ticks = tuple(index * step for index in range(math.ceil(span / step - 1e-9) + 1))
    return Axis(0.0, ticks[-1], ticks)


def number_axis(last: int) -> Axis:
    """An axis for things that are numbered from 1, with half a step before the first and after the last.

    Args:
        last: The highest number, 1 or greater.
    """
    sizes = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    step = next(size for size in sizes if last / size <= 6)
    first = [1] if step > 2 else []  # else its label would touch the next
    return Axis(0.5, last + 0.5, tuple(float(tick) for tick in (*first, *range(step, last + 1, step))))


def ratio_axis(lowest: float, highest: float) -> Axis:
    """A logarithmic axis with ticks at 1, 2 and 5 times the powers of ten, of which a few are inside.

    Args:
        lowest: The smallest amount to show, greater than 0.
        highest: The largest.
    """
    powers = range(math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest)) + 1)
    ladder = [round(factor * 10.0**power, 12) for power in powers for factor in (1, 2, 5)]
    low = max(tick for tick in ladder if tick < lowest)
    high = min(tick for tick in (*ladder, 10 * ladder[-1]) if tick > highest)
    ticks = [tick for tick in ladder if low <= tick <= high]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if math.isclose(math.log10(tick), round(math.log10(tick)), abs_tol=1e-9)]
    return Axis(low, high, tuple(ticks), logarithmic=True)


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One SVG element with everything in it escaped.

    Args:
        tag: Its name.
        *children: `Markup` stays as it is, other text is escaped.
        **attributes: `stroke_width` becomes `stroke-width`, `class_` becomes `class`; numbers keep two digits.
    """
    pairs = (f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{''.join(pairs)}>{''.join(_content(child) for child in children)}</{tag}>")  # noqa: S704


def group(children: Iterable[Markup], **attributes: str | float) -> Markup:
    """Several pieces as one.

    Args:
        children: The pieces, lowest first.
        **attributes: As in `element`.
    """
    return element("g", *children, **attributes)


def place(position: float) -> str:
    """A position in percent as SVG writes it, for example `12.5%`."""
    return f"{position:.2f}".rstrip("0").rstrip(".") + "%"


def line(start: tuple[float, float], end: tuple[float, float], *children: Markup, class_: str) -> Markup:
    """A straight line.

    Args:
        start: Horizontal and vertical position in percent, from the upper left.
        end: Likewise.
        *children: For example a title.
        class_: What the style sheet calls it.
    """
    x1, y1, x2, y2 = (place(position) for position in (*start, *end))
    return element("line", *children, x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dot(centre: tuple[float, float], radius: float, *children: Markup, class_: str) -> Markup:
    """A disc.

    Args:
        centre: Horizontal and vertical position in percent, from the upper left.
        radius: In pixels.
        *children: For example a title.
        class_: What the style sheet calls it.
    """
    return element("circle", *children, cx=place(centre[0]), cy=place(centre[1]), r=radius, class_=class_)


def label(text: str, at: tuple[float, float], *, shift: tuple[float, float], anchor: str, class_: str) -> Markup:
    """A piece of text.

    Args:
        text: What it says.
        at: Horizontal and vertical position in percent, from the upper left.
        shift: How many pixels to the right and down from there.
        anchor: Which part of the text lies there: `start`, `middle` or `end`.
        class_: What the style sheet calls it.
    """
    x, y = place(at[0]), place(at[1])
    return element("text", text, x=x, y=y, dx=shift[0], dy=shift[1], text_anchor=anchor, class_=class_)


def title(text: str) -> Markup:
    """What a piece says to those who point at it."""
    return element("title", text)


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return str(escape(printable(value)))
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _content(child: str) -> str:
    return str(child if isinstance(child, Markup) else escape(printable(child)))
