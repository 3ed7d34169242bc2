"""What is remarkable about image files, seen in their headers and bytes, and about pictures that show nothing.

What cannot be decoded at all is told by the pass that computes features; this module finds what decodes without an
error all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from headstart._progress import SILENT, Progress
from headstart.auditing._streams import look_at_bytes
from headstart.auditing.finding import Example, Finding, Severity, finding
from headstart.data.dataset import Items, Value
from headstart.data.images import DamagedItem, header_of

THOROUGH_FILES = 5_000
"""Up to so many files, small JPEGs are also decoded at an eighth of their size."""

_LARGE_BYTES = 32 * 10**6  # of larger files only the header is read
_THREADS = 4
_CHUNK = 64

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jfif"},
    "PNG": {".png"},
    "GIF": {".gif"},
    "BMP": {".bmp"},
    "DIB": {".bmp"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm", ".pbm"},
    "AVIF": {".avif"},
}
_COLOURS = {
    **dict.fromkeys(("L", "1", "LA", "La"), "grey"),
    **dict.fromkeys(("I", "F", "I;16", "I;16B", "I;16L", "I;16N"), "more than 8 bits"),
    **dict.fromkeys(("RGBA", "RGBa", "PA"), "transparent"),
    "CMYK": "CMYK",
}
_CHANGES = {
    "grey": "have no colour",
    "more than 8 bits": "have more than 8 bits a pixel, which are scaled down to 8",
    "transparent": "have transparent parts, which are put on white",
    "CMYK": "have the colours of print (CMYK), which other programs may show inverted",
    "colour": "have colours",
}
_FEW = 0.1
_TINY_PX = 32
_UNUSUAL_AREA = 25.0
_LONG = 4.0
_SERIOUS_SHARE = 0.01

_IJG_SUM = 3685
"""Sum of the luminance steps that T.81, annex K, gives as an example, and that libjpeg calls quality 50."""

_SIDE = 16
_UNIFORM_STD = 0.01
_FLAT_RANGE = 1.5 / 255
_GREY, _NEAR_GREY = 128 / 255, 3.0 / 255
_CUT_ROWS = 3


@dataclass(frozen=True)
class FileFacts:
    """What is known about images without decoding them, one entry an item in each column.

    Of images in memory only the sizes and the mode are known.

    Attributes:
        n_bytes: Bytes on disk; 0 for images in memory and for files that cannot be read.
        width_px: Width of the upright picture; 0 where the header cannot be read.
        height_px: Height of the upright picture; 0 where the header cannot be read.
        formats: As Pillow names them, such as `JPEG`; empty where not known.
        modes: As Pillow names them, such as `RGB`; `PA` is a palette with transparency; empty where not known.
        orientations: EXIF orientation, 1 (upright) to 8.
        cameras: EXIF make and model in lower case, or empty.
        taken: EXIF date and time, `2024:01:31 12:00:00`, or empty.
        qualities: Estimated quality of JPEGs on libjpeg's scale, 1 to 100; 0 where not known.
        damage: Damage that decodes without an error, in a few words; empty where there is none.
        n_after: Bytes after the end of the picture that are not zero.
        animated: Whether a file has several pictures.
    """

    n_bytes: Int[np.ndarray, " items"]
    width_px: Int[np.ndarray, " items"]
    height_px: Int[np.ndarray, " items"]
    formats: tuple[str, ...]
    modes: tuple[str, ...]
    orientations: Int[np.ndarray, " items"]
    cameras: tuple[str, ...]
    taken: tuple[str, ...]
    qualities: Int[np.ndarray, " items"]
    damage: tuple[str, ...]
    n_after: Int[np.ndarray, " items"]
    animated: Bool[np.ndarray, " items"]

    def __len__(self) -> int:
        return len(self.n_bytes)

    @property
    def known(self) -> Bool[np.ndarray, " items"]:
        """Which items' sizes are known."""
        known: np.ndarray = self.width_px > 0
        return known

    def take(self, rows: Sequence[int] | Int[np.ndarray, " rows"]) -> FileFacts:
        """The facts about the items at these positions, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        columns: dict[str, Any] = {
            name: column[index] if isinstance(column, np.ndarray) else tuple(column[row] for row in index.tolist())
            for name, column in vars(self).items()
        }
        return FileFacts(**columns)


@dataclass(frozen=True, slots=True)
class _Fact:
    """One row of the columns."""

    n_bytes: int = 0
    width_px: int = 0
    height_px: int = 0
    format: str = ""
    mode: str = ""
    orientation: int = 1
    camera: str = ""
    taken: str = ""
    quality: int = 0
    damage: str = ""
    n_after: int = 0
    is_animated: bool = False


def look_at_files(items: Items, *, thorough: bool | None = None, progress: Progress = SILENT) -> FileFacts:
    """Read every image file once, and decode none in full.

    Memory is one row of numbers an item, and the bytes of a few files at a time.

    Args:
        items: Images.
        thorough: Whether small JPEGs are decoded at an eighth of their size, to find coded data that no longer fit the
            picture; it triples the time. None does so up to 5,000 items.
        progress: Where to say how far it is.
    """
    wanted = len(items) <= THOROUGH_FILES if thorough is None else thorough
    chunks = [items.values[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    facts: list[_Fact] = []
    with ThreadPoolExecutor(_THREADS) as threads, progress.task("Looking at files", len(items)) as task:
        for chunk in threads.map(lambda values: [_look(value, thorough=wanted) for value in values], chunks):
            facts.extend(chunk)
            task.advance(len(chunk))
    return _columns(facts)


def _look(value: Value, *, thorough: bool) -> _Fact:
    if isinstance(value, np.ndarray):
        height, width = value.shape[:2]
        return _Fact(width_px=width, height_px=height, mode="L" if value.ndim == 2 else "RGB")
    if not isinstance(value, Path):
        return _Fact()
    try:
        n_bytes = value.stat().st_size
        data = value.read_bytes() if n_bytes <= _LARGE_BYTES else b""
    except OSError:
        return _Fact()  # reading the items says so
    try:
        header = header_of(data or value)
    except DamagedItem:
        return _Fact(n_bytes)
    stream = look_at_bytes(data, thorough=thorough)
    turned = header.orientation >= 5
    return _Fact(
        n_bytes,
        header.height_px if turned else header.width_px,
        header.width_px if turned else header.height_px,
        header.format,
        header.mode,
        header.orientation,
        header.camera,
        header.taken,
        _quality(header.quantisation_sum),
        stream.damage,
        0 if header.format == "MPO" else stream.n_after,
        header.is_animated,
    )


def _columns(facts: Sequence[_Fact]) -> FileFacts:
    shared: dict[str, str] = {}  # one copy of each word, however many items have it

    def numbers(of: Callable[[_Fact], int], dtype: type) -> np.ndarray:
        return np.fromiter((of(fact) for fact in facts), dtype=dtype, count=len(facts))

    def words(of: Callable[[_Fact], str]) -> tuple[str, ...]:
        return tuple(shared.setdefault(of(fact), of(fact)) for fact in facts)

    return FileFacts(
        n_bytes=numbers(lambda fact: fact.n_bytes, np.int64),
        width_px=numbers(lambda fact: fact.width_px, np.int32),
        height_px=numbers(lambda fact: fact.height_px, np.int32),
        formats=words(lambda fact: fact.format),
        modes=words(lambda fact: fact.mode),
        orientations=numbers(lambda fact: fact.orientation, np.int8),
        cameras=words(lambda fact: fact.camera),
        taken=words(lambda fact: fact.taken),
        qualities=numbers(lambda fact: fact.quality, np.int8),
        damage=words(lambda fact: fact.damage),
        n_after=numbers(lambda fact: fact.n_after, np.int64),
        animated=numbers(lambda fact: fact.is_animated, np.bool_),
    )


def _quality(quantisation_sum: int) -> int:
    """The quality on libjpeg's scale: its steps are those of quality 50 times s/100, s = 5000/q or 200 − 2q."""
    if not quantisation_sum:
        return 0
    scale = 100 * quantisation_sum / _IJG_SUM
    return int(np.clip(round((200 - scale) / 2 if scale <= 100 else 5000 / scale), 1, 100))


def file_findings(facts: FileFacts, items: Items, *, sees_px: int | None = None) -> Iterator[Finding]:
    """What is remarkable about image files.

    Args:
        facts: As from `look_at_files`.
        items: The same items.
        sees_px: Side of the picture that the network sees, or None when that is not known.
    """
    yield from _damage(facts, items)
    yield from _tiny(facts, items, sees_px)
    yield from _unusual_sizes(facts, items)
    yield from _long_sides(facts, items)
    yield from _colours(facts, items)
    yield from _extensions(facts, items)
    yield from _animations(facts, items)
    yield from _turned(facts, items)
    yield from _after_the_end(facts, items)


def picture_findings(pixels: Float32[np.ndarray, "items 768"], names: Sequence[str]) -> Iterator[Finding]:
    """Pictures that show nothing, or only their upper part.

    Args:
        pixels: Each picture shrunk to 16 × 16 pixels in red, green and blue, values from 0 to 1, as the control for
            images gives them.
        names: What the items are called.
    """
    pictures, uniform, n_rows = _emptiness(pixels)
    if uniform.any():
        rows = np.flatnonzero(uniform).tolist()
        found = [names[row] for row in rows]
        colours = pictures.mean(axis=(1, 2))
        yield finding(
            "uniform_pictures",
            _by_share(len(found), len(names)),
            found,
            summary=f"{_are(found, 'picture')} of one colour from edge to edge.",
            effect="Nothing can be learnt from them, and whatever is predicted for them is a guess.",
            advice="Look at them, and remove those that show nothing.",
            examples=(Example((names[row],), _colour(colours[row])) for row in rows),
        )
    cut = np.flatnonzero(~uniform & (n_rows >= _CUT_ROWS)).tolist()
    if cut:
        found = [names[row] for row in cut]
        yield finding(
            "half_pictures",
            _by_share(len(found), len(names)),
            found,
            summary=f"{_are(found, 'picture')} plain grey in the lower part, as truncated files are when saved again.",
            effect="A model sees only what is left above.",
            advice="Replace them by the original files.",
            examples=(Example((names[row],), f"grey in the lower {n_rows[row] / _SIDE:.0%}") for row in cut),
        )


def shows_nothing(pixels: Float32[np.ndarray, "items 768"]) -> dict[int, str]:
    """The positions of pictures of one colour, or of which only the upper part is left, with the reason.

    Args:
        pixels: As for `picture_findings`.
    """
    _, uniform, n_rows = _emptiness(pixels)
    return {
        row: "one colour from edge to edge" if uniform[row] else "plain grey in the lower part"
        for row in np.flatnonzero(uniform | (n_rows >= _CUT_ROWS)).tolist()
    }


def _emptiness(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pictures, which of them have one colour, and of how many rows at the bottom the data are missing."""
    pictures = pixels.reshape(len(pixels), _SIDE, _SIDE, 3)
    return pictures, pictures.std(axis=(1, 2)).max(axis=1) < _UNIFORM_STD, _grey_rows(pictures)


def _grey_rows(pictures: Float32[np.ndarray, "items 16 16 3"]) -> Int[np.ndarray, " items"]:
    """How many rows at the bottom are of one middle grey: what decoders paint where data are missing."""
    low, high = pictures.min(axis=(2, 3)), pictures.max(axis=(2, 3))
    grey = (high - low <= _FLAT_RANGE) & (np.abs(low - _GREY) <= _NEAR_GREY)
    rows: np.ndarray = np.cumprod(grey[:, ::-1], axis=1).sum(axis=1)
    return rows


def _damage(facts: FileFacts, items: Items) -> Iterator[Finding]:
    rows = [row for row, damage in enumerate(facts.damage) if damage]
    if not rows:
        return
    names = [items.names[row] for row in rows]
    yield finding(
        "damaged_files",
        _by_share(len(rows), len(items)),
        names,
        summary=f"{_are(names, 'file')} damaged inside, though {'it' if len(rows) == 1 else 'they'} can be opened.",
        effect="Part of what they show is wrong or grey, and no program says so.",
        advice="Replace them by copies that are whole, or remove them.",
        examples=(Example((items.names[row],), facts.damage[row]) for row in rows),
    )


def _tiny(facts: FileFacts, items: Items, sees_px: int | None) -> Iterator[Finding]:
    least = _TINY_PX if sees_px is None else max(_TINY_PX, sees_px / 2)
    shorter = np.minimum(facts.width_px, facts.height_px)
    rows = np.flatnonzero(facts.known & (shorter < least))
    if not len(rows):
        return
    rows = rows[np.argsort(shorter[rows], kind="stable")]
    names = [items.names[row] for row in rows]
    sees = f"less than half of the {sees_px} px that the network sees" if sees_px is not None else "very little"
    yield finding(
        "tiny_pictures",
        "warning",
        names,
        summary=f"The shorter side of {_n(names, 'picture')} is below {least:.0f} px, {sees}.",
        effect="Enlarged they are blurred, and networks that were trained on sharp pictures know such ones less well.",
        advice="Use larger originals, if there are any.",
        examples=_with_sizes(facts, items, rows),
    )


def _unusual_sizes(facts: FileFacts, items: Items) -> Iterator[Finding]:
    known = np.flatnonzero(facts.known)
    if len(known) < 10:
        return
    areas = facts.width_px[known].astype(np.float64) * facts.height_px[known]
    ratio = areas / np.median(areas)
    apart = np.maximum(ratio, 1 / ratio)
    rows = known[apart > _UNUSUAL_AREA]
    if not 0 < len(rows) <= _FEW * len(known):
        return
    rows = rows[np.argsort(-apart[apart > _UNUSUAL_AREA], kind="stable")]
    names = [items.names[row] for row in rows]
    yield finding(
        "unusual_sizes",
        "info",
        names,
        summary=(
            f"{_n(names, 'picture')} {_has(names)} {_UNUSUAL_AREA:.0f} times more pixels than the median picture, "
            f"or fewer in that proportion (median {np.sqrt(np.median(areas)):.0f} px square)."
        ),
        effect="They may come from another source than the rest.",
        advice="See whether they belong here.",
        examples=_with_sizes(facts, items, rows),
    )


def _long_sides(facts: FileFacts, items: Items) -> Iterator[Finding]:
    longer, shorter = np.maximum(facts.width_px, facts.height_px), np.minimum(facts.width_px, facts.height_px)
    rows = np.flatnonzero(facts.known & (longer > _LONG * shorter))
    if not len(rows):
        return
    rows = rows[np.argsort(-(longer / np.maximum(shorter, 1))[rows], kind="stable")]
    names = [items.names[row] for row in rows]
    yield finding(
        "long_pictures",
        "info" if len(rows) <= _FEW * len(items) else "warning",
        names,
        summary=f"{_are(names, 'picture')} more than {_LONG:.0f} times as long as wide.",
        effect="Networks see a square cut out of the middle, a quarter of such a picture or less.",
        advice="Cut them into several, or crop them to what matters.",
        examples=_with_sizes(facts, items, rows),
    )


def _colours(facts: FileFacts, items: Items) -> Iterator[Finding]:
    kinds = [_COLOURS.get(mode, "colour") if mode else "" for mode in facts.modes]
    counts = Counter(filter(None, kinds))
    usual = counts.most_common(1)[0][0] if counts else ""
    for kind, count in counts.most_common()[1:]:
        if count > _FEW * counts.total():
            continue
        rows = [row for row, each in enumerate(kinds) if each == kind]
        names = [items.names[row] for row in rows]
        yield finding(
            "mixed_colours",
            "warning" if kind in {"CMYK", "more than 8 bits"} else "info",
            names,
            summary=(
                f"{_n(names, 'picture')}, unlike the others ({usual}), {_CHANGES[kind]}."
                if len(names) > 1
                else f"1 picture, unlike the others ({usual}), {_CHANGES[kind].replace('have', 'has', 1)}."
            ),
            effect="A model can tell them from the others by that alone.",
            advice="See whether they come from another source, and whether one class has more of them.",
            examples=(Example((items.names[row],), facts.modes[row]) for row in rows),
        )


def _extensions(facts: FileFacts, items: Items) -> Iterator[Finding]:
    wrong: list[tuple[str, str]] = []
    for value, name, kind in zip(items.values, items.names, facts.formats, strict=True):
        if isinstance(value, Path) and kind in _SUFFIXES and value.suffix.lower() not in _SUFFIXES[kind]:
            wrong.append((name, f"is {'JPEG' if kind == 'MPO' else kind}, called {value.suffix.lower()}"))
    if not wrong:
        return
    names = [name for name, _ in wrong]
    yield finding(
        "wrong_extensions",
        "info",
        names,
        summary=f"{_are(names, 'file')} of another format than the name says.",
        effect="headstart goes by the content; other programs may refuse them.",
        advice="Rename them.",
        examples=(Example((name,), note) for name, note in wrong),
    )


def _animations(facts: FileFacts, items: Items) -> Iterator[Finding]:
    names = [items.names[row] for row in np.flatnonzero(facts.animated).tolist()]
    if names:
        yield finding(
            "animations",
            "info",
            names,
            summary=f"{_n(names, 'file')} {_has(names)} several pictures.",
            effect="Only the first picture of each is used.",
            advice="If another one shows what the label says, save that one.",
            examples=(Example((name,)) for name in names),
        )


def _turned(facts: FileFacts, items: Items) -> Iterator[Finding]:
    rows = np.flatnonzero((facts.orientations > 1) & (facts.orientations <= 8)).tolist()
    if rows:
        names = [items.names[row] for row in rows]
        yield finding(
            "rotated_by_exif",
            "info",
            names,
            summary=f"{_are(names, 'picture')} stored turned or mirrored, with a note (EXIF) how to set it upright.",
            effect="headstart sets them upright; other programs may not, and a model would see them differently there.",
            advice="Where the model is used, turn pictures by their EXIF note too.",
            examples=(Example((items.names[row],), f"EXIF orientation {facts.orientations[row]}") for row in rows),
        )


def _after_the_end(facts: FileFacts, items: Items) -> Iterator[Finding]:
    rows = np.flatnonzero(facts.n_after).tolist()
    if rows:
        names = [items.names[row] for row in rows]
        yield finding(
            "data_after_pictures",
            "info",
            names,
            summary=f"{_n(names, 'file')} {_has(names)} data after the end of the picture.",
            effect="They are not looked at. Phones keep films there, and broken copies other files.",
            advice="If that is not known to be so, look at one.",
            examples=(Example((items.names[row],), f"{facts.n_after[row]:,} bytes") for row in rows),
        )


def _with_sizes(facts: FileFacts, items: Items, rows: Int[np.ndarray, " rows"]) -> Iterator[Example]:
    for row in rows.tolist():
        yield Example((items.names[row],), f"{facts.width_px[row]} × {facts.height_px[row]} px")


def _by_share(count: int, total: int) -> Severity:
    return "serious" if count >= _SERIOUS_SHARE * total and count > 1 else "warning"


def _colour(colour: Float32[np.ndarray, " 3"]) -> str:
    if colour.max() < 0.1:
        return "black"
    return "white" if colour.min() > 0.9 else "one colour"


def _n(names: Sequence[str], noun: str) -> str:
    return f"1 {noun}" if len(names) == 1 else f"{len(names):,} {noun}s"


def _are(names: Sequence[str], noun: str) -> str:
    return f"{_n(names, noun)} {'is' if len(names) == 1 else 'are'}"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
