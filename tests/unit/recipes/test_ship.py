"""The model card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reports import sample

from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.recipes.sentences import interval
from headstart.recipes.ship import model_card

SPEC = BackboneSpec(
    name="tiny",
    modality="image",
    loader="timm",
    architecture="resnet10",
    source=Source("package", "tiny", "w.safetensors", "f" * 64),
    layers=(Layer("last", 4),),
    n_params=5,
    tag="in1k",
    licence="Apache-2.0",
    pretrained_on="ImageNet-1k",
)


def test_the_card_says_how_good_on_what_and_from_what() -> None:
    run = sample.photos()
    card = model_card(run, {"tiny": Local(SPEC, Path(), {})})
    assert card.startswith(f"# {run.name}\n\n{run.verdict}\n")
    assert f"n = {run.evaluation.n}" in card
    assert all(f"`{name}`" in card for name in run.data.classes)
    assert "`tiny` (resnet10, in1k): pretrained on ImageNet-1k; licence Apache-2.0; sha256 of the weights `ffff" in card
    assert run.control.sentence in card
    assert "## Limits" in card


def test_the_card_says_what_sets_and_gate_did() -> None:
    run = sample.photos()
    assert run.uncertainty is not None
    card = model_card(run, {})
    assert "\n\n## When not to trust it\n\n| measure | sealed test |\n" in card
    assert f"| true class in sets of 90 % coverage | {interval(run.uncertainty.sets[1].covered)} |\n" in card
    assert run.uncertainty.gate is not None
    assert f"| not flagged as unusual | {interval(run.uncertainty.gate.passed)} |\n\n## What it was made from" in card
    assert "When not to trust it" not in model_card(replace(run, uncertainty=None), {})


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    bare = replace(SPEC, tag="", licence="", pretrained_on="")
    card = model_card(sample.photos(), {"tiny": Local(bare, Path(), {})})
    assert "(resnet10, no tag): pretrained on data that its source does not name; licence unknown" in card


def test_class_names_cannot_break_out_of_the_card() -> None:
    run = sample.photos()
    hostile = ("a`b\n# heading", *run.data.classes[1:])
    card = model_card(replace(run, data=replace(run.data, classes=hostile)), {})
    assert "`aʼb # heading`" in card
    assert "\n# heading" not in card


def test_the_card_of_an_average_names_each_head_and_its_weight() -> None:
    run = sample.averaged()
    card = model_card(run, {"tiny": Local(SPEC, Path(), {})})
    assert "The weighted average of the probabilities of 3 heads:" in card
    for each in run.chosen.members:
        line = f"- {100 * each.weight:.1f} %: strategy `linear` on `{each.backbone}`, layers `last`"
        assert line in card.splitlines()
