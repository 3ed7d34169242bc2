"""The backbones that headstart knows by name, read from the TOML files in catalogue_data."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import msgspec

from headstart._checks import did_you_mean
from headstart.backbones.spec import BackboneSpec, LoaderName
from headstart.errors import BackboneError, OptionError

PERMISSIVE = frozenset({"Apache-2.0", "BSD-3-Clause", "MIT"})
"""Licences that let weights be shipped in a product, on no other condition than that they are named."""

Method = Literal[
    "supervised",  # labels of pictures
    "semi-supervised",  # labels of some pictures, and a teacher's or hashtags for many more
    "self-supervised",  # pictures alone, then left as they are
    "masked-image",  # parts of pictures restored, then labels
    "image-text",  # pictures and what was written beside them
    "mlm",  # masked words restored
    "rtd",  # replaced words found
    "clm",  # the next word
    "distilled",  # another model's output
    "sentence-contrastive",  # pairs of texts that belong together
]
_TYPO = 0.9  # similarity at which one name is meant, and not others of its kind
_PACKAGED = "starter.toml"
_OTHERS = ("image.toml", "text.toml")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A published result from which one can expect how well a backbone transfers.

    Attributes:
        measure: `imagenet_top1` (after training on its labels), `imagenet_linear` (a linear head on frozen features),
            `mteb_classification` (mean over 12 English sets, a linear head on frozen features), `glue` (mean over the
            development sets, fine-tuned), `mnli` (matched, fine-tuned) or `xnli` (mean over 15 languages, fine-tuned on
            English alone). Different measures cannot be compared.
        value: Per cent, higher is better.
        origin: Who published it.
    """

    measure: str
    value: float
    origin: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue says about a backbone; enough to choose by, before any weights are on this disk.

    Attributes:
        name: How the user writes it.
        modality: What it sees.
        loader: The library that runs it.
        architecture: The library's name for the network.
        tag: Which weights for it.
        family: The kind of network, for example `resnet`, `vit` or `bert`.
        repository: On the Hugging Face hub; empty where the weights come from elsewhere.
        file: The weights' file where they are not on the hub.
        revision: The hub's commit, or the package's version; empty for the newest.
        licence: SPDX identifier of the weights' licence as their source states it; empty when it states none.
        n_params: Parameters without the classifier.
        gflops: Billions of multiply–adds for one item at the input size (texts: at `max_tokens`).
        width: Numbers per item of the layer `last`.
        size_px: Height and width of the pictures that it sees; None for texts.
        max_tokens: Longer texts are cut to this many tokens; None for images.
        languages: Of texts: ISO 639-1 codes, or `multilingual`.
        method: How it was pretrained; the last step counts.
        pretrained_on: Data and method, in words.
        evidence: Published results.
        citation: Paper or page that describes it.
        spec: Everything, for the backbones that come inside Python packages; None for the others, whose files say it.
    """

    name: str
    modality: Literal["image", "text"]
    loader: LoaderName
    architecture: str
    family: str
    n_params: int
    gflops: float
    width: int
    method: Method
    pretrained_on: str
    citation: str
    tag: str = ""
    repository: str = ""
    file: str = ""
    revision: str = ""
    licence: str = ""
    size_px: int | None = None
    max_tokens: int | None = None
    languages: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    spec: BackboneSpec | None = None


@functools.cache
def catalogue() -> dict[str, BackboneSpec]:
    """The complete specs of the backbones that come inside Python packages by name, cheapest first in a modality."""
    return {spec.name: spec for spec in msgspec.convert(_tables(_PACKAGED), list[BackboneSpec])}


@functools.cache
def entries() -> dict[str, Entry]:
    """Everything that the catalogue knows by name: images first, and small ones first."""
    packaged = [_packaged(table, spec) for table, spec in zip(_tables(_PACKAGED), catalogue().values(), strict=True)]
    others = msgspec.convert([table for file in _OTHERS for table in _tables(file)], list[Entry])
    in_order = sorted([*packaged, *others], key=lambda entry: (entry.modality, entry.n_params))
    return {entry.name: entry for entry in in_order}


def entry(name: str) -> Entry:
    """One backbone of the catalogue.

    Raises:
        BackboneError: If the catalogue has no such name; the hint has the nearest ones.
    """
    known = entries()
    if name not in known:
        raise BackboneError(f"the catalogue has no backbone {name!r}", hint=nearest_names(name))
    return known[name]


def nearest_names(name: str) -> str:
    """A hint for a name that the catalogue has not: what looks most like it, wherever it comes from.

    Args:
        name: What was typed; the end of a name (`resnet50`, `bert-base-uncased`) is enough.
    """
    ends: dict[str, str] = {}
    for each in entries():
        ends.setdefault(each.rsplit("/", 1)[-1].lower(), each)
    end = name.rsplit("/", 1)[-1].lower()
    near = difflib.get_close_matches(end, ends, n=1, cutoff=_TYPO) or difflib.get_close_matches(end, ends, n=3)
    hint = " or ".join(repr(ends[each]) for each in near)
    return f"Did you mean {hint}?" if hint else "`headstart backbones list` has all names."


def select(
    found: Iterable[Entry],
    *,
    modality: str | None = None,
    licences: Iterable[str] = (),
    max_params: int | None = None,
) -> list[Entry]:
    """The entries that meet every condition, in the order given.

    Args:
        found: For example `entries().values()`.
        modality: `image` or `text`; None for both.
        licences: SPDX identifiers in any case, or `permissive` for those of `PERMISSIVE`; none for all.
        max_params: The most parameters; None for any number.

    Raises:
        OptionError: If the modality is unknown, or no backbone has such a licence.
    """
    if modality not in (None, "image", "text"):
        raise OptionError(
            f"the modality must be image or text, but got {modality!r}", hint=did_you_mean(modality, ("image", "text"))
        )
    wanted = licences_named(licences)
    return [
        each
        for each in found
        if modality in (None, each.modality)
        and (not wanted or each.licence in wanted)
        and (max_params is None or each.n_params <= max_params)
    ]


def starters(modality: str) -> tuple[BackboneSpec, ...]:
    """The catalogued backbones of a modality whose weights come inside Python packages, cheapest first.

    Args:
        modality: `image` or `text`.
    """
    packaged = [spec for spec in catalogue().values() if spec.modality == modality and spec.source.origin == "package"]
    return tuple(sorted(packaged, key=lambda spec: spec.gflops))


def _tables(file: str) -> list[dict[str, Any]]:
    path = resources.files("headstart.backbones") / "catalogue_data" / file
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["backbone"]
    return tables


def _packaged(table: dict[str, Any], spec: BackboneSpec) -> Entry:
    facts = {
        "width": spec.layers[-1].width,
        "revision": spec.source.revision,
        "size_px": spec.image and spec.image.size_px,
        "max_tokens": spec.text and spec.text.max_tokens,
        "spec": spec,
    }
    return msgspec.convert(table | facts, Entry)


def licences_named(wanted: Iterable[str]) -> set[str]:
    """The SPDX identifiers that a user's words stand for.

    Args:
        wanted: SPDX identifiers in any case, or `permissive` for those of `PERMISSIVE`.

    Raises:
        OptionError: If no backbone of the catalogue has such a licence.
    """
    known = {each.licence.lower(): each.licence for each in entries().values() if each.licence}
    chosen: set[str] = set()
    for name in wanted:
        if name.lower() == "permissive":
            chosen |= PERMISSIVE
        elif name.lower() in known:
            chosen.add(known[name.lower()])
        else:
            raise OptionError(
                f"a licence must be 'permissive' or one that a backbone of the catalogue has, but got {name!r}",
                hint=did_you_mean(name, ["permissive", *known.values()]),
            )
    return chosen
