"""What a record key of the configuration topic names."""

from __future__ import annotations

import pytest

from stream.agents.configuration import content_of
from stream.records import CONTENT_KINDS, ContentId

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize("kind", CONTENT_KINDS)
def test_key_of_a_content_names_it_again(kind: str) -> None:
    content = ContentId(kind, "get-out_the-vote2", HASH)
    assert content_of(content.key().encode()) == content


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"model",
        f"model/support/{HASH[:-1]}".encode(),
        f"model/support/{HASH.upper()}".encode(),
        f"model/support/{HASH}\n".encode(),
        f"models/support/{HASH}".encode(),
        f"model/Support/{HASH}".encode(),
        f"model/{'x' * 65}/{HASH}".encode(),
        f"model//{HASH}".encode(),
        b"\xff\xfe/support/" + HASH.encode(),
    ],
)
def test_any_other_key_names_nothing(key: bytes | None) -> None:
    assert content_of(key) is None
