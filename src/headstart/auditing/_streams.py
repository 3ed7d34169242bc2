"""What the bytes of JPEG and PNG files tell without decoding: damage that a decoder passes over in silence.

libjpeg makes a picture of almost anything: where the coded data are damaged it goes on with wrong pixels, and where
they end too early it paints the rest grey. It counts such places, but Pillow does not hand the count on.

Markers and segments are those of ITU-T T.81 (JPEG), annex B; chunks those of the PNG specification (W3C), section 5.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from headstart.data.images import DamagedItem, decoded

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_ZEROS = 32  # so many zero bytes are damage, unless zeros mean a flat area in this file
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1}, {0xC2}
_TABLES, _SCAN, _END, _RESTART_EVERY = 0xC4, 0xDA, 0xD9, 0xDD
_END_BYTES = b"\xff\xd9"
_MAX_SIDE_PX = 65_500  # libjpeg's limit
# What may stand between two scans: tables, restart intervals, comments and application data.
_BETWEEN_SCANS = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_RESTARTS = range(0xD0, 0xD8)
_WITHOUT_LENGTH = {0x01, *_RESTARTS}
_DAMAGED = "its coded data are damaged"

_SHORT_BYTES = 48 * 1024
"""Above this size, random bytes in a twentieth of the data have a forbidden marker but for one time in 10,000."""
_BLOCK_PX = 8
_FILLER = b"\x5a" * 2048
_GREY = 128


@dataclass(frozen=True, slots=True)
class Stream:
    """What the bytes of a file tell.

    Attributes:
        damage: What is wrong with its coded data, in a few words; empty when nothing is.
        n_after: Bytes after the end of the picture that are not zero.
    """

    damage: str = ""
    n_after: int = 0


def look_at_bytes(data: bytes, *, thorough: bool) -> Stream:
    """Damage in a file, and what stands after its picture; files that are neither JPEG nor PNG are passed over.

    Args:
        data: The whole file.
        thorough: Whether small JPEGs are also decoded at an eighth of their size, to see whether the picture ends where
            its data end.
    """
    if data.startswith(JPEG_SIGNATURE):
        return _jpeg(data, thorough=thorough)
    return _png(data) if data.startswith(PNG_SIGNATURE) else Stream()


@dataclass(slots=True)
class _Frame:
    """What the segments before the coded data said.

    Attributes:
        size_at: Where height and width stand in the file; 0 as long as there is no frame that can be understood.
        n_components: Colour channels.
        cells: Blocks of 8 × 8 pixels, across and down, that are coded together.
        is_sequential: Whether each coefficient is coded once.
        n_restart: Restart interval; 0 where there are no restarts.
        flat_is_zero: Whether zeros alone can mean a flat area.
    """

    size_at: int = 0
    n_components: int = 0
    cells: tuple[int, int] = (1, 1)
    is_sequential: bool = False
    n_restart: int = 0
    flat_is_zero: bool = False


def _jpeg(data: bytes, *, thorough: bool) -> Stream:
    frame = _Frame()
    markers = _markers(data)
    position, in_scans, is_whole = 2, False, False
    while True:
        place = bisect_left(markers, position)
        if place == len(markers):
            return Stream("it ends before the picture does" if in_scans else "")  # without a scan, Pillow refuses it
        marker, position = data[markers[place] + 1], markers[place] + 2
        if marker == _END:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        if is_whole or (in_scans and marker not in _BETWEEN_SCANS):
            return Stream(_DAMAGED)
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            return Stream("a segment of it is broken")
        body, body_at = data[position + 2 : position + length], position + 2
        position += length
        if marker != _SCAN:
            _note(frame, marker, body, body_at)
            continue
        if not frame.size_at:
            return Stream()  # arithmetic or lossless coding
        in_scans, is_whole = True, frame.is_sequential and bool(body) and body[0] == frame.n_components
        start, position = position, _end_of_scan(data, markers, position)
        if damage := _scan_damage(data, markers, (start, position), frame):
            return Stream(damage)
    n_after = len(data[position:].strip(b"\0"))
    if thorough and is_whole and not frame.n_restart and len(data) <= _SHORT_BYTES:
        return Stream(_length_damage(data[: position - 2], frame), n_after)
    return Stream("", n_after)


def _markers(data: bytes) -> list[int]:
    """Where 0xFF stands before what is neither 0, which makes it a byte of data, nor 0xFF, which fills."""
    values = np.frombuffer(data, dtype=np.uint8)
    places = np.flatnonzero(values[:-1] == 0xFF)
    following = values[places + 1]
    markers: list[int] = places[(following != 0) & (following != 0xFF)].tolist()
    return markers


def _note(frame: _Frame, marker: int, body: bytes, body_at: int) -> None:
    if marker in _SEQUENTIAL | _PROGRESSIVE and len(body) >= 6 and len(body) >= 6 + 3 * body[5]:
        frame.size_at, frame.is_sequential, frame.n_components = body_at + 1, marker in _SEQUENTIAL, body[5]
        if body[5] > 1:
            factors = body[7 : 7 + 3 * body[5] : 3]
            frame.cells = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    elif marker == _RESTART_EVERY:
        frame.n_restart = int.from_bytes(body[:2], "big")
    elif marker == _TABLES:
        _note_tables(frame, body)


def _note_tables(frame: _Frame, body: bytes) -> None:
    """The code of zeros alone is that of a table's first symbol; in a table for AC, symbol 0 ends a flat block."""
    while len(body) >= 18:
        if body[0] == 0x10:  # AC of brightness
            frame.flat_is_zero = body[17] == 0
        body = body[17 + sum(body[1:17]) :]


def _end_of_scan(data: bytes, markers: list[int], position: int) -> int:
    """Where the marker begins that ends coded data."""
    for place in markers[bisect_left(markers, position) :]:
        if data[place + 1] not in _RESTARTS:
            return place
    return len(data)


def _scan_damage(data: bytes, markers: list[int], span: tuple[int, int], frame: _Frame) -> str:
    within = markers[bisect_left(markers, span[0]) : bisect_left(markers, span[1])]
    restarts = [data[place + 1] - _RESTARTS[0] for place in within]
    if restarts and (not frame.n_restart or restarts != [number % 8 for number in range(len(restarts))]):
        return _DAMAGED
    if frame.is_sequential and not frame.flat_is_zero and data.find(bytes(_ZEROS), *span) >= 0:
        return "zeros stand where its coded data should be"
    return ""


def _length_damage(data: bytes, frame: _Frame) -> str:
    """Whether the data are those of fewer cells than the picture has, or of more: then the decoder lost its place.

    The height in the header is made one row of cells larger. What the data do not reach stays middle grey; of the row
    too many that is all but its first cell, which takes up the bits that fill the last byte.

    Args:
        data: A file of one scan, up to the end of its coded data.
        frame: What its header says.
    """
    height, width = (int.from_bytes(data[frame.size_at + at : frame.size_at + at + 2], "big") for at in (0, 2))
    across, down = -(-width // (_BLOCK_PX * frame.cells[0])), -(-height // (_BLOCK_PX * frame.cells[1]))
    larger = (down + 1) * _BLOCK_PX * frame.cells[1], across * _BLOCK_PX * frame.cells[0]
    if not height or max(larger) > _MAX_SIDE_PX or frame.n_components not in (1, 3):
        return ""
    size = b"".join(side.to_bytes(2, "big") for side in larger)
    resized = data[: frame.size_at] + size + data[frame.size_at + 4 :]
    try:
        reached = _cells(decoded(resized + _END_BYTES, smallest=True), frame.cells) != _GREY
        n_reached = int(np.flatnonzero(reached.any(axis=1)).max(initial=-1)) + 1
        if n_reached > across * down + 1:
            return "the picture ends before its coded data do"
        if n_reached < across * down:
            # Grey at its end may be meant: then more data do not change it.
            longer = _cells(decoded(resized + _FILLER + _END_BYTES, smallest=True), frame.cells) != _GREY
            if not np.array_equal(reached[: across * down], longer[: across * down]):
                return "its coded data end before the picture does"
    except DamagedItem:
        pass  # the feature pass says so
    return ""


def _cells(picture: np.ndarray, cells: tuple[int, int]) -> UInt8[np.ndarray, "cells values"]:
    """The pixels of each cell of a picture at an eighth of its size, in the order in which cells are coded."""
    width, height = cells
    rows, columns = picture.shape[0] // height, picture.shape[1] // width
    split = picture.reshape(rows, height, columns, width, -1).transpose(0, 2, 1, 3, 4)
    return split.reshape(rows * columns, -1)


def _png(data: bytes) -> Stream:
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            return Stream("a chunk of it is cut off")
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return Stream("a checksum of it is wrong")
        if data[position + 4 : position + 8] == b"IEND":
            return Stream("", len(data[end:].strip(b"\0")))
        position = end
    return Stream("it ends before the picture does")
