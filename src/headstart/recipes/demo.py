"""The story of `demo`: what headstart does, on texts and images that are on this machine already."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart._progress import SILENT, Progress
from headstart.errors import OutputError
from headstart.recipes.demo_data import N_TRAIN, write_digits, write_docstrings
from headstart.recipes.fit import fit
from headstart.recipes.options import FitOptions
from headstart.reports import Run


@dataclass(frozen=True, slots=True)
class _Act:
    name: str
    words: str
    write: Callable[[Path], None]


_ACTS = (
    _Act(
        "docstrings",
        f"Act one, texts: docstrings of Python's standard library in eight topics, {N_TRAIN} labels a topic.",
        write_docstrings,
    ),
    _Act(
        "digits",
        f"Act two, images: scans of handwritten digits, 8 × 8 pixels each, {N_TRAIN} labels a digit.",
        write_digits,
    ),
)


def demo(folder: Path, *, budget_s: float = 60.0, progress: Progress = SILENT) -> tuple[Run, ...]:
    """Write two small data sets and fit a model to each, without a network.

    A second demo in the same folder replaces the runs of the first and uses its features again.

    Args:
        folder: Where the data go, and the runs to `runs/` below it.
        budget_s: Time for each of the two models, in seconds.
        progress: Where progress is shown.

    Returns:
        The records of the runs, in the order of the acts.

    Raises:
        HeadstartError: If the folder cannot be written to, or as for `fit`.
    """
    runs = []
    for act in _ACTS:
        progress.say(act.words)
        data = folder / act.name
        _write(act, data)
        options = FitOptions(
            budget_s=budget_s,
            out=str(folder / "runs" / act.name),
            overwrite=True,
            command=f"headstart fit {shlex.quote(str(data))} --budget {budget_s:g}s --seed 0",
        )
        runs.append(fit(data, options=options, progress=progress))
    return tuple(runs)


def closing_words(runs: Sequence[Run]) -> str:
    """What a demo has shown, where its reports are, and what to type next.

    Args:
        runs: What `demo` returned.
    """
    results = [f"{run.name}\n  {run.verdict}\n  Report: {Path(run.out) / 'report.html'}" for run in runs]
    model = shlex.quote(runs[0].out)
    following = (
        "Ask a model:        echo 'Wait until all workers are done.' | headstart predict " + model + " -\n"
        "Use your own data:  headstart fit FOLDER_OR_TABLE"
    )
    return "\n\n".join([*results, following])


def _write(act: _Act, folder: Path) -> None:
    try:
        act.write(folder)
    except OSError as error:
        raise OutputError(
            f"the demo cannot be written to {str(folder)!r}: {error.strerror or error}",
            hint="Choose another folder with --out.",
        ) from error
