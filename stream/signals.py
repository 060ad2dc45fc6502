"""What an event says, in codes: the seam between reading (step 1) and folding (step 5)."""

from __future__ import annotations

from typing import Final

import numpy as np

SIDES: Final = ("own", "ally", "opponent", "press", "other")
"""Whose an account is."""
PAGES: Final = ("home", "issue", "donate", "volunteer", "event", "news", "about", "other")
ORIGINS: Final = ("direct", "internal", "search", "social", "mail", "ad", "partner", "other")
"""Where a visit comes from, by its referrer or by campaign tags."""
DEVICES: Final = ("phone", "tablet", "desktop", "tv", "other")
MESSAGE_CHANNELS: Final = ("mail", "text", "push", "social", "phone", "door", "other")
METHODS: Final = ("", "online", "post", "other")
"""How a donation is made; empty: not said."""
MAX_ISSUES: Final = 12
OTHER_REGION: Final = 65535
OTHER_BAND: Final = 255
"""Of age bands, languages, zones and sources: one that is said and not listed."""

UNKNOWN: Final = (
    *("side", "issue", "page", "referrer", "tag", "device", "method", "channel"),
    *("region", "age_band", "language", "time_zone", "source"),
)
"""What an event may say that the taxonomy does not list: it falls to ``other``, and is counted by these names."""

SIGNAL: Final = np.dtype(
    [
        ("amount", "<f8"),  # of a donation, in units of its currency; 0: none
        ("issues", "u1", (MAX_ISSUES,)),  # weight of each issue in tenths: a comment's words; 10 by account or page
        ("favour", "u1"),  # stance words for us, in tenths
        ("against", "u1"),  # stance words against us, in tenths
        ("side", "u1"),  # place in SIDES; social.* alone
        ("page", "u1"),  # place in PAGES; page views alone
        ("origin", "u1"),  # place in ORIGINS; page views alone: campaign tags win over the referrer
        ("device", "u1"),  # place in DEVICES; page views alone
        ("device_bit", "u1"),  # 1 + 4 bits of a hash of the device's bytes; 0: none given
        ("channel", "u1"),  # place in MESSAGE_CHANNELS; message.* alone
        ("method", "u1"),  # place in METHODS; donations alone
        ("support", "u1"),  # canvass answer, 1 to 5; 0: none
        ("answer", "u1"),  # to an invitation: 1 yes, 2 no, 3 maybe; 0: not said
        ("region", "<u2"),  # 1 + place among the taxonomy's regions; 0: not said
        ("age_band", "u1"),  # 1 + place among the taxonomy's age bands; 0: not said
        ("language", "u1"),  # likewise
        ("zone", "u1"),  # 1 + place in zones.ZONES; 0: not said
        ("source", "u1"),  # likewise: where the profile record comes from
        ("reserved", "u1", (3,)),
    ]
)
"""One row of the log: no text, no hash of a person. What a kind does not carry stays 0; sums stop at 255."""
