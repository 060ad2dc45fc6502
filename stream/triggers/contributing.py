"""What a trigger says of the features that weighed most."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from stream.interfaces import Strongest
from stream.triggers.spelling import each


def spell(strongest: Strongest, features: Sequence[str]) -> list[bytes]:
    """Return for each trigger its features, their values and contributions as a JSON array; ``features`` by index."""
    counts = strongest.counts.tolist()
    items: list[bytes] = []
    if len(strongest.features):
        names = each([features[index] for index in strongest.features.tolist()])
        facts = zip(names, each(strongest.values.tolist()), each(strongest.contributions.tolist()), strict=True)
        items = [b'{"feature":%b,"value":%b,"contribution":%b}' % fact for fact in facts]
    return [b"[%b]" % b",".join(items[first:stop]) for first, stop in pairwise(accumulate(counts, initial=0))]
