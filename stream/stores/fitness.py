"""Whether a Redis server is fit to keep state: version, eviction, append-only file, role, cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import RedisError

from stream.stores.answers import text
from stream.stores.endpoint import RedisEndpoint
from stream.stores.outcomes import nothing_changed
from stream.stores.route import cluster_slots, connected
from stream.stores.wire import Session, first_error, pack

OLDEST_REDIS = 7
OLDEST_VALKEY = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What was looked at, and on which node."""
    level: str
    """``ok``; ``warning``: works, and loses something; ``error``: a worker must not run on it."""
    found: str
    remedy: str = ""
    """What to do about it; empty where all is well."""


async def check_server(endpoint: RedisEndpoint) -> list[Finding]:
    """Look at the server, or at every primary of the cluster, and return what was found.

    Raises StoreUnavailableError or StoreFailedError where it cannot be asked.
    """
    first = await _information(endpoint)
    findings = [_cluster_finding(endpoint, first)]
    nodes = [endpoint]
    if endpoint.cluster and findings[0].level == "ok":
        nodes = list(dict.fromkeys(node for _, _, node in await cluster_slots(endpoint)))
    for node in nodes:
        findings += judge(node.address, await _information(node))
    return findings


def judge(address: str, information: Mapping[str, str]) -> list[Finding]:
    """Return what ``information``, the fields of INFO by name, says of the node at ``address``."""
    return [
        _version_finding(address, information),
        _role_finding(address, information),
        _eviction_finding(address, information),
        _persistence_finding(address, information),
    ]


async def _information(node: RedisEndpoint) -> dict[str, str]:
    connection = await connected(node)
    try:
        answers = await Session(connection, node.answer_timeout_seconds).ask(pack(b"INFO"), 1)
    except (RedisError, OSError) as error:
        raise nothing_changed(error, node.address) from error
    finally:
        await connection.disconnect(nowait=True)
    refusal = first_error(answers)
    if refusal is not None:
        raise nothing_changed(refusal, node.address)
    lines = [
        line.partition(":") for line in (text(answers[0]) or b"").decode(errors="replace").splitlines() if ":" in line
    ]
    return {name: value for name, _, value in lines}


def _cluster_finding(endpoint: RedisEndpoint, information: Mapping[str, str]) -> Finding:
    enabled = information.get("cluster_enabled") == "1"
    subject = f"cluster mode of {endpoint.address}"
    if enabled == endpoint.cluster:
        return Finding(subject, "ok", "on" if enabled else "off")
    found = f"{'on' if enabled else 'off'}, but the cluster setting says {'on' if endpoint.cluster else 'off'}"
    return Finding(subject, "error", found, f"set Redis' cluster setting to {str(enabled).lower()}")


def _version_finding(address: str, information: Mapping[str, str]) -> Finding:
    subject = f"version of {address}"
    valkey = information.get("valkey_version")
    name, version, oldest = "Redis", information.get("redis_version", ""), OLDEST_REDIS
    if valkey is not None:
        name, version, oldest = "Valkey", valkey, OLDEST_VALKEY
    major = version.partition(".")[0]
    if major.isdigit() and int(major) >= oldest:
        return Finding(subject, "ok", f"{name} {version}")
    remedy = f"use Redis {OLDEST_REDIS} or later, or Valkey {OLDEST_VALKEY} or later"
    return Finding(subject, "error", f"{name} {version or 'of unknown version'}", remedy)


def _role_finding(address: str, information: Mapping[str, str]) -> Finding:
    role = information.get("role", "unknown")
    if role == "master":
        return Finding(f"role of {address}", "ok", "primary")
    return Finding(f"role of {address}", "error", role, "give the primary's address: a replica refuses writes")


def _eviction_finding(address: str, information: Mapping[str, str]) -> Finding:
    policy = information.get("maxmemory_policy", "unknown")
    subject = f"maxmemory-policy of {address}"
    if policy == "noeviction":
        return Finding(subject, "ok", policy)
    remedy = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file: others drop voters"
    return Finding(subject, "error", policy, remedy)


def _persistence_finding(address: str, information: Mapping[str, str]) -> Finding:
    subject = f"append-only file of {address}"
    if information.get("aof_enabled") == "1":
        return Finding(subject, "ok", "on")
    remedy = (
        "CONFIG SET appendonly yes, and the same in its configuration file: without it a restart of Redis goes back "
        "to its last snapshot, which the log must still reach"
    )
    return Finding(subject, "warning", "off", remedy)
