"""Who may write control records: named secrets, and the HMAC under one of them that such a record carries.

Kafka's ACLs know topics and not event types, so whoever may publish events could also write ticks, activations,
erasures and forwards. In a deployment that has a keyring these count only with a signature: the Kafka header
``groundswell-signature``, ASCII ``<key id>:<counter>:<HMAC-SHA256 in hexadecimal>``. The bytes of the record are
signed as they are, since JSON has no canonical form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from stream.columns import SIGNATURE_HEADER
from stream.errors import ConfigurationError, StateMismatchError, quoted
from stream.records import Header, Keys

DOMAIN: Final = b"groundswell-control-1"
FINGERPRINT_DOMAIN: Final = b"groundswell-key-1"
MIN_SECRET_BYTES: Final = 32
MAX_KEYS: Final = 8
"""Most keys in force at a time."""
KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

UNSIGNED: Final = (
    "has control records that nobody signs: whoever may write events to it may write ticks, activations and erasures"
)
"""What is said of a deployment without a keyring."""

_SIGNATURE: Final = re.compile(rb"([a-z0-9][a-z0-9_-]{0,31}):([1-9][0-9]{0,18}):([0-9a-f]{64})")
_NULL: Final = b"\xff\xff\xff\xff"


class Keyring:
    """The secrets of a deployment by key id, the oldest first; the first is the one that it began with."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        """Take secrets of 32 bytes or more by id; raise ConfigurationError for an unusable one."""
        for name, secret in secrets.items():
            if not KEY_ID.fullmatch(name):
                message = f"key id {quoted(name)}, expected 1 to 32 characters of a-z, 0-9, _ and -"
                raise ConfigurationError(message)
            if len(secret) < MIN_SECRET_BYTES:
                message = f"the secret of key {name!r} is {len(secret)} bytes long, expected {MIN_SECRET_BYTES} or more"
                raise ConfigurationError(message)
        if not secrets:
            message = "the keyring holds no key: make one with `groundswell keys new`"
            raise ConfigurationError(message)
        self._secrets = dict(secrets)
        self._fingerprints = {name: fingerprint(secret) for name, secret in self._secrets.items()}

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read lines of ``id:secret``; empty ones and those beginning with # are passed over.

        Raises ConfigurationError, never quoting a secret.
        """
        secrets: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            name, colon, secret = line.strip().partition(":")
            if (not name and not colon) or name.startswith("#"):
                continue
            if not colon:
                message = f"line {number} of the keyring has no colon, expected id:secret"
                raise ConfigurationError(message)
            if name in secrets:
                message = f"line {number} of the keyring names key {quoted(name)} a second time"
                raise ConfigurationError(message)
            secrets[name] = secret.encode()
        return cls(secrets)

    def __repr__(self) -> str:
        """Return ids and fingerprints: secrets are never shown."""
        return f"Keyring({self._fingerprints!r})"

    def __contains__(self, name: object) -> bool:
        """Return whether there is a key of that id."""
        return name in self._secrets

    @property
    def ids(self) -> list[str]:
        """The keys' ids, the oldest first."""
        return list(self._secrets)

    @property
    def root(self) -> Keys:
        """What is in force where a deployment begins: the oldest key."""
        return self.named(self.ids[:1])

    def named(self, ids: Iterable[str]) -> Keys:
        """Return ids with their keys' fingerprints; raise ConfigurationError for one that is not here."""
        chosen = list(ids)
        for name in chosen:
            if name not in self._secrets:
                message = f"the keyring holds no key {quoted(name)}, only {', '.join(self.ids)}"
                raise ConfigurationError(message)
        return [[name, self._fingerprints[name]] for name in chosen]

    def require(self, keys: Keys, where: str) -> None:
        """Raise StateMismatchError naming the first of ``keys`` that is not here with that fingerprint."""
        for name, expected in keys:
            found = self._fingerprints.get(name)
            if found != expected:
                what = "holds no such key" if found is None else f"holds another secret under it (fingerprint {found})"
                message = (
                    f"{where}: key {name!r} with fingerprint {expected} is in force, and the keyring {what}: put that "
                    "key back into security.keys_file"
                )
                raise StateMismatchError(message)

    def mac(self, name: str, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message under a key, in lower-case hexadecimal."""
        return hmac.new(self._secrets[name], message, hashlib.sha256).hexdigest()


def fingerprint(secret: bytes) -> str:
    """Return what names a secret and gives nothing of it away: 128 bits of an HMAC under it, in hexadecimal."""
    return hmac.new(secret, FINGERPRINT_DOMAIN, hashlib.sha256).hexdigest()[:32]


def signed_message(
    topic: str,
    name: str,
    counter: int,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    origin: tuple[int, int] | None,
) -> bytes:
    """Return what is signed: each part with its length before it (32 bits, big-endian; 0xFFFFFFFF: null).

    The parts: the domain, the events topic's full name (which names the namespace), key id, partition, counter,
    the record's key and value, and of a forwarded event the place it came from.
    """
    place = None if origin is None or origin[0] < 0 else b"%d:%d" % origin
    parts = (DOMAIN, topic.encode(), name.encode(), b"%d" % partition, b"%d" % counter, key, value, place)
    return b"".join(_NULL if part is None else len(part).to_bytes(4, "big") + part for part in parts)


def check_signature(
    keyring: Keyring,
    keys: Sequence[Sequence[str]],
    signature: bytes,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    origin: tuple[int, int] | None,
) -> int:
    """Return the counter of a signature by one of ``keys``; 0 where it is none (counters begin at 1)."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return 0
    name, counter = match[1].decode(), int(match[2])
    if not any(name == in_force for in_force, _ in keys):
        return 0
    message = signed_message(topic, name, counter, partition, key, value, origin)
    return counter if hmac.compare_digest(keyring.mac(name, message), match[3].decode()) else 0


class Signer:
    """Signs records for one events topic."""

    def __init__(self, keyring: Keyring, topic: str, now_ns: Callable[[], int]) -> None:
        """Take the topic's full name; ``now_ns`` (since the epoch) makes counters grow from one process to the next."""
        self._keyring = keyring
        self._topic = topic
        self._now_ns = now_ns
        self._counter = 0

    def sign(
        self,
        keys: Keys,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        origin: tuple[int, int] | None = None,
        *,
        above: int = 0,
    ) -> tuple[str, bytes]:
        """Return the header that signs a record with the newest of the ``keys`` in force.

        Each counter is higher than all before it, and than ``above``. Raises StateMismatchError where the keyring
        lacks the key.
        """
        self._keyring.require(keys[-1:], f"{self._topic} partition {partition}")
        name = keys[-1][0]
        self._counter = max(self._now_ns(), self._counter + 1, above + 1)
        message = signed_message(self._topic, name, self._counter, partition, key, value, origin)
        return SIGNATURE_HEADER, f"{name}:{self._counter}:{self._keyring.mac(name, message)}".encode()


def root_of(keyring: Keyring | None) -> Keys:
    """Return what is in force where a deployment with this keyring begins: nothing without one."""
    return [] if keyring is None else keyring.root


def require_keyring(header: Header, keyring: Keyring | None, where: str) -> None:
    """Raise StateMismatchError where a partition's keys in force and the keyring do not fit each other."""
    if not header.keys:
        if keyring is not None:
            message = (
                f"{where} began without a keyring, so nobody signs its control records, and a keyring is set: run it "
                "without security.keys_file, or begin a new deployment under another namespace, with topics of its own"
            )
            raise StateMismatchError(message)
        return
    if keyring is None:
        names = ", ".join(repr(name) for name, _ in header.keys)
        message = (
            f"{where} takes control records signed by key {names} only, and no keyring is set: name the deployment's "
            "by security.keys_file"
        )
        raise StateMismatchError(message)
    for name, expected in header.root:
        if name in keyring and keyring.named([name])[0][1] != expected:
            keyring.require([[name, expected]], where)
    keyring.require(header.keys, where)
