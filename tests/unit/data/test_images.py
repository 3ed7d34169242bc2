"""The image zoo: every kind of file that people have comes out as upright RGB, or is refused with a reason."""

from __future__ import annotations

import base64
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import images
from headstart.data.images import DamagedItem, open_image, thumbnail_uri, write_png

RED, WHITE = (255, 0, 0), (255, 255, 255)


def _save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def _pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(int(value) for value in np.asarray(image)[y, x])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_every_png_mode_comes_out_as_rgb(tmp_path: Path, mode: str) -> None:
    path = _save(tmp_path / "a.png", Image.new("RGB", (6, 4), WHITE).convert(mode))
    image = open_image(path)
    assert (image.mode, image.size, _pixel(image)) == ("RGB", (6, 4), WHITE)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "gif", "webp", "tif", "ppm"])
def test_every_format_gives_the_colour_that_was_saved(tmp_path: Path, suffix: str) -> None:
    image = open_image(_save(tmp_path / f"a.{suffix}", Image.new("RGB", (32, 32), RED)))
    assert np.abs(np.asarray(image, dtype=int) - np.array(RED)).max() <= 2


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the left of the file is the top of the picture
    image = open_image(_save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif))
    assert image.size == (16, 32)
    assert (_pixel(image, 8, 0), _pixel(image, 8, 31)) == (RED, (0, 0, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_agrees_with_pillow(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    source = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8))
    path = _save(tmp_path / "a.png", source, exif=exif)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    np.testing.assert_array_equal(np.asarray(open_image(path)), expected)


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    image = open_image(_save(tmp_path / "a.png", Image.fromarray(pixels)))
    assert (_pixel(image), _pixel(image, 1, 1)) == (RED, WHITE)


def test_a_transparent_palette_colour_becomes_white_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putdata([0, 1])
    opened = open_image(_save(tmp_path / "a.png", image, transparency=bytes([0, 255])))
    assert (_pixel(opened), _pixel(opened, 1)) == (WHITE, RED)


def test_cmyk_jpeg_keeps_its_colour(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)
    red, green, blue = _pixel(open_image(path))
    assert red > 230
    assert max(green, blue) < 25


@pytest.mark.parametrize(("white", "bits"), [(255, 8), (4095, 12), (65535, 16)])
def test_deep_grey_is_scaled_by_its_bit_depth_and_not_clipped(tmp_path: Path, white: int, bits: int) -> None:
    pixels = np.array([[0, white // 2, white]], dtype=np.uint16)
    image = open_image(_save(tmp_path / "a.png", Image.fromarray(pixels)))
    assert [_pixel(image, x)[0] for x in range(3)] == pytest.approx([0, 127, 255], abs=1)


def test_fractions_and_other_floats_are_scaled(tmp_path: Path) -> None:
    fractions = open_image(_save(tmp_path / "a.tif", Image.fromarray(np.array([[0.0, 0.5]], dtype=np.float32))))
    assert [_pixel(fractions, x)[0] for x in range(2)] == [0, 128]
    signed = np.array([[-10.5, 0.0, 10.5, np.nan]], dtype=np.float32)
    opened = open_image(_save(tmp_path / "b.tif", Image.fromarray(signed)))
    assert [_pixel(opened, x)[0] for x in range(4)] == [0, 128, 255, 0]


def test_an_animation_shows_its_first_picture(tmp_path: Path) -> None:
    later = Image.new("RGB", (8, 8), (0, 0, 255))
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8), RED).save(path, save_all=True, append_images=[later])
    assert _pixel(open_image(path)) == RED


def test_bytes_and_arrays_are_images_too() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), RED).save(buffer, "PNG")
    assert _pixel(open_image(buffer.getvalue())) == RED
    assert open_image(np.zeros((2, 3), dtype=np.uint8)).size == (3, 2)
    assert open_image(np.zeros((2, 3, 3), dtype=np.uint8)).mode == "RGB"


def test_jpeg_is_decoded_small_but_at_least_twice_as_large_as_needed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((1600, 1200))
    path = _save(tmp_path / "a.jpg", smooth, quality=95)
    small = open_image(path, at_least_px=100)
    assert small.size == (400, 300)  # a quarter; an eighth would leave 150 < 200
    assert open_image(path, at_least_px=1000).size == (1600, 1200)
    size = (133, 100)
    full = np.asarray(open_image(path).resize(size, Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(np.asarray(small.resize(size, Image.Resampling.BICUBIC), dtype=float) - full).mean() < 1


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_damaged_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole)
    cases = {
        "truncated file": whole.read_bytes()[:900],
        "empty file": b"",
        "not an image": b"Dear diary,\n",
        "1,000 megapixels: refused as a decompression bomb": _png_claiming(40_000, 25_000),
        "damaged file": whole.read_bytes()[:2] + whole.read_bytes()[200:],
    }
    for reason, content in cases.items():
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(DamagedItem, match="cannot be used as an image") as caught:
            open_image(path)
        if reason != "damaged file":
            assert caught.value.reason == reason
        assert caught.value.hint == "Replace the file or leave it out."


def test_a_missing_file_and_a_wrong_array_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedItem, match="file not found"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(DamagedItem, match=r"its shape is \(2, 2, 3\) and its type float32, not \(height, width, 3\)"):
        open_image(np.zeros((2, 2, 3), dtype=np.float32))


def test_large_images_below_the_limit_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedItem, match=r"truncated file|damaged file"):
            open_image(_png_claiming(10_000, 10_000))  # Pillow warns above 89 megapixels


def test_bombs_are_refused_even_when_pillow_does_not_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DamagedItem, match="1,000 megapixels: refused"):
        open_image(_png_claiming(40_000, 25_000))


def test_broken_metadata_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.jpg", Image.new("RGB", (8, 8), RED), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert open_image(path).size == (8, 8)


def test_thumbnail_is_a_small_jpeg_in_a_uri(tmp_path: Path) -> None:
    uri = thumbnail_uri(_save(tmp_path / "a.png", Image.new("RGBA", (400, 200), RED)), 100)
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (image.format, image.size) == ("JPEG", (100, 50))


@pytest.mark.parametrize(("shape", "mode"), [((4, 6), "L"), ((4, 6, 3), "RGB")])
def test_png_keeps_every_pixel_and_the_colour_mode(tmp_path: Path, shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode) == ("PNG", mode)
        assert np.array_equal(np.asarray(image), pixels)


def test_png_of_something_else_than_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedItem, match=r"its shape is \(4, 6\) and its type float64, not .* and uint8"):
        write_png(tmp_path / "a.png", np.zeros((4, 6)))


def test_the_limit_is_the_one_of_pillow() -> None:
    assert images.MAX_PIXELS == 2 * (1024**3 // 4 // 3)
