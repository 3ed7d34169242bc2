"""The demo's data: the same on every call, balanced, and without labels that give themselves away."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.errors import DataError
from headstart.recipes.demo_data import MODULES, N_TRAIN, write_digits, write_docstrings


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _everything(folder: Path) -> str:
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("train.csv", "test.csv"))


def _library(folder: Path, n_each: int = 40) -> Path:
    """A standard library of one module a topic, each with `n_each` functions that say what they do."""
    folder.mkdir()
    for topic, modules in MODULES.items():
        functions = [
            f'def f{number}():\n    """Does the {topic} thing that has the number {number}."""\n'
            for number in range(n_each)
        ]
        (folder / f"{modules.split()[-1]}.py").write_text("\n".join(functions), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def docstrings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docstrings")
    write_docstrings(folder)
    return folder


def test_every_topic_has_ten_training_texts_and_many_test_texts(docstrings: Path) -> None:
    train, test = _rows(docstrings / "train.csv"), _rows(docstrings / "test.csv")
    counts = {topic: [sum(row["topic"] == topic for row in side) for side in (train, test)] for topic in MODULES}
    assert all(n_train == N_TRAIN for n_train, _ in counts.values())
    assert all(n_test >= 30 for _, n_test in counts.values())
    assert 1_500 <= len(test) <= 2_000


def test_no_text_occurs_twice(docstrings: Path) -> None:
    texts = [row["text"] for side in ("train", "test") for row in _rows(docstrings / f"{side}.csv")]
    assert len(texts) == len(set(texts))


def test_texts_are_of_one_line_and_of_six_words_or_more(docstrings: Path) -> None:
    texts = [row["text"] for row in _rows(docstrings / "train.csv")]
    assert all("\n" not in text and len(text.split()) >= 6 for text in texts)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    library = _library(tmp_path / "library")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_docstrings(tmp_path / name, library=library, seed=seed)
    a, b, c = ((tmp_path / name / "train.csv").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_text_that_names_its_module_is_left_out(tmp_path: Path) -> None:
    library = _library(tmp_path / "library", 50)
    for source in library.iterdir():
        text = source.read_text(encoding="utf-8")
        source.write_text(text.replace("number 7.", f"number 7, see {source.stem}."), encoding="utf-8")
    write_docstrings(tmp_path / "out", library=library)
    texts = [row["text"] for side in ("train", "test") for row in _rows(tmp_path / "out" / f"{side}.csv")]
    assert len(texts) == 49 * len(MODULES)
    assert not any(re.search(r"number 7\b", text) for text in texts)


def test_a_text_that_occurs_in_two_topics_is_left_out(tmp_path: Path) -> None:
    library = _library(tmp_path / "library")
    for source in library.iterdir():
        with source.open("a", encoding="utf-8") as file:
            file.write('\nclass Same:\n    """Initialise self; see the help of the type."""\n')
    write_docstrings(tmp_path / "out", library=library)
    assert (
        "Initialise" not in (tmp_path / "out" / "train.csv").read_text() + (tmp_path / "out" / "test.csv").read_text()
    )


def test_packages_are_read_without_their_tests_and_text_ends_before_examples(tmp_path: Path) -> None:
    library = _library(tmp_path / "test")  # also where the library itself lies below a folder named test
    package = library / "json"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text(
        '"""Reads and\nwrites things of all kinds.\n\n>>> example\n\nMore words that never come."""', encoding="utf-8"
    )
    (package / "tests" / "more.py").write_text('"""Something that only the tests would say."""', encoding="utf-8")
    write_docstrings(tmp_path / "out", library=library)
    everything = _everything(tmp_path / "out")
    assert "Reads and writes things of all kinds.,data formats" in everything
    assert "only the tests" not in everything


def test_modules_that_are_missing_are_passed_over_but_a_topic_without_texts_is_an_error(tmp_path: Path) -> None:
    library = _library(tmp_path / "library")
    write_docstrings(tmp_path / "out", library=library)
    for name in MODULES["dates"].split():
        (library / f"{name}.py").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"needs 40 docstrings about dates .* but this Python has 0"):
        write_docstrings(tmp_path / "out", library=library)


def test_digits_are_the_scans_of_scikit_learn_in_class_folders(tmp_path: Path) -> None:
    write_digits(tmp_path)
    digits = load_digits()
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == len(digits.images) == 1_797
    assert all(len(list((tmp_path / "train" / str(digit)).iterdir())) == N_TRAIN for digit in range(10))
    for path in files[::100]:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (8, 8))
            assert np.allclose(np.asarray(image) / 255 * 16, digits.images[int(path.stem)], atol=0.05)
        assert int(path.parent.name) == digits.target[int(path.stem)]


def test_digits_written_twice_are_the_same_files(tmp_path: Path) -> None:
    write_digits(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    shutil.rmtree(tmp_path / "train" / "0")
    write_digits(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
