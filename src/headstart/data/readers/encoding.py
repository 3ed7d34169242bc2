"""Bytes of a text file to characters, whatever wrote them."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AROUND_BYTES = 50_000
_WESTERN = "cp1252"
_LATIN = ("cp125", "iso8859")
_FEW_ACCENTS = 0.25


def decode(data: bytes) -> tuple[str, str]:
    """The text of some bytes and the name of its encoding.

    UTF-8 is tried first, after byte-order marks. What is not UTF-8 is guessed by charset-normalizer from the bytes
    around the first one that does not fit; among encodings that fit equally, Windows' Western one is preferred.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "") or _utf16_without_mark(data)
    if encoding:
        return data.decode(encoding, "replace"), encoding.removesuffix("-sig")
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        sample = data[max(0, error.start - _AROUND_BYTES) : error.start + _AROUND_BYTES]
    encoding = _guess(sample)
    return data.decode(encoding, "replace"), encoding


def _utf16_without_mark(data: bytes) -> str:
    """Mostly-ASCII text in UTF-16 has a zero in every second byte, and valid UTF-8 text has none."""
    head = data[:4096]
    zeros = (head[::2].count(0), head[1::2].count(0))
    if max(zeros) < len(head) // 8 or not any(zeros):
        return ""
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


def _guess(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample))
    candidates = {name for match in matches for name in match.could_be_from_charset}
    if not matches or _WESTERN in candidates:
        return _WESTERN
    best = matches[0].encoding
    n_high = sum(byte >= 0x80 for byte in sample)
    # In scripts other than the Latin one most letters are high bytes; a few among ASCII are accents.
    if n_high < _FEW_ACCENTS * len(sample.translate(None, b" \t\r\n")) and not best.startswith(_LATIN):
        return _WESTERN
    return best
