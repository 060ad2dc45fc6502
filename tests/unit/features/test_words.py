"""Weighed words against an oracle that parts texts by a regular expression and compares lists of words."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.details import COMMENT
from stream.features import NO_TAXONOMY, taxonomy_of
from stream.signals import MAX_ISSUES
from tests.signalled import signals_of

FILE = """
[[issues]]
name = "economy"
words.en = ["tax*", ["tax cut", 2.5], "cut", "jobs", "a b a", "b a"]
words.de = ["jobs", ["löhne", 0.2], "strasse"]
[[issues]]
name = "health"
words.en = ["health care", "health", ["care*", 0.5], "tax", "don't worry be happy"]
words.el = ["υγείασ", "Здоровье"]
[stance.for]
en = ["good", "support*", ["not bad", 4.0], "a b"]
[stance.against]
en = ["bad", ["tax cut", 0.5]]
[negations]
en = ["not", "don't", "no longer", "never*"]
es = ["not"]
"""
COMPILED = taxonomy_of(FILE.encode())
Weighed = tuple[list[float], float, float]
"""Weights of the issues, for and against: at most 25.5 each."""


class Entry(NamedTuple):
    words: list[str]
    is_stem: bool
    target: int | str
    weight: float


def entry(text: str, target: int | str, weight: float = 1.0) -> Entry:
    return Entry(words_of(text), text.endswith("*"), target, weight)


def words_of(text: str) -> list[str]:
    """Return the words of a text of Latin, Greek or Cyrillic letters."""
    return re.findall(r"[^\W_]+", text.casefold())


ENTRIES = [
    *(entry(text, 0) for text in ("tax*", "cut", "jobs", "a b a", "b a", "strasse")),
    *(entry("tax cut", 0, 2.5), entry("löhne", 0, 0.2)),
    *(entry(text, 1) for text in ("health care", "health", "tax", "don't worry be happy", "υγείας", "здоровье")),
    entry("care*", 1, 0.5),
    *(entry(text, "stance") for text in ("good", "support*", "a b")),
    *(entry("not bad", "stance", 4.0), entry("bad", "stance", -1.0), entry("tax cut", "stance", -0.5)),
]
NEGATIONS = [entry(text, "negation") for text in ("not", "don't", "no longer", "never*")]


def stands_at(sought: Entry, words: list[str], place: int) -> bool:
    here, count = words[place : place + len(sought.words)], len(sought.words)
    if not sought.is_stem:
        return here == sought.words
    return len(here) == count and here[:-1] == sought.words[:-1] and here[-1].startswith(sought.words[-1])


def expected(data: bytes) -> Weighed:
    words = words_of(data.decode("utf-8", "surrogateescape")[:10_000])
    negated = {
        place + len(sought.words) - 1
        for sought in NEGATIONS
        for place in range(len(words))
        if stands_at(sought, words, place)
    }
    issues, stance = [0.0] * MAX_ISSUES, [0.0, 0.0]
    for place in range(len(words)):
        for sought in ENTRIES:
            if not stands_at(sought, words, place):
                continue
            if isinstance(sought.target, int):
                issues[sought.target] += sought.weight
            else:
                turned = bool(negated & {place - 1, place - 2, place - 3})
                stance[(sought.weight < 0) != turned] += abs(sought.weight)
    favour, against = (min(round(side, 1), 25.5) for side in stance)
    return [min(round(issue, 1), 25.5) for issue in issues], favour, against


def weighed(*texts: bytes) -> list[Weighed]:
    signals, _ = signals_of(COMPILED, "social.comment", [{COMMENT: text} for text in texts])
    return [
        ([weight / 10 for weight in signal["issues"].tolist()], signal["favour"] / 10, signal["against"] / 10)
        for signal in signals
    ]


# fmt: off
VOCABULARY = [
    "tax", "taxes", "TAX", "cut", "Cut", "jobs", "a", "b", "health", "HEALTH", "care", "careful", "worry", "be",
    "happy", "don't", "not", "NOT", "no", "longer", "never", "nevermore", "good", "bad", "support", "SUPPORTED",
    "löhne", "LÖHNE", "lohne", "υγείας", "ΥΓΕΊΑΣ", "ЗДОРОВЬЕ", "здоровье", "x", "é", "东京", "strasse",
]
# fmt: on
BETWEEN = st.sampled_from([" ", "  ", "-", "_", "'", "\u2019", ". ", ",\n", "\U0001f44d", "", "é"])
PIECES = st.sampled_from([word.encode() for word in VOCABULARY]) | BETWEEN.map(str.encode) | st.binary(max_size=2)
TEXTS = st.lists(st.tuples(PIECES, BETWEEN.map(str.encode)), max_size=30).map(
    lambda pieces: b"".join(piece for pair in pieces for piece in pair)
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_texts_weigh_what_their_words_weigh(texts: list[bytes]) -> None:
    assert weighed(*texts) == [expected(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "economy", "health", "against"),
    [
        ("", 0, 0, 0),
        (" .,! ", 0, 0, 0),
        ("TAX", 1, 1, 0),
        ("taxi", 1, 0, 0),
        ("syntax, pretax", 0, 0, 0),
        ("tax cut", 4.5, 1, 0.5),
        ("tax--cut", 4.5, 1, 0.5),
        ("tax x cut", 2, 1, 0),
        ("a b a b a", 4, 0, 0),
        ("health care", 0, 2.5, 0),
        ("#health_care!", 0, 2.5, 0),
        ("healthcare", 0, 0, 0),
        ("Don\u2019t worry, be happy", 0, 1, 0),
        ("LÖHNE, Lo\u0308hne", 0.2, 0, 0),
        ("ΥΓΕΊΑΣ Здоровье", 0, 2, 0),
        ("jobs", 1, 0, 0),
    ],
)
def test_words_are_met_whole_and_each_time(text: str, economy: float, health: float, against: float) -> None:
    found = weighed(text.encode())
    assert found == [expected(text.encode())]
    assert (found[0][0], found[0][2]) == ([economy, health, *[0.0] * 10], against)


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("good", 1),
        ("not good", -1),
        ("not x y good", -1),
        ("not x y z good", 1),
        ("not good good good good", -2),
        ("good not", 1),
        ("bad", -1),
        ("never ever bad", 1),
        ("no longer good", -1),
        ("no x longer good", 1),
        ("I don't really like good", -1),
        ("not not good", -1),
        ("not bad", 5),
        ("not x not bad", -3),
        ("never was it not bad", -3),
        ("never was it so not bad", 5),
        ("not a tax cut", 0.5),
        ("not x y tax cut", 0.5),
        ("not x y z tax cut", -0.5),
        ("not\xff x good", -1),
        ("nothing good", 1),
    ],
)
def test_negation_among_three_words_before_turns_the_sign(text: str, stance: float) -> None:
    data = text.encode("latin-1")
    found = weighed(data)[0]
    assert found == expected(data)
    assert round(found[1] - found[2], 1) == stance


@pytest.mark.parametrize(
    "text",
    [
        b"tax" + b"x" * 20_000,
        b"a" * 10_000 + b" tax",
        b" " * 9_997 + b"tax",
        b" " * 9_996 + b"tax cut",
        b" " * 9_998 + b"tax",
        b" " * 9_997 + b"taxes",
        "é".encode() * 9_996 + b" tax tax",
        b"\xff" * 9_996 + b" tax tax",
        b"\xc3" * 9_997 + b"cut" + b"cut",
        b"\xf0\x9f\x91" * 30 + b"tax\xe2\x82",
        b"tax " * 4_000,
        b"not " * 4_000 + b"good",
        b"a b " * 2_500,
    ],
)
def test_hostile_text_weighs_what_its_first_10000_characters_do(text: bytes) -> None:
    assert weighed(text) == [expected(text)]


def test_sums_stop_at_255_tenths() -> None:
    assert weighed(b"tax cut " * 40)[0][:1] == ([25.5, 25.5, *[0.0] * 10],)


def test_taxonomy_without_words_weighs_nothing() -> None:
    signals, unknown = signals_of(NO_TAXONOMY, "social.comment", [{COMMENT: b"tax not good"}])
    assert not signals["issues"].any()
    assert not signals["favour"].any()
    assert not signals["against"].any()
    assert unknown == [set()]
