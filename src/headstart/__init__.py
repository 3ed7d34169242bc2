"""headstart chooses a pretrained model for your data, adapts it, and tells you how far to trust it.

    import headstart as hs

    run = hs.fit("photos/", budget="2m")
    run.evaluation.accuracy
    hs.load("runs/photos").predict(["a.jpg", "b.jpg"])

Importing it costs nothing: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.adaptation import strategies
    from headstart.errors import (
        BackboneError,
        BundleError,
        DataError,
        HeadstartError,
        OfflineError,
        OptionError,
        OutputError,
        StoreError,
    )
    from headstart.evaluation.records import Estimate, Evaluation
    from headstart.recipes.api import audit, compare, evaluate, fit, rank, suggest
    from headstart.reports.compared import ComparisonRecord
    from headstart.reports.record import AuditRecord, RankingRecord, Run
    from headstart.reports.suggested import SuggestionRecord
    from headstart.serving.model import Model, Prediction, Predictions, load

    __version__: str

__all__ = [
    "AuditRecord",
    "BackboneError",
    "BundleError",
    "ComparisonRecord",
    "DataError",
    "Estimate",
    "Evaluation",
    "HeadstartError",
    "Model",
    "OfflineError",
    "OptionError",
    "OutputError",
    "Prediction",
    "Predictions",
    "RankingRecord",
    "Run",
    "StoreError",
    "SuggestionRecord",
    "__version__",
    "audit",
    "compare",
    "evaluate",
    "fit",
    "load",
    "rank",
    "strategies",
    "suggest",
]

_MODULES = {
    "headstart.errors": (
        "BackboneError",
        "BundleError",
        "DataError",
        "HeadstartError",
        "OfflineError",
        "OptionError",
        "OutputError",
        "StoreError",
    ),
    "headstart.evaluation.records": ("Estimate", "Evaluation"),
    "headstart.recipes.api": ("audit", "compare", "evaluate", "fit", "rank", "suggest"),
    "headstart.reports.compared": ("ComparisonRecord",),
    "headstart.reports.record": ("AuditRecord", "RankingRecord", "Run"),
    "headstart.reports.suggested": ("SuggestionRecord",),
    "headstart.serving.model": ("Model", "Prediction", "Predictions", "load"),
}
_HOME_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Fetch a public name from its module (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("headstart")
    elif name == "strategies":
        value = importlib.import_module("headstart.adaptation.strategies")
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
