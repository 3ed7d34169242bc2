"""The benchmark of nearness: what it makes of texts, messages and rows."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headstart.selection.nearness import Nearness

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("nearness")


def compiled(messages: dict[str, str]) -> bytes:
    """A `.mo` file: a header of seven numbers, two tables of lengths and places, and the strings."""
    pairs = sorted([("", "Content-Type: text/plain; charset=UTF-8\n"), *messages.items()])
    start = 28 + 16 * len(pairs)
    tables: tuple[list[int], list[int]] = ([], [])
    strings = b""
    for side, table in enumerate(tables):
        for pair in pairs:
            raw = pair[side].encode()
            table += [len(raw), start + len(strings)]
            strings += raw + b"\0"
    header = (0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return struct.pack(f"<{7 + 4 * len(pairs)}I", *header, *tables[0], *tables[1]) + strings


def row(module: ModuleType, data: str, entropy: float | None, alike: float, gain: float) -> object:
    found = Nearness("near", "", 10, alike, 5.0, 0.5, entropy_share=entropy)
    return module.Row(data, 10, "one", found, gain)


def test_exchanged_letters_are_one_permutation_that_keeps_all_else(benchmark_module: ModuleType) -> None:
    before = ["The quick brown fox jumps over the lazy dog, 12 times!", "the"]
    after = benchmark_module.exchanged(before)
    assert after != before
    assert [text.split()[0].lower() for text in after] == [after[1]] * 2
    assert [len(text) for text in after] == [len(text) for text in before]
    assert after[0].endswith("!")
    assert " 12 " in after[0]
    assert len({letter.lower() for letter in after[0] if letter.isalpha()}) == 26


def test_messages_are_the_same_in_every_language_and_know_their_application(
    benchmark_module: ModuleType, tmp_path: Path
) -> None:
    for app in ("admin", "auth"):
        for code in benchmark_module.LANGUAGES:
            folder = tmp_path / "contrib" / app / "locale" / code / "LC_MESSAGES"
            folder.mkdir(parents=True)
            messages = {f"a long message of {app}, {i}": f"{code} {app} {i}" for i in range(45)}
            (folder / "django.mo").write_bytes(
                compiled({**messages, "short": "left out", "one that has no answer": ""})
            )
    sets = dict(benchmark_module.message_sets(tmp_path, 60))
    assert list(sets) == ["messages, English", "messages, German", "messages, Japanese", "messages, Russian"]
    english, german = sets["messages, English"], sets["messages, German"]
    assert len(english) == len(german) == 60
    assert english.classes == ("admin", "auth")
    for source, said, target in zip(english.items.values, german.items.values, german.targets, strict=True):
        app, number = source.removeprefix("a long message of ").split(", ")
        assert (said, german.classes[target]) == (f"de {app} {number}", app)
    assert english.targets.tolist() == german.targets.tolist()


def test_what_is_usual_is_the_mean_of_the_sets_like_the_pretraining(benchmark_module: ModuleType) -> None:
    rows = [
        row(benchmark_module, "clothing", 0.4, 0.2, 0.5),
        row(benchmark_module, "pacs_photo", 0.5, 0.4, 0.5),
        row(benchmark_module, "digits", 0.9, 0.9, 0.0),
    ]
    assert benchmark_module.usual(rows, "one", "image") == "alike 0.30, entropy 45%"
    texts = [row(benchmark_module, "sst2", None, 0.25, 0.1), row(benchmark_module, "other", None, 0.9, 0.1)]
    assert benchmark_module.usual(texts, "one", "text") == "alike 0.25"


def test_sets_are_printed_nearest_first_and_compared_with_the_gain(
    benchmark_module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        row(benchmark_module, "digits", 0.9, 0.9, -0.1),
        row(benchmark_module, "clothing", 0.4, 0.2, 0.5),
        row(benchmark_module, "signs", 0.7, 0.6, 0.2),
    ]
    (said,) = benchmark_module.report(rows, "image")
    assert [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines()] == ["clothing", "signs", "digits"]
    assert "by gain 1.00, beside that of one 1.00; usual are alike 0.20, entropy 40%" in said


def test_words_weigh_nothing_where_they_are_absent(benchmark_module: ModuleType) -> None:
    found = benchmark_module.words(["one two", "two three three"])
    assert found.shape == (2, 3)
    assert np.count_nonzero(found) == 4
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
