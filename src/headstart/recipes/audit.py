"""The story of `audit`: what to know about the data before any number is believed."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from headstart._checks import check_kind
from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart._randomness import generator
from headstart.auditing import Finding, most_serious_first
from headstart.auditing.classes import class_findings, left_out_findings
from headstart.auditing.copies import Copies, copies_among_all, copy_findings
from headstart.auditing.enough import ridge_curve
from headstart.auditing.files import shows_nothing
from headstart.auditing.labels import alike_findings, label_findings, recalls
from headstart.auditing.repair import plan, repair_split
from headstart.auditing.series import Series, find_series, series_findings
from headstart.auditing.shift import shift_findings
from headstart.backbones.precision import pick_device, pick_precision
from headstart.backbones.resolve import Local
from headstart.data.assemble import nothing_left
from headstart.data.dataset import Dataset, LeftOut
from headstart.data.identify import identify
from headstart.data.manifest import ManifestRow, check_can_be_listed, is_manifest_file, value_in
from headstart.data.read import read_dataset, read_items
from headstart.data.reduce import leave_out, tell_apart
from headstart.errors import DataError, OutputError
from headstart.evaluation.records import LearningCurve
from headstart.features.extract import Compute
from headstart.recipes.auditing import (
    FEWEST_ITEMS,
    Labels,
    Looked,
    findings_in_texts,
    illustrated,
    item_findings,
    leaks_of,
    look,
    look_at_labels,
    pictures_of,
    shift_of_sides,
    shown_as,
    side_of,
)
from headstart.recipes.climb import NOT_REACHED, Climb
from headstart.recipes.consider import consider
from headstart.recipes.options import FitOptions
from headstart.recipes.reading import name_of, read
from headstart.recipes.record import environment
from headstart.recipes.stores import open_store
from headstart.recipes.workspace import Clock, NoLog, page_to_write
from headstart.reports import AuditRecord, write_audit, write_cleaned
from headstart.reports.record import LabelCheck

_CHECKED_FIRST = 50
_COMPARED = 500


@dataclass(frozen=True, eq=False)
class _Seen:
    """The items whose features are there, and what is known about them.

    Attributes:
        dataset: These items, with their sets of copies.
        looked: What is known about them.
        is_test: For each whether it is on the test side.
        labels: What a classifier says about their labels; None with too few items.
        series: The series that they form; None where they form none.
        curve: What more labels would bring; None with too few items.
    """

    dataset: Dataset
    looked: Looked
    is_test: Bool[np.ndarray, " items"]
    labels: Labels | None
    series: Series | None
    curve: LearningCurve | None

    @property
    def units(self) -> Int[np.ndarray, " items"]:
        """For each item the number of what it belongs with."""
        return np.array(self.looked.copies.together, dtype=np.int64)


def audit(
    data: Any,
    *,
    options: FitOptions,
    against: str | Path | None = None,
    fix: str | Path | None = None,
    progress: Progress = SILENT,
) -> AuditRecord:
    """Look for what spoils numbers, and write a page about it; all labels are looked at, those of a test side too.

    Args:
        data: As for `read_dataset`.
        options: What the user asked for, as for `fit`; `out` is the page.
        against: Other data of the same kind, labelled or not, to compare with.
        fix: The cleaned list to write, a CSV file; None writes none.
        progress: Where progress is shown.

    Returns:
        The record of the audit.

    Raises:
        HeadstartError: If the data, an option, a backbone or a file cannot be used. Features that were computed stay in
            the store.
    """
    clock, name = Clock(options.started, options.budget_s), name_of(data)
    page = page_to_write(options.out, f"{name}-audit.html", overwrite=options.overwrite)
    for what, path in (("other data of against", against), ("cleaned list of fix", fix)):
        if path is not None:
            check_kind(what, path, (str, Path), "a path")
    sources = [each for each in (data, options.test_source, against) if isinstance(each, str | Path)]
    target = None if fix is None else _free(Path(fix).expanduser(), sources, overwrite=options.overwrite)
    _check_page(page, [*sources, *([] if target is None else [target])])
    device = pick_device(options.device)
    compute = Compute(device, pick_precision(options.precision, device))
    with open_store(options.home or default_home(), progress) as (store, home):
        with clock.step("read"):
            whole = read(data, options, store, progress)
            if target is not None:
                check_can_be_listed(whole)
            other = None if against is None else _other(against, whole, options)
            considered = consider(whole.items, options, home, clock, progress)
            backbone = considered.backbones[0]
        climb = Climb(whole.items, store, store, compute, clock, NoLog(), progress)
        with clock.step("extract"):
            lost = climb.first_pass([backbone, *pictures_of(whole.modality)])
            others = None if other is None else _look_at(other, climb, backbone, options.seed)
        with clock.step("audit"):
            whole, seen, notes = _see(whole, lost, climb, backbone, options.seed)
            copies = seen.looked.copies
            if len(seen.dataset) < len(whole):
                copies = copies_among_all(whole.items, copies, whole.items.rows_of(seen.dataset.items))
            found = most_serious_first(_findings(whole, seen, copies, backbone, others, options.seed))
            findings = illustrated(found, whole)
            for note in notes:
                progress.say(note)
        actions: Counter[str] = Counter()
        with clock.step("report"):
            if target is not None:
                rows = list(_manifest(whole, seen, copies, target.parent))
                actions.update(row.action for row in rows)
                write_cleaned(target, rows, whole.modality)
            record = AuditRecord(
                name=name,
                version=version("headstart"),
                created=datetime.now().astimezone().isoformat(timespec="seconds"),
                command=options.command or f"headstart audit {shlex.quote(str(whole.source))} --seed {options.seed}",
                seed=options.seed,
                source=whole.source,
                modality=whole.modality,
                n_items=len(whole),
                n_train=int((~whole.on_test).sum()),
                n_test=int(whole.on_test.sum()),
                classes=whole.classes,
                fingerprint=whole.fingerprint,
                backbone=backbone.spec.name,
                verdict=_verdict(findings, len(whole)),
                findings=findings,
                check_first=_check_first(seen),
                learning_curve=seen.curve,
                copies_from=copies.threshold,
                manifest="" if target is None else str(target),
                actions=dict(actions),
                notes=(*whole.notes, *considered.notes, *notes),
                left_out=whole.left_out,
                timings=clock.timings(),
                environment=environment(compute),
                out=str(page),
            )
            write_audit(record, page)
    return replace(record, timings=clock.timings())


def _free(target: Path, sources: Sequence[str | Path], *, overwrite: bool) -> Path:
    """The file that the cleaned list goes to.

    Raises:
        OutputError: If something is there that must not be replaced: unasked anything, and never the data.
    """
    if target.is_dir():
        raise OutputError(
            f"--fix must be a file for the cleaned list, but {str(target)!r} is a folder",
            hint=f"Write {str(target / 'cleaned.csv')!r}.",
        )
    if target.suffix.lower() != ".csv":
        raise OutputError(
            f"the cleaned list is a CSV file, but got {str(target)!r}",
            hint=f"Write {str(target.with_suffix('.csv'))!r}.",
        )
    if target.exists() and not overwrite:
        raise OutputError(
            f"{str(target)!r} exists, and a cleaned list must not replace it unasked",
            hint="Add --overwrite, or choose another --fix.",
        )
    if target.exists():
        whole = target.resolve()
        for source in (Path(each).expanduser().resolve() for each in sources):
            if whole == source or (whole.is_relative_to(source) and not is_manifest_file(target)):
                raise OutputError(
                    f"a cleaned list must not replace the data that it is made of, but {str(target)!r} is part of it",
                    hint="Choose another --fix.",
                )
    return target


def _check_page(page: Path, sources: Sequence[str | Path]) -> None:
    """The page must not replace the data, nor the list that is written beside it.

    Raises:
        OutputError: If it is one of these files.
    """
    if page.resolve() in {Path(each).expanduser().resolve() for each in sources}:
        raise OutputError(
            f"the page must not replace the data or the cleaned list, but {str(page)!r} is that file",
            hint="Choose another --out, such as audit.html.",
        )


def _other(against: str | Path, dataset: Dataset, options: FitOptions) -> Dataset:
    """Some of other data as a dataset; without classes where it has no labels, or others.

    Raises:
        DataError: If it cannot be read, or holds another kind of items.
    """
    is_table = Path(against).expanduser().is_file()
    target, column = (options.target, options.column) if is_table else (None, None)
    try:
        found = read_dataset(against, target=target, column=column, modality=dataset.modality)
    except DataError:
        items, left_out = read_items(against, column=column, modality=dataset.modality)
        found = Dataset(items, np.zeros(len(items), dtype=np.int64), (), left_out=left_out, source=str(against))
    if not set(found.classes) <= set(dataset.classes):
        found = replace(found, classes=())
    rows = generator(options.seed, "against").permutation(len(found))[:_COMPARED]
    return found.take(np.sort(rows))


def _look_at(other: Dataset, climb: Climb, backbone: Local, seed: int) -> tuple[Dataset, Looked]:
    """What is known about other data.

    Raises:
        DataError: If none of it can be used.
    """
    kept = identify(tell_apart(other))
    items = kept.items
    rungs = [backbone, *pictures_of(kept.modality)]
    features = climb.look_elsewhere(items, rungs)
    there = np.flatnonzero(np.logical_and.reduce([each.there for each in features]))
    if not len(there):
        lost = tuple(LeftOut(name, "it cannot be decoded") for name in items.names)
        raise nothing_left(other.source, (*kept.left_out, *lost))
    kept = kept.take(there)
    by_name = {each.backbone.name: each.take(there) for each in features}
    return kept, look(kept, by_name, backbone, seed=seed, progress=climb.progress)


def _see(
    whole: Dataset, lost: Mapping[int, str], climb: Climb, backbone: Local, seed: int
) -> tuple[Dataset, _Seen, list[str]]:
    """All items that can be used, and those of them that could be looked at within the budget."""
    late = {row for row, reason in lost.items() if reason == NOT_REACHED}
    reached = np.array([row for row in range(len(whole)) if row not in lost], dtype=np.int64)
    climb.keep(reached)
    damaged = {row: reason for row, reason in lost.items() if row not in late}
    usable = leave_out(whole, damaged) if damaged else whole
    dataset = leave_out(whole, dict(lost)) if lost else whole
    looked = look(dataset, climb.features, backbone, seed=seed, progress=climb.progress)
    dataset = replace(dataset, copies=looked.copies.together)
    notes = []
    if late:
        notes.append(
            f"the budget allowed a look at {len(dataset):,} of {len(usable):,} items, a stratified sample; of the "
            "others only what needs no network was checked, and a larger --budget goes on from there"
        )
    is_test = dataset.on_test
    enough = len(dataset) >= FEWEST_ITEMS
    labels = look_at_labels(dataset, looked.features, seed=seed) if enough else None
    series = find_series(dataset.items.names, looked.features, dataset.targets, dataset.classes, seed)
    curve = None
    if labels is not None:
        curve = ridge_curve(
            *(looked.features, dataset.targets, labels.folds, np.array(looked.copies.together)),
            n_classes=len(dataset.classes),
            seed=seed,
        )
    return usable, _Seen(dataset, looked, is_test, labels, series, curve), notes


def _findings(
    whole: Dataset, seen: _Seen, copies: Copies, backbone: Local, others: tuple[Dataset, Looked] | None, seed: int
) -> Iterator[Finding]:
    dataset, looked, labels = seen.dataset, seen.looked, seen.labels
    sided = None if whole.sides is None else whole.on_test
    train = whole if sided is None else whole.take(np.flatnonzero(~sided))
    yield from left_out_findings(whole.left_out)
    if len(dataset) < len(whole) and whole.modality == "text":
        yield from findings_in_texts(whole.items, backbone)
    else:
        yield from item_findings(dataset, looked, backbone)
    yield from copy_findings(whole, copies, sided)
    known = None
    if labels is not None and dataset.classes == train.classes:
        known = recalls(dataset.targets, labels.probabilities)
    yield from class_findings(whole, train, known)
    if labels is not None:
        yield from label_findings(dataset, labels.suspects)
        yield from alike_findings(dataset, labels.probabilities)
    if len(dataset) >= FEWEST_ITEMS:
        yield from leaks_of(dataset, looked, seen.units, seed=seed)
    yield from series_findings(seen.series, dataset.items.names)
    if seen.is_test.any() and not seen.is_test.all():
        yield from shift_of_sides(dataset, looked, seen.is_test, seen.units, labelled=True, seed=seed)
    if others is not None:
        other, known_of_other = others
        # Of classes that the budget did not reach nothing can be said.
        labelled = bool(other.classes) and set(other.classes) <= set(dataset.classes)
        if labelled:
            place = np.array([dataset.classes.index(each) for each in other.classes], dtype=np.int64)
            other = replace(other, classes=dataset.classes, targets=place[other.targets])
        first = side_of(dataset.source, dataset, looked, np.arange(len(dataset)), labelled=labelled, units=seen.units)
        second = side_of(other.source, other, known_of_other, np.arange(len(other)), labelled=labelled)
        yield from shift_findings(first, second, classes=dataset.classes, against=True, seed=seed)


def _manifest(whole: Dataset, seen: _Seen, copies: Copies, folder: Path) -> Iterator[ManifestRow]:
    """What becomes of each item, in the order of their names; items that could not be used come last."""
    place = whole.items.rows_of(seen.dataset.items)
    series = np.full(len(whole), -1, dtype=np.int64)
    if seen.series is not None:
        series[place] = seen.series.proposal.groups
    split = repair_split(whole, copies, series)
    useless = {}
    if seen.looked.pixels is not None:
        useless = {int(place[row]): why for row, why in shows_nothing(seen.looked.pixels).items()}
    suspects = {}
    if seen.labels is not None:
        found = seen.labels.suspects
        for row, suggested, probability in zip(found.rows, found.suggested, found.probability, strict=True):
            looks = seen.dataset.classes[suggested]
            suspects[int(place[row])] = looks, f"check the label: it looks like {looks!r} ({probability:.2f})"
    repairs = plan(whole, copies, split, useless=useless, suspects=suspects)
    sides = whole.sides if whole.sides is not None and not split.remade else ("",) * len(whole)
    for row in sorted(range(len(whole)), key=whole.items.names.__getitem__):
        value, repair = whole.items.values[row], repairs[row]
        yield ManifestRow(
            item=whole.items.names[row],
            value=value_in(value, folder) if isinstance(value, Path | str) else "",
            label=whole.classes[whole.targets[row]],
            split=sides[row],
            group=repair.group,
            action=repair.action,
            why=repair.why,
            suggestion=repair.suggestion,
            sha256=whole.items.keys[row],
        )
    for each in whole.left_out:
        yield ManifestRow(item=each.name, value="", action="remove", why=each.reason)


def _check_first(seen: _Seen) -> tuple[LabelCheck, ...]:
    if seen.labels is None:
        return ()
    dataset, found = seen.dataset, seen.labels.suspects
    return tuple(
        LabelCheck(
            item=dataset.items.names[row],
            label=dataset.classes[dataset.targets[row]],
            suggestion=dataset.classes[suggested],
            probability=float(probability),
            preview=shown_as(dataset.items.values[row]),
        )
        for row, suggested, probability in zip(
            found.rows[:_CHECKED_FIRST].tolist(), found.suggested.tolist(), found.probability.tolist(), strict=False
        )
    )


def _verdict(findings: tuple[Finding, ...], n_items: int) -> str:
    counts = Counter[str](each.severity for each in findings)
    words = [
        f"{counts[severity]} {word if counts[severity] == 1 else plural}"
        for severity, word, plural in (
            ("serious", "serious finding", "serious findings"),
            ("warning", "warning", "warnings"),
            ("info", "note", "notes"),
        )
        if counts[severity]
    ]
    looked = f"{n_items:,} items were looked at"
    if not words:
        return f"{looked}, and nothing remarkable was found."
    return f"{looked}: {', '.join(words)}."
