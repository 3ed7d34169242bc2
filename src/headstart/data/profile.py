"""What the items look like as a whole, from a few of them: enough to see whether a backbone suits them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Items
from headstart.data.images import DamagedItem, shorter_side_px

_SAMPLE = 200
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sample of the items looks like.

    Attributes:
        n_seen: How many items were looked at.
        side_px: The median shorter side of the images, in pixels; None for texts.
        n_words: The words of each text that was looked at, punctuation marks included; empty for images.
        script: The script of most letters, such as `LATIN` or `CJK`, in Unicode's words; empty for images and for
            texts without letters.
    """

    n_seen: int
    side_px: float | None = None
    n_words: tuple[int, ...] = ()
    script: str = ""

    def share_longer(self, n_words: float) -> float:
        """The share of texts with more words than this, 0 to 1.

        Args:
            n_words: The length to compare with.
        """
        return float(np.mean([length > n_words for length in self.n_words])) if self.n_words else 0.0


def profile(items: Items) -> Profile:
    """Look at the first items, which are a fair sample once a dataset is spread out.

    Args:
        items: Images or texts.
    """
    some = items.values[:_SAMPLE]
    if items.modality == "text":
        texts = [str(value) for value in some]
        return Profile(len(texts), n_words=tuple(len(_WORD.findall(text)) for text in texts), script=_script(texts))
    sides = []
    for value in some:
        try:
            sides.append(shorter_side_px(value if isinstance(value, Path | np.ndarray) else Path(value)))
        except DamagedItem:
            continue
    return Profile(len(sides), side_px=float(np.median(sides)) if sides else None)


def _script(texts: list[str]) -> str:
    """The first word of a letter's Unicode name says its script: LATIN SMALL LETTER A, CYRILLIC CAPITAL LETTER BE."""
    letters = Counter(letter for text in texts for letter in text if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "").split(" ", 1)[0]] += count
    return scripts.most_common(1)[0][0] if scripts else ""
