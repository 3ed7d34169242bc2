"""Items are made ready in other processes; whatever happens there, each item has one answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.backbones.spec import ImageInput
from headstart.data.images import DamagedItem
from headstart.features import _decoding
from headstart.features._decoder import prepare
from headstart.features._decoding import BATCH, decode_ahead, sort_by_length

SMALL = ImageInput(8, 1.0, "bilinear", (0, 0, 0), (1, 1, 1))
LARGE = ImageInput(400, 1.0, "bicubic", (0, 0, 0), (1, 1, 1))
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{row}.png" for row in range(60)]
    for row, path in enumerate(paths):
        Image.new("RGB", (10, 12), (row, 2 * row, 255 - row)).save(path)
    return paths


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def test_many_files_are_decoded_in_order_as_here(files: list[Path]) -> None:
    with decode_ahead(files, [SMALL, LARGE]) as prepared:
        items = list(prepared)
    assert [item.position for item in items] == list(range(60))
    for item, path in zip(items, files, strict=True):
        for part, expected in zip(item.parts, prepare(path, [SMALL, LARGE]), strict=True):
            np.testing.assert_array_equal(part, expected)


def test_a_picture_does_not_depend_on_which_backbones_come_along(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((1500, 1000)).save(tmp_path / "a.jpg")
    for alone in (SMALL, LARGE):
        for company in ([SMALL, LARGE], [LARGE, SMALL]):
            together = prepare(tmp_path / "a.jpg", company)[company.index(alone)]
            np.testing.assert_array_equal(together, prepare(tmp_path / "a.jpg", [alone])[0])


def test_damage_is_an_answer(files: list[Path]) -> None:
    files[3].write_bytes(b"")
    files[7].unlink()
    with decode_ahead(files, [SMALL]) as prepared:
        reasons = {item.position: item.reason for item in prepared if item.reason}
    assert reasons == {3: "empty file", 7: "file not found"}


@posix
def test_a_name_that_is_no_text_is_found(files: list[Path]) -> None:
    odd = files[0].with_name(os.fsdecode(b"caf\xe9\n\"'\xff.png"))
    files[0].rename(odd)
    with decode_ahead([odd, *files[1:]], [SMALL]) as prepared:
        assert next(prepared).reason == ""


def test_few_files_and_arrays_need_no_process(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding, "_Process", None)
    array = np.full((9, 9, 3), 7, dtype=np.uint8)
    with decode_ahead([array] * 100, [SMALL]) as prepared:
        assert all((item.parts[0] == 7).all() for item in prepared)
    with decode_ahead(files[:5], [SMALL]) as prepared:
        assert [item.reason for item in prepared] == [""] * 5
    with decode_ahead([], [SMALL]) as prepared:
        assert list(prepared) == []


def crashing(monkeypatch: pytest.MonkeyPatch, n_crashes: int, victim: Path) -> list[Path]:
    """The decoder dies of one file the first so many times."""
    asked: list[Path] = []
    real = _decoding._Process.decode

    def decode(self: _decoding._Process, path: Path, key: str) -> tuple[np.ndarray, ...]:
        if path == victim:
            asked.append(path)
            if len(asked) <= n_crashes:
                self.kill()
        return real(self, path, key)

    monkeypatch.setattr(_decoding._Process, "decode", decode)
    return asked


@posix
@pytest.mark.parametrize(("n_crashes", "reason"), [(1, ""), (2, "the image decoder crashed on it")])
def test_a_crash_costs_one_item_at_most(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, n_crashes: int, reason: str
) -> None:
    asked = crashing(monkeypatch, n_crashes, files[20])
    with decode_ahead(files, [SMALL]) as prepared:
        reasons = [item.reason for item in prepared]
    assert len(asked) == 2
    assert reasons == [reason if row == 20 else "" for row in range(60)]


@pytest.mark.parametrize("executable", ["/no/such/python", sys.executable])
def test_where_no_decoder_starts_this_process_decodes(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(_decoding, "to_json", lambda *_, **__: "no json")
    with decode_ahead(files, [SMALL]) as prepared:
        assert [item.reason for item in prepared] == [""] * 60


def test_modules_in_the_working_folder_are_not_run(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with decode_ahead(files, [SMALL]) as prepared:
        assert not any(item.reason for item in prepared)
    assert not (tmp_path / "was run").exists()


@posix
@pytest.mark.parametrize("n_taken", [0, 1, 30])
def test_no_process_survives_whoever_stops_early(files: list[Path], n_taken: int) -> None:
    before = children()
    with pytest.raises(KeyboardInterrupt), decode_ahead(files, [SMALL]) as prepared:  # noqa: PT012
        for _ in range(n_taken):
            next(prepared)
        raise KeyboardInterrupt
    assert children() == before


@posix
def test_a_decoder_ends_with_its_parent_and_not_by_ctrl_c() -> None:
    from headstart._records import to_json

    command = [sys.executable, "-P", "-m", "headstart.features._decoder", to_json([SMALL], indent=0), "[{}]"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b'{"ready": true}\n'
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


def test_the_decoder_blames_the_file_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(DamagedItem, match="file not found"):
        prepare(tmp_path / "a.png", [SMALL])


def test_texts_of_a_batch_are_about_equally_long() -> None:
    texts = ["x" * (row * 7919 % 997) for row in range(1000)]
    with sort_by_length(texts, 2) as prepared:
        items = list(prepared)
    assert sorted(item.position for item in items) == list(range(1000))
    assert all(item.parts == (texts[item.position],) * 2 for item in items)
    lengths = [len(texts[item.position]) for item in items]
    spans = [max(lengths[at : at + BATCH]) - min(lengths[at : at + BATCH]) for at in range(0, 1000, BATCH)]
    assert max(spans[8:]) < 200  # of chunks of 256 and more
    assert max(spans[16:]) < 90


def test_whoever_stops_early_has_seen_texts_of_all_lengths() -> None:
    texts = ["x" * (row * 7919 % 997) for row in range(1000)]
    with sort_by_length(texts, 1) as prepared:
        seen = [len(next(prepared).parts[0]) for _ in range(320)]
    assert 300 < np.mean(seen) < 660
    assert np.ptp(seen) > 480


def test_texts_of_a_chunk_come_before_those_of_the_next() -> None:
    with sort_by_length(["x"] * 3000, 1) as prepared:
        positions = [item.position for item in prepared]
    for start, end in ((0, 64), (64, 128), (128, 256), (256, 512), (512, 1024), (1024, 2048), (2048, 3000)):
        assert sorted(positions[start:end]) == list(range(start, end))
