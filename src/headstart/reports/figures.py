"""The figures of the page as inline SVG; why they are drawn here is in docs/decisions/0003-figures.md.

A figure has the width of its column, the text of the page and the colours of the style sheet, light or dark. Each says
in its `aria-label` what it shows, and each mark has its numbers in its `title`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from headstart.adaptation.epochs import Epoch, Scores
from headstart.evaluation.records import AnsweredPoint, CurvePoint, Estimate, ReliabilityBin
from headstart.reports._svg import (
    Axis,
    amount_axis,
    dot,
    element,
    group,
    label,
    line,
    number_axis,
    place,
    ratio_axis,
    share_axis,
    title,
)
from headstart.reports.formatting import (
    count,
    milliseconds,
    number,
    percent,
    percent_interval,
    seconds,
    small,
    training_name,
)
from headstart.reports.record import CandidateRecord, RankingRow, TrainingRecord, serving_ms

UNIT_AXIS = share_axis(0.0)
"""From 0 to 1."""

_ROUND_TIES = 3.0  # percent of the height: the band of the ties is seen when all of them are equal
_MOST_LOSS = 1e6  # nats; what has diverged this far would flatten all others
_SIDES = (("trained on", "seen"), ("held out", "unseen"))
_MOST_LABELS = 8
# Percent of a figure's width on a narrow screen, and of its height: what a number and its distance from a point take.
_LABEL_WIDTH, _LABEL_HEIGHT = 8.0, 5.5
_ASIDE = 2.2  # percent of the width: single draws stand to the left of their mean


@dataclass(frozen=True, slots=True)
class _Curve:
    """Values of some epochs.

    Attributes:
        what: In words.
        style: What the style sheet calls it.
        points: Number and value of each epoch.
        kept: The epoch whose weights were kept; 0 for none.
    """

    what: str
    style: str
    points: tuple[tuple[int, float], ...]
    kept: int = 0


def shared_axis(estimates: Sequence[Estimate]) -> Axis:
    """One axis from a round share below all intervals to 1, so that rows can be compared.

    Args:
        estimates: Shares of 0 to 1; at least one.
    """
    return share_axis(min(estimate.low for estimate in estimates))


def interval_row(estimate: Estimate, axis: Axis, *, bar: bool = False) -> Markup:
    """One row of a forest plot: the interval as a line and the value as a point on it.

    Args:
        estimate: A share of 0 to 1.
        axis: The axis of all rows.
        bar: Whether a bar leads from the beginning of the axis to the value.
    """
    x, low, high = (axis.place(value) for value in (estimate.value, estimate.low, estimate.high))
    marks = [line((axis.place(tick), 0), (axis.place(tick), 100), class_="grid") for tick in axis.ticks]
    if bar:
        marks.append(element("rect", x="0", y="25%", width=place(x), height="50%", class_="bar"))
    marks += [line((low, 50), (high, 50), class_="interval"), dot((x, 50), 4, class_="point")]
    return element("svg", *marks, class_="row", role="img", aria_label=percent_interval(estimate))


def tick_row(axis: Axis) -> Markup:
    """The labels under the rows of a forest plot."""
    labels = [
        label(_short_percent(tick), (axis.place(tick), 0), shift=(0, 12), anchor="middle", class_="tick")
        for tick in axis.ticks
    ]
    return element("svg", *labels, class_="ticks", aria_hidden="true")


def part_row(part: float, whole: float, *, what: str) -> Markup:
    """One bar that is as long as its part of a whole.

    Args:
        part: An amount, 0 or greater.
        whole: The amount that would fill the row; 0 leaves it empty.
        what: What the bar shows, in words.
    """
    width = min(100 * part / whole, 100) if whole > 0 else 0.0
    bar = element("rect", x="0", y="25%", width=place(width), height="50%", class_="part")
    return element("svg", bar, class_="row", role="img", aria_label=what)


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """How sure the model was against how often it was right; on the diagonal both agree.

    Args:
        bins: Bins with their confidence and accuracy, 0 to 1.
    """
    axis = share_axis(0.0)
    marks = [line((0, 100), (100, 0), class_="diagonal")]
    for part in bins:
        words = (
            f"said {percent(part.confidence)} on average, right in {percent_interval(part.accuracy)}"
            f" of {count(part.accuracy.n)}"
        )
        marks.append(_interval((axis.place(part.confidence), part.accuracy), axis, class_="mark", words=words))
    return _plot(
        marks, (axis, axis), names=("how sure the model was", "how often it was right"), ticks=_short_percent,
        what="Reliability diagram: how sure the model was against how often it was right",
    )  # fmt: skip


def abstention(curve: Sequence[AnsweredPoint]) -> Markup:
    """The accuracy among the items that are answered, against their share of all; the least confident are passed on.

    Args:
        curve: From few answered items to all, at least one.
    """
    shares = [end for point in curve for end in (point.accuracy.low, point.accuracy.high)]
    x_axis, y_axis = UNIT_AXIS, share_axis(min(shares), max(shares))
    places = [(x_axis.place(point.answered), 100 - y_axis.place(point.accuracy.value)) for point in curve]
    marks = [line(start, end, class_="trend") for start, end in pairwise(places)]
    for point, (x, _) in zip(curve, places, strict=True):
        words = (
            f"{percent(point.answered)} answered, those of {percent(point.confidence)} or more: "
            f"{percent_interval(point.accuracy)} of {count(point.accuracy.n)} right"
        )
        marks.append(_interval((x, point.accuracy), y_axis, class_="mark", words=words))
    return _plot(
        marks, (x_axis, y_axis), names=("share that is answered", "accuracy among these"), ticks=_short_percent,
        what="Abstention: accuracy among the items that are answered against their share",
    )  # fmt: skip


def learning_curve(curve: Sequence[CurvePoint]) -> Markup:
    """Accuracy against the number of training items, which doubles at equal distances.

    Args:
        curve: Points from few to many, at least one.
    """
    sizes = tuple(float(point.n_train) for point in curve)
    x_axis = Axis(sizes[0] / 1.15, sizes[-1] * 1.15, sizes, logarithmic=True)
    shares = [share for point in curve for share in (point.accuracy.low, point.accuracy.high, *point.draws)]
    y_axis = share_axis(min(shares), max(shares))
    means = [(x_axis.place(point.n_train), 100 - y_axis.place(point.accuracy.value)) for point in curve]
    marks = [line(start, end, class_="trend") for start, end in pairwise(means)]
    for point, (x, _) in zip(curve, means, strict=True):
        marks += [dot((x - _ASIDE, 100 - y_axis.place(draw)), 2.5, class_="draw") for draw in point.draws]
        words = f"{count(point.n_train)} training items: {percent_interval(point.accuracy)}"
        marks.append(_interval((x, point.accuracy), y_axis, class_="mark", words=words))
    return _plot(
        marks, (x_axis, y_axis), names=("training items", "accuracy"), ticks=lambda size: count(int(size)),
        what="Learning curve: accuracy against the number of training items",
    )  # fmt: skip


def cost_against_accuracy(candidates: Sequence[CandidateRecord], chosen: int | None) -> Markup:
    """What each candidate costs against its out-of-fold accuracy; the numbers are those of the table beside it.

    The cost is the time to serve one item where all have it, on an axis of equal ratios; a line joins those on its
    front. Otherwise it is the time that each took in this run. The chosen one and the front are labelled first, and no
    label is put over another.

    Args:
        candidates: What was tried, in the order of the table; at least one.
        chosen: The position of the chosen one, if it is among them.
    """
    served = serving_ms(candidates)
    costs = served or [candidate.seconds for candidate in candidates]
    accuracies = [candidate.oof.accuracy for candidate in candidates]
    x_axis = ratio_axis(min(costs), max(costs)) if served else amount_axis(1.04 * max(costs))
    y_axis = share_axis(min(each.low for each in accuracies), max(each.high for each in accuracies))
    places = [
        (x_axis.place(cost), 100 - y_axis.place(each.value)) for cost, each in zip(costs, accuracies, strict=True)
    ]
    front = [index for index, each in enumerate(candidates) if served and "latency" in each.fronts]
    path = sorted(places[index] for index in front)
    marks = [line(start, end, class_="trend") for start, end in pairwise(path)]
    # What matters lies above the rest.
    first = [*([] if chosen is None else [chosen]), *(index for index in front if index != chosen)]
    order = [*first, *(index for index in range(len(candidates)) if index not in first)]
    for index in reversed(order):
        amount = milliseconds(costs[index]) if served else seconds(costs[index])
        words = f"{index + 1}: {candidates[index].backbone}: {percent_interval(accuracies[index])}, {amount}"
        marks.append(
            _interval((places[index][0], accuracies[index]), y_axis, class_=_style(index, chosen, front), words=words)
        )
    for index in _apart([(index, places[index]) for index in order]):
        style = _style(index, chosen, front)
        marks.append(label(str(index + 1), places[index], shift=(8, 4), anchor="start", class_=style))
    cost_name = "milliseconds to serve one item" if served else "seconds in this run"
    return _plot(
        marks, (x_axis, y_axis), names=(cost_name, "out-of-fold accuracy"), ticks=lambda cost: f"{cost:g}",
        what=f"Candidates: {cost_name} against out-of-fold accuracy",
    )  # fmt: skip


def _style(index: int, chosen: int | None, front: Sequence[int]) -> str:
    if index == chosen:
        return "mark chosen"
    return "mark front" if index in front else "mark other"


def _apart(places: Sequence[tuple[int, tuple[float, float]]]) -> list[int]:
    """Those that can be labelled: a few, none of which lies where one before it has its label."""
    taken: list[tuple[float, float]] = []
    found: list[int] = []
    for index, (x, y) in places:
        is_free = all(abs(x - other) >= _LABEL_WIDTH or abs(y - at) >= _LABEL_HEIGHT for other, at in taken)
        if is_free and len(found) < _MOST_LABELS:
            taken.append((x, y))
            found.append(index)
    return found


def ranking(rows: Sequence[RankingRow], chosen: str = "") -> Markup:
    """What each backbone costs against its leave-one-out accuracy; the ties are shaded.

    The cost is the operations for one item where all are known, otherwise the parameters, on an axis of powers of ten.

    Args:
        rows: The backbones, in the order of the table; at least one, and each with its interval.
        chosen: The name of the one that was chosen, if one was.
    """
    known = all(row.gflops > 0 for row in rows)
    costs = [row.gflops if known else row.n_params / 1e6 for row in rows]
    accuracies = [row.accuracy for row in rows if row.accuracy is not None]
    x_axis = ratio_axis(min(costs), max(costs))
    y_axis = share_axis(min(each.low for each in accuracies), max(each.high for each in accuracies))
    unit = "GFLOPs an item" if known else "million parameters"
    marks = []
    for position, (row, cost, accuracy) in enumerate(zip(rows, costs, accuracies, strict=True), start=1):
        x, y = x_axis.place(cost), 100 - y_axis.place(accuracy.value)
        style = "mark chosen" if row.backbone == chosen or (row.tie_set and not chosen) else "mark other"
        words = f"{position}: {row.backbone}: {percent_interval(accuracy)}, {cost:.3g} {unit}"
        marks.append(_interval((x, accuracy), y_axis, class_=style, words=words))
        marks.append(label(str(position), (x, y), shift=(8, 4), anchor="start", class_=style))
    tied = [row.accuracy for row in rows if row.tie_set and row.accuracy is not None]
    if len(tied) > 1:
        top, bottom = (100 - y_axis.place(edge([each.value for each in tied])) for edge in (max, min))
        height = bottom - top + 2 * _ROUND_TIES
        shade = element(
            "rect", x="0", y=f"{top - _ROUND_TIES:.2f}%", width="100%", height=f"{height:.2f}%", class_="ties"
        )
        marks.insert(0, shade)
    return _plot(
        marks, (x_axis, y_axis), names=(unit, "leave-one-out accuracy"), ticks=lambda cost: f"{cost:g}",
        what=f"Backbones: {unit} against leave-one-out accuracy",
    )  # fmt: skip


def loss_curves(trainings: Sequence[TrainingRecord], *, of: Literal["both", "seen", "unseen"] = "both") -> Markup:
    """The loss on what was trained on and on what was held out, epoch by epoch; one line a training and side.

    Args:
        trainings: With at least one epoch among them.
        of: One side alone, where the two are not of one kind: pairs are trained on and items held out, for example.
    """
    curves = _both_sides(trainings, lambda scores: scores.loss if scores.loss < _MOST_LOSS else None)
    curves = [curve for curve in curves if of in ("both", curve.style)]
    axis = amount_axis(max((value for curve in curves for _, value in curve.points), default=1.0))
    name = "loss" if of == "both" else f"loss, {next(what for what, style in _SIDES if style == of)}"
    return _curves(curves, axis, name=name, words=number, ticks=small, legend=_SIDES)


def accuracy_curves(trainings: Sequence[TrainingRecord]) -> Markup:
    """Likewise the accuracy.

    Args:
        trainings: With at least one accuracy among them.
    """
    curves = _both_sides(trainings, lambda scores: scores.accuracy)
    shares = [value for curve in curves for _, value in curve.points]
    axis = share_axis(min(shares), max(shares))
    return _curves(curves, axis, name="accuracy", words=percent, ticks=_short_percent, legend=_SIDES)


def rate_curves(trainings: Sequence[TrainingRecord]) -> Markup:
    """The learning rate in the last step of each epoch: that of the head, and of the lowest stage where it is another.

    Args:
        trainings: With at least one epoch among them.
    """
    head = {tuple((epoch.number, epoch.lr) for epoch in training.epochs) for training in trainings}
    lowest = {tuple((epoch.number, epoch.lowest_lr) for epoch in training.epochs) for training in trainings} - head
    curves = [_Curve("lowest stage", "seen", points) for points in sorted(lowest)]
    curves += [_Curve("head", "unseen", points) for points in sorted(head)]
    axis = amount_axis(max(value for curve in curves for _, value in curve.points))
    legend = (("lowest stage", "seen"), ("head", "unseen")) if lowest else ()
    return _curves(curves, axis, name="learning rate", words=small, ticks=small, legend=legend)


def _both_sides(trainings: Sequence[TrainingRecord], value: Callable[[Scores], float | None]) -> list[_Curve]:
    """The curves of what was trained on, then those of what was held out, which matter more and lie above."""
    sides: tuple[tuple[str, str, Callable[[Epoch], Scores | None]], ...] = (
        (*_SIDES[0], lambda epoch: epoch.train),
        (*_SIDES[1], lambda epoch: epoch.validation),
    )
    curves = []
    for what, style, side in sides:
        for training in trainings:
            scores = [(epoch.number, side(epoch)) for epoch in training.epochs]
            values = [(at, value(each)) for at, each in scores if each is not None]
            points = tuple((at, each) for at, each in values if each is not None)
            whose = f"{training_name(training.fold)}, " if len(trainings) > 1 else ""
            curves.append(_Curve(f"{whose}{what}", style, points, training.kept if style == "unseen" else 0))
    return curves


def _curves(
    curves: Sequence[_Curve],
    y_axis: Axis,
    *,
    name: str,
    words: Callable[[float], str],
    ticks: Callable[[float], str],
    legend: Sequence[tuple[str, str]],
) -> Markup:
    """Lines over epochs with a point on each, a larger one on the kept epoch where that is not the last."""
    x_axis = number_axis(max((at for curve in curves for at, _ in curve.points), default=1))
    marks = []
    for curve in curves:
        places = [(x_axis.place(at), 100 - y_axis.place(value)) for at, value in curve.points]
        parts = [line(start, end, class_="trace") for start, end in pairwise(places)]
        for where, (at, value) in zip(places, curve.points, strict=True):
            kept = at == curve.kept != curve.points[-1][0]
            said = f"{curve.what}, epoch {at}{' (kept)' if kept else ''}: {words(value)}"
            parts.append(dot(where, 4 if kept else 2, title(said), class_="step"))
        marks.append(group(parts, class_=f"curve {curve.style}"))
    if len({style for _, style in legend} & {curve.style for curve in curves if curve.points}) > 1:
        marks += [
            label(what, (100, 0), shift=(0, -16 * (1 + row)), anchor="end", class_=f"legend {style}")
            for row, (what, style) in enumerate(legend)
        ]
    return _plot(
        marks, (x_axis, y_axis), names=("epoch", name), ticks=lambda at: str(int(at)), y_ticks=ticks,
        what=f"Training: {name} after each epoch",
    )  # fmt: skip


def _interval(at: tuple[float, Estimate], axis: Axis, *, class_: str, words: str) -> Markup:
    x, estimate = at
    low, value, high = (100 - axis.place(share) for share in (estimate.low, estimate.value, estimate.high))
    marks = (line((x, low), (x, high), class_="interval"), dot((x, value), 4.5, class_="point"))
    return group((title(words), *marks), class_=class_)


def _plot(
    marks: Sequence[Markup],
    axes: tuple[Axis, Axis],
    *,
    names: tuple[str, str],
    ticks: Callable[[float], str],
    what: str,
    y_ticks: Callable[[float], str] | None = None,
) -> Markup:
    """The marks on a grid; labels lie outside the box of the figure, in the margin that the style sheet gives it."""
    x_axis, y_axis = axes
    frame = [_x_tick(x_axis.place(tick), ticks(tick)) for tick in x_axis.ticks]
    frame += [_y_tick(100 - y_axis.place(tick), (y_ticks or _short_percent)(tick)) for tick in y_axis.ticks]
    frame.append(label(names[1], (0, 0), shift=(-46, -16), anchor="start", class_="name"))
    frame.append(label(names[0], (100, 100), shift=(0, 38), anchor="end", class_="name"))
    return element("svg", group(frame), *marks, class_="plot", role="img", aria_label=what)


def _x_tick(x: float, text: str) -> Markup:
    tick = line((x, 0), (x, 100), class_="grid")
    return group((tick, label(text, (x, 100), shift=(0, 18), anchor="middle", class_="tick")))


def _y_tick(y: float, text: str) -> Markup:
    tick = line((0, y), (100, y), class_="grid")
    return group((tick, label(text, (0, y), shift=(-8, 4), anchor="end", class_="tick")))


def _short_percent(share: float) -> str:
    return f"{100 * share:.4g}%"
