"""What the runner asks of a peer, and what a peer answers: JSON in a file, and JSON on the last line of its output.

It imports nothing but the standard library at the top: it runs in every peer's environment, and its imports are timed.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    Attributes:
        modality: `image` or `text`.
        train: A folder with one sub-folder a class, or a CSV with the columns `text` and `label`.
        test: Likewise.
        weights: A folder in timm's or transformers' hub layout, with `config.json` and `model.safetensors`.
        home: A home of headstart that holds these weights and nothing else.
        backbone: What headstart calls them.
        scratch: A folder for whatever the peer writes.
        seed: 0 or greater.
        threads: How many the processor may use.
        started: When the process was started, in seconds since 1970.
        settings: Of the peer.
    """

    modality: str
    train: str
    test: str
    weights: str
    home: str
    backbone: str
    scratch: str
    seed: int
    threads: int
    started: float
    settings: dict[str, Any]

    @property
    def weights_file(self) -> Path:
        """The tensors, under the library's own names and without a classifier."""
        return Path(self.weights) / "model.safetensors"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    Attributes:
        accuracy: On all test items.
        n_train: Training items.
        n_test: Test items.
        training_seconds: Of learning alone; without imports, reading the weights, and the test.
        versions: Of the libraries that did the work.
    """

    accuracy: float
    n_train: int
    n_test: int
    training_seconds: float
    versions: str


@dataclass(frozen=True, slots=True)
class Items:
    """Labelled items: paths of pictures or texts, and the number of the class of each."""

    inputs: list[str]
    targets: list[int]


def read_job() -> Job:
    """The job in the file that the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def give(answer: Answer) -> None:
    """Print the answer as the last line."""
    sys.stdout.flush()
    print("\n" + json.dumps(asdict(answer)), flush=True)


def read_items(job: Job) -> tuple[Items, Items, list[str]]:
    """Training items, test items, and the classes in order."""
    train, test = (_labelled(Path(each), job.modality) for each in (job.train, job.test))
    classes = sorted({label for _, label in train})
    place = {label: index for index, label in enumerate(classes)}
    sides = [Items([item for item, _ in side], [place[label] for _, label in side]) for side in (train, test)]
    return sides[0], sides[1], classes


def _labelled(source: Path, modality: str) -> list[tuple[str, str]]:
    if modality == "image":
        files = sorted(path for path in source.glob("*/*") if path.suffix.lower() in PICTURES)
        return [(str(path), path.parent.name) for path in files]
    with source.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def set_up_torch(job: Job) -> None:
    """The job's threads and seed."""
    import torch

    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)


def check_weights(job: Job, state: Mapping[str, Any]) -> None:
    """Stop unless every tensor of the weights file is in the network: libraries leave out quietly what does not fit.

    Args:
        job: The measurement.
        state: The network's tensors by the names of the file.
    """
    import torch
    from safetensors.torch import load_file

    for name, tensor in load_file(job.weights_file).items():
        if name not in state or not torch.equal(state[name], tensor):
            sys.exit(f"the network does not have the tensor {name!r} of {job.weights_file}")
