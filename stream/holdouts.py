"""Whom an experiment keeps something from: by a stable hash of experiment and voter, as canaries draw theirs."""

from __future__ import annotations

from typing import Final

import xxhash

OURS: Final = "groundswell:"
"""What names begin with by which voters are drawn for what is no experiment; no experiment's may."""
_LOW_BITS: Final = 11
_UNIT: Final = 2.0**-53


def held_out(experiment: str, share: float, voter: str) -> bool:
    """Return whether a voter is in the holdout of an experiment, which is this ``share`` of all voters.

    That is where the upper 53 bits of the XXH3 hash of the experiment's name, a NUL and the voter's id, as a fraction
    of 1, lie below ``share``: whoever knows the experiment's name finds the same voters, and a larger share takes more
    beside them.
    """
    name = b"%b\0%b" % (experiment.encode(), voter.encode())
    return (xxhash.xxh3_64_intdigest(name) >> _LOW_BITS) * _UNIT < share
