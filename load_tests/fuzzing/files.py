"""Mutated models, campaigns and taxonomies: each is read whole, or refused with a reason; nothing else is raised."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import numpy as np
import orjson

from load_tests.fuzzing.mutation import change_bytes
from load_tests.fuzzing.promises import BrokenPromiseError, held_to
from stream.details import DETAIL, Details
from stream.errors import ConfigurationError
from stream.features import FEATURES, CompiledTaxonomy
from stream.features.compiling import compile_taxonomy
from stream.features.taxonomy import read_taxonomy
from stream.records import EVENT_TYPES, MAX_CAMPAIGNS, MAX_MODELS
from stream.scoring import Model, compile_models, explain, read_model
from stream.signals import SIGNAL
from stream.triggers import Campaign, compile_campaigns, read_campaign

MODELS: Final = (
    b'{"name":"support","kind":"logistic","bias":-2.9,"weights":{"social.share.decayed_7d":0.6,"sessions":-1e-3},'
    b'"calibration":{"slope":0.85,"intercept":-0.1},"description":"\xc3\xbcn\xc3\xaf"}',
    b'{"name":"reach","kind":"linear","bias":0,"weights":{}}',
    orjson.dumps({"name": "all", "kind": "linear", "bias": 1.5, "weights": dict.fromkeys(FEATURES, 0.25)}),
    b'{"name":"likely","kind":"logistic","bias":0,"weights":{"sessions":0.5},"means":{"sessions":3.5},'
    b'"training":{"score":{"edges":[0.1,0.5],"counts":[7,2,1]},"features":{"sessions":{"edges":[1],"counts":[5,5],'
    b'"missing":1}}}}',
    b'{"name":"trees","kind":"trees","link":"logistic","features":["sessions","social.like.decayed_1d"],"trees":{'
    b'"leaves":[3,1],"feature":[0,1],"threshold":[0.5,2],"missing":[1,2],"left":[2,1],"value":[1.0,2,3.0,0.25],'
    b'"categories":[[1,[2,5]]],"cover":[3,0,1,1]}}',
)
CAMPAIGNS: Final = (
    b'name = "welcome"\nmodel = "support"\ndirection = "up"\nthreshold = 0.65\nrearm = 0.4\ncooldown = "14d"\n'
    b'description = "hello"\n\n[action]\nchannel = "email"\ntemplate = "w\xc3\xabl"\n',
    b'name = "win_back"\nmodel = "support"\ndirection = "down"\nthreshold = 0\nrearm = 1\ncooldown = 0\n',
)
TAXONOMIES: Final = (
    b'[[issues]]\nname = "economy"\nwords.en = ["jobs", ["minimum wage", 2.0], "econom*"]\n'
    b'words.de = ["L\xc3\xb6hne"]\n\n'
    b'[stance]\nfor.en = ["good"]\nagainst.en = [["bad", 0.5]]\n[negations]\nen = ["don\'t"]\n',
    b'[[accounts]]\nside = "own"\nnames = ["@us", "Us2"]\n'
    b'[[pages]]\nclass = "donate"\npaths = ["/give", "/donate*", "*/x"]\n'
    b'[referrers]\nsearch = ["google.com"]\n[[tags]]\nparameter = "utm_medium"\nad = ["cpc", "paid*"]\n',
    b'[[devices]]\nclass = "tv"\nwords = ["smart tv"]\n[channels]\nmail = ["email"]\n[methods]\npost = ["check"]\n'
    b'[profile]\nregions = ["a", ["b", "c"]]\nage_bands = ["18-24"]\nlanguages = ["en"]\nsources = ["form"]\n',
)
"""Sound files to begin from."""

SOUND: Final = {"model": MODELS, "campaign": CAMPAIGNS, "taxonomy": TAXONOMIES}

TOKENS: Final = (
    *[b"null", b"true", b"false", b"NaN", b"nan", b"inf", b"-Infinity", b"1e999", b"1e308", b"-0.0", b"5e-324"],
    *[b"9" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"0b1", b"1_000", b"18446744073709551616", b"-1", b"0", b"1.0"],
    *[b"[]", b"{}", b'""', b"[[]]", b"{a=1}", b"[" * 2000, b'{"":' * 1100, b"a." * 2000, b"[[a]]", b"[action.x]"],
    *[b'"\\ud800"', b'"\\u0000"', b"'''", b'"""', b"\\", b'"', b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"],
    *[b"2026-11-24T21:25:55Z", b"2026-02-30", b"25:00:00", b"\r", b"\n", b"=", b"#", b",", b":", b"}", b"]", b" "],
    *[b'"7d"', b'"0s"', b'"999999999d"', b'"up"', b'"down"', b'"linear"', b'"logistic"', b"x" * 300, b"sessions"],
)


def mutate(chance: random.Random, files: Sequence[bytes]) -> bytes:
    """Return one of the files with a few stretches of bytes changed, or other bytes altogether."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(64))
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        change_bytes(chance, data, files, TOKENS, _replace_value)
    if chance.random() < 0.002:
        data += b" " * (1 << 20)
    return bytes(data)


def _replace_value(chance: random.Random, data: bytearray) -> None:
    """Put a token in the place of one value, in place: much of it stays JSON or TOML."""
    places = [place for place, byte in enumerate(data) if byte in b":="]
    if places:
        first = chance.choice(places) + 1
        ends = [place for place in (data.find(end, first) for end in (b",", b"}", b"\n")) if place >= 0]
        data[first : min(ends, default=len(data))] = chance.choice(TOKENS)


Content = Model | Campaign | CompiledTaxonomy
_SAID: Final = b"econom\xc3\xa9 jobs don't bad /donate/x?utm_medium=paid&a=b https://google.com smart tv @us"


def examine(content: Content) -> None:
    """Raise BrokenPromiseError where a content that was read cannot be compiled, or has a number out of bounds."""
    if isinstance(content, CompiledTaxonomy):
        kinds, details = np.arange(len(EVENT_TYPES)), np.zeros(len(EVENT_TYPES), DETAIL)
        details["stops"] = len(_SAID)
        signals, unknown = np.zeros(len(kinds), SIGNAL), np.zeros(len(kinds), np.uint16)
        content.read(Details(np.frombuffer(_SAID, np.uint8), details), kinds, 0, len(kinds), signals, unknown)
        return
    if isinstance(content, Model):
        numbers = [content.bias, *(content.calibration or ()), *[weight for _, weight in content.weights]]
        models = compile_models([content], np.ones(MAX_MODELS, np.uint32))
        numbers.append(float(models.empty[0]))
        found = explain(models, np.zeros((1, len(models.columns))), np.zeros(1, np.int64), 0)
        numbers += [] if found is None else [float(models.expected[0]), *found[0].tolist()]
    else:
        numbers = [content.threshold, content.rearm, content.cooldown_ms]
        compile_campaigns([content], np.ones(MAX_CAMPAIGNS, np.uint32), [[content.name, ""]], [[content.model, ""]])
        if content.cooldown_ms < 0 or not all(isinstance(part, str) for pair in content.action for part in pair):
            message = f"the cooldown or the action of {content!r} cannot be"
            raise BrokenPromiseError(message)
    if not all(math.isfinite(number) for number in numbers):
        message = f"a number of {content!r} is not finite"
        raise BrokenPromiseError(message)


def read(kind: str, data: bytes) -> Content:
    """Read a file of any kind."""
    if kind == "taxonomy":
        return compile_taxonomy(read_taxonomy(data))
    return read_model(data, FEATURES) if kind == "model" else read_campaign(data)


@cache
def _compile() -> None:
    """Compile what only accepted inputs need, before any is measured."""
    for kind, files in SOUND.items():
        for data in files:
            examine(read(kind, data))


def try_models(chance: random.Random, inputs: int) -> Counter[str]:
    """Read mutated model files."""
    return try_files(chance, inputs, "model")


def try_campaigns(chance: random.Random, inputs: int) -> Counter[str]:
    """Read mutated campaign files."""
    return try_files(chance, inputs, "campaign")


def try_taxonomies(chance: random.Random, inputs: int) -> Counter[str]:
    """Read and compile mutated taxonomies, and have them read some texts."""
    return try_files(chance, inputs, "taxonomy")


def try_files(
    chance: random.Random, inputs: int, kind: str, reading: Callable[[str, bytes], Content] = read
) -> Counter[str]:
    """Read ``inputs`` mutated files of a kind; return how many were accepted and refused.

    Raises BrokenPromiseError, naming the bytes, for the first file that broke a promise.
    """
    _compile()
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        data = mutate(chance, SOUND[kind])
        with held_to(kind, data, (ConfigurationError,), counts):
            examine(reading(kind, data))
    return counts
