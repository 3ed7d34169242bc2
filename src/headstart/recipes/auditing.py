"""What `fit` and `audit` have in common: the checks of the data, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from headstart._checks import listed
from headstart._progress import Progress
from headstart._threads import one_thread
from headstart.auditing import Example, Finding, Severity, most_serious_first
from headstart.auditing.classes import class_findings, left_out_findings
from headstart.auditing.copies import PICTURE_SIDE, Copies, copy_findings, find_copies, twins
from headstart.auditing.files import FileFacts, file_findings, look_at_files, picture_findings
from headstart.auditing.labels import LabelSuspects, alike_findings, label_findings, recalls, suspect_labels
from headstart.auditing.leaks import leak_findings
from headstart.auditing.probabilities import ridge_out_of_fold
from headstart.auditing.repair import pieces, repair_split, stuck_classes
from headstart.auditing.series import find_series, series_findings
from headstart.auditing.shift import Side, shift_findings
from headstart.auditing.texts import masked, text_findings
from headstart.backbones.catalogue import entries
from headstart.backbones.loaders.pixels import PIXELS, THUMBNAIL
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items, Modality, Value
from headstart.data.folds import folds as make_folds
from headstart.data.reduce import known_first, leave_out, trainable
from headstart.data.split import Split
from headstart.errors import DataError
from headstart.evaluation.intervals import wilson
from headstart.features.extract import Features
from headstart.recipes.climb import Climb
from headstart.recipes.judge import preview
from headstart.recipes.sentences import interval

_N_FOLDS = 5
_SHOWN = 4
FEWEST_ITEMS = 20
"""Of fewer, nothing is said about labels, leaks and series."""

UNHURRIED_S = 30.0
"""With less time than this for a whole fit, labels and leaks are not looked at: a second or two is a tenth of it."""

_HURRIED = Finding(
    "not_looked_at",
    "info",
    0,
    (),
    summary="There was no time to look for wrong labels, leaks, series and shifts.",
    advice=f"Run headstart audit on the data, or give {UNHURRIED_S:.0f} seconds or more.",
)
_ACROSS = {"exact_duplicates_across_sides", "near_duplicates_across_sides"}


@dataclass(frozen=True, eq=False)
class Looked:
    """What is known about items, beside their labels and sides.

    Attributes:
        features: What the last layer of the first backbone says about each.
        pixels: Of images each picture shrunk to 16 × 16 pixels; None for texts.
        copies: Which items are the same.
        facts: Of images what their files say; None for texts.
    """

    features: Float32[np.ndarray, "items width"]
    pixels: Float32[np.ndarray, "items 768"] | None
    copies: Copies
    facts: FileFacts | None

    def take(self, rows: Int[np.ndarray, " rows"]) -> Looked:
        """What is known about the items at these positions."""
        return Looked(
            self.features[rows],
            None if self.pixels is None else self.pixels[rows],
            self.copies.take(rows),
            None if self.facts is None else self.facts.take(rows),
        )


@dataclass(frozen=True, eq=False)
class Labels:
    """What a classifier that did not see an item says about it.

    Attributes:
        probabilities: Out-of-fold.
        suspects: Labels that look wrong.
        folds: The fold of each item.
    """

    probabilities: Float[np.ndarray, "items classes"]
    suspects: LabelSuspects
    folds: Int[np.ndarray, " items"]


def checks(dataset: Dataset, budget_s: float) -> dict[str, float]:
    """What the checks of a fit cost, as `Climb.first_pass` is told; measured on two cores.

    Args:
        dataset: All items.
        budget_s: The budget of the whole command, in seconds.
    """
    hurried = budget_s < UNHURRIED_S
    return {"checks_s": 0.3 if hurried else 2.0, "check_s": 1.3e-3 if dataset.modality == "image" else 0.4e-3}


def pictures_of(modality: Modality) -> list[Local]:
    """What images are shrunk to while they are decoded anyway: the control, and what near-copies are told by.

    Args:
        modality: What the items are; texts need none.
    """
    return [Local(spec, Path(), {}) for spec in (PIXELS, THUMBNAIL)] if modality == "image" else []


def look(
    dataset: Dataset, features: Mapping[str, Features], backbone: Local, *, seed: int, progress: Progress
) -> Looked:
    """Look at the items themselves.

    Args:
        dataset: All items.
        features: Of these, by the name of the backbone; for images with those of `pictures_of`.
        backbone: The one whose features neighbours are looked for in.
        seed: Of what is sampled.
        progress: Where progress is shown.
    """
    known = features[backbone.spec.name].layer(backbone.spec.layers[-1].name)
    if dataset.modality == "text":
        with one_thread():
            return Looked(known, None, find_copies(dataset.items, known, seed=seed), None)
    pictures = features[THUMBNAIL.name].values.reshape(-1, PICTURE_SIDE, PICTURE_SIDE)
    with ThreadPoolExecutor(1) as beside, one_thread():  # thousands of small products
        facts = beside.submit(look_at_files, dataset.items, progress=progress)
        copies = find_copies(dataset.items, known, pictures, seed=seed)
        return Looked(known, features[PIXELS.name].values, copies, facts.result())


def item_findings(dataset: Dataset, looked: Looked, backbone: Local) -> Iterator[Finding]:
    """What is remarkable about single items.

    Args:
        dataset: All items.
        looked: What is known about them.
        backbone: What is to see them.
    """
    names = dataset.items.names
    if looked.facts is not None and looked.pixels is not None:
        image = backbone.spec.image
        yield from file_findings(looked.facts, dataset.items, sees_px=None if image is None else image.size_px)
        yield from picture_findings(looked.pixels, names)
    else:
        yield from findings_in_texts(dataset.items, backbone)


def findings_in_texts(items: Items, backbone: Local) -> Iterator[Finding]:
    """What is remarkable about single texts; it needs no features.

    Args:
        items: Texts.
        backbone: What is to see them; where it is known to know English alone, other languages are looked for.
    """
    text, entry = backbone.spec.text, entries().get(backbone.spec.name)
    yield from text_findings(
        (str(value) for value in items.values),
        items.names,
        max_tokens=None if text is None else text.max_tokens,
        is_english=entry is not None and entry.languages == ("en",),
    )


def look_at_labels(train: Dataset, features: Float32[np.ndarray, "items width"], *, seed: int) -> Labels | None:
    """What labels look wrong to a ridge classifier that did not see them; None where nothing can be held out.

    Args:
        train: Items whose labels may be looked at.
        features: What a backbone says about them.
        seed: Of the folds.
    """
    try:
        folds = make_folds(train, n_folds=_N_FOLDS, seed=seed)
    except DataError:
        return None
    probabilities = ridge_out_of_fold(features, train.targets, folds, len(train.classes))
    return Labels(probabilities, suspect_labels(train.targets, probabilities), folds)


def findings_of_fit(
    dataset: Dataset, sides: Split, looked: Looked, backbone: Local, *, seed: int, hurried: bool
) -> tuple[Finding, ...]:
    """What is remarkable about the data, the most serious first, with its evidence.

    Labels of the test side are not looked at, except to name classes that training lacks.

    Args:
        dataset: All items.
        sides: The split of them.
        looked: What is known about them.
        backbone: Whose features these are.
        seed: Of all that is random.
        hurried: Whether to leave out the checks of labels, leaks, series and shifts, which is then a finding itself.
    """
    train, rows = trainable(sides.train), dataset.items.rows_of(sides.train.items)
    is_test = on_test_side(dataset, sides.test.items.names)
    known = looked.take(rows)
    units = np.array(looked.copies.together, dtype=np.int64)
    found: list[Finding] = [
        *left_out_findings(dataset.left_out),
        *item_findings(dataset, looked, backbone),
        *copy_findings(dataset, looked.copies, is_test, labelled=~is_test),
    ]
    enough = len(train) >= FEWEST_ITEMS and not hurried
    labels = look_at_labels(train, known.features, seed=seed) if enough else None
    seen = None if labels is None else recalls(train.targets, labels.probabilities)
    found += class_findings(dataset, sides.train, seen if len(train.classes) == len(dataset.classes) else None)
    if labels is not None:
        found += [*label_findings(train, labels.suspects), *alike_findings(train, labels.probabilities)]
        found += leaks_of(train, known, units[rows], seed=seed)
        names = train.items.names
        found += series_findings(find_series(names, known.features, train.targets, train.classes, seed), names)
    if hurried:
        found.append(_HURRIED)
    elif dataset.sides is not None:
        found += shift_of_sides(dataset, looked, is_test, units, labelled=False, seed=seed)
    return illustrated(most_serious_first(found), dataset, of=("serious", "warning"))


def leaks_of(dataset: Dataset, looked: Looked, units: Int[np.ndarray, " items"], *, seed: int) -> Iterator[Finding]:
    """What is known about items beside their content and tells their class.

    Args:
        dataset: Items whose labels may be looked at.
        looked: What is known about them.
        units: For each the number of what it belongs with.
        seed: Of all that is random.
    """
    texts = [str(value) for value in dataset.items.values] if dataset.modality == "text" else None
    return leak_findings(
        *(dataset.items.names, dataset.targets, dataset.classes),
        facts=looked.facts,
        texts=texts,
        units=units,
        seed=seed,
    )


def shift_of_sides(
    dataset: Dataset,
    looked: Looked,
    is_test: Bool[np.ndarray, " items"],
    units: Int[np.ndarray, " items"],
    *,
    labelled: bool,
    seed: int,
) -> Iterator[Finding]:
    """How the test side differs from the training side.

    Args:
        dataset: All items.
        looked: What is known about them.
        is_test: For each whether it is on the test side.
        units: For each the number of what it belongs with.
        labelled: Whether labels of the test side may be looked at.
        seed: Of all that is random.
    """
    first, second = (
        side_of(name, dataset, looked, np.flatnonzero(chosen), labelled=labelled, units=units)
        for name, chosen in (("training", ~is_test), ("test", is_test))
    )
    return shift_findings(first, second, classes=dataset.classes, seed=seed)


def kept_together(dataset: Dataset, copies: Copies, progress: Progress) -> Dataset:
    """The dataset with its sets of copies, which no split divides, and a note where near-copies must be divided.

    Texts of one template and pictures of one layout are near-copies of each other by the letter. Where that leaves a
    class of ten contents or more in one piece, nothing could be held out of it; then only exact copies are kept
    together. Labels of the user's test side are not looked at.

    Args:
        dataset: All items.
        copies: As from `find_copies` on these.
        progress: Where the note is said.
    """
    ours = np.flatnonzero(~dataset.on_test)
    train = dataset.take(ours)
    labels = stuck_classes(pieces(train), pieces(train, copies.clusters[ours]), train.targets)
    stuck = [dataset.classes[label] for label in labels]
    if not stuck:
        return replace(dataset, copies=copies.together)
    note = (
        f"near-copies are so common that all items of {listed(stuck)} would stay together, so only exact copies do; "
        "the result may be too good where they are copies in truth"
    )
    progress.say(note)
    return replace(dataset, notes=(*dataset.notes, note))


def regrouped(
    dataset: Dataset, looked: Looked, climb: Climb, *, seed: int, progress: Progress
) -> tuple[Dataset, Looked]:
    """Put what belongs together into groups, and let no group be on both sides (see `repair_split`).

    Labels of the user's test side are not looked at.

    Args:
        dataset: All items.
        looked: What is known about them.
        climb: Goes on with the items that stay.
        seed: Of what is sampled.
        progress: Where it is said what was done.
    """
    targets = _without_test_labels(dataset, looked.features)
    series = find_series(dataset.items.names, looked.features, targets, dataset.classes, seed)
    repaired = repair_split(dataset, looked.copies, None if series is None else series.proposal.groups)
    n_groups = len(set(filter(None, repaired.groups)))
    found = "copies and series" if series is not None and not repaired.given_up else "copies"
    notes = [f"{n_groups:,} groups were found, of {found}"]
    if repaired.given_up and not (repaired.given_up == "series" and series is None):
        notes.append(f"{repaired.given_up} hold all items of a class together, so they are not kept together")
    dataset = replace(dataset, groups=repaired.complete_groups)
    if repaired.remade:
        dataset = replace(dataset, sides=None)
        notes.append("the sides of the data shared so many groups that they were made anew")
    if repaired.leave_out:
        notes.append(f"{len(repaired.leave_out):,} training items that belong with test items are left out")
        rows = np.array([row for row in range(len(dataset)) if row not in repaired.leave_out], dtype=np.int64)
        climb.keep(rows)
        dataset, looked = known_first(leave_out(dataset, repaired.leave_out)), looked.take(rows)
    for note in notes:
        progress.say(note)
    return replace(dataset, notes=(*dataset.notes, *notes)), looked


def _without_test_labels(dataset: Dataset, features: Float32[np.ndarray, "items width"]) -> Int[np.ndarray, " items"]:
    """The targets, but those of the user's test side are sealed: each has the class whose training mean is nearest."""
    is_test = dataset.on_test
    if not is_test.any() or is_test.all():
        return dataset.targets
    known = np.unique(dataset.targets[~is_test])
    means = np.stack([features[~is_test & (dataset.targets == target)].mean(axis=0) for target in known])
    nearest = (features[is_test] @ means.T - np.square(means).sum(axis=1) / 2).argmax(axis=1)
    targets = dataset.targets.copy()
    targets[is_test] = known[nearest]
    return targets


def shared_with_training(dataset: Dataset, sides: Split, looked: Looked) -> frozenset[str]:
    """The names of test items that are copies of training items.

    Args:
        dataset: All items.
        sides: The split of them.
        looked: What is known about them.
    """
    is_test = on_test_side(dataset, sides.test.items.names)
    return frozenset(dataset.items.names[row] for row in twins(dataset, looked.copies, is_test))


def with_clean_accuracy(
    findings: Iterable[Finding], shared: frozenset[str], sealed: Items, right: Bool[np.ndarray, " items"]
) -> tuple[Finding, ...]:
    """The findings, where copies on both sides are told with how right the model is on the other test items.

    Args:
        findings: What was found.
        shared: As from `shared_with_training`.
        sealed: The test items.
        right: Which of them the model is right on.
    """
    clean = right[[name not in shared for name in sealed.names]]
    if not shared or not len(clean):
        return tuple(findings)
    there = interval(wilson(int(clean.sum()), len(clean)))
    said = f"On the test items without a copy in training the model is right on {there}."
    return tuple(replace(each, effect=f"{each.effect} {said}") if each.kind in _ACROSS else each for each in findings)


def side_of(
    name: str,
    dataset: Dataset,
    looked: Looked,
    rows: Int[np.ndarray, " rows"],
    *,
    labelled: bool,
    units: Int[np.ndarray, " items"] | None = None,
) -> Side:
    """One side of the data for the tests of a shift.

    Args:
        name: How it is called.
        dataset: All items.
        looked: What is known about them.
        rows: Those of the side.
        labelled: Whether their labels may be looked at.
        units: For each of all items the number of what it belongs with; each is its own where not given.
    """
    facts = None if looked.facts is None else looked.facts.take(rows)
    quantities: dict[str, np.ndarray] = {}
    if facts is not None and looked.pixels is not None:
        pixels = looked.pixels[rows]
        quantities = {
            "width in pixels": facts.width_px.astype(np.float64),
            "height in pixels": facts.height_px.astype(np.float64),
            "bytes": facts.n_bytes.astype(np.float64),
            "brightness": pixels.mean(axis=1).astype(np.float64),
            "contrast": pixels.std(axis=1).astype(np.float64),
        }
    elif facts is None:
        texts = [str(dataset.items.values[row]) for row in rows.tolist()]
        quantities = {
            "characters": np.array([len(text) for text in texts], dtype=np.float64),
            "words": np.array([len(text.split()) for text in texts], dtype=np.float64),
        }
    return Side(
        name,
        [dataset.items.names[row] for row in rows.tolist()],
        looked.features[rows],
        dataset.targets[rows] if labelled else None,
        None if units is None else [str(unit) for unit in units[rows].tolist()],
        quantities,
    )


def shown_as(value: Value) -> str:
    """A small picture as a data URI, or the beginning of a text; a page about personal data must not spread it.

    Args:
        value: The item.
    """
    return masked(preview(value)) if isinstance(value, str) else preview(value)


def on_test_side(dataset: Dataset, test_names: Iterable[str]) -> Bool[np.ndarray, " items"]:
    """For each item whether it is on the test side.

    Args:
        dataset: All items.
        test_names: The names of those that are.
    """
    there = set(test_names)
    return np.array([name in there for name in dataset.items.names], dtype=bool)


def illustrated(
    findings: Iterable[Finding], dataset: Dataset, *, of: tuple[Severity, ...] = ("serious", "warning", "info")
) -> tuple[Finding, ...]:
    """The findings with small pictures or excerpts of their first examples; further examples keep their names.

    Args:
        findings: What was found.
        dataset: All items.
        of: The severities whose examples are shown.
    """
    value = dict(zip(dataset.items.names, dataset.items.values, strict=True))

    def shown(example: Example) -> Example:
        if example.previews:
            return example
        seen = (value.get(name, "") for name in example.items)
        return replace(example, previews=tuple(shown_as(each) for each in seen))

    return tuple(
        replace(each, examples=(*map(shown, each.examples[:_SHOWN]), *each.examples[_SHOWN:]))
        if each.severity in of
        else each
        for each in findings
    )
