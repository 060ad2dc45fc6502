"""Certificates made on the spot."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Certificate:
    """A server's certificate and key, in the files that Kafka and Redis want."""

    chain: Path
    key: Path
    both: Path

    @classmethod
    def issue(
        cls, authority: trustme.CA, directory: Path, name: str, *hosts: str, days: tuple[float, float] = (-30, 1)
    ) -> Certificate:
        """Issue one for ``hosts`` that is valid between two days, counted from now."""
        begin, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
        leaf = authority.issue_cert(*hosts, not_before=begin, not_after=end)
        # Kafka takes a key in PKCS 8 only.
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
        made = cls(*(directory / f"{name}.{kind}.pem" for kind in ("chain", "key", "both")))
        for path, data in ((made.chain, chain), (made.key, key), (made.both, key + chain)):
            path.write_bytes(data)
        return made

    def server_context(self) -> ssl.SSLContext:
        """Return what a server shows it by."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain, self.key)
        return context
