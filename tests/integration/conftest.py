"""Servers that several files of the integration suite share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from stream.embedded import EmbeddedServices
from tests.integration.deployments import CAMPAIGN, MODEL, servers
from tests.integration.secured import Secured, Site, secured


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.kafka)])
def services(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where Kafka and Redis are: embedded ones, and those that the environment names."""
    if request.param == "embedded":
        with EmbeddedServices() as embedded:
            yield embedded.bootstrap_servers, embedded.redis_url
        return
    addresses = servers()
    if addresses is None:
        pytest.skip("GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set")
    yield addresses


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The secured Kafka and Redis, with the documented users."""
    if "GROUNDSWELL_KAFKA_JARS" not in os.environ:
        pytest.skip("GROUNDSWELL_KAFKA_JARS is not set: `source .ci/bring` brings what this needs, and sets it")
    with secured(tmp_path_factory.mktemp("secured")) as made:
        made.administer("kafka users")
        yield made


@pytest.fixture(scope="session")
def site(guarded: Secured, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Topics that the operator has created under the documented permissions."""
    directory = tmp_path_factory.mktemp("secured-site")
    for folder, file, text in (("models", "eager.json", MODEL), ("campaigns", "hello.toml", CAMPAIGN)):
        (directory / folder).mkdir()
        (directory / folder / file).write_text(text)
    made = Site(guarded, f"secured-{secrets.token_hex(4)}", directory)
    guarded.administer("kafka acls", made.namespace)
    guarded.administer("redis acls", made.namespace)
    made.run("publisher", "keys", "new", "first", "--file", str(made.keys_file))
    made.run("operator", "topics", "create")
    return made
