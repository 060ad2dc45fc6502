"""``groundswell check``: whether all that a worker needs is fit, on one screen, and how to mend what is not."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.agents.closing import discard
from stream.agents.fence import Fence, FenceUnsupportedError
from stream.commands import keys, topics
from stream.commands.broker import administration
from stream.commands.contents import read_contents
from stream.commands.headers import read_headers
from stream.continuity import foreign, misfit
from stream.errors import GroundswellError, KafkaUnavailableError
from stream.partitioning import partitions_of
from stream.records import Header
from stream.settings import Settings
from stream.signatures import require_keyring
from stream.stores.fitness import Finding, check_server
from stream.stores.redis import RedisStore

VERDICTS: Final = {"ok": "fit", "note": "note", "warning": "warning", "error": "unfit"}
_STYLES: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}
_FENCE_SECONDS: Final = 15.0


def check(settings: Settings) -> dict[str, list[Finding]]:
    """Look at everything a worker needs, and return what was found by area. Changes nothing anywhere."""
    found = {
        "configuration": _settings_of(settings)
        + _safely("models and campaigns", lambda: _configuration(settings))
        + _safely("control records", lambda: keys.findings(settings)),
        "Kafka": _safely(f"Kafka at {settings.kafka.bootstrap_servers}", lambda: _kafka(settings)),
    }
    if all(finding.level != "error" for finding in found["Kafka"]):
        found["Kafka"] += _safely("fence", lambda: [asyncio.run(_fence(settings))])
        found["topics"] = _safely("topics", lambda: topics.inspect(settings))
    address = settings.redis.url.rpartition("@")[2]
    redis = _safely(f"Redis at {address}", lambda: asyncio.run(check_server(settings.redis.endpoint())))
    found["Redis"] = redis
    if "topics" in found and all(finding.level != "error" for finding in [*redis, *found["topics"]]):
        found["state"] = _safely("state", lambda: _state(settings))
    found["kernels"] = [_kernels(Path(partitions_of.stats.cache_path))]  # type: ignore[attr-defined]
    return found


def is_fit(found: dict[str, list[Finding]]) -> bool:
    """Return whether nothing found keeps a worker from running."""
    return all(finding.level != "error" for findings in found.values() for finding in findings)


def show(found: dict[str, list[Finding]], console: Console) -> None:
    """Print what was found as a table, and below it how to mend what is not fit, in lines that can be copied."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in (finding for findings in found.values() for finding in findings):
        verdict = Text(VERDICTS[finding.level], style=_STYLES[finding.level])
        table.add_row(verdict, Text(finding.subject), Text(finding.found))
    console.print(table)
    for finding in (finding for findings in found.values() for finding in findings):
        if finding.remedy:
            text = Text(f"{finding.subject}: {finding.remedy}", style=_STYLES[finding.level])
            console.print(text, soft_wrap=True)
    console.print("fit for a worker" if is_fit(found) else "not fit for a worker")


def _safely(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what ``look`` finds, or its error as a finding."""
    try:
        return look()
    except GroundswellError as error:
        return [Finding(subject, "error", str(error))]


def _settings_of(settings: Settings) -> list[Finding]:
    file = "defaults, environment and flags alone" if settings.file is None else str(settings.file)
    namespace = f"namespace {settings.namespace!r}" if settings.namespace else "no namespace"
    return [Finding("settings", "ok", f"{file}, {namespace}")]


def _configuration(settings: Settings) -> list[Finding]:
    counts = Counter(content.identity.kind for content in read_contents(settings.configuration))
    found = f"{counts['model']} models and {counts['campaign']} campaigns in {settings.configuration}"
    if counts["model"]:
        return [Finding("models and campaigns", "ok", found)]
    return [Finding("models and campaigns", "warning", found, "without a model nothing is scored, and nothing fires")]


def _kafka(settings: Settings) -> list[Finding]:
    with administration(settings, "looking at the cluster") as admin:
        cluster = admin.describe_cluster()
        brokers = cluster["brokers"]
        version = admin.get_broker_version_data(brokers[0]["broker_id"]).broker_version
    found = f"cluster {cluster['cluster_id']}, brokers: {len(brokers)}, protocol of {'.'.join(map(str, version))}"
    return [Finding(f"Kafka at {settings.kafka.bootstrap_servers}", "ok", found)]


async def _fence(settings: Settings) -> Finding:
    """Ask for a producer id under a transactional id of this command's own."""
    producer = AIOKafkaProducer(**settings.kafka.aiokafka(), enable_idempotence=True)
    fence = Fence(producer, settings.transactional_id("check", 0), settings.topic("triggers"), 0)
    try:
        async with asyncio.timeout(_FENCE_SECONDS):
            await fence.probe()
    except FenceUnsupportedError:
        found = "this broker keeps no earlier owner from writing"
        return Finding("fence", "note", found, "run one worker only (on the embedded broker there is nothing to mend)")
    except (KafkaError, OSError, TimeoutError) as error:
        message = f"Kafka gave no producer id for {settings.transactional_id('check', 0)!r}: {error!r}"
        raise KafkaUnavailableError(message) from error
    finally:
        await discard(producer)
    return Finding("fence", "ok", "earlier owners of a partition cannot write any more")


def _state(settings: Settings) -> list[Finding]:
    topic = topics.facts(settings, bounded=True)
    headers = asyncio.run(read_headers(settings, topic.partition_count, RedisStore.read_header))
    problems = [problem for header in headers.items() for problem in _misfits(topic, *header)]
    problems += [problem for header in headers.items() for problem in _keys(settings, *header)]
    present = sum(header is not None for header in headers.values())
    return problems or [Finding("state", "ok", f"{present} of {topic.partition_count} partitions have state")]


def _misfits(topic: topics.TopicFacts, number: int, header: Header | None) -> Iterator[Finding]:
    """Give what keeps a worker from going on with a partition's state."""
    log = topic.log(number)
    subject = f"state of partition {number}"
    if header is None:
        if log.begin > 0:
            remedy = (
                f"groundswell init --from {log.begin} --partition {number}, for a new start; groundswell restore, if "
            )
            remedy += "state was lost and there is a snapshot"
            yield Finding(subject, "error", f"none, and the log begins at offset {log.begin}, not 0", remedy)
    elif header.restoring and not foreign(header, log):
        found = "a restoration is under way, or was cut off"
        yield Finding(subject, "error", found, "wait for groundswell restore to end, or run it (again)")
    elif unfit := misfit(header, log):
        yield Finding(subject, "error", unfit.found, unfit.mend)


def _keys(settings: Settings, number: int, header: Header | None) -> Iterator[Finding]:
    """Give what keeps a worker from checking a partition's control records with this keyring."""
    try:
        if header is not None:
            require_keyring(header, settings.keyring(), f"partition {number}")
    except GroundswellError as error:
        yield Finding(f"keys of partition {number}", "error", str(error))


def _kernels(directory: Path) -> Finding:
    """Say whether compiled kernels are kept in Numba's directory for them."""
    kept = sum(1 for _ in directory.glob("*.nbi")) if directory.is_dir() else 0
    if kept:
        return Finding("compiled kernels", "ok", f"kept in {directory}")
    if _is_writable(directory):
        return Finding("compiled kernels", "note", f"none in {directory} yet: a first start takes some seconds more")
    remedy = "set NUMBA_CACHE_DIR to a directory that a worker may write"
    return Finding("compiled kernels", "warning", f"{directory} cannot be written: every start compiles anew", remedy)


def _is_writable(directory: Path) -> bool:
    existing: Sequence[Path] = [path for path in (directory, *directory.parents) if path.exists()]
    return bool(existing) and os.access(existing[0], os.W_OK)
