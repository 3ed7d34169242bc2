"""Whether two sides come from the same source: in what a backbone sees, in simple quantities, and in the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve

from headstart._randomness import generator
from headstart._threads import one_thread
from headstart.auditing.finding import MAX_EXAMPLES, Example, Finding, Severity, finding
from headstart.errors import DataError, OptionError
from headstart.evaluation.intervals import wilson
from headstart.evaluation.records import Estimate

_MOST_ITEMS = 500  # of a side: a classifier that is right on 55 % of them is not so by chance
_FEWEST_ITEMS = 20
_N_FOLDS = 5
_PENALTY = 0.03  # per item, for rows with a mean squared length of 1
_N_DRAWS = 499
_LEVEL = 0.01  # of each of the tests
_LEAST_ACCURACY = 0.55
_WARN_ACCURACY, _SERIOUS_ACCURACY = 0.65, 0.85
_LEAST_DISTANCE = 0.1  # between distribution functions
_LEAST_VARIATION, _WARN_VARIATION = 0.05, 0.1
_LEAST_EXPECTED = 5.0  # in each cell, for the χ² distribution to hold
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Side:
    """One of two sets of items.

    Attributes:
        name: How it is called in a sentence, for example `training` or `test`.
        names: How the user knows each item.
        features: What a backbone says about each.
        labels: For each its class, or None where labels are not to be looked at.
        units: For each what it belongs with; items of one unit, such as copies on both sides, share it. None: each item
            is on its own.
        quantities: Simple numbers of each item by what they are, such as `brightness` or `characters`.
    """

    name: str
    names: Sequence[str]
    features: Float[np.ndarray, "items width"]
    labels: Int[np.ndarray, " items"] | None = None
    units: Sequence[str] | None = None
    quantities: Mapping[str, Float[np.ndarray, " items"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, eq=False)
class SidesApart:
    """How well a classifier that did not see an item tells which side it is from.

    Attributes:
        accuracy: The share of items that it puts on the right side, as many of each; 0.5 is chance.
        p_value: Of the area under its ROC curve among those for sides drawn at random, 0 to 1.
        unlike_first: Positions in the second side of the items least like the first, the least like first.
        unlike_second: Positions in the first side of the items least like the second.
    """

    accuracy: Estimate
    p_value: float
    unlike_first: Int[np.ndarray, " some"]
    unlike_second: Int[np.ndarray, " some"]


@dataclass(frozen=True, slots=True)
class QuantityShift:
    """A quantity whose distribution differs.

    Attributes:
        name: Of the quantity.
        distance: The greatest distance between the two distribution functions, 0 to 1 (Kolmogorov and Smirnov).
        p_value: Of the two-sample test, times the number of quantities that were tested (Bonferroni), at most 1.
        medians: Of the first and of the second side.
    """

    name: str
    distance: float
    p_value: float
    medians: tuple[float, float]


@dataclass(frozen=True, eq=False)
class LabelShift:
    """How the shares of the classes differ.

    Attributes:
        variation: Total variation distance of the shares, half the sum of their differences, 0 to 1.
        p_value: Of the χ² test of equal shares; from tables drawn at random where a count is small.
        shares: Of each class, on the first and on the second side.
    """

    variation: float
    p_value: float
    shares: Float[np.ndarray, "two classes"]


def shift_findings(
    first: Side, second: Side, *, classes: Sequence[str] = (), against: bool = False, seed: int = 0
) -> Iterator[Finding]:
    """What is to be told about the difference between two sides.

    Args:
        first: For example the training side.
        second: For example the test side.
        classes: The class names that labels point to.
        against: Whether the second side is another data set, rather than a side of the same one.
        seed: Of the sample, of the folds and of the draws.

    Raises:
        DataError: If features are not finite.
        OptionError: If the sides do not have the same width, or something is not given for each item.
    """
    _check(first, second)
    suffix = "against" if against else "between_sides"
    yield from _feature_finding(first, second, f"shift_{suffix}", against=against, seed=seed)
    yield from _label_finding(first, second, f"label_shift_{suffix}", classes, seed=seed)


def sides_apart(first: Side, second: Side, *, seed: int = 0) -> SidesApart | None:
    """The classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545), cross-validated.

    A ridge classifier on at most 500 items of each side says of each item which side it is from, without having seen it
    or any item of its unit. Its scores are linear in the sides, so those for other sides cost one product: the p-value
    is exact, by sides drawn at random for whole units. Units that lie on both sides stay as they are.

    Args:
        first: One side.
        second: The other side.
        seed: Of the sample, of the folds and of the draws.

    Returns:
        The result; None with fewer than 20 items or 10 units on a side, or no unit that is on one side only.
    """
    n_each = min(len(first), len(second), _MOST_ITEMS)
    random = generator(seed, "shift")
    rows = [np.sort(random.choice(len(side), n_each, replace=False)) for side in (first, second)]
    names = [
        _units(side, number)[taken] for number, (side, taken) in enumerate(zip((first, second), rows, strict=True))
    ]
    if n_each < _FEWEST_ITEMS or min(len(np.unique(each)) for each in names) < _FEWEST_ITEMS // 2:
        return None
    # In random order, so that equal scores favour neither side.
    order = random.permutation(2 * n_each)
    is_second, place = np.repeat([False, True], n_each)[order], np.concatenate(rows)[order]
    unit = np.unique(np.concatenate(names), return_inverse=True)[1][order]
    of_second = np.bincount(unit, weights=is_second)
    if not ((of_second == 0).any() and (of_second == np.bincount(unit)).any()):
        return None
    features = np.concatenate([side.features[taken] for side, taken in zip((first, second), rows, strict=True)])[order]
    folds = _folds(unit, random)
    with one_thread():
        smoother = _smoother(features, folds)
        sides = np.concatenate([is_second[None], _drawn_sides(unit, is_second, random)])
        scores = np.where(sides, np.float32(1), np.float32(-1)) @ smoother.T
    areas = _areas(scores, sides)
    likely = np.argsort(-scores[0], kind="stable")
    return SidesApart(
        accuracy=wilson(int(((scores[0] > 0) == is_second).sum()), 2 * n_each),
        p_value=float((1 + (areas[1:] >= areas[0]).sum()) / len(areas)),
        unlike_first=place[likely[is_second[likely]]],
        unlike_second=place[likely[~is_second[likely]]][::-1],
    )


def quantity_shifts(first: Side, second: Side) -> list[QuantityShift]:
    """Quantities that differ, by two-sample tests on one item of each unit, the greatest distance first.

    Args:
        first: One side.
        second: The other side, with the same quantities.
    """
    from scipy.stats import ks_2samp

    lone = [_one_of_each(_units(side, number)) for number, side in enumerate((first, second))]
    shared = [name for name in first.quantities if name in second.quantities]
    found = []
    for name in shared:
        values = [
            np.asarray(side.quantities[name], np.float64)[rows]
            for side, rows in zip((first, second), lone, strict=True)
        ]
        known = [each[np.isfinite(each)] for each in values]
        if min(map(len, known)) < _FEWEST_ITEMS:
            continue
        test = ks_2samp(known[0], known[1], method="asymp")
        p_value = min(1.0, float(test.pvalue) * len(shared))
        if p_value < _LEVEL and test.statistic >= _LEAST_DISTANCE:
            medians = (float(np.median(known[0])), float(np.median(known[1])))
            found.append(QuantityShift(name, float(test.statistic), p_value, medians))
    return sorted(found, key=lambda each: -each.distance)


def label_shift(
    first: Int[np.ndarray, " items"], second: Int[np.ndarray, " others"], n_classes: int, *, seed: int = 0
) -> LabelShift:
    """Whether the classes have the same shares on both sides.

    Args:
        first: The class of each item of one side, at least one.
        second: The same of the other side.
        n_classes: The number of classes.
        seed: Of the tables that are drawn where a count is small.
    """
    counts = np.stack([np.bincount(labels, minlength=n_classes) for labels in (first, second)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    present = counts[:, counts.sum(axis=0) > 0]
    expected = np.outer(present.sum(axis=1), present.sum(axis=0)) / present.sum()
    statistic = float(((present - expected) ** 2 / expected).sum())
    if present.shape[1] < 2:
        p_value = 1.0
    elif expected.min() >= _LEAST_EXPECTED:
        from scipy.special import chdtrc

        p_value = float(chdtrc(present.shape[1] - 1, statistic))
    else:
        random = generator(seed, "label shift")
        drawn = random.multivariate_hypergeometric(present.sum(axis=0), int(present[1].sum()), size=_N_DRAWS)
        tables = np.stack([present.sum(axis=0) - drawn, drawn], axis=1)
        statistics = ((tables - expected) ** 2 / expected).sum(axis=(1, 2))
        # Rounding must not keep a table from being as extreme as itself.
        p_value = float((1 + (statistics >= statistic * (1 - 1e-9)).sum()) / (1 + _N_DRAWS))
    return LabelShift(float(np.abs(shares[0] - shares[1]).sum() / 2), p_value, shares)


def _feature_finding(first: Side, second: Side, kind: str, *, against: bool, seed: int) -> Iterator[Finding]:
    apart, quantities = sides_apart(first, second, seed=seed), quantity_shifts(first, second)
    if apart is not None and (apart.p_value >= _LEVEL or apart.accuracy.value < _LEAST_ACCURACY):
        apart = None
    if apart is None and not quantities:
        return
    sentences = []
    if apart is not None:
        told = apart.accuracy
        sentences.append(
            f"A classifier tells the {first.name} side from the {second.name} side on {told.value:.0%} of the items "
            f"({told.low:.0%} to {told.high:.0%}; 50% is chance)."
        )
    if quantities:
        told_of = "; ".join(
            f"{each.name} (median {each.medians[0]:.4g} against {each.medians[1]:.4g})"
            for each in quantities[:_MOST_NAMED]
        )
        sentences.append(f"What differs most among simple quantities: {told_of}.")
    yield finding(
        kind,
        "info" if apart is None else _severity(apart.accuracy.value),
        [] if apart is None else [second.names[row] for row in apart.unlike_first],
        summary=" ".join(sentences),
        effect=(
            f"What is measured on one side need not hold on the other: a model that learns from the {first.name} side "
            f"may do worse on the {second.name} side than cross-validation promises."
        ),
        advice=(
            "Look at the items that give the sides away. If the other data is what the model is for, label some of it "
            "and train on it too."
            if against
            else "Look at the items that give the sides away. If the split was meant to be random, draw it again; if "
            "the test is what the model is for, add such items to training."
        ),
        examples=[] if apart is None else _examples(first, second, apart),
        count=len(second),
    )


def _examples(first: Side, second: Side, apart: SidesApart) -> Iterator[Example]:
    for ours, theirs, rows in ((second, first, apart.unlike_first), (first, second, apart.unlike_second)):
        for row in rows[: MAX_EXAMPLES // 2]:
            yield Example((ours.names[row],), f"of the {ours.name} side, unlike the {theirs.name} side")


def _label_finding(first: Side, second: Side, kind: str, classes: Sequence[str], *, seed: int) -> Iterator[Finding]:
    if first.labels is None or second.labels is None or not (len(first) and len(second)):
        return
    n_classes = max(len(classes), int(max(first.labels.max(), second.labels.max())) + 1)
    lone = [_one_of_each(_units(side, number)) for number, side in enumerate((first, second))]
    tested = label_shift(first.labels[lone[0]], second.labels[lone[1]], n_classes, seed=seed)
    found = label_shift(first.labels, second.labels, n_classes, seed=seed)
    if tested.p_value >= _LEVEL or found.variation < _LEAST_VARIATION:
        return
    order = np.argsort(-np.abs(found.shares[1] - found.shares[0]), kind="stable")[:_MOST_NAMED]
    called = [classes[label] for label in order]
    most = "; ".join(
        f"{name!r} {found.shares[0, label]:.0%} against {found.shares[1, label]:.0%}"
        for name, label in zip(called, order, strict=True)
    )
    yield finding(
        kind,
        "warning" if found.variation >= _WARN_VARIATION else "info",
        called,
        summary=(
            f"The classes have other shares on the {second.name} side than on the {first.name} side: {most} (total "
            f"variation {found.variation:.2f})."
        ),
        effect=(
            "Accuracy weighs the classes by their shares, so it differs between the sides even for the same model, and "
            "probabilities lean towards what was common in training."
        ),
        advice="Compare recall by class rather than accuracy, or bring the shares together.",
    )


def _severity(accuracy: float) -> Severity:
    if accuracy >= _SERIOUS_ACCURACY:
        return "serious"
    return "warning" if accuracy >= _WARN_ACCURACY else "info"


def _units(side: Side, number: int) -> np.ndarray:
    """The unit of each item; without units every item of either side is one."""
    if side.units is None:
        return np.array([f"\0{number} {row}" for row in range(len(side))])
    return np.asarray(side.units, dtype=str)


def _one_of_each(units: np.ndarray) -> Int[np.ndarray, " units"]:
    return np.sort(np.unique(units, return_index=True)[1])


def _folds(unit: Int[np.ndarray, " items"], random: np.random.Generator) -> Int[np.ndarray, " items"]:
    """Whole units, the largest first, each to the smallest fold.

    Not stratified by side: folds must be such as any drawn sides could have, or the p-value would be too small.
    """
    sizes = np.bincount(unit)
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    held, fold = np.zeros(_N_FOLDS, np.int64), np.empty(len(sizes), np.int64)
    for each in order:
        fold[each] = held.argmin()
        held[fold[each]] += sizes[each]
    of_items: np.ndarray = fold[unit]
    return of_items


def _smoother(
    features: Float[np.ndarray, "items width"], folds: Int[np.ndarray, " items"]
) -> Float[np.ndarray, "items items"]:
    """What the sides are multiplied with to give out-of-fold scores, K₀₁(K₁₁ + λI)⁻¹ for each fold, without a bias.

    The bias would be the mean side of the training items: lower in the folds that hold more of the second side.
    """
    centred = features.astype(np.float32) - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    largest = float(np.abs(centred).max(initial=0))
    centred /= largest if largest > 0 else 1.0
    products = centred @ centred.T
    products /= max(float(np.trace(products)) / len(products), 1e-30)
    smoother: np.ndarray = np.zeros_like(products)
    for fold in np.unique(folds):
        out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        known, new = products[np.ix_(rest, rest)], products[np.ix_(out, rest)]
        # About the mean of the items that are trained on.
        mean, all_mean = known.mean(axis=0), known.mean()
        known_centred = known - mean - mean[:, None] + all_mean
        new_centred = new - mean - new.mean(axis=1, keepdims=True) + all_mean
        known_centred[np.diag_indices(len(rest))] += np.float32(_PENALTY * len(rest))
        factor = cho_factor(known_centred, lower=True, check_finite=False)
        weights = cho_solve(factor, new_centred.T, check_finite=False).T
        smoother[np.ix_(out, rest)] = weights - weights.mean(axis=1, keepdims=True)
    return smoother


def _drawn_sides(
    unit: Int[np.ndarray, " items"], is_second: Bool[np.ndarray, " items"], random: np.random.Generator
) -> Bool[np.ndarray, "draws items"]:
    """Sides for whole units at random, with about as many items on the second as there are."""
    sizes = np.bincount(unit)
    of_second = np.bincount(unit, weights=is_second)
    pure = np.flatnonzero((of_second == 0) | (of_second == sizes))
    wanted = of_second[pure].sum()
    chosen = np.zeros((_N_DRAWS, len(sizes)), dtype=np.bool_)
    for draw in chosen:
        order = random.permutation(pure)
        before = np.cumsum(sizes[order]) - sizes[order]
        draw[order[before + sizes[order] / 2 <= wanted]] = True
    drawn: np.ndarray = chosen[:, unit]
    mixed = ~np.isin(unit, pure)
    drawn[:, mixed] = is_second[mixed]
    return drawn


def _areas(
    scores: Float[np.ndarray, "draws items"], sides: Bool[np.ndarray, "draws items"]
) -> Float[np.ndarray, " draws"]:
    """The area under each ROC curve; scores are all different but for copies, whose order is that of the rows."""
    ranks = np.empty(scores.shape, np.int32)
    places = np.arange(1, scores.shape[1] + 1, dtype=np.int32)
    np.put_along_axis(ranks, np.argsort(scores, axis=1, kind="stable"), places[None], axis=1)
    n_second = sides.sum(axis=1)
    n_pairs = np.maximum(n_second * (sides.shape[1] - n_second), 1)
    areas: np.ndarray = ((ranks * sides).sum(axis=1) - n_second * (n_second + 1) / 2) / n_pairs
    return areas


def _check(first: Side, second: Side) -> None:
    if first.features.ndim != 2 or second.features.ndim != 2 or first.features.shape[1] != second.features.shape[1]:
        raise OptionError(
            "two sides must have features of the same width, "
            f"but their shapes are {first.features.shape} and {second.features.shape}"
        )
    for side in (first, second):
        given = [side.names, side.labels, side.units, *side.quantities.values()]
        if any(each is not None and len(each) != len(side) for each in given):
            raise OptionError(
                f"names, labels, units and quantities must be given for each of the {len(side)} items of the "
                f"{side.name} side"
            )
        if not np.isfinite(side.features).all():
            raise DataError(
                f"features must be finite numbers, but some of the {side.name} side are not",
                hint="Leave these items out, or compute their features again in float32.",
            )
