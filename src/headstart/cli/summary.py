"""What people read on the terminal: the records of a run in a few lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from headstart.cli.console import Console
from headstart.evaluation.records import Estimate, Evaluation
from headstart.reports import Run
from headstart.reports.compared import ClassDifference, ComparisonRecord
from headstart.reports.formatting import (
    counted,
    milliseconds,
    number,
    number_range,
    p_value,
    parameters,
    percent_interval,
    points,
    points_range,
    prose,
    seconds,
    setting,
)

_TIES_SHOWN = 3


def show_run(run: Run, console: Console) -> None:
    """Write what a run found, and what to do next.

    Args:
        run: What `fit` returned.
        console: Where to write.
    """
    console.heading(prose(run.verdict))
    console.rows(_findings(run))
    console.rows([("report", str(Path(run.out) / "report.html")), ("next", _next_command(run))])


def show_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Write how good a model is on a dataset.

    Args:
        evaluation: What `evaluate` returned.
        console: Where to write.
    """
    accuracy = percent_interval(evaluation.accuracy)
    console.heading(f"{accuracy} of {counted(evaluation.n, 'item')} right")
    console.rows(
        [
            ("balanced", f"{percent_interval(evaluation.balanced_accuracy)} mean recall over classes"),
            ("F1", f"{percent_interval(evaluation.f1_macro)} mean over classes"),
            ("log loss", f"{_interval(evaluation.log_loss)} nats, lower is better"),
            ("ECE", f"{_interval(evaluation.ece)} calibration error, lower is better"),
        ]
    )


def show_comparison(record: ComparisonRecord, console: Console) -> None:
    """Write which of two runs is better, and what they did differently.

    Args:
        record: What `compare` returned.
        console: Where to write.
    """
    sides = (record.first, record.second)
    console.heading(prose(record.sentence))
    out = [each for each in record.classes if each.stands_out]
    console.rows(
        [
            ("paired" if record.paired else "unpaired", record.pairing),
            ("test", f"{points(record.difference.value)} points, {p_value(record.difference.p_value)}"),
            ("classes", "; ".join(map(_class_difference, out)) or "in no single class can a difference be told"),
        ]
    )
    console.say("")
    rows = [
        ("accuracy", *(percent_interval(side.accuracy) for side in sides)),
        ("log loss", *(_interval(side.log_loss) for side in sides)),
        ("parameters", *("–" if side.n_params is None else parameters(side.n_params) for side in sides)),
        ("per item", *(milliseconds(side.ms_per_item) for side in sides)),
        ("took", *("–" if side.seconds is None else seconds(side.seconds) for side in sides)),
        *((each.name, _or_dash(each.first), _or_dash(each.second)) for each in record.settings),
    ]
    console.table(("", *(side.name for side in sides)), rows)


def _class_difference(each: ClassDifference) -> str:
    recall = each.recall
    return f"{each.name} {points(recall.value)} points ({points_range(recall)}, {p_value(recall.p_value)})"


def _or_dash(value: str | float | None) -> str:
    return "–" if value is None else setting(value)


def _findings(run: Run) -> Iterator[tuple[str, str]]:
    data, chosen = run.data, run.chosen
    layers = setting(chosen.settings["layers"]) if "layers" in chosen.settings else ""
    strategy = f"{chosen.strategy} of {len(chosen.members)}" if chosen.members else chosen.strategy
    yield "accuracy", f"{percent_interval(run.evaluation.accuracy)} on {counted(data.n_test, 'sealed test item')}"
    yield "control", prose(run.control.sentence)
    yield "model", " · ".join(part for part in (chosen.backbone, layers, strategy) if part)
    yield "ties", _ties(chosen.ties)
    yield "caution", prose(" ".join(_cautions(run)))
    yield "unfinished", prose(run.unfinished)
    yield "left out", f"{counted(len(data.left_out), 'item')}, listed in the report" if data.left_out else ""
    yield "time", f"{seconds(run.timings['total'])} of {seconds(run.budget_s)}" if "total" in run.timings else ""


def _ties(ties: tuple[str, ...]) -> str:
    shown, more = "; ".join(ties[:_TIES_SHOWN]), len(ties) - _TIES_SHOWN
    return f"as good out-of-fold: {shown}{f' and {more} more' if more > 0 else ''}" if ties else ""


def _cautions(run: Run) -> Iterator[str]:
    """What weakens the numbers: serious findings, and a test that is not unseen any more."""
    yield from (finding.sentences for finding in run.audit if finding.severity == "serious")
    if run.data.test_openings > 1:
        yield f"This sealed test was opened {run.data.test_openings} times, and each time weakens what it says."


def _next_command(run: Run) -> str:
    new = "PHOTOS" if run.data.modality == "image" else "TEXTS.csv"
    return f"headstart predict {shlex.quote(run.out)} {new} --out predictions.csv"


def _interval(estimate: Estimate) -> str:
    return f"{number(estimate.value)} ({number_range(estimate)})"
