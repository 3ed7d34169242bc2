"""Texts: each blemish is found, plain texts have none, and personal data are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from headstart.auditing import Finding
from headstart.auditing.texts import excerpt, masked, text_findings

PLAIN = [
    "The cat sat on the mat and looked at the dog that was in the garden, as it had done before.",
    "It’s a naïve café – the “best” one in town, isn’t it? 3 < 4 & 5 > 2, that was the score on 2024-01-31.",
    "Phone sales rose by 1,234,567 units to 98.6 % in 2023 (ISBN 978-3-16-148410-0), the company said on Monday.",
    "In São Paulo and Århus they play until 110-105 or 98-97; the server is 192.168.100.123, version 1.2.3-4.",
]


def _kinds(texts: Sequence[str], **options: int | bool) -> dict[str, Finding]:
    names = [f"row {n}" for n in range(len(texts))]
    return {finding.kind: finding for finding in text_findings(texts, names, **options)}  # type: ignore[arg-type]


def test_plain_texts_have_no_findings() -> None:
    assert _kinds(PLAIN, max_tokens=128) == {}
    assert _kinds([]) == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CafÃ© is what was meant to be in this text, and so is itâ€™s.", "wrong_encoding"),
        ("The rest of it is lost: \ufffd\ufffd and that is what we have.", "wrong_encoding"),
        ("A bell \x07 rings in the text that we have here for you.", "control_characters"),
        ("Group #39;s armed wing was there, and it was not alone at all.", "html_remains"),
        ("Bread &amp; butter is what they have for breakfast in the house.", "html_remains"),
        ("<p class='x'>This is what they had on the page</p> and not more.", "html_remains"),
        ("<SCRIPT>alert(1)</SCRIPT> is what the user has put in the text.", "html_remains"),
        ("It was bought for \\$36 billion and that was the end of it then.", "escaped_characters"),
        ("Das ist ein Haus und der Hund läuft nicht mit mir auf dem Feld.", "other_languages"),
        ("El perro de la casa es muy grande y no he visto los gatos.", "other_languages"),
        ("сегодня хорошая погода и мы идём гулять в парк", "other_languages"),
        ("今天天气很好我们去公园散步吧", "other_languages"),
        ("wow", "short_texts"),
        ("Write to jane.doe@example.org for more of it, if that is what you want.", "personal_data"),
    ],
)
def test_each_blemish_is_found_alone(text: str, kind: str) -> None:
    found = _kinds([*PLAIN, text])
    assert list(found) == [kind]
    assert (found[kind].count, found[kind].items) == (1, ("row 4",))
    assert found[kind].examples[0].items == ("row 4",)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("mail a.b@c.de now", "a.b@c"),
        ("call +49 (0) 30 123456-7 now", "123456"),
        ("call (555) 123-4567 now", "4567"),
        ("pay with 4111 1111 1111 1111", "1111"),
        ("pay with 371449635398431", "37144"),
        ("to DE89 3704 0044 0532 0130 00", "3704"),
    ],
)
def test_personal_data_are_told_and_never_shown(text: str, hidden: str) -> None:
    finding = _kinds([text])["personal_data"]
    assert finding.severity == "warning"
    assert "•" in finding.examples[0].previews[0]
    assert hidden not in repr(finding)
    assert len(masked(text)) == len(text)


@pytest.mark.parametrize("text", ["4111 1111 1111 1112", "DE88 3704 0044 0532 0130 00", "1234567890123456", "x@y"])
def test_numbers_with_a_wrong_check_digit_are_no_personal_data(text: str) -> None:
    assert masked(text) == text


def test_personal_data_at_the_edge_of_an_excerpt_are_masked() -> None:
    for n_before in range(120):
        text = "x" * n_before + " jane.doe@example.org " + "y" * 200
        assert "jane" not in excerpt(text, 60)
        assert "example" not in excerpt(text, 60)


def test_long_texts_are_counted_with_what_is_lost() -> None:
    finding = _kinds([*PLAIN, "word " * 200], max_tokens=130)["long_texts"]
    assert finding.severity == "warning"
    assert finding.summary == "1 text (20.0%) is longer than the 130 tokens that a model reads."
    assert "about 50% of it" in finding.effect


def test_texts_that_are_mostly_foreign_are_serious_and_no_matter_to_other_models() -> None:
    texts = ["Der Hund ist nicht in dem Haus, und die Katze schläft auf dem Sofa mit mir."] * 3 + PLAIN[:1]
    finding = _kinds(texts)["wrong_language"]
    assert (finding.severity, finding.count) == ("serious", 3)
    assert "3 texts of 4 are written in German." in finding.summary
    assert _kinds(texts, is_english=False) == {}


def test_short_texts_are_no_matter_where_most_are_short() -> None:
    assert _kinds(["play music", "stop", "turn it up", "next song", "volume"]) == {}


def test_an_iterator_is_read_once_and_only_excerpts_are_kept() -> None:
    def many() -> Iterator[str]:
        for number in range(3_000):
            yield f"Group #39;s text number {number} with a line\nbreak " + "and more of the same " * 50

    (finding,) = text_findings(many(), (f"row {n}" for n in range(3_000)))
    assert (finding.count, len(finding.items), len(finding.examples)) == (3_000, 20, 8)
    assert finding.severity == "warning"
    assert all("\n" not in preview and len(preview) < 150 for each in finding.examples for preview in each.previews)
