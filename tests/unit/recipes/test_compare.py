"""Two runs side by side: paired where the test items are the same, and never else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import sample

from headstart.errors import BundleError, DataError, HeadstartError, OptionError
from headstart.evaluation.comparison import compare_apart, compare_correct
from headstart.evaluation.metrics import evaluate_predictions
from headstart.recipes.compare import compare
from headstart.reports import write_predictions, write_run
from headstart.reports.record import Run, ValidationRecord

CLASSES = ("cat", "dog", "owl")
N = 90
TARGETS = np.arange(N) % 3
NAMES = [f"{CLASSES[target]}/{row}.jpg" for row, target in enumerate(TARGETS)]


def _right(n_right: int, seed: int) -> np.ndarray:
    hits = np.arange(N) < n_right
    return np.random.default_rng(seed).permutation(hits)


def _run(
    folder: Path,
    right: np.ndarray,
    *,
    names: list[str] = NAMES,
    targets: np.ndarray = TARGETS,
    fingerprint: str = "t",
    groups: tuple[int, ...] = (),
    seed: int = 0,
) -> Run:
    """A run of three classes on disk that got these test items right."""
    predictions = np.where(right, targets, (targets + 1) % 3)
    probabilities = 0.1 + 0.7 * np.eye(3)[predictions]
    whole = sample.photos()
    run = replace(
        whole,
        name=folder.name,
        seed=seed,
        data=replace(
            whole.data, classes=CLASSES, n_test=len(targets), test_fingerprint=fingerprint, test_groups=groups
        ),
        evaluation=evaluate_predictions(targets, probabilities, CLASSES),
        validation=ValidationRecord(5, 1, 1),
    )
    folder.mkdir(parents=True)
    write_run(run, folder)
    write_predictions(
        folder / "predictions_test.csv",
        names,
        classes=CLASSES,
        probabilities=probabilities,
        targets=[CLASSES[target] for target in targets],
    )
    return run


def test_the_same_test_items_are_compared_one_by_one_in_whatever_order(tmp_path: Path) -> None:
    first, second = _right(80, 0), _right(66, 1)
    _run(tmp_path / "new", first)
    order = np.random.default_rng(2).permutation(N)
    _run(tmp_path / "old", second[order], names=[NAMES[row] for row in order], targets=TARGETS[order], seed=4)
    record = compare(tmp_path / "new", tmp_path / "old" / "run.json")
    assert record.paired
    assert record.pairing == "Both were tested on the same 90 items, so they are compared item by item."
    assert record.difference == compare_correct(first, second)
    assert record.sentence.startswith("new is better than old by 15.6 points (")
    assert [each.name for each in record.classes] == list(CLASSES)
    cat = TARGETS == 0
    assert record.classes[0].recall == compare_correct(first[cat], second[cat])
    assert {each.name: (each.first, each.second) for each in record.settings} == {"seed": (0, 4)}
    assert (record.first.n_params, record.first.out) == (record.second.n_params, str(tmp_path / "new"))


def test_which_is_named_first_only_turns_the_sign(tmp_path: Path) -> None:
    _run(tmp_path / "a", _right(80, 0))
    _run(tmp_path / "b", _right(66, 1))
    one, other = compare(tmp_path / "a", tmp_path / "b"), compare(tmp_path / "b", tmp_path / "a")
    assert one.difference.value == -other.difference.value
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert one.sentence == other.sentence


def test_what_cannot_be_told_is_not_called_better(tmp_path: Path) -> None:
    _run(tmp_path / "a", _right(80, 0))
    _run(tmp_path / "b", _right(79, 1))
    sentence = compare(tmp_path / "a", tmp_path / "b").sentence
    assert sentence.startswith("Which of a and b is better cannot be told: +1.1 points (")


def test_groups_count_as_one_where_there_are_groups(tmp_path: Path) -> None:
    groups = tuple((np.arange(N) // 9).tolist())
    # Whole groups are gained, so ten independent ones stand behind the difference, not ninety items.
    first, second = np.ones(N, dtype=bool), np.arange(N) // 9 < 6
    _run(tmp_path / "a", first, groups=groups)
    _run(tmp_path / "b", second, groups=groups)
    grouped = compare(tmp_path / "a", tmp_path / "b").difference
    single = compare_correct(first, second)
    assert grouped.high - grouped.low > 2 * (single.high - single.low)
    assert grouped.p_value == pytest.approx(2 / 2**4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fingerprint": "other"}, "items of the same names have another content"),
        ({"names": [f"x{row}" for row in range(N)]}, "their tests share 0 of 90 and 90 items by name"),
        ({"targets": (TARGETS + (np.arange(N) == 0)) % 3}, "the same items have other labels"),
    ],
)
def test_other_test_items_are_never_paired(tmp_path: Path, change: dict[str, object], why: str) -> None:
    a = _run(tmp_path / "a", _right(80, 0))
    b = _run(tmp_path / "b", _right(66, 1), **change)  # type: ignore[arg-type]
    record = compare(tmp_path / "a", tmp_path / "b")
    assert not record.paired
    assert record.pairing == (
        f"The two are not compared item by item: {why}. So the chance of two different tests is in the range."
    )
    assert record.difference == compare_apart(a.evaluation.accuracy, b.evaluation.accuracy)


def test_items_of_the_same_name_twice_are_not_paired(tmp_path: Path) -> None:
    names = [NAMES[0], NAMES[0], *NAMES[2:]]
    targets = np.where(np.arange(N) == 1, TARGETS[0], TARGETS)
    for name in ("a", "b"):
        _run(tmp_path / name, _right(80, 0), names=names, targets=targets)
    assert "several test items have the same name" in compare(tmp_path / "a", tmp_path / "b").pairing


def test_a_record_without_the_identity_of_the_test_goes_by_that_of_all_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _run(tmp_path / name, _right(80, 0), fingerprint="")
    assert compare(tmp_path / "a", tmp_path / "b").paired


def test_a_class_stands_out_only_beyond_the_chance_of_several(tmp_path: Path) -> None:
    owls = TARGETS == 2
    _run(tmp_path / "a", np.ones(N, dtype=bool))
    _run(tmp_path / "b", ~(owls & (np.arange(N) < 60)) & (np.arange(N) != 0))
    record = compare(tmp_path / "a", tmp_path / "b")
    assert [each.name for each in record.classes if each.stands_out] == ["owl"]


def test_runs_of_one_name_are_called_by_their_folders(tmp_path: Path) -> None:
    for place in ("x", "y"):
        _run(tmp_path / place / "run", _right(80, 0))
    record = compare(tmp_path / "x" / "run", tmp_path / "y" / "run")
    assert record.first.name == str(tmp_path / "x" / "run")
    assert record.sentence.startswith(f"Which of {tmp_path / 'x' / 'run'} and")


def _spoil_table(folder: Path) -> None:
    (folder / "predictions_test.csv").write_text("item,prediction\na,b\n")


def _shorten_table(folder: Path) -> None:
    table = folder / "predictions_test.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))


def _other_schema(folder: Path) -> None:
    file = folder / "run.json"
    file.write_text(file.read_text().replace("headstart.run/1", "headstart.run/9"))


def _other_classes(folder: Path) -> None:
    file = folder / "run.json"
    file.write_text(file.read_text().replace('"owl"', '"fox"'))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "run.json").unlink(), BundleError, "a run is a folder with a run.json, but"),
        (_other_schema, BundleError, "reads runs with schema 'headstart.run/1', but"),
        (lambda folder: (folder / "predictions_test.csv").unlink(), BundleError, "a run keeps the predictions for"),
        (_spoil_table, BundleError, "must be a table with the columns item, prediction and target, but"),
        (_shorten_table, BundleError, "must have a row for each of the 90 test items of the run, but"),
        (
            _other_classes,
            DataError,
            "two runs are compared on the same classes, but only 'a' has 'owl' and only 'b' has 'fox'",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, spoil: object, error: type[HeadstartError], message: str
) -> None:
    for name in ("a", "b"):
        _run(tmp_path / name, _right(80, 0))
    spoil(tmp_path / "b")  # type: ignore[operator]
    with pytest.raises(error, match=message) as raised:
        compare(tmp_path / "a", tmp_path / "b")
    assert raised.value.hint


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    _run(tmp_path / "a", _right(80, 0))
    with pytest.raises(OptionError, match="two different runs are compared, but both are"):
        compare(tmp_path / "a", tmp_path / "a" / "run.json")
