"""Two commands that change what is active at the same moment: one stands, the other says that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream.commands import models, topics
from stream.commands.activating import changing, last_activation, now_ms, read_library
from stream.commands.config import apply
from stream.commands.contents import read_content
from stream.commands.roles import tried, version_in
from stream.errors import ConfigurationError
from stream.settings import Settings
from stream.versions import ACTIVE, CANARY, SHADOW, ModelVersion
from tests.integration.deployments import MODEL, deployment, read, servers


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    given = servers()
    if given is None:
        pytest.skip("GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set")
    with deployment(*given, tmp_path) as settings:
        topics.create(settings)
        apply(settings)
        yield settings


def version(tmp_path: Path, bias: float) -> Path:
    file = tmp_path / f"eager-{bias}.json"
    file.write_bytes(orjson.dumps(orjson.loads(MODEL) | {"bias": bias}))
    return file


def roles_of(settings: Settings) -> dict[str, str | None]:
    activation = last_activation(settings, read_library(settings))
    return {role: version_in(activation, "eager", role) for role in (ACTIVE, SHADOW, CANARY)}


def test_change_that_began_before_another_was_written_is_not_written(settings: Settings, tmp_path: Path) -> None:
    before = roles_of(settings)
    shadow, canary = (read_content("model", version(tmp_path, bias)) for bias in (0.25, 0.5))
    with changing(settings, "making a shadow") as change:
        models.try_out(settings, "eager", None, canary.file, 0.1)
        trial = ModelVersion("eager", shadow.identity.sha256, SHADOW, since_ms=now_ms())
        with pytest.raises(ConfigurationError, match="another command came between while making a shadow"):
            change.write(tried(change.before, trial), [shadow])
    assert roles_of(settings) == {**before, CANARY: canary.identity.sha256}
    assert [len(read(settings, "events", partition)) for partition in range(3)] == [2, 2, 2]
    assert shadow.identity not in read_library(settings).identities
    models.try_out(settings, "eager", None, shadow.file, None)
    assert roles_of(settings) == {**before, CANARY: canary.identity.sha256, SHADOW: shadow.identity.sha256}
    models.try_out(settings, "eager", None, None, 0.2)
    assert roles_of(settings) == {**before, CANARY: shadow.identity.sha256}
    for given in (None, None, None), (shadow.identity.sha256, shadow.file, 0.2):
        with pytest.raises(ConfigurationError, match="give a version by --version, or a model file"):
            models.try_out(settings, "eager", *given)


def test_change_that_was_begun_and_given_up_breaks_off_the_one_before_it(settings: Settings, tmp_path: Path) -> None:
    """Whether it would have written is not known when the first one asks."""
    before = roles_of(settings)
    shadow = read_content("model", version(tmp_path, 0.25))
    with changing(settings, "making a shadow") as change:
        with changing(settings, "looking"):
            pass
        trial = ModelVersion("eager", shadow.identity.sha256, SHADOW)
        with pytest.raises(ConfigurationError, match="and run this one again"):
            change.write(tried(change.before, trial), [shadow])
    assert roles_of(settings) == before


def test_changes_one_after_the_other_each_rest_on_the_one_before(settings: Settings, tmp_path: Path) -> None:
    before = roles_of(settings)
    for bias in (0.25, 0.5, 0.75):
        models.try_out(settings, "eager", None, version(tmp_path, bias), None)
        models.activate(settings, "eager")
    models.roll_back(settings, "eager")
    assert roles_of(settings) == {
        ACTIVE: read_content("model", version(tmp_path, 0.5)).identity.sha256,
        SHADOW: None,
        CANARY: None,
    }
    assert before[ACTIVE] != roles_of(settings)[ACTIVE]
