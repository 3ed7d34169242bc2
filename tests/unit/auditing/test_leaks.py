"""Leaks: what tells the class beside the content is found, and what does not is passed over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.auditing.files import FileFacts
from headstart.auditing.leaks import leak_findings, leaks

CLASSES = ("cat", "dog", "owl", "pig")
N = 400


def _facts(seed: int = 0, n_items: int = N) -> FileFacts:
    random = np.random.default_rng(seed)
    return FileFacts(
        n_bytes=random.integers(5_000, 50_000, n_items),
        width_px=random.integers(200, 400, n_items),
        height_px=random.integers(200, 400, n_items),
        formats=("JPEG",) * n_items,
        modes=("RGB",) * n_items,
        orientations=np.ones(n_items, dtype=np.int8),
        cameras=("",) * n_items,
        taken=("",) * n_items,
        qualities=random.integers(70, 95, n_items),
        damage=("",) * n_items,
        n_after=np.zeros(n_items, dtype=np.int64),
        animated=np.zeros(n_items, dtype=bool),
    )


def _targets(n_items: int = N) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 4, n_items)


def _names(targets: np.ndarray) -> list[str]:
    random = np.random.default_rng(7)
    return [f"train/{CLASSES[t]}/{random.integers(10**9)}.jpg" for t in targets]


def test_facts_by_chance_are_no_leak() -> None:
    targets = _targets()
    assert list(leak_findings(_names(targets), targets, CLASSES, facts=_facts())) == []


def test_false_alarms_are_rare() -> None:
    targets = _targets()
    found = [list(leak_findings(_names(targets), targets, CLASSES, facts=_facts(seed))) for seed in range(20)]
    assert sum(map(bool, found)) <= 1


def test_a_size_that_tells_the_class_is_serious() -> None:
    targets = _targets()
    width = np.where(targets == 2, 640, 300) + np.random.default_rng(1).integers(0, 3, N)
    facts = replace(_facts(), width_px=width, height_px=width)
    found = {finding.kind: finding for finding in leak_findings(_names(targets), targets, CLASSES, facts=facts)}
    assert found["leak_by_size"].severity == "serious"
    assert "Picture sizes alone tell the class on" in found["leak_by_size"].summary
    assert "(by chance 25%)" in found["leak_by_size"].summary
    notes = [example.note for example in found["leak_by_size"].examples]
    assert len(notes) == 4
    assert notes[-1].startswith("'owl': the ")


@pytest.mark.parametrize(
    ("column", "values", "kind", "severity"),
    [
        ("qualities", (75, 75, 90, 90), "leak_by_file", "serious"),
        ("cameras", ("canon", "canon", "nikon", "nikon"), "leak_by_camera", "serious"),
        (
            "taken",
            ("2024:01:01 10:00:00", "2024:02:01 10:00:00", "", "2023:02:01 12:00:00"),
            "leak_by_camera",
            "serious",
        ),
    ],
)
def test_compression_cameras_and_dates_are_seen(
    column: str, values: tuple[object, ...], kind: str, severity: str
) -> None:
    targets = _targets()
    per_item = [values[t] for t in targets]
    changed = np.array(per_item) if column == "qualities" else tuple(map(str, per_item))
    facts = replace(_facts(), **{column: changed})
    (finding,) = leak_findings(_names(targets), targets, CLASSES, facts=facts)
    assert (finding.kind, finding.severity) == (kind, severity)


def test_names_are_only_worth_a_word_and_class_names_in_them_do_not_count() -> None:
    targets = _targets()
    own = [f"{CLASSES[t]}/{CLASSES[t].title()}_{n}.jpg" for n, t in enumerate(targets)]
    assert list(leak_findings(own, targets, CLASSES)) == []
    sources = [f"{CLASSES[t]}/{'nikon' if t < 2 else 'sony'}_{n}.jpg" for n, t in enumerate(targets)]
    (finding,) = leak_findings(sources, targets, CLASSES)
    assert (finding.kind, finding.severity) == ("leak_by_name", "info")
    folders = [f"{CLASSES[t]}/{('<script>', 'b' + chr(10))[t // 2]}/{n}.jpg" for n, t in enumerate(targets)]
    (finding,) = leak_findings(folders, targets, CLASSES)
    assert "most by the folder" in finding.summary


def test_one_class_of_many_that_came_from_another_source_is_named() -> None:
    targets = np.random.default_rng(2).integers(0, 20, 1_000)
    facts = replace(_facts(n_items=1_000), qualities=np.where(targets == 7, 60, 85))
    names = [f"row {n}" for n in range(1_000)]
    (finding,) = leak_findings(names, targets, [f"class {n}" for n in range(20)], facts=facts)
    assert (finding.kind, finding.severity) == ("leak_by_file", "serious")
    assert "tell 'class 7' from the other classes (100% of its items" in finding.summary


def test_rows_of_a_table_sorted_by_class_are_no_leak() -> None:
    targets = np.sort(_targets())
    assert list(leak_findings([f"row {n}" for n in range(N)], targets, CLASSES)) == []


def test_the_length_of_texts_that_tells_the_class_is_found() -> None:
    targets = _targets()
    random = np.random.default_rng(3)
    texts = ["word " * int(random.integers(20, 40) + 25 * (t == 1)) for t in targets]
    names = [f"row {n}" for n in range(N)]
    (finding,) = leak_findings(names, targets, CLASSES, texts=texts)
    assert finding.kind == "leak_by_length"
    assert list(leak_findings(names, np.random.default_rng(5).permutation(targets), CLASSES, texts=texts)) == []


def test_units_are_not_divided() -> None:
    """A size that belongs to a unit of one class tells nothing about other units of that class."""
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(40), 10)
    targets = units % 4
    width = random.permutation(np.arange(300, 700, 10))[units]
    facts = replace(_facts(), width_px=width, height_px=width)
    names = [f"row {n}" for n in range(N)]
    alone = next(leak for leak in leaks(names, targets, CLASSES, facts=facts) if leak.family == "size")
    together = next(leak for leak in leaks(names, targets, CLASSES, facts=facts, units=units) if leak.family == "size")
    assert alone.accuracy > 0.6
    assert together.accuracy < 0.5
    assert [f for f in leak_findings(names, targets, CLASSES, facts=facts, units=units) if f.severity != "info"] == []


def test_the_same_seed_gives_the_same_and_large_data_a_sample() -> None:
    targets = _targets(20_000)
    names = [f"row {n}" for n in range(20_000)]
    facts = replace(_facts(n_items=20_000), width_px=300 + 10 * targets)
    first = list(leaks(names, targets, CLASSES, facts=facts, seed=4))
    assert first == list(leaks(names, targets, CLASSES, facts=facts, seed=4))
    assert next(leak for leak in first if leak.family == "size").accuracy > 0.9


def test_too_little_data_say_nothing() -> None:
    assert list(leak_findings(["a.jpg", "b.jpg"], np.array([0, 1]), CLASSES)) == []
    assert list(leak_findings([], np.zeros(0, dtype=int), CLASSES)) == []


def test_places_in_tables_and_lists_are_no_names() -> None:
    """Sorted lists are common, and where an item stood in one is known to no model."""
    targets = np.repeat(np.arange(4), 100)
    for names in ([f"item {n}" for n in range(N)], [f"{'test ' * (n % 2)}row {n // 2}" for n in range(N)]):
        assert list(leaks(names, targets, CLASSES)) == []


@pytest.mark.parametrize("n_units", [1, 2, 4])
def test_fewer_units_than_folds_tell_nothing(n_units: int) -> None:
    targets = _targets(40)
    facts = _facts(n_items=40)
    assert list(leaks(_names(targets), targets, CLASSES, facts=facts, units=np.arange(40) % n_units)) == []
