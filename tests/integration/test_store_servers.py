"""The Redis store against servers that fail over, fill up, hang, die, move slots, and ask who is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from redis.crc import key_slot

from stream.errors import CommitRefusedError, CommitUnknownError, StoreFailedError, StoreUnavailableError
from stream.records import Commit, Header, OutboxRow, Records
from stream.spans import Spans
from stream.stores.endpoint import RedisEndpoint
from stream.stores.fitness import check_server
from stream.stores.redis import RedisStore
from stream.stores.wire import Session
from tests.integration.redis_servers import RedisProcess, ask, free_ports, needs_redis_server
from tests.integration.secured import run_block

pytestmark = needs_redis_server

_PREFIX = "{3}:"
_FRESH = Header("topic", 8, "", start=100, offset=100)


def _step(header: Header, offset: int, size: int = 1) -> Commit:
    records = Records.of([(b"voter-%d" % n, b"x" * 768) for n in range(size)])
    row = OutboxRow(offset - 100, 3, b"voter-0", b"value")
    return Commit(header.offset, replace(header, offset=offset), records, {"triggers": [row]})


async def test_replica_refuses_and_the_same_commit_goes_through_after_it_is_promoted(tmp_path: Path) -> None:
    async with RedisProcess(tmp_path) as server:
        store = RedisStore(server.endpoint, _PREFIX)
        commit = _step(await store.claim("one", _FRESH), 110)
        await ask(server.endpoint, "REPLICAOF", "127.0.0.1", str(free_ports(1)[0]))
        with pytest.raises(StoreUnavailableError, match=r"READONLY|MASTERDOWN"):
            await store.commit(commit)
        findings = await check_server(server.endpoint)
        assert "error" in {finding.level for finding in findings if finding.subject.startswith("role")}
        await ask(server.endpoint, "REPLICAOF", "NO", "ONE")
        await store.commit(commit)
        assert await store.read_header() == commit.header
        await store.close()


async def test_full_memory_stops_and_writes_nothing(tmp_path: Path) -> None:
    async with RedisProcess(tmp_path, "--maxmemory-policy", "noeviction") as server:
        store = RedisStore(server.endpoint, _PREFIX)
        header = await store.claim("one", _FRESH)
        await ask(server.endpoint, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFailedError, match=r"OOM.*maxmemory"):
            await store.commit(_step(header, 110))
        assert await store.read_header() == header
        assert await store.outbox("triggers", 0, 10) == []
        await store.close()


async def test_too_few_replicas_is_waited_for(tmp_path: Path) -> None:
    async with RedisProcess(tmp_path) as server:
        store = RedisStore(server.endpoint, _PREFIX)
        commit = _step(await store.claim("one", _FRESH), 110)
        await ask(server.endpoint, "CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(StoreUnavailableError, match="NOREPLICAS"):
            await store.commit(commit)
        await ask(server.endpoint, "CONFIG", "SET", "min-replicas-to-write", "0")
        await store.commit(commit)
        await store.close()


async def test_server_killed_and_started_again_is_met_by_a_new_connection(tmp_path: Path) -> None:
    endpoint = RedisEndpoint(port=free_ports(1)[0])
    store = RedisStore(endpoint, _PREFIX)
    append_only = ("--appendonly", "yes", "--appendfsync", "always")
    async with RedisProcess(tmp_path, *append_only, endpoint=endpoint):
        first = _step(await store.claim("one", _FRESH), 110)
        await store.commit(first)
    second = _step(first.header, 120)
    # The idle connection broke under the store, whose look went along with the first commit.
    with pytest.raises(CommitUnknownError):
        await store.commit(second)
    async with RedisProcess(tmp_path, *append_only, endpoint=endpoint):
        await store.commit(second)
        assert await store.read_header() == second.header
        assert len(await store.outbox("triggers", 0, 10)) == 2
        await store.close()


async def test_hanging_server_leaves_the_commit_unavailable_and_then_takes_it_once(tmp_path: Path) -> None:
    endpoint = RedisEndpoint(port=free_ports(1)[0], answer_timeout_seconds=0.3, connect_timeout_seconds=0.3)
    async with RedisProcess(tmp_path, endpoint=endpoint) as server:
        assert server.process is not None
        store = RedisStore(endpoint, _PREFIX)
        commit = _step(await store.claim("one", _FRESH), 110)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailableError):
                await store.commit(commit)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        await store.commit(commit)
        assert await store.read_header() == commit.header
        await store.close()


class _StoppedBeforeExec(RedisStore):
    """Stops the server once, between the WATCH and the EXEC of a commit that erases."""

    server_pid = 0

    async def _withdrawals(self, session: Session, erased: frozenset[str]) -> list[bytes]:
        commands = await super()._withdrawals(session, erased)
        if self.server_pid:
            os.kill(self.server_pid, signal.SIGSTOP)
        return commands


async def test_commit_executed_after_its_caller_gave_up_is_never_applied_beside_its_repetition(tmp_path: Path) -> None:
    endpoint = RedisEndpoint(port=free_ports(1)[0], answer_timeout_seconds=0.2, connect_timeout_seconds=0.2)
    async with RedisProcess(tmp_path, endpoint=endpoint) as server:
        assert server.process is not None
        store = _StoppedBeforeExec(endpoint, _PREFIX)
        header = await store.claim("one", _FRESH)
        for offset in range(110, 200, 10):
            commit = replace(_step(header, offset), erased=frozenset({"voter-0"}))
            store.server_pid = server.process.pid
            try:
                with pytest.raises(CommitUnknownError):
                    await store.commit(commit)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            store.server_pid = 0
            if await _settled(store) == header.offset:
                # The first one is still in the server's buffer, or lost: whichever is executed first bars the other.
                with suppress(CommitRefusedError):
                    await store.commit(commit)
            assert await store.read_header() == commit.header
            header = commit.header
        assert [row.sequence for row in await store.outbox("triggers", 0, 100)] == list(range(10, 100, 10))
        await store.close()


async def test_commits_under_a_server_that_drops_its_clients_are_never_lost_nor_doubled(tmp_path: Path) -> None:
    async with RedisProcess(tmp_path) as server:
        store = RedisStore(server.endpoint, _PREFIX)
        header = await store.claim("one", _FRESH)
        troubles = 0
        stop = asyncio.Event()

        async def drop_clients() -> None:
            while not stop.is_set():
                await ask(server.endpoint, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await asyncio.sleep(0.002)

        dropper = asyncio.create_task(drop_clients())
        for offset in range(101, 301):
            commit = _step(header, offset, 200)
            while True:
                try:
                    await store.commit(commit)
                except StoreUnavailableError:
                    troubles += 1
                    continue
                except CommitUnknownError:
                    troubles += 1
                    if await _settled(store) == header.offset:
                        continue
                header = commit.header
                break
        stop.set()
        await dropper
        assert troubles
        assert await _settled(store) == 300
        assert [row.sequence for row in await store.outbox("triggers", 0, 1000)] == list(range(1, 201))
        await store.close()


async def _settled(store: RedisStore) -> int:
    while True:
        try:
            header = await store.read_header()
        except StoreUnavailableError:
            continue
        assert header is not None
        return header.offset


async def test_acl_user_of_the_documented_permissions_can_do_everything(tmp_path: Path) -> None:
    async with RedisProcess(tmp_path) as server:
        for role in ("worker", "operator"):
            (tmp_path / role).write_text("secret\n")
        arguments = f"-p {server.endpoint.port}"
        run_block("redis acls", {"NAMESPACE": "", "PASSWORDS": str(tmp_path), "REDIS_CLI_ARGUMENTS": arguments})
        await ask(server.endpoint, "ACL", "SETUSER", "default", "off")
        endpoint = replace(server.endpoint, username="worker", password="secret")  # noqa: S106
        store = RedisStore(endpoint, _PREFIX)
        commit = replace(_step(await store.claim("one", _FRESH), 110), erased=frozenset({"voter-0"}))
        await store.commit(commit)
        await store.trim("triggers", 10)
        assert await check_server(endpoint)
        await store.close()
        for wrong in (server.endpoint, replace(endpoint, password="wrong")):  # noqa: S106
            with pytest.raises(StoreFailedError, match=r"NOAUTH.*credentials"):
                await RedisStore(wrong, _PREFIX).read_header()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_tls_is_spoken_and_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words, *names], check=True, capture_output=True)
    options = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    endpoint = RedisEndpoint(port=free_ports(1)[0], tls=True, tls_ca_file=certificate)
    async with RedisProcess(tmp_path, *options, "--tls-auth-clients", "no", endpoint=endpoint):
        store = RedisStore(endpoint, _PREFIX)
        commit = _step(await store.claim("one", _FRESH), 110, 3000)
        await store.commit(commit)
        assert await store.load(Spans.of_texts(["voter-2999"])) == [b"x" * 768]
        await store.close()
        with pytest.raises(StoreFailedError, match="certificate"):
            await RedisStore(replace(endpoint, tls_ca_file=None), _PREFIX).read_header()


async def test_cluster_commit_follows_its_slot_from_node_to_node(tmp_path: Path) -> None:
    slot = str(key_slot(_PREFIX.encode()))
    async with AsyncExitStack() as stack:
        nodes = await _cluster(stack, tmp_path)
        owner = [await _serves(node, slot) for node in nodes].index(True)
        old, new = nodes[owner], nodes[(owner + 1) % 3]
        # Known to the store is only the node that never has the slot.
        store = RedisStore(nodes[(owner + 2) % 3], _PREFIX)
        first = _step(await store.claim("one", _FRESH), 110, 10)
        await store.commit(first)
        ids = [(await ask(node, "CLUSTER", "MYID")).decode() for node in (old, new)]
        await ask(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        await ask(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        await ask(old, "MIGRATE", new.host, str(new.port), "{3}:v:voter-0", "0", "5000")
        second = _step(first.header, 120, 10)
        with pytest.raises(StoreUnavailableError, match=r"TRYAGAIN|ASK"):
            await store.commit(second)
        while keys := await ask(old, "CLUSTER", "GETKEYSINSLOT", slot, "1000"):
            await ask(old, "MIGRATE", new.host, str(new.port), "", "0", "5000", "KEYS", *keys)
        for node in (new, old):
            await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        outcomes = []
        for _ in range(200):
            try:
                await store.commit(second)
            except StoreUnavailableError as error:
                outcomes.append(str(error))
                await asyncio.sleep(0.02)
            else:
                break
        assert all("MOVED" in outcome for outcome in outcomes)
        assert await store.read_header() == second.header
        assert await store.load(Spans.of_texts(["voter-0", "voter-9"])) == [b"x" * 768] * 2
        assert [row.sequence for row in await store.outbox("triggers", 0, 10)] == [10, 20]
        assert {finding.level for finding in await check_server(nodes[0])} == {"ok", "warning"}
        await store.close()


async def test_open_connection_to_the_old_node_of_a_moved_slot_is_left(tmp_path: Path) -> None:
    slot = str(key_slot(_PREFIX.encode()))
    async with AsyncExitStack() as stack:
        nodes = await _cluster(stack, tmp_path)
        owner = [await _serves(node, slot) for node in nodes].index(True)
        store = RedisStore(nodes[0], _PREFIX)
        assert await store.load(Spans.of_texts(["nobody"])) == [None]
        identity = (await ask(nodes[(owner + 1) % 3], "CLUSTER", "MYID")).decode()
        for node in (nodes[(owner + 1) % 3], nodes[owner], nodes[(owner + 2) % 3]):
            await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", identity)
        with pytest.raises(StoreUnavailableError, match="MOVED"):
            await store.load(Spans.of_texts(["nobody"]))
        assert await store.load(Spans.of_texts(["nobody"])) == [None]
        await store.close()


async def _cluster(stack: AsyncExitStack, directory: Path) -> list[RedisEndpoint]:
    """Start three primaries, a third of the slots each, and wait until they agree."""
    buses = free_ports(3)
    nodes: list[RedisEndpoint] = []
    for number, (port, bus) in enumerate(zip(free_ports(3), buses, strict=True)):
        options = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
        plain = RedisProcess(directory / str(number), *options, endpoint=RedisEndpoint(port=port))
        nodes.append((await stack.enter_async_context(plain)).endpoint)
    for node, (first, last) in zip(nodes, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True):
        await ask(node, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        await ask(nodes[0], "CLUSTER", "MEET", node.host, str(node.port), str(buses[nodes.index(node)]))
    for _ in range(400):
        states = [await ask(node, "CLUSTER", "INFO") for node in nodes]
        if all(b"cluster_state:ok" in state and b"cluster_known_nodes:3" in state for state in states):
            return [replace(node, cluster=True) for node in nodes]
        await asyncio.sleep(0.05)
    raise AssertionError(states)


async def _serves(node: RedisEndpoint, slot: str) -> bool:
    ranges = await ask(node, "CLUSTER", "SLOTS")
    return any(first <= int(slot) <= last and primary[1] == node.port for first, last, primary, *_ in ranges)
