"""Servers that several files of the integration suite share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.secured import Secured, secured


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The secured Kafka and Redis, with the documented users."""
    if "GROUNDSWELL_KAFKA_JARS" not in os.environ:
        pytest.skip("GROUNDSWELL_KAFKA_JARS is not set: `source .ci/bring` brings what this needs, and sets it")
    with secured(tmp_path_factory.mktemp("secured")) as made:
        made.administer("kafka users")
        yield made
