"""Which files of a repository of the hub, or of a folder saved like one, make up a backbone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from headstart._fingerprint import fingerprint, sha256_file
from headstart.errors import BackboneError

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
PROMPTS = "config_sentence_transformers.json"
# What a tokenizer.json is made of where there is none.
VOCABULARIES = (
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "tokenizer.model",
)
_BESIDE_VOCABULARIES = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_ALWAYS = (
    CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    PROMPTS,
    "1_Pooling/config.json",
)
_INDEX = ".index.json"
# The best first: a file of the one kind cannot run code, and torch is told that one of the other must not.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def weights_file(names: Iterable[str]) -> str:
    """The file of weights that is taken, or the index of several; empty where there is none.

    Args:
        names: Of all files there.
    """
    there = set(names)
    return next((name for name in _WEIGHTS if name in there), "")


def needed(names: Iterable[str]) -> list[str]:
    """The files that a backbone is made of: not the same weights twice, and no vocabulary beside a tokenizer.json.

    Args:
        names: Of all files there.
    """
    there = set(names)
    weights = weights_file(there)
    wanted = {*_ALWAYS, weights}
    wanted |= {TOKENIZER} if TOKENIZER in there else {*VOCABULARIES, *_BESIDE_VOCABULARIES}
    if weights.endswith(_INDEX):
        stem, _, kind = weights.removesuffix(_INDEX).rpartition(".")
        part = re.compile(rf"{stem}[\w.-]*-\d+-of-\d+\.{kind}")
        wanted |= {name for name in there if part.fullmatch(name)}
    return sorted(wanted & there)


def files_in(folder: Path) -> list[str]:
    """The files of a folder that a backbone is made of.

    Args:
        folder: For example one that `save_pretrained` wrote.
    """
    below = [name for name in _ALWAYS if "/" in name and (folder / name).is_file()]
    return needed([*(file.name for file in folder.iterdir() if file.is_file()), *below])


def index_of_parts(file: Path, name: str) -> dict[str, str]:
    """In which part each tensor lies; empty where the file is no index but the weights themselves.

    Args:
        file: As `weights_file` says.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If the index cannot be read or leads out of its folder, or a part is missing.
    """
    if not file.name.endswith(_INDEX):
        return {}
    try:
        parts = dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
        if any(Path(part).name != part for part in parts.values()):
            raise ValueError("it names files outside of its folder")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"the index {file.name!r} of the weights of {name!r} cannot be read: {error}",
            hint="Fetch or save them again.",
        ) from error
    missing = sorted({part for part in parts.values() if not (file.parent / part).is_file()})
    if missing:
        raise BackboneError(
            f"the weights of {name!r} are not complete: of the parts that {file.name!r} names, {missing[0]!r}"
            f"{f' and {len(missing) - 1} more are' if missing[1:] else ' is'} missing",
            hint="Fetch or copy them again.",
        )
    return parts


def weights_sha256(file: Path, name: str) -> str:
    """The identity of weights: the sha256 of the file, or where it is an index, of that and its parts' together.

    Args:
        file: As `weights_file` says.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: As `index_of_parts`.
    """
    parts = sorted(set(index_of_parts(file, name).values()))
    whole = sha256_file(file)
    return fingerprint([whole, *(sha256_file(file.parent / part) for part in parts)]) if parts else whole
