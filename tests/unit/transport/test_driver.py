"""The transport as Faust finds it, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
import pytest
from faust import transport as faust_transports
from faust.types import TP

from stream.errors import ConfigurationError
from stream.transport import FAUST_SETTINGS, BatchHooks, thread
from stream.transport.driver import Transport
from stream.transport.hooks import hooks_of


def test_faust_finds_the_transport_by_its_scheme() -> None:
    assert faust_transports.by_url("batches://127.0.0.1:9092") is Transport


def test_app_without_hooks_is_refused_with_what_it_has() -> None:
    app = faust.App("without-hooks")
    with pytest.raises(ConfigurationError, match="'batch_hooks' is None"):
        hooks_of(app)


SECURITY = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "worker"}


async def nothing(_: frozenset[TP]) -> Any:
    return {}


@pytest.fixture
async def app_of() -> AsyncIterator[Callable[..., Any]]:
    """Apps that are never started; the loop of a consumer's thread is closed in its place."""
    apps: list[Any] = []

    def make(**hooks: Any) -> Any:
        app: Any = faust.App(
            "app", broker="batches://one:1;batches://two:2", loop=asyncio.get_running_loop(), **FAUST_SETTINGS
        )
        app.batch_hooks = BatchHooks(positions=nothing, revoked=nothing, failed=lambda _: None, **hooks)
        apps.append(app)
        return app

    yield make
    for app in apps:
        if app._consumer is not None:
            app._consumer._thread.thread_loop.close()


async def test_hooks_and_faust_settings_reach_the_consumer(
    monkeypatch: pytest.MonkeyPatch, app_of: Callable[..., Any]
) -> None:
    monkeypatch.setattr(thread, "AIOKafkaConsumer", dict)
    app = app_of(security=SECURITY, max_records=7, fetch_max_wait_ms=9, fetch_max_bytes=11)
    options = app.consumer._thread._create_worker_consumer(app.transport)
    assert {name: options[name] for name in SECURITY} == SECURITY
    assert (options["max_poll_records"], options["fetch_max_wait_ms"]) == (7, 9)
    assert options["max_partition_fetch_bytes"] == 11
    assert options["bootstrap_servers"] == ["one:1", "two:2"]
    assert (options["group_id"], options["enable_auto_commit"]) == ("app", False)
    assert (options["isolation_level"], options["auto_offset_reset"]) == ("read_committed", "none")


async def test_security_reaches_fausts_producer(app_of: Callable[..., Any]) -> None:
    assert app_of(security=SECURITY).producer._settings_auth() == SECURITY


async def test_faust_commits_and_tracks_nothing(app_of: Callable[..., Any]) -> None:
    consumer = app_of().consumer
    message = type("Message", (), {"acked": False})()
    consumer.track_message(message)
    assert (consumer.ack(message), message.acked) == (False, True)
    assert not consumer.unacked
    assert await consumer.commit() is False
