"""How far the data lie from what a backbone knows, and the scores that are printed beside a ranking."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from headstart.backbones.resolve import Local, source_head
from headstart.backbones.source_head import SourceHead
from headstart.features.extract import Features
from headstart.reports.record import NearnessRecord
from headstart.selection.nearness import REFERENCES, nearness
from headstart.selection.scores.registry import SCORES, Scored, all_scores

_LAST = "last"


def nearness_of(local: Local, features: Features) -> NearnessRecord | None:
    """What the last layer of a backbone says about items that it was not trained on.

    Args:
        local: The backbone.
        features: Of the training items.

    Returns:
        None for a single item, of which nothing can be said.
    """
    last = features.layer(_LAST)
    if len(last) < 2:
        return None
    found = nearness(last, logits=_logits(source_head(local), last), reference=REFERENCES.get(local.spec.name))
    numbers = {name: value for name, value in asdict(found).items() if name not in {"level", "sentence"}}
    return NearnessRecord(local.spec.name, found.level == "doubtful", found.sentence, numbers)


def diagnostics_of(local: Local, features: Features, targets: np.ndarray) -> dict[str, Scored]:
    """The scores that decide nothing, by name.

    Args:
        local: The backbone.
        features: Of the training items.
        targets: The class of each.
    """
    last = features.layer(_LAST)
    logits = _logits(source_head(local), last)
    scored = all_scores(last, targets, probabilities=None if logits is None else softmax(logits, axis=1))
    return {name: each for name, each in scored.items() if not SCORES[name].decides}


def _logits(
    head: SourceHead | None, last: Float[np.ndarray, "items width"]
) -> Float[np.ndarray, "items sources"] | None:
    return None if head is None else head.logits(last)
