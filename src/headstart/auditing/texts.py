"""What is remarkable about texts: remains of other formats, wrong encodings, lengths, languages and personal data.

Each text is looked at once and forgotten: a million of them need no more memory than ten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from headstart.auditing.finding import MAX_EXAMPLES, MAX_NAMES, Example, Finding, Severity, finding

TOKENS_A_WORD = 1.3
"""Tokens that models of English make of a word, on average."""

_FEW = 0.1
_MANY = 0.01
_USUAL_WORDS = 8
_SHORT_WORDS = 2
_EXCERPT = 40
_SCANNED = 20_000  # characters of a text in which patterns are searched

# One fast look for a character that any of the patterns needs.
_SUSPECT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f�ÂÃâ<;@\\]|\d{3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Bytes 0x80 to 0xBF, of which UTF-8 makes its second and third, as Windows-1252 and Latin-1 read them.
_SECOND = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MOJIBAKE = re.compile(f"�|[ÂÃ][{_SECOND}]|â[{_SECOND}]{{2}}")
_TAGS = "a|abbr|b|big|blockquote|body|br|center|code|div|em|font|form|h[1-6]|head|hr|html|i|iframe|img|input|li|link"
_TAGS += "|meta|ol|p|pre|script|small|span|strong|style|sub|sup|table|tbody|td|th|title|tr|u|ul"
_HTML = re.compile(
    rf"</?(?i:{_TAGS})(?:\s[^<>]{{0,500}})?/?>|&?#(?:\d{{2,5}}|[xX][0-9a-fA-F]{{2,5}});"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|copy|reg|euro|pound|[lr]squo|[lr]dquo|[mn]dash|hellip|[a-zA-Z](?:acute|grave|uml));"
)
_ESCAPED = re.compile(r"""\\(?=[\s$"'&#%,.]|$)|\\n|\\t""")
_EMAIL = re.compile(r"(?P<email>[A-Za-z0-9][\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4})")
_DIGITS = re.compile(r"\d[\d ()./-]{5,}\d|[A-Z]{2}\d\d")
_NUMBERS = re.compile(
    r"(?P<iban>\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b)"
    r"|(?P<card>(?<![\d.,-])(?:[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5})(?![.,-]?\d))"
    r"|(?P<phone>(?<![\w.])\+\d{1,3}[ .(/-]{1,2}\d[\d ()./-]{5,14}\d(?!\w)"
    r"|(?<![\w.+-])(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?![\w-]))"
)
_PERSONAL_NOUNS = {"email": "e-mail addresses", "phone": "phone numbers", "card": "card numbers", "iban": "IBANs"}

# Frequent words of each language; of English those that are no words of the others.
_FREQUENT = {
    "English": (
        "the and of to is it that for with as are this be have from at by not but you we they his her their had if "
        "what which who would can there been were all its it's n't more when out up about than into them how does did "
        "your my our him she"
    ),
    "German": "und der das ist nicht ein eine einen mit auf für von dem den sich auch ich wir sie wird sind zu im",
    "French": "le les des est une dans qui que pour pas sur avec du ce cette nous vous sont aux mais il elle je et",
    "Spanish": "el los las una es por con para del se su más como pero este muy y lo al está que",
    "Italian": "il gli di che è per non una con sono della del nel più anche questo ma alla dei ha",
    "Portuguese": "o os uma não com para do da em que é por mais dos das como ao foi são muito",
    "Dutch": "het een van en niet dat zijn op te voor met aan er maar ook wordt deze bij naar ik",
    "Swedish": "och att det som en på är av för med den till inte om ett har jag de han vi",
    "Polish": "i w nie na się z że do to jest jak ale o po co dla od tym tak są",
}
_ENGLISH = frozenset(_FREQUENT.pop("English").split())
_STOP_WORDS = {name: frozenset(words.split()) - _ENGLISH for name, words in _FREQUENT.items()}
_ANY_OTHER = frozenset[str]().union(*_STOP_WORDS.values())
_LANGUAGE_WORDS = 6
_LANGUAGE_HITS, _LANGUAGE_SHARE = 3, 0.2
_LETTERS = re.compile(r"[^\W\d_]")
_OTHER_LETTERS = re.compile(r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


@dataclass(slots=True)
class _Found:
    """What was found of one kind so far."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    def add(self, name: str, note: str, text: str, position: int = 0) -> None:
        """Count one text, and keep what stands at a position of it if it is among the first."""
        self.count += 1
        if len(self.names) < MAX_NAMES:
            self.names.append(name)
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Example((name,), note, (excerpt(text, position),)))


@dataclass(slots=True)
class _Counts:
    """What all texts so far have told."""

    n_texts: int = 0
    n_usual: int = 0
    n_kept_share: float = 0.0
    control: _Found = field(default_factory=_Found)
    mojibake: _Found = field(default_factory=_Found)
    html: _Found = field(default_factory=_Found)
    escaped: _Found = field(default_factory=_Found)
    long: _Found = field(default_factory=_Found)
    short: _Found = field(default_factory=_Found)
    personal: _Found = field(default_factory=_Found)
    n_of: dict[str, int] = field(default_factory=dict)
    languages: dict[str, _Found] = field(default_factory=dict)


def text_findings(
    texts: Iterable[str], names: Iterable[str], *, max_tokens: int | None = None, is_english: bool = True
) -> Iterator[Finding]:
    """What is remarkable about texts. Excerpts that are shown have personal data blotted out.

    Args:
        texts: The texts; an iterator is read once, and nothing of it is kept but a few excerpts.
        names: What each is called.
        max_tokens: Longer texts are cut by the model, or None when that is not known.
        is_english: Whether the model was trained on English alone; then texts in other languages are looked for.
    """
    counts = _Counts()
    for text, name in zip(texts, names, strict=True):
        counts.n_texts += 1
        _lengths(counts, text, name, max_tokens, is_english=is_english)
        if _SUSPECT.search(text, 0, _SCANNED):
            _patterns(counts, text[:_SCANNED], name)
    if counts.n_texts:
        yield from _sentences(counts, max_tokens)


def _lengths(counts: _Counts, text: str, name: str, max_tokens: int | None, *, is_english: bool) -> None:
    words = text.lower().split()
    n_words = len(words)
    counts.n_usual += n_words >= _USUAL_WORDS
    if max_tokens is not None:
        n_tokens = TOKENS_A_WORD * n_words
        if not text.isascii():
            n_tokens += len(_NO_SPACES.findall(text))
        if n_tokens > max_tokens:
            counts.n_kept_share += max_tokens / n_tokens
            counts.long.add(name, f"about {n_tokens:,.0f} tokens", text)
    if n_words <= _SHORT_WORDS and (text.isascii() or not _NO_SPACES.search(text)):
        counts.short.add(name, f"{n_words} word{'s' * (n_words != 1)}", text)
    if is_english and (language := _language(text, words)):
        counts.languages.setdefault(language, _Found()).add(name, language, text)


def _language(text: str, words: list[str]) -> str:
    """The language of a text that is clearly not English, else empty."""
    if not text.isascii():
        beginning = text[:1000]
        n_other = len(_OTHER_LETTERS.findall(beginning))
        if n_other >= _LANGUAGE_WORDS and 2 * n_other > len(_LETTERS.findall(beginning)):
            return "another script"
    others = _ANY_OTHER.intersection(words)
    if len(others) < _LANGUAGE_HITS or len(words) < _LANGUAGE_WORDS:
        return ""
    counted = {name: sum(word in stop_words for word in words) for name, stop_words in _STOP_WORDS.items()}
    best = max(counted, key=counted.__getitem__)
    least = max(_LANGUAGE_HITS, _LANGUAGE_SHARE * len(words), 3 * len(_ENGLISH.intersection(words)))
    return best if counted[best] >= least else ""


def _patterns(counts: _Counts, text: str, name: str) -> None:
    for found, pattern, note in (
        (counts.control, _CONTROL, "control character {0!a}"),
        (counts.mojibake, _MOJIBAKE, "{0!r}"),
        (counts.html, _HTML, "{0!r}"),
        (counts.escaped, _ESCAPED, "backslash"),
    ):
        match = pattern.search(text)
        if match is not None:
            found.add(name, note.format(match[0][:_EXCERPT]), text, match.start())
    kinds = dict(_personal(text))
    if kinds:
        for kind in kinds:
            counts.n_of[kind] = counts.n_of.get(kind, 0) + 1
        first = min(match.start() for match in kinds.values())
        counts.personal.add(name, ", ".join(_PERSONAL_NOUNS[kind] for kind in kinds), text, first)


def _personal(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Personal data in a text: their kind, and where they stand."""
    # The patterns are slow, and few texts have what they begin with.
    emails = _EMAIL.finditer(text) if "@" in text else ()
    numbers = _NUMBERS.finditer(text) if _DIGITS.search(text) else ()
    for match in (*emails, *numbers):
        kind = match.lastgroup or ""
        if kind in {"email", "phone"} or (_luhn(match[0]) if kind == "card" else _mod_97(match[0])):
            yield kind, match


def _luhn(number: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in number if character.isdigit()][::-1]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _mod_97(number: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616)."""
    plain = number.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def masked(text: str) -> str:
    """The text with a dot for each letter and digit of personal data."""
    for _, match in _personal(text):  # what is put in is as long as what it hides
        text = text[: match.start()] + re.sub(r"\w", "•", match[0]) + text[match.end() :]
    return text


def excerpt(text: str, position: int = 0) -> str:
    """A piece of a text around a position on one line, with personal data blotted out.

    Args:
        text: The text.
        position: Where to look.
    """
    start = max(0, position - _EXCERPT)
    end = position + 2 * _EXCERPT
    # Data that are cut in two would not be recognised, so more is masked than is shown.
    before = max(0, start - _EXCERPT)
    left, shown = masked(text[before : end + _EXCERPT]), end - start
    piece = left[start - before : start - before + shown]
    line = "".join(each if each.isprintable() else " " if each.isspace() else ascii(each)[1:-1] for each in piece)
    return f"{'…' if start else ''}{line.strip()}{'…' if end < len(text) else ''}"


def _sentences(counts: _Counts, max_tokens: int | None) -> Iterator[Finding]:
    yield from _personal_finding(counts)
    yield from _languages(counts)
    yield from _long(counts, max_tokens)
    if counts.mojibake.count:
        yield _of(
            "wrong_encoding",
            "warning",
            counts.mojibake,
            summary=f"{_texts(counts.mojibake)} {_have(counts.mojibake)} letters of a wrong encoding.",
            effect="Words that are spelt so mean nothing to a model.",
            advice="Read the source again with the encoding that it has, usually UTF-8.",
        )
    if counts.control.count:
        yield _of(
            "control_characters",
            "warning" if counts.control.count > _MANY * counts.n_texts else "info",
            counts.control,
            summary=f"{_texts(counts.control)} {_have(counts.control)} control characters.",
            effect="Tokenizers drop them or split words at them.",
            advice="Remove them, or see whether the encoding is right.",
        )
    if counts.html.count:
        yield _of(
            "html_remains",
            "warning" if counts.html.count > _FEW * counts.n_texts else "info",
            counts.html,
            summary=f"{_texts(counts.html)} {_have(counts.html)} remains of HTML.",
            effect="They take tokens and, where one source or class has more of them, give it away.",
            advice="Decode them (in Python html.unescape), here and where the model is used.",
        )
    if counts.escaped.count > _MANY * counts.n_texts:
        yield _of(
            "escaped_characters",
            "info",
            counts.escaped,
            summary=f"{_texts(counts.escaped)} {_have(counts.escaped)} backslashes that an export left behind.",
            effect="They do little harm, unless one source or class has more of them.",
            advice="Remove them, here and where the model is used.",
        )
    if counts.short.count and 2 * counts.n_usual > counts.n_texts:
        yield _of(
            "short_texts",
            "info" if counts.short.count <= _FEW * counts.n_texts else "warning",
            counts.short,
            summary=f"{_texts(counts.short)} {_have(counts.short)} one or two words, where most have many.",
            effect="They may say too little for any model to tell their class.",
            advice="See whether something was lost.",
        )


def _long(counts: _Counts, max_tokens: int | None) -> Iterator[Finding]:
    found = counts.long
    if not found.count or max_tokens is None:
        return
    share = found.count / counts.n_texts
    lost = 1 - counts.n_kept_share / found.count
    yield _of(
        "long_texts",
        "warning" if share > _FEW else "info",
        found,
        summary=f"{_texts(found)} ({share:.1%}) {_are(found)} longer than the {max_tokens} tokens that a model reads.",
        effect=f"What comes after is cut off, about {lost:.0%} of {'it' if found.count == 1 else 'each'}.",
        advice="Take a model that reads more, or put what matters first.",
    )


def _languages(counts: _Counts) -> Iterator[Finding]:
    n_other = sum(found.count for found in counts.languages.values())
    for language, found in sorted(counts.languages.items(), key=lambda each: -each[1].count):
        written = f"written in {language}"
        if 2 * n_other > counts.n_texts:
            yield _of(
                "wrong_language",
                "serious",
                found,
                summary=f"{_texts(found)} of {counts.n_texts:,} {_are(found)} {written}.",
                effect="The model was trained on English: it sees letters there, not meanings.",
                advice="Take a model that was trained on that language, or on many.",
            )
        else:
            yield _of(
                "other_languages",
                "warning" if found.count > _MANY * counts.n_texts else "info",
                found,
                summary=f"{_texts(found)} {_are(found)} {written}, unlike most.",
                effect="A model that knows English alone will do little better than guess on them.",
                advice="Translate or remove them, or take a model that was trained on many languages.",
            )


def _personal_finding(counts: _Counts) -> Iterator[Finding]:
    if counts.personal.count:
        kinds = sorted(counts.n_of.items(), key=lambda each: -each[1])
        listed = ", ".join(f"{_PERSONAL_NOUNS[kind]} in {count:,}" for kind, count in kinds)
        yield _of(
            "personal_data",
            "warning",
            counts.personal,
            summary=f"{_texts(counts.personal)} {_have(counts.personal)} what looks like personal data: {listed}.",
            effect="A fine-tuned model and its report may give such data away.",
            advice="See whether you may use them, and mask them before you share anything.",
        )


def _of(kind: str, severity: Severity, found: _Found, *, summary: str, effect: str, advice: str) -> Finding:
    return finding(
        kind,
        severity,
        found.names,
        summary=summary,
        effect=effect,
        advice=advice,
        count=found.count,
        examples=found.examples,
    )


def _texts(found: _Found) -> str:
    return "1 text" if found.count == 1 else f"{found.count:,} texts"


def _have(found: _Found) -> str:
    return "has" if found.count == 1 else "have"


def _are(found: _Found) -> str:
    return "is" if found.count == 1 else "are"
