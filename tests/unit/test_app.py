"""The worker as it is built, before anything is connected."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from stream.app import Worker
from stream.settings import Settings


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_what_a_start_leaves_is_not_searched_for_garbage_again() -> None:
    settings = Settings.load(flags={"worker.garbage_objects": 12_345})
    worker = Worker(settings, "", 4)
    worker._settle_memory()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == 12_345
    assert not any(found is worker.engagement for found in gc.get_objects())
