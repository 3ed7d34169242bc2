"""The story of `compare`: two runs side by side, item by item where they were tested on the same items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from headstart.errors import BundleError, DataError, OptionError
from headstart.evaluation.comparison import compare_apart, compare_correct
from headstart.evaluation.metrics import share_right
from headstart.evaluation.records import Difference
from headstart.reports import Run, read_run
from headstart.reports.compared import ClassDifference, ComparisonRecord, Setting, Side
from headstart.reports.predictions import TestTable, read_test_table
from headstart.reports.record import chosen_among

_SIGNIFICANT = 0.05
_TABLE = "predictions_test.csv"


def compare(first: str | Path, second: str | Path) -> ComparisonRecord:
    """Which of two runs is better on its sealed test, by how much, and what they did differently.

    Args:
        first: The folder of a run, or its `run.json`.
        second: That of another run.

    Raises:
        OptionError: If both are the same run.
        BundleError: If one is no run, is damaged, or is from another version of the format.
        DataError: If the runs do not have the same classes.
    """
    places = [Path(first), Path(second)]
    folders = [place if place.is_dir() else place.parent for place in places]
    runs = [read_run(place) for place in places]
    if folders[0].resolve() == folders[1].resolve():
        raise OptionError(
            f"two different runs are compared, but both are {str(folders[0])!r}", hint="Name another run."
        )
    _check_classes(*runs)
    tables = [read_test_table(folder / _TABLE) for folder in folders]
    for run, table, folder in zip(runs, tables, folders, strict=True):
        _check_table(run, table, folder / _TABLE)
    alike = runs[0].name == runs[1].name
    sides = [_side(run, folder, str(folder) if alike else run.name) for run, folder in zip(runs, folders, strict=True)]
    apart = _why_apart(runs, tables)
    if apart:
        difference, classes = _unpaired(runs, tables)
        pairing = (
            f"The two are not compared item by item: {apart}. So the chance of two different tests is in the range."
        )
    else:
        difference, classes = _paired(runs, tables)
        n = len(tables[0].items)
        pairing = f"Both were tested on the same {n:,} items, so they are compared item by item."
    return ComparisonRecord(
        first=sides[0],
        second=sides[1],
        paired=not apart,
        pairing=pairing,
        difference=difference,
        sentence=_sentence(difference, sides[0].name, sides[1].name),
        classes=_standing_out(classes),
        settings=_settings(*runs),
    )


def _check_classes(first: Run, second: Run) -> None:
    ours, theirs = set(first.data.classes), set(second.data.classes)
    if ours != theirs:
        only = [
            f"only {run.name!r} has {', '.join(map(repr, sorted(more)[:3]))}"
            for run, more in ((first, ours - theirs), (second, theirs - ours))
            if more
        ]
        raise DataError(
            f"two runs are compared on the same classes, but {' and '.join(only)}",
            hint="Fit both on data with the same class names.",
        )


def _check_table(run: Run, table: TestTable, path: Path) -> None:
    n_groups = len(run.data.test_groups)
    if len(table.items) != run.evaluation.n or n_groups not in (0, len(table.items)):
        raise BundleError(
            f"{path.name} must have a row for each of the {run.evaluation.n:,} test items of the run, "
            f"but {str(path)!r} has {len(table.items):,}",
            hint="The file was edited; restore it, or run `headstart fit` again.",
        )


def _side(run: Run, folder: Path, name: str) -> Side:
    place = chosen_among(run.candidates, run.chosen)
    candidate = None if place is None else run.candidates[place]
    layers = str(run.chosen.settings.get("layers", ""))
    return Side(
        name=name,
        out=str(folder),
        model=" · ".join(filter(None, (run.chosen.backbone, layers, run.chosen.strategy))),
        accuracy=run.evaluation.accuracy,
        log_loss=run.evaluation.log_loss,
        n_train=run.data.n_train,
        n_params=None if candidate is None else candidate.n_params,
        ms_per_item=None if candidate is None else candidate.ms_per_item,
        seconds=run.timings.get("total"),
    )


def _why_apart(runs: Sequence[Run], tables: Sequence[TestTable]) -> str:
    """Why the test items of two runs are not known to be the same, or nothing."""
    (first, second), (ours, theirs) = (run.data for run in runs), tables
    own = first.test_fingerprint, second.test_fingerprint
    same = own[0] == own[1] if all(own) else first.fingerprint == second.fingerprint
    if dict(zip(ours.items, ours.targets, strict=True)).keys() != set(theirs.items):
        shared = len(set(ours.items) & set(theirs.items))
        return f"their tests share {shared:,} of {len(ours.items):,} and {len(theirs.items):,} items by name"
    if len(set(ours.items)) < len(ours.items):
        return "several test items have the same name"
    if _targets(ours) != _targets(theirs):
        return "the same items have other labels"
    return "" if same else "items of the same names have another content"


def _targets(table: TestTable) -> dict[str, str]:
    return dict(zip(table.items, table.targets, strict=True))


def _right(table: TestTable) -> Bool[np.ndarray, " items"]:
    return np.array([said == true for said, true in zip(table.predictions, table.targets, strict=True)])


def _groups(run: Run) -> tuple[str, ...] | None:
    return tuple(map(str, run.data.test_groups)) or None


def _paired(runs: Sequence[Run], tables: Sequence[TestTable]) -> tuple[Difference, dict[str, Difference]]:
    ours, theirs = tables
    place = {name: row for row, name in enumerate(theirs.items)}
    order = [place[name] for name in ours.items]
    right_ours, right_theirs = _right(ours), _right(theirs)[order]
    targets, groups = np.array(ours.targets), _groups(runs[0])

    def on(rows: Bool[np.ndarray, " items"]) -> Difference:
        own = None if groups is None else [groups[row] for row in np.flatnonzero(rows)]
        return compare_correct(right_ours[rows], right_theirs[rows], seed=runs[0].seed, groups=own)

    return on(np.ones(len(order), dtype=np.bool_)), _by_class(runs, [targets], lambda name: on(targets == name))


def _unpaired(runs: Sequence[Run], tables: Sequence[TestTable]) -> tuple[Difference, dict[str, Difference]]:
    targets, right = [np.array(table.targets) for table in tables], [_right(table) for table in tables]

    def on(name: str) -> Difference:
        first, second = (share_right(each[own == name]) for each, own in zip(right, targets, strict=True))
        return compare_apart(first, second)

    accuracies = (run.evaluation.accuracy for run in runs)
    return compare_apart(*accuracies), _by_class(runs, targets, on)


def _by_class(
    runs: Sequence[Run], targets: Sequence[np.ndarray], on: Callable[[str], Difference]
) -> dict[str, Difference]:
    """The classes that have test items everywhere, in the order of the first run."""
    return {name: on(name) for name in runs[0].data.classes if all((each == name).any() for each in targets)}


def _standing_out(classes: dict[str, Difference]) -> tuple[ClassDifference, ...]:
    """By Holm 1979 (Scand. J. Stat. 6:65): the smallest p-value counts for all classes, the next for one less."""
    out, largest = set(), 0.0
    for number, name in enumerate(sorted(classes, key=lambda name: classes[name].p_value)):
        largest = max(largest, (len(classes) - number) * classes[name].p_value)
        if largest >= _SIGNIFICANT:
            break
        out.add(name)
    return tuple(ClassDifference(name, recall, name in out) for name, recall in classes.items())


def _settings(first: Run, second: Run) -> tuple[Setting, ...]:
    ours, theirs = _said(first), _said(second)
    names = dict.fromkeys([*ours, *theirs])
    return tuple(
        Setting(name, ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)
    )


def _said(run: Run) -> dict[str, str | float | int]:
    """What can be done otherwise, and came out otherwise where it is left to `fit`."""
    validation = (
        {} if run.validation is None else {"folds": run.validation.n_folds, "repeats": run.validation.n_repeats}
    )
    return {
        "backbone": run.chosen.backbone,
        "strategy": run.chosen.strategy,
        **{name: value for name, value in run.chosen.settings.items() if name != "temperature"},
        "training items": run.data.n_train,
        "test items": run.data.n_test,
        "budget (s)": run.budget_s,
        "preference": run.prefer,
        **validation,
        "seed": run.seed,
        **{name: run.environment[name] for name in ("device", "dtype", "headstart") if name in run.environment},
    }


def _sentence(difference: Difference, first: str, second: str) -> str:
    low, high = sorted((abs(difference.low), abs(difference.high)))
    if difference.low > 0 or difference.high < 0:
        better, worse = (first, second) if difference.low > 0 else (second, first)
        points = f"{100 * abs(difference.value):.1f} points ({100 * low:.1f} to {100 * high:.1f})"
        return f"{better} is better than {worse} by {points}."
    points = f"{100 * difference.value:+.1f} points ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    return f"Which of {first} and {second} is better cannot be told: {points} for {first}."
