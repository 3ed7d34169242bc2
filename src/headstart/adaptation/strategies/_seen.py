"""What strategies have in common: layers side by side, scaled, and the choice among settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from headstart.adaptation.heads.forms import unit_rows
from headstart.adaptation.heads.scaling import Kind, Scaling
from headstart.adaptation.predictor import Part, side_by_side
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import Value
from headstart.errors import OptionError
from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.features.extract import Features

_TINY = 1e-300


def scaled(
    features: Mapping[str, Features], parts: Sequence[Part], kind: Kind = "soften", *, n_views: int = 1
) -> tuple[Float[np.ndarray, "rows width"], Scaling]:
    """The columns of some layers in an array of their own, each layer with the same say, and what was done to them.

    Args:
        features: By the name of the backbone.
        parts: What to take.
        kind: As for `Scaling.fit`.
        n_views: The rows of the plain view of all items come first, then those of the next; one view, if not given.

    Raises:
        OptionError: If there are fewer views.
    """
    seen = _one_below_the_other([side_by_side(each, parts) for each in _views(features, parts, n_views)])
    widths = [features[part.backbone].layer(part.layer).shape[1] for part in parts]
    scaling = Scaling.fit(seen, kind, blocks=widths)
    # Several parts or views lie together in an array of their own.
    return scaling.apply(seen, overwrite=len(parts) > 1 or n_views > 1), scaling


def _views(features: Mapping[str, Features], parts: Sequence[Part], n_views: int) -> list[Mapping[str, Features]]:
    """The features of each view, the plain one first."""
    names = {part.backbone for part in parts}
    for name in sorted(names):
        if (there := 1 + len(features[name].views)) < n_views:
            raise OptionError(
                f"{n_views} views of each training item are needed, but the features of {name!r} hold {there}",
                hint="Compute more with extract(items, backbones, views=...), or set n_views to fewer.",
            )
    further = [{name: features[name].views[number] for name in names} for number in range(n_views - 1)]
    return [features, *further]


def _one_below_the_other(blocks: list[np.ndarray]) -> Float[np.ndarray, "rows width"]:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def directions(
    features: Mapping[str, Features], parts: Sequence[Part]
) -> tuple[Float[np.ndarray, "items width"], Scaling]:
    """The same with each row brought to length 1, in float32.

    Args:
        features: By the name of the backbone.
        parts: What to take.
    """
    seen, scaling = scaled(features, parts)
    return unit_rows(seen).astype(np.float32), scaling


def best_of(
    logits: Float[np.ndarray, "settings items classes"],
    settings: Sequence[Mapping[str, Value]],
    targets: Int[np.ndarray, " items"],
) -> OutOfFold:
    """Of several settings the one whose calibrated out-of-fold probabilities have the lowest log loss, first of equals.

    Args:
        logits: For each setting those of each item from the model that had not seen it.
        settings: What to call them.
        targets: The class of each item.
    """
    temperatures = [fit_temperature(each, targets) for each in logits]
    rows = np.arange(len(targets))
    losses = [
        float(-np.log(softmax(each, temperature)[rows, targets] + _TINY).mean())
        for each, temperature in zip(logits, temperatures, strict=True)
    ]
    best = int(np.argmin(losses))
    return OutOfFold(logits[best].astype(np.float64), settings[best], temperatures[best])
