"""Reports: from the record of a run to files. Nothing is computed here: every number is a field of the record.

`write_run` and `read_run` keep a run as `run.json`; `render` turns it into one HTML page that needs nothing else, and
`write_report` writes that; `write_predictions` writes a table of predictions.
"""

from __future__ import annotations

from headstart.reports.page import render
from headstart.reports.predictions import is_predictions, write_predictions
from headstart.reports.record import AuditRecord, RankingRecord, Run
from headstart.reports.write import read_run, write_audit, write_cleaned, write_ranking, write_report, write_run

__all__ = [
    "AuditRecord",
    "RankingRecord",
    "Run",
    "is_predictions",
    "read_run",
    "render",
    "write_audit",
    "write_cleaned",
    "write_predictions",
    "write_ranking",
    "write_report",
    "write_run",
]
