"""The data of the demo, made of what is installed anyway: docstrings of the standard library, and scans of digits."""

from __future__ import annotations

import ast
import csv
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from headstart._randomness import generator
from headstart.data.images import write_png
from headstart.errors import DataError

MODULES: dict[str, str] = {
    "code": (
        "abc ast bdb code codeop compileall dataclasses dis doctest functools importlib inspect linecache "
        "modulefinder pdb pkgutil py_compile pyclbr pydoc runpy symtable token tokenize trace traceback types "
        "typing unittest warnings"
    ),
    "concurrency": "_threading_local asyncio concurrent multiprocessing queue sched signal subprocess threading",
    "data formats": (
        "base64 binhex chunk configparser copyreg csv dbm json netrc pickle pickletools plistlib shelve "
        "sqlite3 tomllib wave xdrlib xml"
    ),
    "dates": "_pydatetime _strptime calendar datetime timeit zoneinfo",
    "files": (
        "_compression _pyio bz2 compression filecmp fileinput fnmatch genericpath glob gzip io lzma mimetypes "
        "ntpath os pathlib posixpath shutil stat tarfile tempfile zipapp zipfile zipimport"
    ),
    "network": (
        "cgi ftplib http imaplib ipaddress nntplib poplib selectors smtplib socket socketserver ssl telnetlib "
        "urllib webbrowser wsgiref xmlrpc"
    ),
    "numbers": "_pydecimal bisect colorsys fractions heapq numbers random secrets statistics",
    "text": (
        "argparse cmd codecs curses difflib encodings getpass gettext html locale optparse pprint quopri re "
        "reprlib shlex string stringprep textwrap"
    ),
}
"""The modules of each topic, over all versions of Python; those that are missing are passed over."""

N_TRAIN = 10
"""Labels a class for training, in both data sets."""

_N_TEST = 240  # texts a topic, so that the large topics do not drown the small ones
_MIN_TEST = 30
_FIRST_WORDS = 12  # a text is as many paragraphs as it takes to have these
_FEWEST_WORDS = 6
_TESTS = {"test", "tests"}
_LEVELS = 16  # of grey in scikit-learn's digits


def write_docstrings(folder: Path, *, library: Path | None = None, seed: int = 0) -> None:
    """Write `train.csv` and `test.csv` with the columns `text` and `topic`.

    A text is how a docstring begins; its topic is that of the module it comes from. The source is parsed, never run.
    Texts that name their own module would give their topic away, and those that occur in two topics have none: both
    are left out.

    Args:
        folder: Where; files of the same names are replaced.
        library: The folder of the standard library; None means that of the running Python.
        seed: Of the choice of items.

    Raises:
        DataError: If a topic has too few docstrings, as in a Python without its source files.
    """
    train: list[tuple[str, str]] = []
    test: list[tuple[str, str]] = []
    for topic, texts in _collect(library or Path(sysconfig.get_path("stdlib"))).items():
        if len(texts) < N_TRAIN + _MIN_TEST:
            raise DataError(
                f"the demo needs {N_TRAIN + _MIN_TEST} docstrings about {topic} from the standard library, but this "
                f"Python has {len(texts)}",
                hint="Use a Python that comes with the source files of its library, or fit data of your own.",
            )
        order = generator(seed, "demo", topic).permutation(len(texts))
        rows = [(texts[position], topic) for position in order]
        train += rows[:N_TRAIN]
        test += rows[N_TRAIN : N_TRAIN + _N_TEST]
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(folder / "train.csv", train)
    _write_table(folder / "test.csv", test)


def write_digits(folder: Path, *, seed: int = 0) -> None:
    """Write scikit-learn's handwritten digits as `train/DIGIT/….png` and `test/DIGIT/….png`, 8 × 8 pixels each.

    The data are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).

    Args:
        folder: Where; files of the same names are replaced.
        seed: Of the choice of training items.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = _some_of_each(digits.target, seed)
    for side in ("train", "test"):
        for digit in np.unique(digits.target):
            (folder / side / str(digit)).mkdir(parents=True, exist_ok=True)
    for number, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        side = "train" if number in chosen else "test"
        pixels = np.rint(scan * (255 / _LEVELS)).astype(np.uint8)
        write_png(folder / side / str(digit) / f"{number:04d}.png", pixels)


def _some_of_each(targets: Int[np.ndarray, " items"], seed: int) -> set[int]:
    """The positions of `N_TRAIN` items of each class."""
    rows = [
        generator(seed, "demo", str(target)).choice(np.flatnonzero(targets == target), N_TRAIN, replace=False)
        for target in np.unique(targets)
    ]
    return {int(row) for row in np.concatenate(rows)}


def _collect(library: Path) -> dict[str, list[str]]:
    """Distinct texts by topic, in an order that depends on the library alone."""
    found = {topic: dict.fromkeys(_texts(library, modules.split())) for topic, modules in MODULES.items()}
    topics = Counter(text for texts in found.values() for text in texts)
    return {topic: [text for text in texts if topics[text] == 1] for topic, texts in found.items()}


def _texts(library: Path, modules: Iterable[str]) -> Iterator[str]:
    for module in modules:
        name = re.compile(rf"\b{module.removeprefix('_py').strip('_')}\b", re.IGNORECASE)
        for source in _sources(library, module):
            for docstring in _docstrings(source):
                text = _beginning(docstring)
                if len(text.split()) >= _FEWEST_WORDS and not name.search(text):
                    yield text


def _sources(library: Path, module: str) -> list[Path]:
    """The files of a module or package, its tests left out."""
    file, package = library / f"{module}.py", library / module
    inside = [path for path in sorted(package.rglob("*.py")) if not _TESTS & set(path.relative_to(package).parts)]
    return [file, *inside] if file.exists() else inside


def _docstrings(source: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escape sequences in somebody else's strings
        tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _beginning(docstring: str) -> str:
    """The first paragraphs on one line, up to the first example."""
    words: list[str] = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        if len(words) >= _FIRST_WORDS or paragraph.lstrip().startswith(">>>"):
            break
        words += paragraph.split()
    return " ".join(words)


def _write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "topic"))
        writer.writerows(rows)
