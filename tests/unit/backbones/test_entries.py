"""The catalogue of what can be fetched: complete, consistent, and equal to the networks themselves."""

from __future__ import annotations

import re

import pytest
from scripts.catalogue import CONFIGS, differences

from headstart.backbones.catalogue import PERMISSIVE, Entry, entries, nearest_names, select
from headstart.backbones.resolve import hub_name
from headstart.errors import OptionError

ENTRIES = list(entries().values())
FETCHED = [entry for entry in ENTRIES if entry.spec is None]
SMALL = [
    "timm/mobilenetv3_small_100.lamb_in1k",
    "timm/resnet18.a1_in1k",
    "timm/convnext_atto.d2_in1k",
    "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "torchvision/mobilenet_v3_large.IMAGENET1K_V2",
    "hf/facebook/dinov2-small",
    "hf/google/electra-small-discriminator",
    "hf/BAAI/bge-small-en-v1.5",
    "hf/microsoft/mpnet-base",
]
# What every tutorial names, as a word in the name of an entry.
NAMED = [
    "vgg16",
    "resnet18",
    "resnet50",
    "resnet101",
    "inception_v3",
    "mobilenetv3",
    "efficientnet_b0",
    "efficientnet_lite0",
    "efficientnetv2",
    "convnext_tiny",
    "convnextv2",
    "swin_tiny",
    "vit_base",
    "deit3",
    "beit",
    "eva02",
    "clip",
    "siglip",
    "siglip_224.v2",
    "dinov2",
    "dinov3",
    "bert-base",
    "distilbert",
    "roberta-base",
    "deberta-v3",
    "electra",
    "ModernBERT",
    "xlm-roberta",
    "gpt2",
    "MiniLM",
    "mpnet",
    "e5-",
    "bge-",
    "gte-",
    "multilingual",
]
MEASURES = {"imagenet_top1", "imagenet_linear", "mteb_classification", "glue", "mnli", "xnli"}


def test_there_are_enough_and_the_named_ones() -> None:
    assert len(ENTRIES) >= 100
    assert len([entry for entry in ENTRIES if entry.modality == "text"]) >= 30
    missing = [word for word in NAMED if not any(word in entry.name for entry in ENTRIES)]
    assert missing == []
    tags = {entry.tag for entry in ENTRIES if entry.architecture == "resnet50" and entry.loader == "timm"}
    assert len(tags) >= 3


@pytest.mark.parametrize("entry", FETCHED, ids=lambda entry: entry.name)
def test_an_entry_is_complete_and_its_name_leads_to_its_weights(entry: Entry) -> None:
    assert entry.n_params > 10**6
    assert entry.gflops > 0
    assert entry.width > 0
    assert entry.pretrained_on
    assert re.search(r"(19|20)\d\d", entry.citation)
    assert (entry.size_px is None) == (entry.modality == "text") == (entry.max_tokens is not None)
    assert bool(entry.languages) == (entry.modality == "text")
    assert re.fullmatch(r"|Apache-2\.0|BSD-3-Clause|MIT|CC-BY-NC-4\.0|LicenseRef-DINOv3", entry.licence)
    if entry.loader == "torchvision":
        assert entry.name == f"torchvision/{entry.architecture}.{entry.tag}"
        assert re.fullmatch(r"[\w\-]+-[0-9a-f]{8}\.pth", entry.file)
    else:
        remote = hub_name(entry.name)
        assert remote is not None
        assert (remote.repository, remote.library) == (entry.repository, entry.loader)
    if entry.loader == "timm":
        assert entry.name == f"timm/{entry.architecture}.{entry.tag}"
    for result in entry.evidence:
        assert result.measure in MEASURES
        assert 50 < result.value < 100
        assert result.origin


def test_images_come_first_and_small_networks_first() -> None:
    keys = [(entry.modality, entry.n_params) for entry in ENTRIES]
    assert keys == sorted(keys)


def test_weights_that_are_not_open_are_not_called_permissive() -> None:
    permitted = select(ENTRIES, licences=["permissive"])
    assert {entry.licence for entry in permitted} == PERMISSIVE
    assert not [entry.name for entry in permitted if "dinov3" in entry.name or "swsl" in entry.name]
    assert {entry.licence for entry in ENTRIES if "dinov3" in entry.name} == {"LicenseRef-DINOv3"}


def test_conditions_narrow_and_wrong_ones_are_refused() -> None:
    texts = select(ENTRIES, modality="text", max_params=30_000_000)
    assert [entry.name for entry in texts] == ["hf/google/electra-small-discriminator", "all_minilm_l6_v2"]
    with pytest.raises(OptionError, match="the modality must be image or text, but got 'audio'"):
        select(ENTRIES, modality="audio")


def test_the_nearest_names_are_those_of_the_same_kind() -> None:
    assert nearest_names("hf/bert-base-uncased") == "Did you mean 'hf/google-bert/bert-base-uncased'?"
    assert nearest_names("dinov2").count("dinov2") == 2
    assert nearest_names("qqqqqqqq") == "`headstart backbones list` has all names."


@pytest.mark.parametrize("name", SMALL)
def test_the_network_itself_says_what_the_catalogue_says(name: str) -> None:
    assert list(differences(entries()[name])) == []


def test_a_wrong_fact_is_noticed() -> None:
    from dataclasses import replace

    entry = entries()["timm/resnet18.a1_in1k"]
    wrong = replace(entry, n_params=1, gflops=2 * entry.gflops, size_px=224, licence="MIT")
    found = list(differences(wrong))
    assert [line.split(": ")[1].split()[0] for line in found] == ["n_params", "size_px", "gflops", "licence"]


def test_every_configuration_belongs_to_an_entry() -> None:
    assert set(CONFIGS) == {entry.repository for entry in FETCHED if entry.loader == "transformers"}


@pytest.mark.slow
@pytest.mark.parametrize("entry", FETCHED, ids=lambda entry: entry.name)
def test_every_network_says_what_the_catalogue_says(entry: Entry) -> None:
    assert list(differences(entry)) == []
