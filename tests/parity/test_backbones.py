"""Features equal those of timm and transformers, used as their own documentation says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbones.catalogue import catalogue, starters
from headstart.backbones.locate import package_folder
from headstart.backbones.resolve import load, resolve, source_head
from headstart.testing.backbones import example

TEXTS = ["The old bird sleeps.", "", "Überraschung! 😀 " * 3, "red trees and small birds sing " * 80, "a"]


def need(name: str) -> None:
    if importlib.util.find_spec(catalogue()[name].source.location) is None:
        pytest.skip("needs headstart[starter]")


@pytest.mark.parametrize("name", [spec.name for spec in starters("image")])
def test_starters_equal_timm_with_its_norms_unfolded(name: str, home: Path) -> None:
    """The reference takes the tensors of the package's file in their order, and normalises in float32."""
    import timm

    need(name)
    spec = catalogue()[name]
    assert spec.image is not None
    network = timm.create_model(spec.architecture, pretrained=False).eval()
    given = torch.load(package_folder(spec.source) / spec.source.file, weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), given.values(), strict=True)))
    local = resolve(name, home)
    batch = np.asarray(example(local, 3))
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.image.mean, spec.image.std))
    with torch.inference_mode():
        maps, stages = network.forward_intermediates((pixels - mean) / std, indices=[3, 4])
        parts = [torch.nn.functional.adaptive_avg_pool2d(stages[0], 4).flatten(1)]
        parts += [torch.nn.functional.adaptive_avg_pool2d(stages[1], 2).flatten(1)]
        logits = network((pixels - mean) / std).numpy()
        maps = network.forward_features((pixels - mean) / std)
        reference = torch.cat([*parts, network.forward_head(maps, pre_logits=True)], dim=1).numpy()
    features = load(local).forward(batch)
    difference = np.linalg.norm(features - reference, axis=1) / np.linalg.norm(reference, axis=1)
    assert difference.max() < 1e-4
    head = source_head(local)
    assert head is not None
    assert head.weight.shape == (1000, spec.layers[-1].width)
    answers = head.logits(features[:, -spec.layers[-1].width :])
    assert np.linalg.norm(answers - logits) < 1e-4 * np.linalg.norm(logits)


def test_minilm_equals_transformers_with_mean_pooling(home: Path) -> None:
    """The recipe on the model card of sentence-transformers/all-MiniLM-L6-v2, before its normalisation."""
    from transformers import AutoModel, AutoTokenizer

    need("all_minilm_l6_v2")
    local = resolve("all_minilm_l6_v2", home)
    folder = (package_folder(local.spec.source) / local.spec.source.file).parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    assert tokens["input_ids"].shape[1] == 256
    with torch.inference_mode():
        output = network(**tokens, output_hidden_states=True)
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    pooled = [(states * mask).sum(1) / mask.sum(1) for states in (torch.stack(output.hidden_states).mean(0), output[0])]
    ours = load(local).forward(TEXTS)
    np.testing.assert_allclose(ours, torch.cat(pooled, dim=1).numpy(), atol=1e-5)
