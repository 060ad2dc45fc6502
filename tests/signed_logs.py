"""Logs of a deployment that signs its control records, with keys that rotate, and with forgeries of every kind."""

from __future__ import annotations

import json
from typing import Any

from tests.logs import TOPIC, Generator, Log
from tests.oracle_events import SIGNED, fingerprint_of, origin_of, signature_of

SECRETS = {name: f"a secret of more than thirty-two bytes: {name}".encode() for name in ("first", "second", "third-3")}
STRANGER = b"a secret that is in nobody's keyring at all"


def sign(
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Any = (),
    *,
    name: str = "first",
    secret: bytes | None = None,
    counter: int = 1,
    topic: str = TOPIC,
) -> tuple[str, bytes]:
    """Return the header that signs a record, by plain Python's HMAC."""
    origin = origin_of(headers)
    place = None if origin is None else f"{origin[0]}:{origin[1]}".encode()
    said = [b"groundswell-control-1", topic.encode(), name.encode(), str(partition).encode(), str(counter).encode()]
    text = signature_of(SECRETS[name] if secret is None else secret, [*said, key, value, place])
    return "groundswell-signature", f"{name}:{counter}:{text}".encode()


class SignedGenerator(Generator):
    """Writes the log of a signed deployment: most control records carry what they must, some do not."""

    def __init__(self, seed: int) -> None:
        """Begin with the first key in force."""
        super().__init__(seed)
        self.log.secrets = dict(SECRETS)
        self.in_force = ["first"]
        self.counter = 1_790_000_000_000_000_000
        self.signed: list[tuple[bytes | None, bytes | None, tuple[Any, ...]]] = []

    def write_any(self) -> None:
        """Append a row of some sort; now and then a rotation, or a signed row that comes again."""
        dice = self.chance.random()
        if dice < 0.02:
            self.write(self.rotation())
        elif dice < 0.05 and self.signed:
            self.append(*self.chance.choice([*self.signed[-3:], *self.signed]))
        else:
            super().write_any()

    def append(self, key: bytes | None, value: bytes | None, headers: tuple[Any, ...]) -> None:
        """Append a row as it is."""
        super().write(value, key, headers)

    def write(self, value: bytes | None, key: bytes | None = None, headers: Any = ()) -> None:
        """Append a row, signed where it must be, and sometimes not, or wrongly."""
        headers = tuple(headers)
        kind = self.kind_of(value)
        if kind not in SIGNED and origin_of(headers) is None:
            if self.chance.random() < 0.05:
                headers = (*headers, self.forge(key, value, headers))
            self.append(key, value, headers)
            return
        self.counter += self.chance.choice([1, 5, 1_000_000])
        if self.chance.random() < 0.15:
            signature = self.forge(key, value, headers)
            place = self.chance.choice([(), (signature,), (signature,)])
            self.append(key, value, (*headers, *place))
            return
        name = self.chance.choice(self.in_force)
        row = (key, value, (*headers, sign(self.log.partition, key, value, headers, name=name, counter=self.counter)))
        self.signed.append(row)
        self.append(*row)
        if kind == "keys.rotated" and value is not None:
            self.note_rotation(json.loads(value))

    def kind_of(self, value: bytes | None) -> str:
        """Return the type that a value names, "" where it names none."""
        try:
            fields = json.loads(value or b"")
        except ValueError:
            return ""
        kind = fields.get("type") if isinstance(fields, dict) else ""
        return kind if isinstance(kind, str) else ""

    def forge(self, key: bytes | None, value: bytes | None, headers: Any) -> tuple[str, bytes]:
        """Return a signature that does not hold."""
        name = self.chance.choice(list(SECRETS))
        elsewhere = (self.log.partition + 1) % 9
        _, good = sign(self.log.partition, key, value, headers, name=name, counter=self.counter)
        if self.chance.random() < 0.3 and name in self.in_force:
            # A different bit somewhere, whatever it spells then.
            place = self.chance.randrange(len(good))
            return "groundswell-signature", good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        forgeries = [
            sign(elsewhere, key, value, headers, counter=self.counter),
            sign(self.log.partition, key, value, headers, topic=f"other.{TOPIC}", counter=self.counter),
            sign(self.log.partition, key, value, headers, secret=STRANGER, counter=self.counter),
            sign(self.log.partition, key, (value or b"") + b" ", headers, counter=self.counter),
            sign(self.log.partition, (key or b"") + b"x", value, headers, counter=self.counter),
            sign(self.log.partition, key, value, [("groundswell-origin", b"8:77")], counter=self.counter),
            ("groundswell-signature", good.upper()),
            ("groundswell-signature", b""),
            ("groundswell-signature", b"first:0:" + b"0" * 64),
            ("groundswell-signature", good.replace(b":", b":0", 1)),
            ("Groundswell-Signature", good),
        ]
        outdated = [key_id for key_id in SECRETS if key_id not in self.in_force]
        forgeries += [sign(self.log.partition, key, value, headers, name=key_id) for key_id in outdated * 3]
        return self.chance.choice(forgeries)

    def rotation(self) -> bytes:
        """Return a rotation that puts some keys in force, sometimes one that does not fit."""
        names = self.chance.sample(list(SECRETS), k=self.chance.randint(1, 3))
        keys: list[Any] = [{"id": name, "fingerprint": fingerprint_of(SECRETS[name])} for name in names]
        if self.chance.random() < 0.2:
            keys = self.chance.choice([[], [*keys, keys[0]], [{"id": "first"}], [{**keys[0], "fingerprint": "ab"}]])
        self.serial += 1
        fields = {"specversion": "1.0", "id": f"k{self.serial}", "source": "/keys", "type": "keys.rotated"}
        if self.chance.random() < 0.3:
            fields["time"] = self.chance.choice([self.moment(), "2126-01-01T00:00:00Z", "yesterday"])
        return self.spell({**fields, "data": {"keys": keys}})

    def note_rotation(self, fields: dict[str, Any]) -> None:
        """Sign by what is in force from here on; by any other key sometimes, which is a forgery then."""
        keys = fields["data"]["keys"]
        names = [entry["id"] for entry in keys]
        fits = keys and all(len(entry.get("fingerprint", "")) == 32 for entry in keys)
        if fits and len(set(names)) == len(names) and fields.get("time") != "yesterday":
            self.in_force = names


def generate_signed(seed: int, length: int = 150) -> Log:
    """Return the signed log of a seed."""
    return SignedGenerator(seed).run(length)
