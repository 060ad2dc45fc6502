"""What is said of a Redis server."""

from __future__ import annotations

import pytest

from stream.errors import StoreFailedError, StoreUnavailableError
from stream.stores.endpoint import RedisEndpoint
from stream.stores.fitness import check_server, judge
from tests.unit.stores.resp import FakeRedis, bulk

_FIT = {"redis_version": "7.4.1", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": "1"}


def _levels(**changes: str) -> dict[str, str]:
    findings = judge("node:1", _FIT | changes)
    assert all((finding.level == "ok") == (not finding.remedy) for finding in findings)
    return {finding.subject.partition(" ")[0]: finding.level for finding in findings if finding.level != "ok"}


def test_fit_server_has_nothing_to_mend() -> None:
    assert _levels() == {}


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"redis_version": "6.2.14"}, {"version": "error"}),
        ({"redis_version": ""}, {"version": "error"}),
        ({"valkey_version": "7.2.9"}, {"version": "error"}),
        ({"valkey_version": "8.0.0", "redis_version": "7.2.4"}, {}),
        ({"role": "slave"}, {"role": "error"}),
        ({"maxmemory_policy": "allkeys-lru"}, {"maxmemory-policy": "error"}),
        ({"maxmemory_policy": "volatile-ttl"}, {"maxmemory-policy": "error"}),
        ({"aof_enabled": "0"}, {"append-only": "warning"}),
    ],
)
def test_each_unfit_setting_is_named(changes: dict[str, str], level: dict[str, str]) -> None:
    assert _levels(**changes) == level


@pytest.mark.parametrize(
    ("enabled", "setting", "level"), [("1", False, "error"), ("0", True, "error"), ("0", False, "ok")]
)
async def test_cluster_setting_must_be_the_servers(enabled: str, setting: bool, level: str) -> None:
    lines = [f"{name}:{value}" for name, value in (_FIT | {"cluster_enabled": enabled}).items()]
    async with FakeRedis({"INFO": bulk("\r\n".join(["# Server", *lines, ""]).encode())}) as fake:
        findings = await check_server(RedisEndpoint(port=fake.port, cluster=setting))
    assert [finding.level for finding in findings] == [level, "ok", "ok", "ok", "ok"]


async def test_server_that_refuses_to_tell_is_an_error_with_its_code() -> None:
    async with FakeRedis({"INFO": b"-NOPERM this user has no permissions to run the 'info' command\r\n"}) as fake:
        with pytest.raises(StoreFailedError, match="answered NOPERM"):
            await check_server(RedisEndpoint(port=fake.port))


async def test_server_that_is_not_there_is_unavailable() -> None:
    async with FakeRedis() as fake:
        pass
    with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{fake.port} cannot be reached"):
        await check_server(RedisEndpoint(port=fake.port))
