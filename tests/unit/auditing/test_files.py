"""Files: headers are read, silent damage is found, and whole files of every common kind raise no alarm."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.auditing import Finding
from headstart.auditing.files import FileFacts, file_findings, look_at_files, picture_findings
from headstart.data import Items
from headstart.data.images import DamagedItem, open_image


def _scene(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """A picture with the statistics of a photograph: smooth areas, edges, a little noise."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((pixels + random.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8))


def _bytes(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _items(folder: Path, files: dict[str, bytes]) -> Items:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return Items("image", tuple(folder / name for name in files), tuple(files))


def _findings(items: Items, **options: int) -> dict[str, Finding]:
    return {finding.kind: finding for finding in file_findings(look_at_files(items), items, **options)}


def _middle(data: bytes, share: float, fill: Callable[[int], bytes]) -> bytes:
    n_bytes = int(share * len(data))
    start = len(data) // 2 - n_bytes // 2
    return data[:start] + fill(n_bytes) + data[start + n_bytes :]


def _is_told(data: bytes, folder: Path) -> bool:
    """Whether a file is left out by the pass, or found by the audit."""
    path = folder / "x.jpg"
    path.write_bytes(data)
    try:
        open_image(path, at_least_px=64)
    except DamagedItem:
        return True
    return bool(look_at_files(Items("image", (path,), ("x.jpg",))).damage[0])


def test_the_header_says_everything(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Canon", "EOS\n5D"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:31 12:00:00"
    data = _bytes(_scene(0), quality=90, exif=exif.tobytes())
    facts = look_at_files(_items(tmp_path, {"a.jpg": data}))
    assert (facts.n_bytes[0], facts.width_px[0], facts.height_px[0]) == (len(data), 120, 160)
    assert (facts.formats, facts.modes, facts.orientations[0]) == (("JPEG",), ("RGB",), 6)
    assert (facts.cameras, facts.taken) == (("canon eos5d",), ("2024:01:31 12:00:00",))
    assert facts.take([0]).qualities[0] == pytest.approx(90, abs=2)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_either_byte_order_is_that_of_pillow_and_broken_exif_does_no_harm(order: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112], exif[0x010F], exif[0x0132] = 8, "X", "2020:02:02 02:02:02"
    whole = exif.tobytes()
    random = np.random.default_rng(0)
    files = {"whole.jpg": _bytes(_scene(0), exif=whole)}
    for number in range(60):
        broken = bytearray(whole[: random.integers(8, len(whole))])
        broken[random.integers(6, len(broken))] = random.integers(256)
        files[f"{number}.jpg"] = _bytes(_scene(0), exif=bytes(broken))
    facts = look_at_files(_items(tmp_path, files))
    assert (facts.orientations[0], facts.cameras[0], facts.taken[0]) == (8, "x", "2020:02:02 02:02:02")
    assert facts.known.all()


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_the_quality_is_that_of_libjpeg(quality: int, tmp_path: Path) -> None:
    facts = look_at_files(_items(tmp_path, {"a.jpg": _bytes(_scene(0), quality=quality)}))
    assert facts.qualities[0] == pytest.approx(quality, abs=2)


def test_arrays_and_what_cannot_be_read_have_their_rows(tmp_path: Path) -> None:
    values = (np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8), tmp_path / "gone.jpg", tmp_path)
    (tmp_path / "empty.jpg").touch()
    items = Items("image", (*values, tmp_path / "empty.jpg"), tuple("abcde"))
    facts = look_at_files(items)
    assert (len(facts), facts.known.tolist()) == (5, [True, True, False, False, False])
    assert (facts.modes[:2], facts.width_px[0], facts.height_px[0]) == (("RGB", "L"), 30, 20)
    assert [finding.kind for finding in file_findings(facts, items)] == ["tiny_pictures"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 30},
        {"quality": 97, "subsampling": 0},
        {"subsampling": "4:2:2"},
        {"progressive": True},
        {"optimize": True},
        {"restart_marker_rows": 1},
    ],
)
def test_whole_jpegs_are_whole(options: dict[str, object], tmp_path: Path) -> None:
    sizes = [(160, 120), (100, 100), (97, 33), (32, 32), (9, 8), (5, 3), (257, 16)]
    pictures = [_scene(seed, *size) for seed, size in enumerate(sizes)]
    for colour in ("white", (128, 128, 128), "black"):
        flat = _scene(9)
        flat.paste(colour, (0, 60, 160, 120))
        pictures += [flat, Image.new("RGB", (150, 110), colour), _scene(8).convert("L"), Image.new("L", (70, 50), 128)]
    files = {f"{number}.jpg": _bytes(picture, **options) for number, picture in enumerate(pictures)}
    facts = look_at_files(_items(tmp_path, files))
    assert facts.damage == ("",) * len(files)
    assert not facts.n_after.any()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, random: b"",
        lambda data, random: data[: len(data) // 2],
        lambda data, random: data[:300],
        lambda data, random: b"<!doctype html><title>404</title>",
        lambda data, random: _middle(data, random.uniform(0.05, 0.1), random.bytes),
        lambda data, random: _middle(data, random.uniform(0.05, 0.1), bytes),
    ],
    ids=["empty", "half", "header only", "html", "random bytes", "zeros"],
)
def test_every_kind_of_damage_is_told(damage: Callable[[bytes, np.random.Generator], bytes], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for seed in range(25):
        assert _is_told(damage(_bytes(_scene(seed, 320, 240)), random), tmp_path)


@pytest.mark.parametrize("name", ["pacs_photo", "clothing"])
def test_damage_in_real_photographs_is_told_and_whole_ones_raise_no_alarm(
    name: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    random = np.random.default_rng(1)
    paths = sorted(shared_data(f"images/{name}").glob("test/*/*.jpg"))[::20]
    whole = Items("image", tuple(paths), tuple(map(str, paths)))
    assert not any(look_at_files(whole).damage)
    for path in paths:
        for fill in (random.bytes, bytes):
            assert _is_told(_middle(path.read_bytes(), 0.07, fill), tmp_path)


def test_damage_that_decodes_is_reported_with_examples(tmp_path: Path) -> None:
    png = bytearray(_bytes(_scene(0), "PNG"))
    png[png.index(b"IDAT") + 4 + int.from_bytes(png[png.index(b"IDAT") - 4 : png.index(b"IDAT")], "big")] ^= 0xFF
    files = {f"{n}.jpg": _bytes(_scene(n)) for n in range(20)}
    files |= {"<script>.png": bytes(png), 'z "\n.jpg': _middle(_bytes(_scene(3)), 0.1, bytes)}
    finding = _findings(_items(tmp_path, files))["damaged_files"]
    assert (finding.severity, finding.items) == ("serious", ("<script>.png", 'z "\n.jpg'))
    assert [each.note for each in finding.examples] == [
        "a checksum of it is wrong",
        "zeros stand where its coded data should be",
    ]


def test_data_after_the_picture_are_told_and_padding_is_not(tmp_path: Path) -> None:
    jpeg, png = _bytes(_scene(0)), _bytes(_scene(1), "PNG")
    files = {"a.jpg": jpeg + b"MP4 film", "b.jpg": jpeg + bytes(99), "c.png": png + b"\0zip", "d.png": png + bytes(9)}
    finding = _findings(_items(tmp_path, files))["data_after_pictures"]
    assert (finding.severity, finding.items) == ("info", ("a.jpg", "c.png"))
    assert [each.note for each in finding.examples] == ["8 bytes", "3 bytes"]


def test_what_is_unusual_among_many_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    palette = _scene(4).quantize(16)
    files = {f"{n}.jpg": _bytes(_scene(n)) for n in range(60)}
    files |= {
        "cmyk.jpg": _bytes(_scene(1).convert("CMYK")),
        "grey.jpg": _bytes(_scene(2).convert("L")),
        "deep.png": _bytes(Image.fromarray(np.full((120, 160), 5000, np.uint16)), "PNG"),
        "clear.png": _bytes(palette, "PNG", transparency=0),
        "png.jpg": _bytes(_scene(5), "PNG"),
        "turned.jpg": _bytes(_scene(6), exif=exif.tobytes()),
        "film.gif": _bytes(palette, "GIF", save_all=True, append_images=[_scene(7).quantize(16)]),
        "tiny.jpg": _bytes(_scene(8, 20, 20)),
        "large.jpg": _bytes(_scene(9, 900, 900)),
        "long.jpg": _bytes(_scene(10, 600, 120)),
    }
    items = _items(tmp_path, files)
    found = list(file_findings(look_at_files(items), items, sees_px=64))
    seen = {(finding.kind, finding.severity, finding.items) for finding in found}
    assert seen == {
        ("mixed_colours", "warning", ("cmyk.jpg",)),
        ("mixed_colours", "info", ("grey.jpg",)),
        ("mixed_colours", "warning", ("deep.png",)),
        ("mixed_colours", "info", ("clear.png",)),
        ("wrong_extensions", "info", ("png.jpg",)),
        ("rotated_by_exif", "info", ("turned.jpg",)),
        ("animations", "info", ("film.gif",)),
        ("tiny_pictures", "warning", ("tiny.jpg",)),
        ("unusual_sizes", "info", ("tiny.jpg", "large.jpg")),
        ("long_pictures", "info", ("long.jpg",)),
    }
    assert all(finding.examples and finding.summary.endswith(".") for finding in found)


def test_an_even_set_has_no_findings(tmp_path: Path) -> None:
    assert _findings(_items(tmp_path, {f"{n}.jpg": _bytes(_scene(n)) for n in range(20)}), sees_px=224) == {}


def test_small_pictures_are_measured_by_what_the_network_sees(tmp_path: Path) -> None:
    items = _items(tmp_path, {f"{n}.jpg": _bytes(_scene(n, 100, 100)) for n in range(20)})
    finding = _findings(items, sees_px=224)["tiny_pictures"]
    assert (finding.count, finding.examples[0].note) == (20, "100 × 100 px")
    assert "below 112 px" in finding.summary
    assert _findings(items, sees_px=128) == {}


def _pixels(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture.resize((16, 16)), np.float32).ravel() / 255 for picture in pictures])


def test_pictures_that_show_nothing_are_found() -> None:
    drawing = Image.new("RGB", (160, 160), "white")
    drawing.paste("black", (70, 20, 80, 140))
    half = _scene(1, 160, 160)
    half.paste((128, 128, 128), (0, 90, 160, 160))
    black_bar = _scene(2, 160, 160)
    black_bar.paste("black", (0, 100, 160, 160))
    pictures = [
        _scene(0, 160, 160),
        drawing,
        half,
        black_bar,
        Image.new("RGB", (9, 9)),
        Image.new("RGB", (9, 9), "red"),
    ]
    found = {finding.kind: finding for finding in picture_findings(_pixels(pictures), list("abcdef"))}
    assert found["uniform_pictures"].items == ("e", "f")
    assert [each.note for each in found["uniform_pictures"].examples] == ["black", "one colour"]
    assert found["half_pictures"].items == ("c",)
    assert found["half_pictures"].examples[0].note == "grey in the lower 31%"
    assert list(picture_findings(np.zeros((0, 768), np.float32), [])) == []


def test_chunks_that_lie_are_damage_and_never_an_error(tmp_path: Path) -> None:
    png = _bytes(_scene(0), "PNG")
    iend = png.index(b"IEND") - 4
    text = b"tEXt" + b"a\0b"
    huge = (2**31).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    jpeg = _bytes(_scene(0))
    random = np.random.default_rng(0)
    files = {"a.png": png[:iend] + huge, "b.png": png[:iend], "c.jpg": jpeg[:-2], "d.jpg": jpeg[:2] + b"\xff\xe1\xff"}
    for number in range(200):
        data = bytearray(jpeg)
        for place in random.integers(2, len(jpeg), 5):
            data[place] = random.integers(256)
        files[f"{number}.jpg"] = bytes(data[: random.integers(2, len(jpeg))])
    facts: FileFacts = look_at_files(_items(tmp_path, files))
    assert facts.damage[:3] == (
        "a chunk of it is cut off",
        "it ends before the picture does",
        "it ends before the picture does",
    )
    assert len(facts) == 204


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_a_file_that_may_not_be_read_is_a_row_of_unknowns(tmp_path: Path) -> None:
    items = _items(tmp_path, {"a.jpg": _bytes(_scene(0))})
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a.jpg").symlink_to(tmp_path / "nowhere")
    assert not look_at_files(items).known[0]
