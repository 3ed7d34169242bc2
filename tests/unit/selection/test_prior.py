"""What is expected of a backbone, and how it joins with scores on the data."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.backbones.catalogue import Entry, Evidence, catalogue, entries
from headstart.errors import OptionError
from headstart.selection.prior import Line, combine, knowledge, prior

PLAIN = Entry(
    name="made",
    modality="image",
    loader="timm",
    architecture="made",
    family="made",
    n_params=20_000_000,
    gflops=1.0,
    width=8,
    method="supervised",
    pretrained_on="",
    citation="",
)


def test_fine_tunes_of_the_same_weights_speak_first() -> None:
    known = knowledge()["image"].fine_tunes["facebook/convnext-tiny-224"]
    top1 = (Evidence("imagenet_top1", 50.0, "made"),)
    found = prior(replace(PLAIN, repository="facebook/convnext-tiny-224", evidence=top1))
    assert (found.value, found.origin) == (known[0], f"median of its fine-tunes on {known[1]} public tasks")


def test_a_published_result_is_read_from_its_line_and_the_origin_says_how_well_it_fits() -> None:
    line = knowledge()["image"].measures["imagenet_top1"]
    found = prior(replace(PLAIN, evidence=(Evidence("imagenet_top1", 80.0, "made"),)))
    assert found.value == pytest.approx(line.intercept + 80 * line.slope)
    assert re.search(
        r"ImageNet \(regression on \d+ fine-tuned networks, R² = 0\.\d\d, on families not seen", found.origin
    )


def test_an_unknown_measure_is_passed_over_for_the_size() -> None:
    found = prior(replace(PLAIN, evidence=(Evidence("made_up", 99.0, "made"),)))
    assert found == prior(PLAIN)
    assert found.origin.startswith("from its size alone")
    assert found.value < prior(replace(PLAIN, n_params=200_000_000)).value


def test_sizes_beyond_those_seen_are_not_extrapolated() -> None:
    assert prior(replace(PLAIN, n_params=0)) == prior(replace(PLAIN, n_params=10))
    assert prior(replace(PLAIN, n_params=10**10)) == prior(replace(PLAIN, n_params=10**12))
    assert Line(1.0, 2.0, "", low=0.0, high=1.0).at(5.0) == 3.0
    assert Line(1.0, 2.0, "").at(-5.0) == -9.0


def test_a_backbone_outside_the_catalogue_is_judged_by_its_size() -> None:
    spec = next(iter(catalogue().values()))
    assert prior(spec).origin.startswith("from its size alone")


def test_every_catalogued_backbone_has_a_finite_prior_with_words() -> None:
    found = {name: prior(entry) for name, entry in entries().items()}
    assert len(found) >= 60
    assert all(-7 < each.value < 5 and each.origin for each in found.values())
    assert {entry.modality for entry in entries().values()} == {"image", "text"}


def test_well_known_orders_hold() -> None:
    def value(name: str) -> float:
        return prior(entries()[name]).value

    assert value("timm/vgg16.tv_in1k") < value("timm/resnet50.tv_in1k") < value("timm/resnet50.a1_in1k")
    assert value("efficientnet_lite0") < value("efficientnet_lite1") < value("efficientnet_lite2")
    assert value("hf/distilbert/distilbert-base-uncased") < value("hf/google-bert/bert-base-uncased")
    assert value("hf/google-bert/bert-base-uncased") < value("hf/FacebookAI/roberta-base")
    clip = [name for name in entries() if "clip" in name]
    assert len(clip) >= 5
    assert all(value(name) > value("timm/resnet50.tv_in1k") for name in clip)
    assert value("timm/vit_small_patch16_dinov3.lvd1689m") > value("timm/vit_small_patch14_dinov2.lvd142m")
    assert value("timm/vit_base_patch16_224.mae") < value("timm/vit_base_patch16_224.dino")  # frozen, as first used
    assert value("hf/sentence-transformers/LaBSE") > value("hf/google-bert/bert-base-multilingual-cased")


def test_half_the_weight_is_on_the_prior_and_half_on_the_mean_rank_of_the_scores() -> None:
    priors = {"a": 3.0, "b": 2.0, "c": 1.0}
    loo, knn = {"a": 0.5, "b": 0.6, "c": 0.9}, {"a": 0.5, "b": 0.9, "c": 0.6}
    assert combine(priors, loo, knn) == {"b": (0.5 + 0.75) / 2, "a": 0.5, "c": (0.0 + 0.75) / 2}
    assert combine(priors) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert combine({"only": 0.0}, {"only": 0.3}) == {"only": 0.0}


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=8))
def test_only_the_order_of_the_inputs_counts(values: list[tuple[int, int]]) -> None:
    priors = {str(i): float(a) for i, (a, _) in enumerate(values)}
    scores = {str(i): float(b) for i, (_, b) in enumerate(values)}
    stretched = {name: value**3 + 5 * value for name, value in scores.items()}
    assert combine(priors, scores) == combine({name: 7 * value - 1 for name, value in priors.items()}, stretched)


def test_scores_of_other_candidates_are_refused() -> None:
    with pytest.raises(OptionError, match=r"must be about the candidates a, b, but got a, c"):
        combine({"a": 1.0, "b": 2.0}, {"a": 0.1, "c": 0.2})
