"""Measures what the catalogue states about each network, and says where the two differ.

    python scripts/catalogue.py            every entry, a few minutes
    python scripts/catalogue.py NAME...    those

Networks are built without weights and run on the meta device, which has shapes but no numbers. timm and
torchvision state architecture, input and licence themselves; transformers needs the sizes that a repository's
config.json publishes, which are in catalogue_configs.toml.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headstart.backbones.catalogue import Entry, entries
from headstart.backbones.loaders._cost import counted

CONFIGS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("catalogue_configs.toml").read_text(encoding="utf-8"))
_SPDX = {"dinov3-license": "LicenseRef-DINOv3"}
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Facts:
    """What a network says about itself; None where its library does not know."""

    n_params: int
    gflops: float
    width: int
    size_px: int | None = None
    licence: str | None = None
    file: str = ""


def measure(entry: Entry) -> Facts:
    """The facts of an entry's network, built without weights."""
    # DeBERTa looks at the numbers in its mask, so it must have some.
    with torch.device("cpu" if entry.architecture == "deberta-v2" else "meta"):
        return {"timm": _timm, "transformers": _transformers, "torchvision": _torchvision}[entry.loader](entry)


def differences(entry: Entry) -> Iterator[str]:
    """Where the catalogue and the network do not agree, one line each."""
    facts = measure(entry)
    for name in ("n_params", "width", "size_px", "file"):
        if getattr(entry, name) != getattr(facts, name):
            yield f"{entry.name}: {name} is {getattr(facts, name)}, the catalogue says {getattr(entry, name)}"
    if abs(entry.gflops - facts.gflops) > _TOLERANCE * facts.gflops:
        yield f"{entry.name}: gflops is {facts.gflops:.4g}, the catalogue says {entry.gflops}"
    if facts.licence is not None and entry.licence.lower() != facts.licence.lower():
        yield f"{entry.name}: licence is {facts.licence}, the catalogue says {entry.licence}"


def _timm(entry: Entry) -> Facts:
    import timm

    stated = timm.get_pretrained_cfg(f"{entry.architecture}.{entry.tag}", allow_unregistered=False)
    network = (
        timm.create_model(entry.architecture, pretrained=False, num_classes=0)
        .eval()
        .requires_grad_(requires_grad=False)
    )
    # As the loader reads it: the larger test size, unless the network takes only one.
    size_px = ((None if stated.fixed_input_size else stated.test_input_size) or stated.input_size)[1]
    pictures = torch.zeros(1, 3, size_px, size_px)
    last, gflops = counted(lambda: network.forward_head(network.forward_features(pictures), pre_logits=True))
    return Facts(_size(network), gflops, last.shape[1], size_px, _SPDX.get(stated.license, stated.license))


def _torchvision(entry: Entry) -> Facts:
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(entry.architecture)[entry.tag]
    network = get_model(entry.architecture, weights=None).eval().requires_grad_(requires_grad=False)
    *_, classifier = (module for module in network.modules() if isinstance(module, torch.nn.Linear))
    size_px = weights.transforms().crop_size[0]
    pictures = torch.zeros(1, 3, size_px, size_px)
    _, gflops = counted(lambda: network(pictures))
    return Facts(
        _size(network) - _size(classifier),
        gflops - classifier.weight.numel() / 1e9,
        classifier.in_features,
        size_px,
        file=weights.url.rsplit("/", 1)[1],
    )


def _transformers(entry: Entry) -> Facts:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**CONFIGS[entry.repository])
    network = AutoModel.from_config(config).eval().requires_grad_(requires_grad=False)
    if entry.modality == "image":
        pictures = torch.zeros(1, 3, entry.size_px or 0, entry.size_px or 0)
        output, gflops = counted(lambda: network(pixel_values=pictures))
        return Facts(_size(network), gflops, output.last_hidden_state.shape[-1], entry.size_px)
    tokens = torch.ones(1, entry.max_tokens or 0, dtype=torch.long)
    output, gflops = counted(lambda: network(input_ids=tokens))
    return Facts(_size(network), gflops, output.last_hidden_state.shape[-1])


def _size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def main(names: list[str]) -> int:
    known = entries()
    chosen = [known[name] for name in names] or [entry for entry in known.values() if entry.spec is None]
    found = [line for entry in chosen for line in differences(entry)]
    sys.stdout.write("\n".join([*found, f"{len(chosen)} entries measured, {len(found)} differences"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
