"""Whether something beside the content of items tells their class: file names, files, sizes, cameras, lengths.

A shallow tree predicts the class from such facts alone, on folds that it was not fitted to. Where it does much better
than chance, a network may learn the source of the data in place of what the labels mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int

from headstart._randomness import generator
from headstart.auditing._names import is_place
from headstart.auditing.files import FileFacts
from headstart.auditing.finding import MAX_EXAMPLES, Example, Finding, Severity, finding

Family = Literal["name", "file", "bytes", "size", "camera", "length"]

_FOLDS = 5
_DEPTH = 6
_FEW = 10  # classes with fewer items are not looked at
_SAMPLE, _PER_CLASS, _MOST = 3_000, 20, 12_000
_LEAST_EFFECT, _SERIOUS_EFFECT = 0.1, 0.3  # of balanced accuracy above chance; of its way to certainty
_LEAST_INFORMED, _SERIOUS_INFORMED = 0.35, 0.7  # of one class against the others
_LEVEL = 0.01
_N_TESTS = 10  # five families, all classes and one class each
_PERMUTATIONS, _BATCH, _EXCEEDED = 3999, 250, 10
_Z = 2.576  # of a two-sided interval of 99 %
_KINDS = 20  # values of a category that are told apart
_TEXT_CHARACTERS = 5_000
_SIDES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}

_WORDS: Mapping[Family, tuple[str, str, str]] = {
    "name": (
        "File names",
        "A model does not see names. It matters where names tell the source of an item, such as a camera or a patient, "
        "and each source has few classes.",
        "If they do, give the source as --group, so that no source is on both sides.",
    ),
    "file": (
        "Formats and compression",
        "A model may be learning how files were saved, which leaves traces in the pixels, and will fail on files "
        "that were saved otherwise.",
        "Save all pictures in the same way, from the originals, and collect every class from every source.",
    ),
    "bytes": (
        "Bytes on disk",
        "That may be what the pictures show, such as more lines or busier backgrounds, or that some were enlarged and "
        "are blurred.",
        "Look at pictures with few and with many bytes: if only their sharpness differs, collect every class from "
        "every source.",
    ),
    "size": (
        "Picture sizes",
        "A model may be learning resolution and shape, which it sees as blur and distortion, and will fail on "
        "pictures from other sources.",
        "Collect every class from every source, or bring all pictures to one size before labels are given.",
    ),
    "camera": (
        "Cameras and dates",
        "A model may be learning the camera or the occasion instead of the object, and will fail on other ones.",
        "Photograph every class with every camera, and give the camera or the day as --group.",
    ),
    "length": (
        "Lengths, punctuation and capitals",
        "A model may be learning the form of texts instead of what they say, and will fail on texts from other "
        "sources.",
        "See whether the form belongs to the class, or to the source from which its texts were taken.",
    ),
}


@dataclass(frozen=True)
class Leak:
    """How well one family of facts tells the class.

    Attributes:
        family: Which facts.
        accuracy: Balanced accuracy out of fold, 0 to 1.
        low: Lower end of its interval of 99 %.
        chance: What guessing reaches: 1 / classes.
        label: The class that is told best from all others.
        recall: Share of its items that are taken for it.
        false_alarms: Share of the other classes' items that are taken for it.
        p_value: Of a permutation test that labels and predictions are unrelated, before any correction; 1 where neither
            the accuracy nor that class is remarkable.
        feature: The fact that tells most, in words.
    """

    family: Family
    accuracy: float
    low: float
    chance: float
    label: int
    recall: float
    false_alarms: float
    p_value: float
    feature: str

    @property
    def informed(self) -> float:
        """How well the class that is told best is told from the others, 0 to 1 (Youden 1950)."""
        return self.recall - self.false_alarms

    @property
    def extra(self) -> float:
        """How far the accuracy is from chance to certainty, 0 to 1."""
        return (self.accuracy - self.chance) / (1 - self.chance)

    @property
    def tells_all(self) -> bool:
        """Whether the accuracy over all classes is worth a word."""
        return self.accuracy >= self.chance + _LEAST_EFFECT and self.low > self.chance


@dataclass(frozen=True)
class _Facts:
    """Columns of numbers, and what each is in words."""

    columns: dict[str, Float64[np.ndarray, " items"]]

    def matrix(self) -> tuple[Float64[np.ndarray, "items columns"], list[str]]:
        """The columns that differ between items, side by side."""
        varying = {name: column for name, column in self.columns.items() if len(column) and np.ptp(column) > 0}
        names = list(varying)
        return np.column_stack([varying[name] for name in names]) if names else np.zeros((0, 0)), names


def leak_findings(
    names: Sequence[str],
    targets: Int[np.ndarray, " items"],
    classes: Sequence[str],
    *,
    facts: FileFacts | None = None,
    texts: Sequence[str] | None = None,
    units: Int[np.ndarray, " items"] | None = None,
    seed: int = 0,
) -> Iterator[Finding]:
    """Facts beside the content that tell the class on at least ten points more than chance.

    Args:
        names: What the items are called; paths with forward slashes, or places such as `row 17`, which are passed over.
        targets: The class of each.
        classes: The names of the classes.
        facts: Of images, as from `look_at_files`.
        texts: Of texts, the texts.
        units: For each item the number of what it belongs with (copies, a patient); units are never divided.
        seed: Of the sample, the folds and the permutations.
    """
    for leak, rows, column in _judged(names, targets, classes, facts, texts, units, seed):
        if leak.p_value * _N_TESTS >= _LEVEL:
            continue
        what, effect, advice = _WORDS[leak.family]
        yield finding(
            f"leak_by_{leak.family}",
            _severity(leak),
            [],
            count=len(names),
            summary=f"{what} alone tell {_told(leak, classes)}, most by {leak.feature}.",
            effect=effect,
            advice=advice,
            examples=_examples(leak.feature, column, [names[row] for row in rows], targets[rows], classes),
        )


def _told(leak: Leak, classes: Sequence[str]) -> str:
    one = (
        f"{classes[leak.label]!r} from the other classes ({leak.recall:.0%} of its items are taken for it, and "
        f"{leak.false_alarms:.0%} of the others)"
    )
    if not leak.tells_all:
        return one
    together = f"the class on {leak.accuracy:.0%} (by chance {leak.chance:.0%})"
    return f"{together}, and {one}" if len(classes) > 2 and leak.informed >= _LEAST_INFORMED else together


def leaks(
    names: Sequence[str],
    targets: Int[np.ndarray, " items"],
    classes: Sequence[str],
    *,
    facts: FileFacts | None = None,
    texts: Sequence[str] | None = None,
    units: Int[np.ndarray, " items"] | None = None,
    seed: int = 0,
) -> Iterator[Leak]:
    """How well each family of facts tells the class, on a sample of some thousand items.

    Args:
        names: What the items are called.
        targets: The class of each.
        classes: The names of the classes.
        facts: Of images, as from `look_at_files`.
        texts: Of texts, the texts.
        units: For each item the number of what it belongs with; units are never divided.
        seed: Of the sample, the folds and the permutations.
    """
    for leak, _, _ in _judged(names, targets, classes, facts, texts, units, seed):
        yield leak


def _judged(
    names: Sequence[str],
    targets: Int[np.ndarray, " items"],
    classes: Sequence[str],
    facts: FileFacts | None,
    texts: Sequence[str] | None,
    units: Int[np.ndarray, " items"] | None,
    seed: int,
) -> Iterator[tuple[Leak, Int[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]]:
    """Each family's leak, which items were looked at, and the fact about them that tells most."""
    rows = _sample(targets, None if facts is None else facts.known, seed)
    if len(np.unique(targets[rows])) < 2:
        return
    labels, own = np.unique(targets[rows], return_inverse=True)
    together = np.arange(len(rows)) if units is None else np.unique(units[rows], return_inverse=True)[1]
    if int(together.max()) + 1 < _FOLDS:  # nothing could be held out
        return
    for family, columns in _families([names[row] for row in rows.tolist()], classes, rows, facts, texts):
        matrix, features = columns.matrix()
        if features:
            leak = _judge(family, matrix, features, own, together, seed)
            yield replace(leak, label=int(labels[leak.label])), rows, columns.columns[leak.feature]


def _sample(
    targets: Int[np.ndarray, " items"], known: Bool[np.ndarray, " items"] | None, seed: int
) -> Int[np.ndarray, " rows"]:
    """Some thousand items of the classes that have enough."""
    usable = np.ones(len(targets), dtype=bool) if known is None else known
    counts = np.bincount(targets[usable], minlength=int(targets.max(initial=0)) + 1)
    rows = np.flatnonzero(usable & (counts[targets] >= _FEW))
    n_wanted = min(_MOST, max(_SAMPLE, _PER_CLASS * int((counts >= _FEW).sum())))
    if len(rows) > n_wanted:
        rows = np.sort(generator(seed, "leaks", "sample").choice(rows, n_wanted, replace=False))
        counts = np.bincount(targets[rows], minlength=len(counts))
        rows = rows[counts[targets[rows]] >= _FEW]
    return rows


def _judge(
    family: Family,
    matrix: Float64[np.ndarray, "items columns"],
    features: Sequence[str],
    targets: Int[np.ndarray, " items"],
    units: Int[np.ndarray, " items"],
    seed: int,
) -> Leak:
    from sklearn.tree import DecisionTreeClassifier

    fold_of = _fold_of(targets, units, seed)
    predicted = np.empty_like(targets)
    importance = np.zeros(len(features))
    for fold in range(_FOLDS):
        held = fold_of == fold
        tree: Any = DecisionTreeClassifier(
            max_depth=_DEPTH,
            min_samples_leaf=max(3, len(targets) // 400),
            class_weight="balanced",
            random_state=0,
        ).fit(matrix[~held], targets[~held])
        predicted[held] = tree.predict(matrix[held])
        importance += tree.feature_importances_
    n_classes = int(targets.max()) + 1
    accuracy, low = _balanced(predicted == targets, targets, units)
    sizes = np.bincount(targets)
    hits = np.bincount(targets[predicted == targets], minlength=n_classes)
    false = (np.bincount(predicted, minlength=n_classes) - hits) / (len(targets) - sizes)
    best = int((hits / sizes - false).argmax())
    leak = Leak(
        family,
        accuracy,
        low,
        1 / n_classes,
        best,
        float(hits[best] / sizes[best]),
        float(false[best]),
        1.0,
        features[int(importance.argmax())],
    )
    # Only what would be told is worth the permutations.
    if not leak.tells_all and leak.informed < _LEAST_INFORMED:
        return leak
    p_value = _p_value(predicted, targets, units, fold_of, seed, of_one_class=not leak.tells_all)
    return replace(leak, p_value=p_value)


def _fold_of(targets: Int[np.ndarray, " items"], units: Int[np.ndarray, " items"], seed: int) -> np.ndarray:
    """For each item its fold: units are dealt out in turns, those of each class after those of another."""
    n_units = int(units.max()) + 1
    class_of = np.zeros(n_units, dtype=np.int64)
    class_of[units] = targets
    order = generator(seed, "leaks", "folds").permutation(n_units)
    order = order[np.argsort(class_of[order], kind="stable")]
    fold_of_unit = np.empty(n_units, dtype=np.int64)
    fold_of_unit[order] = np.arange(n_units) % _FOLDS
    folds: np.ndarray = fold_of_unit[units]
    return folds


def _balanced(
    hit: Bool[np.ndarray, " items"], targets: Int[np.ndarray, " items"], units: Int[np.ndarray, " items"]
) -> tuple[float, float]:
    """Mean recall of the classes, and the lower end of its normal interval, where a unit counts as one item."""
    recalls = np.bincount(targets, weights=hit) / np.bincount(targets)
    pairs = np.unique(np.stack([targets, units]), axis=1)[0]
    n_units = np.bincount(pairs)
    # Agresti and Coull's two more hits and misses: a recall of 0 or 1 has an error too.
    shrunk = (recalls * n_units + 2) / (n_units + 4)
    error = np.sqrt(np.sum(shrunk * (1 - shrunk) / n_units)) / len(recalls)
    accuracy = float(recalls.mean())
    return accuracy, accuracy - _Z * float(error)


def _p_value(
    predicted: Int[np.ndarray, " items"],
    targets: Int[np.ndarray, " items"],
    units: Int[np.ndarray, " items"],
    fold_of: Int[np.ndarray, " items"],
    seed: int,
    *,
    of_one_class: bool,
) -> float:
    """How often labels shuffled within a fold agree with its predictions as well as the true ones do.

    A fold's predictions come from other items, so shuffling its labels is exact, and no tree is fitted again. One item
    speaks for each unit. The folds share training items and depend on one another; twice the mean of their p-values is
    a p-value all the same (Rüschendorf 1982; Vovk and Wang, Biometrika 2020). Shuffling ends early when it is clear
    that p is not small (Besag and Clifford, Biometrika 1991).

    Args:
        predicted: The class that a tree gave to each item, in a fold that it was not fitted to.
        targets: The class of each.
        units: What each belongs with.
        fold_of: The fold of each.
        seed: Of the permutations.
        of_one_class: Whether to measure agreement by the class that is told best from the others, which may be another
            one in each permutation, or by the mean recall of all.
    """
    n_classes = int(targets.max()) + 1
    first = np.unique(units, return_index=True)[1]
    p_values = []
    for fold in range(_FOLDS):
        rows = first[fold_of[first] == fold]
        if not len(rows):
            continue
        own, said = targets[rows], predicted[rows]
        statistic = _one_class if of_one_class else _all_classes
        least = statistic(_hits(own[None], said, n_classes), own, said, n_classes)[0] - 1e-9
        random = generator(seed, "leaks", "permutations", fold)
        n_drawn = n_reached = 0
        while n_drawn < _PERMUTATIONS and n_reached < _EXCEEDED:
            n_now = min(_BATCH, _PERMUTATIONS - n_drawn)
            shuffled = random.permuted(np.broadcast_to(own, (n_now, len(own))), axis=1)
            n_reached += int((statistic(_hits(shuffled, said, n_classes), own, said, n_classes) >= least).sum())
            n_drawn += n_now
        p_values.append((n_reached + 1) / (n_drawn + 1))
    return min(1.0, 2 * float(np.mean(p_values)))


def _hits(
    labels: Int[np.ndarray, "draws items"], said: Int[np.ndarray, " items"], n_classes: int
) -> Int[np.ndarray, "draws classes"]:
    """For each draw of labels and each class, how many of its items were predicted."""
    draw, item = np.nonzero(labels == said)
    counts = np.bincount(draw * n_classes + said[item], minlength=len(labels) * n_classes)
    return counts.reshape(len(labels), n_classes)


def _all_classes(
    hits: Int[np.ndarray, "draws classes"],
    own: Int[np.ndarray, " items"],
    said: Int[np.ndarray, " items"],
    n_classes: int,
) -> Float64[np.ndarray, " draws"]:
    """The sum of the recalls."""
    del said
    total: np.ndarray = (hits / np.bincount(own, minlength=n_classes).clip(1)).sum(axis=1)
    return total


def _one_class(
    hits: Int[np.ndarray, "draws classes"],
    own: Int[np.ndarray, " items"],
    said: Int[np.ndarray, " items"],
    n_classes: int,
) -> Float64[np.ndarray, " draws"]:
    """The greatest difference of recall and false alarms."""
    sizes = np.bincount(own, minlength=n_classes)
    false = np.bincount(said, minlength=n_classes) - hits
    informed = hits / sizes.clip(1) - false / (len(own) - sizes).clip(1)
    # A class without items in this fold tells nothing.
    greatest: np.ndarray = np.where(sizes > 0, informed, -1.0).max(axis=1)
    return greatest


def _families(
    names: Sequence[str],
    classes: Sequence[str],
    rows: Int[np.ndarray, " rows"],
    facts: FileFacts | None,
    texts: Sequence[str] | None,
) -> Iterator[tuple[Family, _Facts]]:
    if not any(map(is_place, names)):
        yield "name", _name_facts(names, classes)
    if facts is not None:
        some = facts.take(rows)
        yield "size", _size_facts(some)
        yield "file", _file_facts(some)
        yield "bytes", _bytes_facts(some)
        yield "camera", _camera_facts(some)
    if texts is not None:
        yield "length", _length_facts([texts[row] for row in rows.tolist()])


def _name_facts(names: Sequence[str], classes: Sequence[str]) -> _Facts:
    known = {_plain(name) for name in classes} | _SIDES
    # Of names that contain each other the longest is cut out first.
    long_first = sorted(filter(None, map(_plain, classes)), key=len, reverse=True)
    in_stem = re.compile("|".join(re.escape(name) for name in long_first if len(name) > 1) or r"(?!)")
    stems, tokens, folders = [], [], []
    for name in names:
        *above, last = name.split("/")
        stem = in_stem.sub("", last.rpartition(".")[0].casefold() or last.casefold())
        stems.append(stem)
        tokens.append(re.split(r"[\W\d_]+", stem, maxsplit=1)[0])
        folders.append("/".join(part for part in above if _plain(part) not in known))
    numbers = [re.findall(r"\d+", stem) for stem in stems]
    return _Facts(
        {
            "their lengths": _numbers([len(stem) for stem in stems]),
            "the number of their digits": _numbers([sum(map(len, each)) for each in numbers]),
            "the number in them": _numbers([float(each[-1][:15]) if each else -1.0 for each in numbers]),
            "their separators": _numbers([sum(stem.count(mark) for mark in "_- .") for stem in stems]),
            **_categories("beginning with {}", tokens),
            **_categories("the folder {}", folders),
        }
    )


def _size_facts(facts: FileFacts) -> _Facts:
    width, height = facts.width_px.astype(np.float64), facts.height_px.astype(np.float64)
    return _Facts(
        {"the width": width, "the height": height, "the ratio of the sides": width / height.clip(1)},
    )


def _file_facts(facts: FileFacts) -> _Facts:
    return _Facts(
        {
            "the quality of compression": facts.qualities.astype(np.float64),
            **_categories("the format {}", facts.formats),
            **_categories("the colour mode {}", facts.modes),
        }
    )


def _bytes_facts(facts: FileFacts) -> _Facts:
    n_pixels = np.maximum(facts.width_px.astype(np.float64) * facts.height_px, 1)
    return _Facts({"the bytes in all": facts.n_bytes.astype(np.float64), "the bytes a pixel": facts.n_bytes / n_pixels})


def _camera_facts(facts: FileFacts) -> _Facts:
    days = [_day(taken) for taken in facts.taken]
    return _Facts(
        {
            **_categories("the camera {}", facts.cameras),
            "the date": _numbers([day for day, _ in days]),
            "the time of day": _numbers([hour for _, hour in days]),
            "the EXIF orientation": facts.orientations.astype(np.float64),
        }
    )


def _day(taken: str) -> tuple[float, float]:
    """A date that can be compared, and the hour; -1 where there is none."""
    found = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)", taken)
    if found is None:
        return -1.0, -1.0
    year, month, day, hour, minute = map(int, found.groups())
    return float((year * 12 + month) * 31 + day), hour + minute / 60


def _length_facts(texts: Sequence[str]) -> _Facts:
    n_characters = _numbers([len(text) for text in texts])
    beginnings = [text[:_TEXT_CHARACTERS] for text in texts]
    shown = _numbers([max(len(text), 1) for text in beginnings])
    return _Facts(
        {
            "the number of characters": n_characters,
            "the number of words": _numbers([text.count(" ") + 1 for text in texts]),
            "the share of capitals": _numbers([sum(map(str.isupper, text)) for text in beginnings]) / shown,
            "the share of punctuation": _numbers([len(re.findall(r"[^\w\s]", text)) for text in beginnings]) / shown,
        }
    )


def _numbers(values: Sequence[float]) -> Float64[np.ndarray, " items"]:
    return np.asarray(values, dtype=np.float64)


def _categories(words: str, values: Sequence[str]) -> dict[str, Float64[np.ndarray, " items"]]:
    """One column of zeros and ones for each of the most frequent values."""
    counts = Counter(values)
    frequent = [value for value, count in counts.most_common(_KINDS) if count > 1] if len(counts) > 1 else []
    return {words.format(repr(each)): _numbers([float(value == each) for value in values]) for each in frequent}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _severity(leak: Leak) -> Severity:
    """How much a leak matters: what a model cannot see, or may rightly see, matters less."""
    is_strong = leak.extra >= _SERIOUS_EFFECT or leak.informed >= _SERIOUS_INFORMED
    if leak.family == "name":
        return "info"
    if leak.family == "bytes":
        return "warning" if is_strong else "info"
    return "serious" if is_strong else "warning"


def _examples(
    feature: str,
    column: Float64[np.ndarray, " rows"],
    names: Sequence[str],
    targets: Int[np.ndarray, " rows"],
    classes: Sequence[str],
) -> Iterator[Example]:
    """A typical item of each of some classes, from the one that has least of a fact to the one that has most."""
    is_category = bool(np.isin(column, (0, 1)).all())
    typical: list[tuple[float, int, int]] = []
    for label in np.unique(targets).tolist():
        rows = np.flatnonzero(targets == label)
        middle = float(column[rows].mean() if is_category else np.median(column[rows]))
        typical.append((middle, label, int(rows[np.abs(column[rows] - middle).argmin()])))
    typical.sort()
    shown = np.unique(np.linspace(0, len(typical) - 1, MAX_EXAMPLES).round().astype(int))
    for middle, label, row in (typical[place] for place in shown.tolist()):
        told = f"{middle:.0%}" if is_category else f"{middle:,.4g} (median)"
        yield Example((names[row],), f"{classes[label]!r}: {feature} {told}")
