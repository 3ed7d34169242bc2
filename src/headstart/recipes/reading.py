"""The data as the recipes read it: identified, with one name for each item, in an order that a budget can cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart._progress import Progress
from headstart.data.dataset import Dataset
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out, tell_apart
from headstart.features.memory import MemoryStore
from headstart.features.store import Store
from headstart.recipes.options import FitOptions


def name_of(data: Any) -> str:
    """What a run on this data is called: its file or folder, without what stands behind a dot."""
    if not isinstance(data, str | Path):
        return "run"
    path = Path(data).resolve()
    return path.name if path.is_dir() else path.stem


def read(data: Any, options: FitOptions, store: Store | MemoryStore, progress: Progress) -> Dataset:
    """Read the data, say what was found out without being told, and bring the items into the order of the seed.

    Args:
        data: As for `read_dataset`.
        options: What the user asked for.
        store: Knows the contents of files that were read before.
        progress: Where progress is shown.
    """
    modality = options.modality
    dataset = read_dataset(
        data,
        target=options.target,
        column=options.column,
        groups=None if options.finds_groups else options.groups,
        test=options.test_source,
        modality="image" if modality == "image" else "text" if modality == "text" else "auto",
        targets=options.targets,
    )
    if dataset.sides is not None and options.test_share is not None:
        unused = f"the test share {options.test_share:g} was not used, because the data has its own test side"
        dataset = replace(dataset, notes=(*dataset.notes, unused))
    for note in dataset.notes:
        progress.say(note)
    return spread_out(identify(tell_apart(dataset), known=store, progress=progress), seed=options.seed)
