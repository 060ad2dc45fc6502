"""What a record key of the configuration topic names, and what is ready once a content has been waited for."""

from __future__ import annotations

import hashlib
import threading

import pytest

import stream.agents.configuration as configuration_module
from stream.agents.configuration import ConfigurationLibrary, content_of
from stream.features import CompiledTaxonomy, taxonomy_of
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


@pytest.mark.parametrize(("is_threaded", "threads"), [(True, 2), (False, 0)])
async def test_taxonomies_are_compiled_in_a_thread_before_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, is_threaded: bool, threads: int
) -> None:
    seen: list[threading.Thread] = []

    def compiled(data: bytes) -> CompiledTaxonomy:
        seen.append(threading.current_thread())
        return taxonomy_of(data)

    monkeypatch.setattr(configuration_module, "taxonomy_of", compiled)
    library = ConfigurationLibrary("engagement.config", {}, is_threaded=is_threaded)
    sound, unusable = b'accounts = [{side = "own", names = ["of_this_test"]}]', b"accounts = 7"
    contents = [
        ContentId(kind, "one", hashlib.sha256(data).hexdigest())
        for kind, data in (("taxonomy", sound), ("taxonomy", unusable), ("model", sound))
    ]
    for offset, (content, data) in enumerate(zip(contents, (sound, unusable, sound), strict=True)):
        library._take(offset, content.key().encode(), data)
    taxonomy_of.cache_clear()
    assert library.models() == contents[2:]
    await library.wait_for(contents)
    assert len(seen) == threads
    assert threading.main_thread() not in seen
    taxonomy_of(sound)
    assert taxonomy_of.cache_info().hits == int(is_threaded)
