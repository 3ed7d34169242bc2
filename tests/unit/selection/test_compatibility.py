"""Whether a backbone suits the items, before anything is computed."""

from __future__ import annotations

import pytest

from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source, TextInput
from headstart.data.profile import Profile
from headstart.selection.compatibility import doubts, obstacle

IMAGES = BackboneSpec(
    "net",
    "image",
    "timm",
    "net",
    Source("hub", "net"),
    (Layer("last", 8),),
    n_params=100_000_000,
    image=ImageInput(224, 0.9, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)
TEXTS = BackboneSpec(
    "bert", "text", "transformers", "bert", Source("hub", "bert"), (Layer("last", 8),), 9, text=TextInput(128)
)


def test_too_little_memory_is_an_obstacle() -> None:
    assert obstacle(IMAGES, memory_bytes=16 * 10**9) == ""
    assert obstacle(IMAGES, memory_bytes=None) == ""
    reason = obstacle(IMAGES, memory_bytes=10**9)
    assert reason == "it needs about 2 GB of memory for its 100 M parameters, and this machine has 1 GB"


@pytest.mark.parametrize(("side_px", "doubted"), [(500.0, False), (60.0, False), (32.0, True)])
def test_small_pictures_are_a_doubt(side_px: float, doubted: bool) -> None:
    found = doubts(IMAGES, Profile(10, side_px=side_px), languages=())
    assert bool(found) == doubted
    assert not doubted or "enlarged 7 times" in found[0]


def test_long_texts_are_a_doubt_when_they_are_many() -> None:
    few = Profile(10, n_words=(300,) + 9 * (20,), script="LATIN")
    many = Profile(10, n_words=4 * (300,) + 6 * (20,), script="LATIN")
    assert doubts(TEXTS, few, languages=("en",)) == ()
    (found,) = doubts(TEXTS, many, languages=("en",))
    assert "the first 128 tokens of a text, and about 40 % of the texts are longer" in found


@pytest.mark.parametrize(
    ("script", "languages", "doubted"),
    [
        ("CYRILLIC", ("en",), True),
        ("CYRILLIC", ("en", "ru"), False),
        ("CYRILLIC", ("multilingual",), False),
        ("CYRILLIC", (), False),
        ("LATIN", ("en",), False),
        ("", ("en",), False),
        ("RUNIC", ("en",), False),
    ],
)
def test_a_script_that_no_language_of_the_backbone_is_written_in_is_a_doubt(
    script: str, languages: tuple[str, ...], doubted: bool
) -> None:
    assert bool(doubts(TEXTS, Profile(1, n_words=(3,), script=script), languages=languages)) == doubted
