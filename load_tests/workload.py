"""The benchmark's job: four weeks of events of voters, ten of each, about 238 bytes each, about 2 % of them triggers.

Every peer does the same with them. A voter's score is the sum, over the types of WEIGHTS, of weight times the count
decayed with HALF_LIFE_MS, as of log time (the append time of the record); a trigger leaves where it reaches THRESHOLD,
and the voter can trigger again once it has come down to REARM.
"""

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
EVENTS_PER_VOTER: Final = 10
SPAN_MS: Final = 28 * 86_400_000
"""Event time from the first event to the last, however many there are: it makes 2 % of them triggers."""
START_MS: Final = 1_767_225_600_000

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


def events(count: int, voters: int, seed: int, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of ``count`` CloudEvents of ``voters`` voters drawn uniformly, in the order of their time.

    The first has the time ``end_ms - SPAN_MS`` (ms since the epoch), the last just before ``end_ms``.
    """
    generator = np.random.default_rng(seed)
    types = list(WEIGHTS)
    stamps = (end_ms - SPAN_MS + np.arange(count) * SPAN_MS // count).astype("datetime64[ms]").astype(str)
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
