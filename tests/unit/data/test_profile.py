from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.dataset import Items
from headstart.data.images import DamagedItem, shorter_side_px
from headstart.data.profile import profile


def _texts(*texts: str) -> Items:
    return Items("text", texts, tuple(map(str, range(len(texts)))))


def test_the_shorter_side_comes_from_the_header_alone(tmp_path: Path) -> None:
    Image.new("RGB", (90, 40)).save(tmp_path / "a.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.jpg")
    cut = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(cut[: len(cut) * 3 // 4])
    assert shorter_side_px(tmp_path / "a.jpg") == shorter_side_px(tmp_path / "b.jpg") == 40
    assert shorter_side_px(np.zeros((7, 9, 3), np.uint8)) == 7
    (tmp_path / "c.jpg").write_text("no image")
    with pytest.raises(DamagedItem):
        shorter_side_px(tmp_path / "c.jpg")


def test_images_are_seen_by_their_median_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    for side in (10, 20, 300):
        Image.new("RGB", (side, 400)).save(tmp_path / f"{side}.png")
    (tmp_path / "d.png").write_bytes(b"")
    paths = tuple(sorted(tmp_path.iterdir()))
    seen = profile(Items("image", paths, tuple(path.name for path in paths)))
    assert (seen.n_seen, seen.side_px, seen.n_words, seen.script) == (3, 20.0, (), "")
    lost = profile(Items("image", (tmp_path / "d.png",), ("d",)))
    assert (lost.n_seen, lost.side_px) == (0, None)


def test_texts_are_seen_by_their_words_and_their_script() -> None:
    seen = profile(_texts("Two words.", "one", ""))
    assert seen.n_words == (3, 1, 0)
    assert seen.share_longer(1) == pytest.approx(1 / 3)
    assert seen.script == "LATIN"
    assert profile(_texts("Добрый день", "ok")).script == "CYRILLIC"
    assert profile(_texts("今天天气很好")).script == "CJK"
    assert profile(_texts("12 + 3")).script == ""
