"""The page about a run: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2

from headstart.reports import figures, formatting
from headstart.reports.confusion import MATRIX_CLASSES, most_confused, shaded_matrix, worst_first
from headstart.reports.record import AuditRecord, CandidateRecord, RankingRecord, Run, chosen_among
from headstart.reports.trainings import side_by_side

_SHOWN_CLASSES = 40
_SHOWN_PAIRS = 15
_PICTURE = re.compile(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/]+={0,2}")
_FILTERS = (
    *("count", "counted", "megabytes", "milliseconds", "moment", "number", "number_range", "p_value", "parameters"),
    *("percent", "percent_interval", "percent_range", "points", "points_range", "prose", "seconds", "setting"),
    *("shorten", "small", "training_name"),
)


def render(run: Run) -> str:
    """The page about a run, as the text of one HTML file.

    Nothing on it is computed here: every number is a field of the record. The same run gives the same text. Names and
    texts of the user are escaped, and a policy in the page forbids scripts and requests to anywhere.

    Args:
        run: What was done.
    """
    check, control, evaluation = run.fit_check, run.control, run.evaluation
    corrected = run.selection.corrected if run.selection is not None and run.selection.optimism > 0 else None
    own = (check.training, check.out_of_fold, *([corrected] if corrected else []), check.test)
    compared = (*own, *(each.accuracy for each in control.models))
    chosen = chosen_among(run.candidates, run.chosen)
    classes = worst_first(evaluation)
    whole = len(classes) <= MATRIX_CLASSES
    return _template("report.html.jinja").render(
        run=run,
        corrected=corrected,
        compared_axis=figures.shared_axis(compared),
        worst=classes[:_SHOWN_CLASSES],
        others=classes[_SHOWN_CLASSES:],
        matrix=shaded_matrix(evaluation) if whole else (),
        pairs=() if whole else most_confused(evaluation, _SHOWN_PAIRS),
        chosen=chosen,
        on_front=sum("latency" in each.fronts for each in run.candidates) > 1,
        trained=side_by_side(run.trainings),
        served_ms=None if chosen is None else _served_ms(run.candidates[chosen]),
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


def render_audit(record: AuditRecord) -> str:
    """The page about an audit, as the text of one HTML file; escaped and closed as `render` says.

    Args:
        record: What was found.
    """
    return _template("audit.html.jinja").render(record=record)


def _served_ms(candidate: CandidateRecord) -> float | None:
    """What an item takes: alone where that was measured."""
    alone = None if candidate.costs is None else candidate.costs.latency_ms
    return candidate.ms_per_item if alone is None else alone


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
