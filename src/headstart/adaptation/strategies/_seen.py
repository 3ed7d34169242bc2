"""What strategies see: layers side by side, scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from headstart.adaptation.heads.scaling import Kind, Scaling
from headstart.adaptation.predictor import Part, side_by_side
from headstart.features.extract import Features


def scaled(
    features: Mapping[str, Features], parts: Sequence[Part], kind: Kind = "soften"
) -> tuple[Float[np.ndarray, "items width"], Scaling]:
    """The columns of some layers in an array of their own, each layer with the same say, and what was done to them.

    Args:
        features: By the name of the backbone.
        parts: What to take.
        kind: As for `Scaling.fit`.
    """
    seen = side_by_side(features, parts)
    widths = [features[part.backbone].layer(part.layer).shape[1] for part in parts]
    scaling = Scaling.fit(seen, kind, blocks=widths)
    # Several parts lie side by side in an array of their own.
    return scaling.apply(seen, overwrite=len(parts) > 1), scaling
