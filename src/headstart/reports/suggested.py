"""The record of suggestions, and their table as CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.dataset import LeftOut
from headstart.reports._whole_file import whole_file

SUGGESTIONS_SCHEMA = "headstart.suggestions/1"

_COLUMNS = ("rank", "item", "reason", "text")


@dataclass(frozen=True, slots=True)
class Guess:
    """A class that an item may belong to.

    Attributes:
        label: Its name.
        probability: What the model says, 0 to 1.
    """

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item to label.

    Attributes:
        rank: From 1, the most useful one.
        item: Its name.
        reason: Why, in a few words.
        n_alike: How many of the items that were looked at it stands for, itself included.
        guesses: The two most probable classes; empty where there was no model.
        text: The beginning of a text, so that it is known again; empty for images.
    """

    rank: int
    item: str
    reason: str
    n_alike: int
    guesses: tuple[Guess, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class SuggestionRecord:
    """Everything that one `suggest` found.

    Attributes:
        run: The run or bundle whose model was asked, as it was given; None where there was none.
        modality: `image` or `text`.
        backbones: Whose features say which items are alike.
        n_asked: How many items were asked for.
        n_unlabelled: How many different items there were to choose from.
        n_copies: Items that are exact copies of others among these, and therefore no choice.
        n_known: Items that are exact copies of training items of the model, and therefore never suggested.
        rule: How they were chosen, one sentence.
        suggestions: What to label, the most useful first.
        seed: Of the clustering.
        version: The version of headstart.
        left_out: What could not be used.
        notes: What else there is to know, one sentence each.
        schema: The version of this record's format.
    """

    run: str | None
    modality: str
    backbones: tuple[str, ...]
    n_asked: int
    n_unlabelled: int
    n_copies: int
    n_known: int
    rule: str
    suggestions: tuple[Suggestion, ...]
    seed: int
    version: str
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    schema: str = field(default=SUGGESTIONS_SCHEMA)


def is_suggestions(path: Path) -> bool:
    """Whether a file begins as what `write_suggestions` writes.

    Args:
        path: The file; it need not be there.
    """
    begin = ",".join(_COLUMNS).encode()
    try:
        with path.open("rb") as stream:
            return stream.read(len(begin)) == begin
    except OSError:
        return False


def write_suggestions(path: Path, record: SuggestionRecord) -> Path:
    """Write one row a suggestion: `rank, item, reason, text`, in UTF-8 with one header row, completely or not at all.

    Args:
        path: Where.
        record: What `suggest` found.

    Returns:
        The path.

    Raises:
        OutputError: If the file cannot be written.
    """
    with whole_file(path) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows((each.rank, each.item, each.reason, each.text) for each in record.suggestions)
    return path
