"""The transport as Faust finds it, and what it refuses."""

from __future__ import annotations

import faust
import pytest
from faust import transport as faust_transports
from faust.types import TP

from stream.errors import ConfigurationError
from stream.transport.driver import Transport, _NoOffsets
from stream.transport.hooks import hooks_of


def test_faust_finds_the_transport_by_its_scheme() -> None:
    assert faust_transports.by_url("batches://127.0.0.1:9092") is Transport


def test_app_without_hooks_is_refused_with_what_it_has() -> None:
    app = faust.App("without-hooks")
    with pytest.raises(ConfigurationError, match="'batch_hooks' is None"):
        hooks_of(app)


def test_faust_can_never_learn_a_floor_of_offsets() -> None:
    offsets, tp = _NoOffsets(), TP("events", 0)
    offsets[tp] = 5
    offsets.update({tp: 6})
    assert offsets[tp] is None
    assert offsets.pop(tp, None) is None
