"""The benchmark's job: 1,000,000 likes and shares of 100,000 voters, about 238 bytes each, about 2 % of them triggers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

HALF_LIFE_MS: Final = 604_800_000.0
THRESHOLD: Final = 8.0
REARM: Final = 7.0
WEIGHTS: Final = {
    "social.like": 1.0,
    "social.share": 2.0,
    "social.comment": 1.5,
    "social.follow": 2.5,
    "site.page_view": 0.5,
    "donation.started": 3.0,
}
"""A voter's score is the sum, over these types, of weight times the count decayed with HALF_LIFE_MS."""
START_MS: Final = 1_767_225_600_000
STEP_MS: Final = 6_000
"""Event time between two events: a million of them last about ten weeks, so that scores fall as well as rise."""

_DATA: Final = {
    "social.like": b'{"post":"p-481","platform":"x"}',
    "social.share": b'{"post":"p-481","platform":"x"}',
    "social.comment": b'{"post":"p-481","text":"well"}',
    "social.follow": b'{"account":"candidate"}',
    "site.page_view": b'{"url":"https://example.org/a"}',
    "donation.started": b'{"form":"spring-campaign"}',
}


def voter(number: int) -> str:
    """Return the id of a voter by number."""
    return f"voter-{number:06d}"


def events(count: int, voters: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of ``count`` CloudEvents over ``voters`` voters, uniform, in the order of their time."""
    generator = np.random.default_rng(seed)
    types = list(WEIGHTS)
    stamps = (np.datetime64(START_MS, "ms") + np.arange(count) * np.timedelta64(STEP_MS, "ms")).astype(str)
    chosen = generator.integers(0, voters, count).tolist()
    kinds = generator.integers(0, len(types), count).tolist()
    for number, (who, kind) in enumerate(zip(chosen, kinds, strict=True)):
        name = types[kind]
        key = voter(who).encode()
        value = (
            b'{"specversion":"1.0","id":"e-%09d","source":"/trackers/load","type":"%b","subject":"%b",'
            b'"time":"%bZ","datacontenttype":"application/json","data":%b}'
            % (number, name.encode(), key, stamps[number].encode(), _DATA[name])
        )
        yield key, value
