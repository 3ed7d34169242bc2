"""What the file of weights says about a network, without the library that builds it."""

from __future__ import annotations

from safetensors import safe_open

from headstart.backbones.resolve import WEIGHTS, Local

_EMBEDDING = "embed"


def has_linear_layers(local: Local) -> bool:
    """Whether a network has linear layers, by the shapes of its weights; embeddings, tables as well, are none.

    Args:
        local: The backbone.
    """
    with safe_open(local.folder / WEIGHTS, framework="np") as weights:
        return any(
            len(weights.get_slice(name).get_shape()) == 2 and _EMBEDDING not in name
            for name in weights.keys()  # noqa: SIM118 - it is no dictionary
            if name.endswith(".weight")
        )
