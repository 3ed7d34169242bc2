"""Image files to pixels: the only module that knows Pillow.

Every function is safe to call from threads and from worker processes.
"""

from __future__ import annotations

import base64
import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from headstart.data.readers.files import unreadable
from headstart.errors import DataError

MAX_PIXELS = 178_956_970
"""Above this many pixels an image is refused undecoded: Pillow's own limit for decompression bombs (0.5 GB as RGB)."""

# Whatever a decoder meets in a broken file: Pillow's plug-ins let their parsers' errors through.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, struct.error, zlib.error),
    *(ArithmeticError, MemoryError, NotImplementedError),
)
_EXIF_ORIENTATION = 0x0112
_EXIF_MAKE, _EXIF_MODEL, _EXIF_CHANGED = 0x010F, 0x0110, 0x0132
_EXIF_PHOTO, _EXIF_TAKEN = 0x8769, 0x9003
_EXIF_WANTED = {_EXIF_ORIENTATION, _EXIF_MAKE, _EXIF_MODEL, _EXIF_CHANGED, _EXIF_TAKEN}
_ASCII, _SHORT = 2, 3
_MAX_WORDS = 100
_XMP = {"xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = frozenset({"F", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_HINT = "Replace the file or leave it out."


class DamagedItem(DataError):  # noqa: N818 - the word that users know is item
    """An image that cannot be decoded.

    Attributes:
        reason: Why, in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be used as an image: {reason}", hint=_HINT)
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about its picture before any pixel is decoded.

    Attributes:
        width_px: Width as stored, before any rotation.
        height_px: Height as stored.
        format: As Pillow names it, such as `JPEG`.
        mode: As Pillow names it, such as `RGB`; `PA` for a palette with transparency.
        orientation: EXIF orientation, 1 (upright) to 8; 1 where the file has none.
        camera: EXIF make and model in lower case, or empty.
        taken: EXIF date and time of the photograph, `2024:01:31 12:00:00`, or empty.
        quantisation_sum: Sum of the 64 steps of the first quantisation table of a JPEG; 0 for other formats.
        is_animated: Whether it has several pictures, of which the first one is used.
    """

    width_px: int
    height_px: int
    format: str
    mode: str
    orientation: int = 1
    camera: str = ""
    taken: str = ""
    quantisation_sum: int = 0
    is_animated: bool = False


def open_image(value: Path | np.ndarray | bytes, *, at_least_px: int | None = None) -> Image.Image:
    """The pixels of an image as RGB, upright.

    EXIF rotation is applied, transparency is put on white, more than 8 bits a channel are scaled down to 8, and of an
    animation the first picture is taken.

    Args:
        value: A file, the bytes of one, or a uint8 array (height, width, 3) or (height, width).
        at_least_px: What the shortest side will be resized to later. JPEGs are then decoded at the smallest of the
            scales 1, 1/2, 1/4 and 1/8 that leaves the shortest side at least twice as long; None decodes in full.

    Raises:
        DamagedItem: If it is missing, empty, truncated, not an image, or has more than `MAX_PIXELS` pixels.
    """
    if isinstance(value, np.ndarray):
        return _from_array(value).convert("RGB")
    name = str(value) if isinstance(value, Path) else "an image in a table"
    try:
        size = value.stat().st_size if isinstance(value, Path) else len(value)
    except OSError as error:
        raise DamagedItem(name, unreadable(error)) from error
    if size == 0:
        raise DamagedItem(name, "empty file")
    source: Path | IO[bytes] = value if isinstance(value, Path) else io.BytesIO(value)
    _silence_pillow()
    try:
        with Image.open(source) as image:
            # Pillow's own check may have been switched off by the program around us.
            if image.width * image.height > MAX_PIXELS:
                raise _bomb(image.width * image.height, name)
            if at_least_px is not None:
                image.draft(None, (2 * at_least_px, 2 * at_least_px))
            image.load()
            return _upright(_to_rgb(image), _orientation(image))
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise _bomb(int(pixels[0]) if pixels else MAX_PIXELS, name) from error
    except UnidentifiedImageError as error:
        raise DamagedItem(name, "not an image") from error
    except DamagedItem:
        raise
    except _DECODER_ERRORS as error:
        raise DamagedItem(name, _reason(error)) from error


def shorter_side_px(value: Path | np.ndarray) -> int:
    """The shorter side of an image in pixels, from its header alone.

    Args:
        value: A file, or a uint8 array.

    Raises:
        DamagedItem: If the header cannot be read.
    """
    if isinstance(value, np.ndarray):
        return int(min(value.shape[:2]))
    _silence_pillow()
    try:
        with Image.open(value) as image:
            return min(image.size)
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise DamagedItem(str(value), _reason(error)) from error


def header_of(value: Path | bytes) -> ImageHeader:
    """What a file says about its picture; no pixel is decoded.

    Args:
        value: A file, or the bytes of one.

    Raises:
        DamagedItem: If the header cannot be read.
    """
    _silence_pillow()
    try:
        with Image.open(value if isinstance(value, Path) else io.BytesIO(value)) as image:
            tables = getattr(image, "quantization", None) or {}
            has_transparency = image.mode == "P" and "transparency" in image.info
            # The second picture of a phone's JPEG (MPO) is a preview or a depth map.
            is_animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
            return ImageHeader(
                image.width,
                image.height,
                format=image.format or "",
                mode="PA" if has_transparency else image.mode,
                quantisation_sum=sum(next(iter(tables.values()))) if tables else 0,
                is_animated=is_animated,
                **_photograph(image),
            )
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        name = str(value) if isinstance(value, Path) else "an image"
        raise DamagedItem(name, _reason(error)) from error


def decoded(data: bytes, *, smallest: bool) -> np.ndarray:
    """The pixels that the decoder makes of the bytes of a file, with nothing done to them.

    Args:
        data: The bytes.
        smallest: Whether a JPEG is decoded at an eighth of its size, which is fast.

    Raises:
        DamagedItem: If the decoder gives up.
    """
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if smallest:
                image.draft(None, (1, 1))
            return np.asarray(image)
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise DamagedItem("an image", _reason(error)) from error


def thumbnail_uri(value: Path | np.ndarray | bytes, size_px: int = 112) -> str:
    """A small JPEG of an image as a `data:` URI, for a page that needs no other file.

    Args:
        value: A file, the bytes of one, or a uint8 array.
        size_px: The longest side, in pixels.

    Raises:
        DamagedItem: If the image cannot be decoded.
    """
    image = open_image(value, at_least_px=size_px)
    image.thumbnail((size_px, size_px))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write an image, losing nothing.

    Args:
        path: Where; a file that is there is replaced.
        pixels: A uint8 array (height, width, 3), or (height, width) for shades of grey.

    Raises:
        DamagedItem: If the array is of another shape or type.
    """
    _from_array(pixels).save(path, "PNG")


def _silence_pillow() -> None:
    """Ignore what Pillow warns of: odd metadata is no matter here, and bombs are refused as errors.

    A filter is added for good rather than for a moment: `warnings.catch_warnings` is not safe in threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _bomb(n_pixels: int, name: str) -> DamagedItem:
    return DamagedItem(name, f"{n_pixels / 1e6:,.0f} megapixels: refused as a decompression bomb")


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError | PermissionError):
        return unreadable(error)
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated file"
    return "damaged file"


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _DECODER_ERRORS:
        # The picture is whole, only its metadata is not.
        return 1


def _photograph(image: Image.Image) -> dict[str, Any]:
    """Orientation, camera and date, where the file has EXIF."""
    # To have Pillow read all tags costs more than to open the file, and it looks for some where there are none.
    if "exif" not in image.info:
        has_more = image.format == "TIFF" or _XMP & image.info.keys()
        return {"orientation": _known_orientation(_orientation(image))} if has_more else {}
    tags = _exif_tags(bytes(image.info["exif"]).removeprefix(b"Exif\0\0"))
    orientation = tags.get(_EXIF_ORIENTATION, 0)
    return {
        # Where EXIF has none, XMP may have one.
        "orientation": _known_orientation(orientation or _orientation(image)),
        "camera": " ".join(filter(None, (_words(tags.get(tag)) for tag in (_EXIF_MAKE, _EXIF_MODEL)))).lower(),
        "taken": _words(tags.get(_EXIF_TAKEN)) or _words(tags.get(_EXIF_CHANGED)),
    }


def _known_orientation(orientation: int | str) -> int:
    """The orientation, where it is one that has a meaning; other numbers leave a picture as it is."""
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _exif_tags(data: bytes) -> dict[int, int | str]:
    """The few tags that are wanted: whole numbers of one value, and texts (TIFF 6.0, section 2; EXIF 2.3, 4.6)."""
    order = "<" if data.startswith(b"II") else ">"
    tags: dict[int, int | str] = {}
    places = [4]
    while places and len(tags) < len(_EXIF_WANTED):
        place = places.pop()
        try:
            (start,) = struct.unpack_from(f"{order}I", data, place)
            (n_entries,) = struct.unpack_from(f"{order}H", data, start)
            for entry in range(start + 2, start + 2 + 12 * n_entries, 12):
                tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
                if tag == _EXIF_PHOTO and place == 4:
                    places.append(entry + 8)
                elif tag in _EXIF_WANTED and kind == _SHORT and count == 1:
                    (tags[tag],) = struct.unpack_from(f"{order}H", data, entry + 8)
                elif tag in _EXIF_WANTED and kind == _ASCII:
                    at = entry + 8 if count <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
                    tags[tag] = data[at : at + min(count, _MAX_WORDS)].partition(b"\0")[0].decode("utf-8", "replace")
        except struct.error:
            break  # metadata that end too early; the picture may well be whole
    return tags


def _words(value: object) -> str:
    """A text of EXIF as one line, without what cannot be printed."""
    return "".join(filter(str.isprintable, value)).strip() if isinstance(value, str) else ""


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return Image.fromarray(_to_8_bits(np.asarray(image, dtype=np.float64))).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Deep pixels to 0–255.

    Whole numbers keep their brightness: they are divided by the largest value of the bit depth that holds them, 8, 12
    or 16. So do fractions from 0 to 1. Anything else has no known white and is stretched from its least to
    its greatest.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    whole = bool(np.all(finite == np.floor(finite)))
    white = next((white for white in ((255, 4095, 65535) if whole and high > 1 else (1,)) if high <= white), None)
    if low >= 0 and white is not None:
        low, high = 0.0, float(white)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    pixels: np.ndarray = np.rint(255 * scaled).astype(np.uint8)
    return pixels


def _from_array(array: np.ndarray) -> Image.Image:
    is_image = array.dtype == np.uint8 and array.size > 0
    if not is_image or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise DamagedItem(
            "an array", f"its shape is {array.shape} and its type {array.dtype}, not (height, width, 3) and uint8"
        )
    return Image.fromarray(np.ascontiguousarray(array))
