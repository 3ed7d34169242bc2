"""How far data lie from what the starters know: the table of `headstart.selection.nearness`, measured.

    python benchmarks/nearness.py [DATA_FOLDER] [--items N] [--messages FOLDER] [--home FOLDER]

DATA_FOLDER holds `images/` and `text/` with one set each below them; the handwritten digits of scikit-learn are added,
and the news with their letters exchanged. The same messages in several languages are those of Django, where FOLDER is
its package (`pip install --no-deps --target HERE django`, then `--messages HERE/django`).

Gain is the leave-one-out accuracy of a ridge classifier on the last layer less that of the same on pixels or words.
Below the table: how alike the order of the sets is to that by gain and, for images, to that by the cheapest starter
(Spearman), and what is usual for each backbone, the mean of the sets that are most like its own.
"""

from __future__ import annotations

import argparse
import gettext
import random
import string
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

from _provenance import provenance
from headstart._threads import one_thread
from headstart.backbones.catalogue import starters
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import Local, resolve, source_head
from headstart.data.dataset import Dataset, Items
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore
from headstart.recipes.demo_data import write_digits
from headstart.selection.nearness import REFERENCES, Nearness, nearness
from headstart.selection.scores.loo_ridge import loo_accuracy

SHARED = Path(__file__).parents[2] / "shared" / "data"
LANGUAGES = {"de": "German", "ja": "Japanese", "ru": "Russian"}
ENGLISH = "messages, English"
EXCHANGED = "letters exchanged"
USUAL = {"image": ("clothing", "pacs_photo"), "text": ("agnews", "sst2", ENGLISH)}
LEAST_MESSAGES = 40  # a class


@dataclass(frozen=True)
class Row:
    """What one backbone says about one set.

    Attributes:
        data: The name of the set.
        n_items: How many of its items were looked at.
        backbone: The name of the backbone.
        found: By its source classifier where it has one.
        gain: Over pixels or words, as a share of the items.
    """

    data: str
    n_items: int
    backbone: str
    found: Nearness
    gain: float

    @property
    def order(self) -> float:
        """The number that decides: higher is farther."""
        return self.found.alike if self.found.entropy_share is None else self.found.entropy_share


def image_sets(folder: Path, scratch: Path, n_items: int) -> Iterator[tuple[str, Dataset]]:
    """The digits, then what lies in the folder."""
    write_digits(scratch / "digits")
    for each in (scratch / "digits", *sorted(path for path in folder.glob("*") if path.is_dir())):
        yield each.name, some(identify(read_dataset(each)), n_items)


def text_sets(folder: Path, messages: Path | None, n_items: int) -> Iterator[tuple[str, Dataset]]:
    """What lies in the folder, the news with letters exchanged, and messages in several languages."""
    for each in sorted(path for path in folder.glob("*") if path.is_dir()):
        data = some(identify(read_dataset(each)), n_items)
        yield each.name, data
        if each.name == "agnews":
            texts = exchanged([str(text) for text in data.items.values])
            yield f"{each.name}, {EXCHANGED}", from_texts(texts, data.targets, data.classes)
    if messages is not None:
        yield from message_sets(messages, n_items)


def some(data: Dataset, n_items: int) -> Dataset:
    """A stratified sample."""
    spread = spread_out(data, seed=0)
    return spread.take(np.arange(min(n_items, len(spread))))


def exchanged(texts: Sequence[str]) -> list[str]:
    """The same texts after one permutation of the alphabet: as regular as before, and no word is known."""
    letters = string.ascii_lowercase
    others = "".join(random.Random(0).sample(letters, len(letters)))
    table = str.maketrans(letters + letters.upper(), others + others.upper())
    return [text.translate(table) for text in texts]


def message_sets(package: Path, n_items: int) -> Iterator[tuple[str, Dataset]]:
    """Django's own messages in several languages; the class is the application that they belong to."""
    for position, (code, language) in enumerate(LANGUAGES.items()):
        pairs = [
            (app.parents[3].name, source if isinstance(source, str) else source[0], said)
            for app in sorted(package.glob(f"contrib/*/locale/{code}/LC_MESSAGES/django.mo"))
            for source, said in _catalogue(app).items()
        ]
        named = [each for each in pairs if len(each[1]) > 15 and isinstance(each[2], str) and each[2].strip()]
        apps, counts = np.unique([app for app, _, _ in named], return_counts=True)
        kept = set(apps[counts >= LEAST_MESSAGES])
        rows = [each for each in named if each[0] in kept]
        random.Random(0).shuffle(rows)
        classes, targets = np.unique([app for app, _, _ in rows[:n_items]], return_inverse=True)
        names = tuple(map(str, classes))
        if position == 0:
            yield ENGLISH, from_texts([source for _, source, _ in rows[:n_items]], targets, names)
        yield f"messages, {language}", from_texts([said for _, _, said in rows[:n_items]], targets, names)


def _catalogue(file: Path) -> dict[str | tuple[str, int], str]:
    with file.open("rb") as stream:
        return gettext.GNUTranslations(stream)._catalog  # gettext has no public way to list messages


def from_texts(texts: Sequence[str], targets: np.ndarray, classes: tuple[str, ...]) -> Dataset:
    """A dataset of texts that lie in no file."""
    items = Items("text", tuple(texts), tuple(f"row {row}" for row in range(len(texts))))
    return identify(Dataset(items, targets, classes))


def rows_of(name: str, data: Dataset, home: Path) -> Iterator[Row]:
    """One row a starter."""
    locals_ = [resolve(spec.name, home) for spec in starters(data.modality)]
    control = [Local(PIXELS, Path(), {})] if data.modality == "image" else []
    compute = Compute("cpu", pick_precision("auto", "cpu"))
    found = extract(data.items, [*locals_, *control], store=MemoryStore(), compute=compute).features
    last = {features.backbone.name: features.layer("last") for features in found}
    with one_thread():
        plain = last[PIXELS.name] if control else words([str(text) for text in data.items.values])
        base = loo_accuracy(plain, data.targets)
        for local in locals_:
            features, head = last[local.spec.name], source_head(local)
            logits = None if head is None else head.logits(features)
            says = nearness(features, logits=logits, reference=REFERENCES.get(local.spec.name))
            yield Row(name, len(data), local.spec.name, says, loo_accuracy(features, data.targets) - base)


def words(texts: Sequence[str]) -> np.ndarray:
    """The weights of the words."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    return vectorizer.fit_transform(texts).toarray()


def usual(rows: Sequence[Row], backbone: str, modality: str) -> str:
    """What `REFERENCES` states: the means over the sets that are most like those of the pretraining."""
    found = [row.found for row in rows if row.backbone == backbone and row.data in USUAL[modality]]
    alike = f"alike {np.mean([each.alike for each in found]):.2f}"
    entropies = [each.entropy_share for each in found if each.entropy_share is not None]
    return f"{alike}, entropy {np.mean(entropies):.0%}" if entropies else alike


def main() -> None:
    """Print the table as Markdown, nearest first, and what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--items", type=int, default=200, help="at most so many of a set")
    parser.add_argument("--messages", type=Path, help="Django's package")
    parser.add_argument("--home", type=Path, help="where weights are kept; a temporary folder by default")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"nothing measured: {options.data} is not there")
    print(f"{provenance()}\n")
    print("| backbone | set | items | entropy | alike | rank | gain | level |")
    print("|---|---|---|---|---|---|---|---|")
    summary: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch) / "home"
        sets = {
            "image": image_sets(options.data / "images", Path(scratch), options.items),
            "text": text_sets(options.data / "text", options.messages, options.items),
        }
        for modality, each in sets.items():
            rows = [row for name, data in each for row in rows_of(name, data, home)]
            summary += report(rows, modality)
    print("\n" + "\n".join(summary))


def report(rows: Sequence[Row], modality: str) -> Iterator[str]:
    """Print one backbone after the other; what to say below the table."""
    names = list(dict.fromkeys(row.backbone for row in rows))
    first = {row.data: row.order for row in rows if row.backbone == names[0]}
    for name in names:
        own = sorted((row for row in rows if row.backbone == name), key=lambda row: row.order)
        for row in own:
            found = row.found
            entropy = "" if found.entropy_share is None else f"{found.entropy_share:.0%}"
            print(
                f"| {name} | {row.data} | {row.n_items} | {entropy} | {found.alike:.2f} | {found.rank_share:.2f} "
                f"| {row.gain:+.2f} | {found.level} |"
            )
        gains = spearmanr([row.order for row in own], [-row.gain for row in own]).statistic
        alike = spearmanr([row.order for row in own], [first[row.data] for row in own]).statistic
        yield (
            f"{name}: its order of the sets beside that by gain {gains:.2f}, beside that of {names[0]} {alike:.2f}; "
            f"usual are {usual(rows, name, modality)}"
        )


if __name__ == "__main__":
    main()
