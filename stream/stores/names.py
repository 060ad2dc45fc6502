"""The keys that a partition's state has in Redis, and how a voter is named where no voter id may stand."""

from __future__ import annotations

import xxhash

HEADER = "header"


def partition_prefix(namespace: str, partition: int) -> str:
    """Return what every key of a partition begins with: ``{17}:``, or ``{<namespace>:17}:``.

    The braces are Redis Cluster's hash tag: they keep a partition in one slot, so that a commit is one MULTI.
    """
    return f"{{{namespace}:{partition}}}:" if namespace else f"{{{partition}}}:"


def voter_prefix(prefix: str) -> str:
    """Return what the key of each voter's record begins with, under a partition's prefix."""
    return f"{prefix}v:"


def header_key(prefix: str) -> str:
    """Return the key of the partition's header."""
    return prefix + HEADER


def outbox_key(prefix: str, output: str) -> str:
    """Return the key of an output's sorted set."""
    return f"{prefix}outbox:{output}"


def request_key(prefix: str) -> str:
    """Return the key under which a snapshot is asked for, and answered."""
    return f"{prefix}snapshot"


def pseudonym(voter: str) -> str:
    """Return how a voter is named in errors and logs: ``voter #`` and xxh3-64 of the id in hexadecimal."""
    return f"voter #{xxhash.xxh3_64_hexdigest(voter.encode())}"
