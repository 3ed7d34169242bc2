"""Whether a backbone suits the items at all: looked at before anything is computed."""

from __future__ import annotations

from collections.abc import Collection

from headstart.backbones.spec import BackboneSpec
from headstart.data.profile import Profile

_BYTES_A_PARAMETER = 4
_ROOM = 4.0
"""Times the weights: they, their activations, and what else the process keeps."""
TOKENS_A_WORD = 1.35
"""Of English running text with a vocabulary of 30,000 pieces; other languages and domains need more."""
_MANY = 0.2
_ENLARGED = 4.0
_SCRIPTS = {
    "LATIN": frozenset({"en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "id"}),
    "CYRILLIC": frozenset({"ru", "uk", "bg", "sr"}),
    "CJK": frozenset({"zh", "ja"}),
    "HIRAGANA": frozenset({"ja"}),
    "KATAKANA": frozenset({"ja"}),
    "HANGUL": frozenset({"ko"}),
    "ARABIC": frozenset({"ar", "fa", "ur"}),
    "DEVANAGARI": frozenset({"hi", "mr", "ne"}),
    "GREEK": frozenset({"el"}),
    "HEBREW": frozenset({"he"}),
    "THAI": frozenset({"th"}),
}


def obstacle(backbone: BackboneSpec, *, memory_bytes: int | None) -> str:
    """Why a backbone cannot be computed here; empty when it can.

    Args:
        backbone: Its spec.
        memory_bytes: Of this machine; None when it is not known.
    """
    needed = _ROOM * _BYTES_A_PARAMETER * backbone.n_params
    if memory_bytes is not None and needed > memory_bytes:
        return (
            f"it needs about {needed / 1e9:.0f} GB of memory for its {backbone.n_params / 1e6:,.0f} M parameters, "
            f"and this machine has {memory_bytes / 1e9:.0f} GB"
        )
    return ""


def doubts(backbone: BackboneSpec, profile: Profile, *, languages: Collection[str]) -> tuple[str, ...]:
    """What speaks against a backbone that can be computed, one sentence each.

    Args:
        backbone: Its spec.
        profile: Of the items.
        languages: That the backbone knows: ISO 639-1 codes, or `multilingual`; empty when it is not known.
    """
    found = []
    if backbone.image is not None and profile.side_px is not None:
        times = backbone.image.size_px / profile.side_px
        if times >= _ENLARGED:
            found.append(
                f"{backbone.name} sees pictures of {backbone.image.size_px} pixels a side, and these are about "
                f"{profile.side_px:.0f} pixels: they are enlarged {times:.0f} times, and much of it sees blur."
            )
    if backbone.text is not None:
        share = profile.share_longer(backbone.text.max_tokens / TOKENS_A_WORD)
        if share >= _MANY:
            found.append(
                f"{backbone.name} reads the first {backbone.text.max_tokens} tokens of a text, and about "
                f"{100 * share:.0f} % of the texts are longer: what stands behind is not seen."
            )
        suited = _SCRIPTS.get(profile.script)
        if suited and languages and "multilingual" not in languages and not suited & set(languages):
            found.append(
                f"{backbone.name} knows texts in {', '.join(sorted(languages))}, and most letters of these are "
                f"{profile.script.capitalize()}: a multilingual backbone will do better."
            )
    return tuple(found)
