"""Features equal those of transformers and sentence-transformers, used as their own documentation says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.backbones.tiny_transformers import DECODERS, TEXTS, TOWERS, TOWERS_OF_MAPS, WORDS, save_text, save_tower

from headstart.backbones.loaders import transformers_images
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import load, resolve
from headstart.testing.backbones import example

SENTENCES = [" ".join(WORDS[:length]) for length in (3, 14, 1, 8)] + ["no word is known here"]


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_equal_the_networks_own_forward_one_by_one(kind: str, tmp_path: Path) -> None:
    """The reference sees each text alone, so nothing is padded."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    folder = save_text(tmp_path / "a", kind)
    network = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    expected = []
    for text in SENTENCES:
        with torch.inference_mode():
            output = network(torch.tensor([tokenizer.encode(text).ids]), output_hidden_states=True)
        every = [torch.stack(output.hidden_states).mean(dim=0)[0], output.last_hidden_state[0]]
        pooled = [states[-1] if kind in DECODERS else states.mean(dim=0) for states in every]
        expected.append(torch.cat(pooled).numpy())
    local = resolve(str(folder), tmp_path)
    assert local.spec.text is not None
    assert local.spec.text.pooling == ("last" if kind in DECODERS else "mean")
    np.testing.assert_allclose(load(local).forward(SENTENCES), np.stack(expected), atol=1e-5)


def _tower(folder: Path, kind: str) -> torch.nn.Module:
    import transformers as t

    classes = {"clip": t.CLIPVisionModel, "siglip": t.SiglipVisionModel, "vit": t.ViTForImageClassification}
    return classes.get(kind, t.AutoModel).from_pretrained(folder).eval()


def _on_cells(states: torch.Tensor, cells: int = 4) -> torch.Tensor:
    """Four by four patches stay as they are in a grid of 4; class token and registers come first."""
    patches = states[:, -(cells**2) :]
    return patches.transpose(1, 2).flatten(1)


@pytest.mark.parametrize("kind", TOWERS_OF_MAPS)
def test_maps_and_what_the_classifier_sees_equal_the_networks_own(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    folder = save_tower(tmp_path / "a", kind)
    local = resolve(str(folder), tmp_path)
    assert local.spec.image is not None
    names = ("stage2", "stage3")
    assert [(layer.name, layer.grid) for layer in local.spec.layers] == [*((name, 4) for name in names), ("last", 1)]
    batch = np.asarray(example(local, 3))
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (local.spec.image.mean, local.spec.image.std))
    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = network(pixel_values=(pixels - mean) / std, output_hidden_states=True)
        features = torch.tensor(load(local).forward(batch))
        last = features[:, -local.spec.layers[-1].width :]
        shaped = last[:, :, None, None] if kind == "resnet" else last
        np.testing.assert_allclose(network.classifier(shaped).numpy(), output.logits.numpy(), atol=1e-4)
    maps = output.get("reshaped_hidden_states") or output.hidden_states
    cells = [torch.nn.functional.adaptive_avg_pool2d(maps[stage], 4).flatten(1) for stage in (2, 3)]
    np.testing.assert_allclose(features[:, : -last.shape[1]].numpy(), torch.cat(cells, dim=1).numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in TOWERS if kind not in TOWERS_OF_MAPS])
def test_pictures_equal_the_networks_own_forward(kind: str, tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", kind)
    local = resolve(str(folder), tmp_path)
    assert local.spec.image is not None
    assert [(layer.name, layer.grid) for layer in local.spec.layers] == [("block1", 4), ("patches", 4), ("last", 1)]
    batch = np.asarray(example(local, 3))
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (local.spec.image.mean, local.spec.image.std))
    network = _tower(folder, kind)
    with torch.inference_mode():
        output = network(pixel_values=(pixels - mean) / std, output_hidden_states=True)
    if kind == "vit":  # saved with its classifier, which sees the normalised class token
        with torch.inference_mode():
            tokens = network.vit.layernorm(output.hidden_states[-1])
            last = tokens[:, 0]
            np.testing.assert_allclose(network.classifier(last).numpy(), output.logits.numpy(), atol=1e-5)
    else:
        tokens, last = output.last_hidden_state, output.get("pooler_output")
    if kind == "deit":  # saved without the pooler that DeiTModel would make up
        last = tokens[:, 0]
    reference = torch.cat([_on_cells(output.hidden_states[1]), _on_cells(tokens), last], dim=1).numpy()
    np.testing.assert_allclose(load(local).forward(batch), reference, atol=1e-5)


def _pictures(folder: Path) -> list[Image.Image]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [Image.open(file).convert("RGB") for file in files[:: max(1, len(files) // 12)][:12]]


@pytest.mark.parametrize("kind", TOWERS)
def test_real_pictures_are_prepared_as_the_library_does(
    kind: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    """Exactly as its Pillow processors. DINOv3 has none: that one resizes floats, which rounds to one level of 255."""
    from transformers import AutoImageProcessor

    folder = save_tower(tmp_path / "a", kind)
    processor = AutoImageProcessor.from_pretrained(folder, **({} if kind == "dinov3_vit" else {"backend": "pil"}))
    wanted = resolve(str(folder), tmp_path).spec.image
    assert wanted is not None
    scale = np.asarray(wanted.std).reshape(1, 3, 1, 1) * 255
    pictures = _pictures(shared_data("images/pacs_photo/train")) + _pictures(shared_data("images/signs/train"))
    assert len(pictures) == 24
    cut = [picture.crop((0, 0, picture.width - odd, picture.height)) for odd, picture in enumerate(pictures)]
    for picture in cut:
        ours, theirs = transformers_images.both_ways(np.asarray(picture), wanted, processor)
        assert np.abs((ours - theirs) * scale).max() <= (1.01 if kind == "dinov3_vit" else 1e-3)


@pytest.mark.parametrize("width", range(40, 48))
def test_odd_margins_are_halved_as_the_library_does(width: int, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor

    folder = save_tower(tmp_path / "a", "clip")
    wanted = resolve(str(folder), tmp_path).spec.image
    assert wanted is not None
    picture = np.random.default_rng(width).integers(0, 256, (32, width, 3), dtype=np.uint8)
    for backend in ("pil", "torchvision"):
        processor = AutoImageProcessor.from_pretrained(folder, backend=backend)
        ours, theirs = transformers_images.both_ways(picture, wanted, processor)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert prepare_image(Image.fromarray(picture), wanted).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("kind", "pooling", "normalised"),
    [*itertools.product(["bert"], ["cls", "mean", "lasttoken"], [True, False]), ("gpt2", "mean", True)],
)
@pytest.mark.parametrize("fields", ["old", "new"])
def test_a_folder_of_sentence_transformers_gives_its_embeddings(
    kind: str, pooling: str, normalised: bool, fields: str, tmp_path: Path
) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    plain = save_text(tmp_path / "plain", kind)
    (plain / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "padding_side": "right"})
    )
    first = Transformer(str(plain))
    parts = [first, Pooling(16, pooling_mode=pooling), *([Normalize()] if normalised else [])]
    model = SentenceTransformer(modules=parts, device="cpu")
    folder = tmp_path / "saved"
    model.save_pretrained(str(folder))
    if fields == "old":
        flag = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}[pooling]
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{flag}": True}))
    local = resolve(str(folder), tmp_path)
    ends = load(local).forward(SENTENCES)[:, -16:]
    np.testing.assert_allclose(ends, model.encode(SENTENCES), atol=1e-5)
    assert np.allclose(np.linalg.norm(ends, axis=1), 1.0) == normalised
