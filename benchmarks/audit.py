"""What the checks of the data find of what was planted, and what they cost: the table of docs/auditing.md.

    python benchmarks/audit.py [DATA_FOLDER] [--share 0.05] [--seed 0] [--sets NAME...] [--only WORD] [--large]

DATA_FOLDER holds `images/` and `text/` as ../shared/data does. Into a copy of each set are planted, one kind at a time:

- copies: for 5 % of the test items a training item, under another name, exactly or changed. Promised to be found are
  exact ones; pictures resized to 0.5–0.8 of their size, saved with JPEG quality 40, cropped by 10 %, cropped and
  mirrored, mirrored, and all of that; texts with two words changed, or with other punctuation and case. What else is
  found is measured as well: turned, brighter, framed and grey pictures, texts with one sentence more or less.
  Found is a planted item that is in one cluster with its source. A pair of a training and a test item that is found
  and not planted is false, unless it is found in the set as it is, too (`as_is` counts those).
- broken files of six kinds, 1 % of the items in all;
- a leak: the classes differ in JPEG quality, or texts of one end in another punctuation mark;
- bursts: eight slightly different crops of each of some photographs, named as the frames of clips. Planted are the
  items, found those whose proposed group is their clip.

A text set is a sample of 1,000 items. Seconds are those of one processor core, features not included; memory is what
the process needs more at its peak than before. `--large` measures 100,000 made pictures and as many texts instead.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from _provenance import provenance
from _rows import append
from headstart._home import default_home
from headstart.auditing._words import words_of
from headstart.auditing.copies import PICTURE_SIDE, Copies, find_copies
from headstart.auditing.files import look_at_files, picture_findings
from headstart.auditing.leaks import leak_findings
from headstart.auditing.series import find_series
from headstart.backbones.loaders.pixels import PIXELS, THUMBNAIL
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import Local, resolve
from headstart.data import Dataset, Items, content_keys, identify, read_dataset
from headstart.features.extract import Compute, extract
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "audit.csv"
STARTERS = {"image": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
SETS = ("images/signs", "images/clothing", "images/cifar10", "images/pacs_photo", "images/pacs_sketch")
SETS += ("text/sst2", "text/agnews")
N_TEXTS = 1_000
BROKEN_SHARE = 0.01
CLIPS, FRAMES = 30, 8
FEWEST_WORDS = 8  # two words changed in fewer are a third of a text
LARGE = 100_000

Rng = np.random.Generator
Change = Callable[[Image.Image, Rng], Image.Image]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    set: str
    planted: str
    items: int
    n_planted: int
    n_found: int
    recall: float
    n_false: int
    precision: float
    as_is: int
    threshold: float
    seconds: float
    memory_mb: float


@dataclass
class Cost:
    """What a piece of work needed."""

    seconds: float = 0.0
    memory_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """The processor time and the additional memory of what is done inside."""
    cost = Cost()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before, start = _status_mb("VmRSS"), time.process_time()
    yield cost
    cost.seconds = time.process_time() - start
    cost.memory_mb = _status_mb("VmHWM") - before


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def resized(picture: Image.Image, rng: Rng) -> Image.Image:
    scale = rng.uniform(0.5, 0.8)
    return picture.resize((max(1, round(scale * picture.width)), max(1, round(scale * picture.height))))


def recompressed(picture: Image.Image, _: Rng) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


def cropped(picture: Image.Image, rng: Rng) -> Image.Image:
    """Without a tenth of its height and width."""
    width, height = round(0.9 * picture.width), round(0.9 * picture.height)
    left, top = (int(rng.integers(whole - part + 1)) for whole, part in zip(picture.size, (width, height), strict=True))
    return picture.crop((left, top, left + width, top + height))


def mirrored(picture: Image.Image, _: Rng) -> Image.Image:
    return ImageOps.mirror(picture)


def one_after_another(*changes: Change) -> Change:
    def change(picture: Image.Image, rng: Rng) -> Image.Image:
        for each in changes:
            picture = each(picture, rng)
        return picture

    return change


def turned(picture: Image.Image, _: Rng) -> Image.Image:
    return picture.transpose(Image.Transpose.ROTATE_90)


def brighter(picture: Image.Image, rng: Rng) -> Image.Image:
    factor = rng.choice([0.85, 1.15])
    return picture.point(lambda value: min(255, round(factor * value)))


def framed(picture: Image.Image, _: Rng) -> Image.Image:
    return ImageOps.expand(picture, max(1, round(0.03 * max(picture.size))), fill=(0, 0, 0))


def grey(picture: Image.Image, _: Rng) -> Image.Image:
    return picture.convert("L").convert("RGB")


PICTURES: dict[str, Change] = {
    "resized": resized,
    "JPEG quality 40": recompressed,
    "cropped": cropped,
    "cropped and mirrored": one_after_another(cropped, mirrored),
    "mirrored": mirrored,
    "all of these": one_after_another(resized, cropped, mirrored, recompressed),
    "(turned by 90°)": turned,
    "(brighter or darker)": brighter,
    "(framed)": framed,
    "(grey)": grey,
}


def two_words_changed(text: str, rng: Rng, others: Sequence[str]) -> str:
    words = text.split(" ")
    for place in rng.choice(len(words), min(2, len(words)), replace=False).tolist():
        words[place] = str(rng.choice(str(rng.choice(np.array(others, dtype=object))).split(" ")))
    return " ".join(words)


def punctuated(text: str, _: Rng, __: Sequence[str]) -> str:
    words = "".join(letter if letter.isalnum() or letter in "'_" else " " for letter in text).split()
    return " ".join(word.capitalize() + ("," if place % 4 == 3 else "") for place, word in enumerate(words)) + "!"


def one_sentence_more(text: str, rng: Rng, others: Sequence[str]) -> str:
    """With half of another text, so that it is not a copy of that one, too."""
    words = str(rng.choice(np.array(others, dtype=object))).split(" ")
    return f"{text} {' '.join(words[: (len(words) + 1) // 2])}."


def one_sentence_less(text: str, _: Rng, __: Sequence[str]) -> str:
    sentences = text.split(". ")
    return ". ".join(sentences[1:]) if len(sentences) > 1 else text[: len(text) * 2 // 3]


TEXTS: dict[str, Callable[[str, Rng, Sequence[str]], str]] = {
    "two words changed": two_words_changed,
    "punctuation and case": punctuated,
    "(one sentence more)": one_sentence_more,
    "(one sentence less)": one_sentence_less,
}


@dataclass(frozen=True)
class Seen:
    """Items as the checks see them."""

    items: Items
    features: np.ndarray
    pictures: np.ndarray | None

    def take(self, rows: np.ndarray) -> Seen:
        """The items at these positions."""
        return Seen(self.items.take(rows), self.features[rows], None if self.pictures is None else self.pictures[rows])

    def copies(self) -> Copies:
        """What the check finds."""
        return find_copies(self.items, self.features, self.pictures)


def see(items: Items, store: Store) -> Seen:
    """The first starter's features, and thumbnails of images."""
    locals_ = [resolve(STARTERS[items.modality], default_home())]
    if items.modality == "image":
        locals_.append(Local(THUMBNAIL, Path(), {}))
    found = extract(items, locals_, store=store, compute=Compute("cpu", pick_precision("auto", "cpu")))
    assert not found.damaged, found.damaged
    first = found.features[0]
    pictures = None
    if items.modality == "image":
        pictures = found.features[1].values.reshape(-1, PICTURE_SIDE, PICTURE_SIDE)
    return Seen(items, first.layer(first.backbone.layers[-1].name), pictures)


def read(folder: Path, name: str, store: Store, seed: int) -> Dataset:
    dataset = identify(read_dataset(folder / name), known=store)
    if dataset.modality == "text":
        rows = np.random.default_rng([seed, 0]).permutation(len(dataset))[:N_TEXTS]
        dataset = dataset.take(np.sort(rows))
    return dataset


def upright(file: object) -> Image.Image:
    assert isinstance(file, Path)
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def save(picture: Image.Image, file: Path) -> Path:
    picture.save(file, **({"quality": 90} if file.suffix == ".jpg" else {}))
    return file


def planted_copies(dataset: Dataset, folder: Path, share: float, seed: int) -> tuple[Items, np.ndarray, list[str]]:
    """Changed training items for the test side, the position of each one's source, and its kind."""
    assert dataset.sides is not None
    side = np.array(dataset.sides)
    train, n_each = np.flatnonzero(side == "train"), max(1, round(share * int((side == "test").sum())))
    are_long = [isinstance(value, Path) or len(words_of(str(value))) >= FEWEST_WORDS for value in dataset.items.values]
    train = train[np.array(are_long)[train]]
    values: list[Path | str] = []
    sources, kinds = [], []
    for number, kind in enumerate(["exact", *(PICTURES if dataset.modality == "image" else TEXTS)]):
        rng = np.random.default_rng([seed, 1, number])
        for row in rng.choice(train, n_each, replace=False).tolist():
            value = dataset.items.values[row]
            if kind == "exact":
                values.append(_exact(value, folder / f"{len(values)}{Path(str(value)).suffix[:5]}"))
            elif isinstance(value, Path):
                picture = PICTURES[kind](upright(value), rng)
                values.append(save(picture, folder / f"{len(values)}{value.suffix}"))
            else:
                values.append(TEXTS[kind](str(value), rng, [str(each) for each in dataset.items.values]))
            sources.append(row)
            kinds.append(kind)
    names = tuple(f"planted/{number}" for number in range(len(values)))
    items, left_out = content_keys(Items(dataset.modality, tuple(values), names))
    assert not left_out, left_out
    return items, np.array(sources), kinds


def _exact(value: object, file: Path) -> Path | str:
    return Path(shutil.copy(value, file)) if isinstance(value, Path) else str(value)


def joined(one: Items, other: Items) -> Items:
    return replace(one, values=one.values + other.values, names=one.names + other.names, keys=one.keys + other.keys)


def across(pairs: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    return pairs[is_test[pairs[:, 0]] != is_test[pairs[:, 1]]]


def copies_found(name: str, dataset: Dataset, folder: Path, share: float, seed: int, store: Store) -> Iterator[Row]:
    """A line for each kind of copy."""
    plants, sources, kinds = planted_copies(dataset, folder, share, seed)
    seen = see(joined(dataset.items, plants), store)
    n, is_test = len(dataset), np.array(dataset.sides) == "test"
    as_is = np.array(seen.take(np.arange(n)).copies().together)
    n_as_is = int(np.isin(as_is[is_test], as_is[~is_test]).sum())
    for kind in dict.fromkeys(kinds):
        rows = np.flatnonzero(np.array(kinds) == kind)
        own = seen.take(np.concatenate([np.arange(n), n + rows]))
        with measured() as cost:
            copies = own.copies()
        together = np.array(copies.together)
        found = together[n:] == together[sources[rows]]
        origin = np.concatenate([as_is, as_is[sources[rows]]])
        pairs = across(copies.pairs, np.concatenate([is_test, np.ones(len(rows), dtype=bool)]))
        n_false = int((origin[pairs[:, 0]] != origin[pairs[:, 1]]).sum())
        yield row_of(name, kind, len(own.items), found, n_false, cost, n_as_is=n_as_is, threshold=copies.threshold)


def row_of(
    name: str,
    planted: str,
    n_items: int,
    found: np.ndarray,
    n_false: int,
    cost: Cost,
    *,
    n_as_is: int = 0,
    threshold: float = 0.0,
) -> Row:
    n_found = int(found.sum())
    return Row(
        set=name.partition("/")[2] or name,
        planted=planted,
        items=n_items,
        n_planted=len(found),
        n_found=n_found,
        recall=round(n_found / len(found), 4),
        n_false=n_false,
        precision=round(n_found / max(1, n_found + n_false), 4),
        as_is=n_as_is,
        threshold=round(threshold, 3),
        seconds=round(cost.seconds, 2),
        memory_mb=round(cost.memory_mb, 1),
    )


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeros(data: bytes) -> bytes:
    return data[: len(data) * 2 // 5] + bytes(len(data) - len(data) * 2 // 5)


def nothing(_: bytes) -> bytes:
    return b""


def web_page(_: bytes) -> bytes:
    return b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


def overwritten(data: bytes) -> bytes:
    """With an eighth of other bytes in its middle."""
    middle, part = len(data) // 2, max(16, len(data) // 8)
    return data[:middle] + np.random.default_rng(0).bytes(part) + data[middle + part :]


def blank(data: bytes) -> bytes:
    picture, file = Image.open(io.BytesIO(data)), io.BytesIO()
    Image.new("RGB", picture.size, (255, 255, 255)).save(file, picture.format)
    return file.getvalue()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "broken: cut": cut,
    "broken: zeros": zeros,
    "broken: empty": nothing,
    "broken: web page": web_page,
    "broken: overwritten": overwritten,
    "broken: blank": blank,
}


def broken_found(name: str, dataset: Dataset, folder: Path, seed: int, store: Store) -> Iterator[Row]:
    """A line for each kind of broken file."""
    rng = np.random.default_rng([seed, 2])
    n_each = max(1, round(BROKEN_SHARE * len(dataset) / len(BROKEN)))
    rows = rng.choice(len(dataset), n_each * len(BROKEN), replace=False)
    values, kind_of = list(dataset.items.values), np.full(len(dataset), -1)
    for place, row in enumerate(rows.tolist()):
        value, kind = values[row], list(BROKEN)[place % len(BROKEN)]
        assert isinstance(value, Path)
        values[row] = folder / f"{row}{value.suffix}"
        values[row].write_bytes(BROKEN[kind](value.read_bytes()))
        kind_of[row] = place % len(BROKEN)
    items, left_out = content_keys(Items("image", tuple(values), tuple(map(str, range(len(values))))))
    told = {each.name for each in left_out}
    found = extract(items, [Local(PIXELS, Path(), {})], store=store, compute=Compute())
    with measured() as cost:
        facts = look_at_files(items)
        told |= {items.names[row] for row, damage in enumerate(facts.damage) if damage or row in found.damaged}
        there = found.features[0].there
        shown = [name for name, is_there in zip(items.names, there, strict=True) if is_there]
        for finding in picture_findings(found.features[0].values[there], shown):
            told |= set(finding.items)
    is_told = np.isin(np.arange(len(dataset)).astype(str), list(told))
    n_false = int((is_told & (kind_of < 0)).sum())
    for number, kind in enumerate(BROKEN):
        yield row_of(name, kind, len(dataset), is_told[kind_of == number], n_false, cost)


def leak_found(name: str, dataset: Dataset, folder: Path) -> Row:
    """Whether the classes' form is found out; false is what is said of the set as it is."""
    values = list(dataset.items.values)
    for row, (value, target) in enumerate(zip(values, dataset.targets.tolist(), strict=True)):
        if isinstance(value, Path):
            file = folder / f"{row}.jpg"
            Image.open(value).convert("RGB").save(file, quality=90 if target % 2 else 80)
            values[row] = file
        elif target == 0:
            values[row] = f"{value} ..."
    items = replace(dataset.items, values=tuple(values))
    with measured() as cost:
        found, before = (_leaks(dataset, each) for each in (items, dataset.items))
    return row_of(name, "leak", len(dataset), np.array([bool(found - before)]), len(before), cost)


def _leaks(dataset: Dataset, items: Items) -> set[tuple[str, str]]:
    is_image = items.modality == "image"
    found = leak_findings(
        items.names,
        dataset.targets,
        dataset.classes,
        facts=look_at_files(items) if is_image else None,
        texts=None if is_image else [str(value) for value in items.values],
    )
    return {(finding.kind, finding.summary) for finding in found}


def bursts_found(name: str, dataset: Dataset, folder: Path, seed: int, store: Store) -> Row:
    """Whether the frames of a clip are put into one group."""
    rng = np.random.default_rng([seed, 3])
    names, values, clips, targets = [], [], [], []
    for clip, row in enumerate(rng.choice(len(dataset), CLIPS, replace=False).tolist()):
        picture = upright(dataset.items.values[row])
        for frame in range(FRAMES):
            factor = rng.uniform(0.9, 1.1)
            shot = cropped(picture, rng).point(lambda value, factor=factor: min(255, round(factor * value)))
            values.append(save(shot, folder / f"clip{clip:02}_frame_{frame:03}.jpg"))
            names.append(values[-1].name)
            clips.append(clip)
            targets.append(int(dataset.targets[row]))
    items, _ = content_keys(Items("image", tuple(values), tuple(names)))
    seen = see(items, store)
    with measured() as cost:
        series = find_series(names, seen.features, np.array(targets), dataset.classes)
    groups = np.full(len(names), -1) if series is None else series.proposal.groups
    both = np.array(clips)
    right = np.array(
        [group >= 0 and bool((both[groups == group] == clip).all()) for group, clip in zip(groups, both, strict=True)]
    )
    return row_of(name, "bursts", len(names), right, int(((groups >= 0) & ~right).sum()), cost)


def made_pictures(n: int, rng: Rng) -> np.ndarray:
    """Smooth patterns; the last tenth are noisy copies of the first ones."""
    pictures = np.empty((n, PICTURE_SIDE, PICTURE_SIDE), dtype=np.float32)
    waves = np.cos(np.pi * np.outer(np.arange(10), (np.arange(PICTURE_SIDE) + 0.5) / PICTURE_SIDE)).astype(np.float32)
    fading = 1 / (1 + np.add.outer(np.arange(10), np.arange(10))).astype(np.float32)
    for start in range(0, n, 1_000):
        weights = rng.standard_normal((min(1_000, n - start), 10, 10)).astype(np.float32) * fading
        pictures[start : start + 1_000] = np.clip(0.5 + 0.15 * (waves.T @ weights @ waves), 0, 1)
    copied = n // 10
    for start in range(0, copied, 1_000):
        rows = np.arange(start, min(start + 1_000, copied))
        noise = rng.normal(0, 0.01, (len(rows), PICTURE_SIDE, PICTURE_SIDE)).astype(np.float32)
        pictures[n - copied + rows] = pictures[rows] + noise
    return pictures


def made_texts(n: int, rng: Rng) -> list[str]:
    """Words by Zipf's law, forty a text; the last tenth have two words changed."""
    words = np.array([f"w{number}" for number in range(30_000)])
    chance = 1 / (10 + np.arange(len(words)))
    drawn = rng.choice(len(words), (n, 40), p=chance / chance.sum())
    copied = n // 10
    drawn[n - copied :] = drawn[:copied]
    for place in (11, 29):
        drawn[n - copied :, place] = rng.integers(len(words), size=copied)
    return [" ".join(words[row]) for row in drawn]


def made_features(n: int, width: int, rng: Rng) -> np.ndarray:
    """A thousand clusters; the last tenth are noisy copies of the first ones."""
    centres = rng.standard_normal((1_000, width), dtype=np.float32)
    rows = 0.7 * centres[rng.integers(len(centres), size=n)]
    for start in range(0, n, 1_000):
        rows[start : start + 1_000] += rng.standard_normal((min(1_000, n - start), width), dtype=np.float32)
    copied = n // 10
    rows[n - copied :] = rows[:copied]
    rows[n - copied :] += 0.3 * rng.standard_normal((copied, width), dtype=np.float32)
    return rows


def large(n: int, seed: int) -> Iterator[Row]:
    """A line for each modality, of made items of which a tenth are near-copies of others."""
    copied = n // 10
    for modality, width in (("text", 384), ("image", 1_280)):
        rng = np.random.default_rng([seed, 4])
        keys = tuple(f"{number:064}" for number in range(n))
        if modality == "text":
            texts = made_texts(n, rng)
            seen = Seen(Items("text", tuple(texts), keys, keys), made_features(n, width, rng), None)
        else:
            pictures = made_pictures(n, rng)
            seen = Seen(Items("image", keys, keys, keys), made_features(n, width, rng), pictures)
        with measured() as cost:
            copies = seen.copies()
        together = np.array(copies.together)
        origin = np.concatenate([np.arange(n - copied), np.arange(copied)])
        n_false = int((origin[copies.pairs[:, 0]] != origin[copies.pairs[:, 1]]).sum())
        found = together[n - copied :] == together[:copied]
        yield row_of(f"made {modality}s", "copies", n, found, n_false, cost, threshold=copies.threshold)


def rows_of(options: argparse.Namespace, store: Store) -> Iterator[Row]:
    for name in options.sets:
        dataset = read(options.data, name, store, options.seed)
        for part in ("copies", "broken", "bursts", "leak") if dataset.modality == "image" else ("copies", "leak"):
            if options.only in ("", part):
                with tempfile.TemporaryDirectory() as folder:
                    yield from part_of(part, name, dataset, Path(folder), options, store)


def part_of(
    part: str, name: str, dataset: Dataset, folder: Path, options: argparse.Namespace, store: Store
) -> Iterator[Row]:
    if part == "copies":
        yield from copies_found(name, dataset, folder, options.share, options.seed, store)
    elif part == "broken":
        yield from broken_found(name, dataset, folder, options.seed, store)
    elif part == "bursts":
        yield bursts_found(name, dataset, folder, options.seed, store)
    else:
        yield leak_found(name, dataset, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--share", type=float, default=0.05, help="of the test items, for each kind of copies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--only", default="", help="copies, broken, bursts or leak")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(provenance(), flush=True)
    with Store.open() as store:
        for row in large(LARGE, options.seed) if options.large else rows_of(options, store):
            append(row, options.out)
            print(*(f"{value}" for value in vars(row).values()), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
