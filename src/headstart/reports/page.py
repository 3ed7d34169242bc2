"""The page about a run: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2

from headstart.reports import figures, formatting
from headstart.reports.confusion import MATRIX_CLASSES, most_confused, shaded_matrix, worst_first
from headstart.reports.record import CandidateRecord, ChosenRecord, RankingRecord, Run
from headstart.reports.trainings import side_by_side

_SHOWN_CLASSES = 40
_SHOWN_PAIRS = 15
_PICTURE = re.compile(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/]+={0,2}")
_FILTERS = (
    *("count", "counted", "milliseconds", "moment", "number", "number_range", "p_value", "parameters", "percent"),
    *("percent_interval", "percent_range", "points", "points_range", "prose", "seconds", "setting", "shorten"),
    *("small", "training_name"),
)


def render(run: Run) -> str:
    """The page about a run, as the text of one HTML file.

    Nothing on it is computed here: every number is a field of the record. The same run gives the same text. Names and
    texts of the user are escaped, and a policy in the page forbids scripts and requests to anywhere.

    Args:
        run: What was done.
    """
    check, control, evaluation = run.fit_check, run.control, run.evaluation
    compared = (check.training, check.out_of_fold, check.test, *(each.accuracy for each in control.models))
    chosen = _position(run.candidates, run.chosen)
    classes = worst_first(evaluation)
    whole = len(classes) <= MATRIX_CLASSES
    return _template("report.html.jinja").render(
        run=run,
        compared_axis=figures.shared_axis(compared),
        worst=classes[:_SHOWN_CLASSES],
        others=classes[_SHOWN_CLASSES:],
        matrix=shaded_matrix(evaluation) if whole else (),
        pairs=() if whole else most_confused(evaluation, _SHOWN_PAIRS),
        chosen=chosen,
        trained=side_by_side(run.trainings),
        served_ms=None if chosen is None else run.candidates[chosen].ms_per_item,
    )


def render_ranking(record: RankingRecord) -> str:
    """The page about a ranking, as the text of one HTML file; escaped and closed as `render` says.

    Args:
        record: What was ranked.
    """
    undefined: dict[str, list[str]] = {}
    for row in record.ranking:
        for score, reason in row.undefined.items():
            scores = undefined.setdefault(reason, [])
            scores += [score] if score not in scores else []
    return _template("ranking.html.jinja").render(record=record, undefined=undefined)


def _position(candidates: Sequence[CandidateRecord], chosen: ChosenRecord) -> int | None:
    """Which candidate was chosen: of those with its backbone and strategy the one that shares most settings."""
    alike = [
        (len(candidate.settings.items() & chosen.settings.items()), -index)
        for index, candidate in enumerate(candidates)
        if (candidate.backbone, candidate.strategy) == (chosen.backbone, chosen.strategy)
    ]
    return -max(alike)[1] if alike else None


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headstart.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(formatting, name) for name in _FILTERS})
    environment.tests["picture"] = _is_picture
    environment.globals["figures"] = figures
    return environment.get_template(name)


def _finalize(value: Any) -> Any:
    # Only plain text: a figure is already printable, and would lose its mark as markup.
    return formatting.printable(value) if type(value) is str else value


def _is_picture(preview: str) -> bool:
    return _PICTURE.fullmatch(preview) is not None
