"""Keyrings, fingerprints and signatures, against plain Python's HMAC."""

from __future__ import annotations

import pytest

from stream.errors import ConfigurationError, StateMismatchError
from stream.records import Header
from stream.signatures import Keyring, Signer, check_signature, fingerprint, require_keyring, root_of
from tests.oracle_events import fingerprint_of
from tests.signed_logs import SECRETS, sign

TOPIC = "engagement.events"
LINES = "# the first\nfirst:" + "a" * 32 + "\n\n  second:" + "b:" * 20 + "\n"


def test_keyring_is_read_in_order_and_its_first_key_is_the_root() -> None:
    keyring = Keyring.parse(LINES)
    assert keyring.ids == ["first", "second"]
    assert keyring.root == root_of(keyring) == [["first", fingerprint_of(b"a" * 32)]]
    assert keyring.named(["second"]) == [["second", fingerprint(b"b:" * 20)]]
    assert root_of(None) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("# none\n", "holds no key"),
        ("first", "line 1 of the keyring has no colon"),
        ("first:" + "s" * 31, "is 31 bytes long, expected 32 or more"),
        ("First:" + "s" * 32, "key id 'First', expected 1 to 32 characters"),
        (":" + "s" * 32, "key id '', expected"),
        (f"a:{'s' * 32}\na:{'s' * 33}", "line 2 of the keyring names key 'a' a second time"),
    ],
)
def test_unusable_keyring_is_refused_without_telling_a_secret(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Keyring.parse(text)
    assert says in str(caught.value)
    assert "sss" not in str(caught.value)


def test_secrets_are_never_shown() -> None:
    keyring = Keyring.parse(LINES)
    assert "aaa" not in repr(keyring)
    with pytest.raises(ConfigurationError, match=r"no key 'third', only first, second"):
        keyring.named(["third"])


@pytest.mark.parametrize("origin", [None, (5, 77)])
@pytest.mark.parametrize(("key", "value"), [(None, b"v"), (b"", b""), (b"k", None), (b"k:1", b"\x00\xff")])
def test_signature_is_plain_pythons(key: bytes | None, value: bytes | None, origin: tuple[int, int] | None) -> None:
    keyring = Keyring(SECRETS)
    headers = [] if origin is None else [("groundswell-origin", b"5:77")]
    signer = Signer(keyring, TOPIC, lambda: 17)
    header = signer.sign(keyring.named(["first", "second"]), 3, key, value, origin)
    assert header == sign(3, key, value, headers, name="second", counter=17)
    keys = keyring.named(["second"])
    assert check_signature(keyring, keys, header[1], TOPIC, 3, key, value, origin) == 17
    assert check_signature(keyring, keyring.root, header[1], TOPIC, 3, key, value, origin) == 0


def test_parts_cannot_flow_into_each_other() -> None:
    keyring = Keyring(SECRETS)
    header = Signer(keyring, TOPIC, lambda: 1).sign(keyring.root, 3, b"ab", b"c")
    assert check_signature(keyring, keyring.root, header[1], TOPIC, 3, b"a", b"bc", None) == 0
    assert check_signature(keyring, keyring.root, header[1], TOPIC, 3, b"abc", b"", None) == 0


def test_counters_grow_though_the_clock_stands_or_goes_back() -> None:
    keyring = Keyring(SECRETS)
    readings = iter([10, 10, 3, 50, 51])
    signer = Signer(keyring, TOPIC, lambda: next(readings))
    counters = [int(signer.sign(keyring.root, 0, None, b"")[1].split(b":")[1]) for _ in range(4)]
    assert counters == [10, 11, 12, 50]
    assert signer.sign(keyring.root, 0, None, b"", above=99)[1].startswith(b"first:100:")


def test_signing_with_a_key_that_is_not_there_names_it() -> None:
    signer = Signer(Keyring({"first": SECRETS["first"]}), TOPIC, lambda: 1)
    with pytest.raises(StateMismatchError, match=r"partition 2: key 'second' .* holds no such key"):
        signer.sign(Keyring(SECRETS).named(["first", "second"]), 2, None, b"")


def test_keyring_must_fit_the_state() -> None:
    keyring = Keyring(SECRETS)
    unsigned = Header("topic", 1, "", 0, 0)
    signed = Header.fresh("topic", 1, "", 0, keyring.root)
    require_keyring(unsigned, None, "here")
    require_keyring(signed, keyring, "here")
    with pytest.raises(StateMismatchError, match="here began without a keyring"):
        require_keyring(unsigned, keyring, "here")
    with pytest.raises(StateMismatchError, match="signed by key 'first' only, and no keyring is set"):
        require_keyring(signed, None, "here")
    with pytest.raises(StateMismatchError, match=r"key 'first' .* holds another secret under it"):
        require_keyring(signed, Keyring({"first": SECRETS["second"]}), "here")
    rotated = Header.fresh("topic", 1, "", 0, keyring.root)
    rotated.keys = keyring.named(["second"])
    require_keyring(rotated, Keyring({"second": SECRETS["second"]}), "here")
    with pytest.raises(StateMismatchError, match=r"key 'second' .* holds no such key"):
        require_keyring(rotated, Keyring({"first": SECRETS["first"]}), "here")
    with pytest.raises(StateMismatchError, match=r"key 'first' .* holds another secret"):
        require_keyring(rotated, Keyring({"first": b"x" * 32, "second": SECRETS["second"]}), "here")


def test_signed_header_comes_back_from_its_bytes_and_an_older_one_is_unsigned() -> None:
    header = Header.fresh("topic", 1, "", 0, Keyring(SECRETS).root)
    header.counters = {"keys.rotated": 1_795_555_555_000_000_000}
    assert Header.from_bytes(header.to_bytes()) == header
    header.keys.append(["second", "0" * 32])
    assert len(header.root) == 1
    older = b'{"topic_id":"t","partition_count":1,"owner":"","start":0,"offset":5}'
    assert (Header.from_bytes(older).root, Header.from_bytes(older).keys) == ([], [])
