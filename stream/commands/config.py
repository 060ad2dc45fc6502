"""``groundswell config apply`` and ``config show``: models and campaigns into the log, and what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.activation import active_contents
from stream.commands.activating import Change, changing, last_activation, now_ms, read_library
from stream.commands.contents import Content, read_contents
from stream.commands.headers import read_headers
from stream.commands.reading import ReadContents
from stream.commands.roles import applied
from stream.commands.topics import facts
from stream.errors import GroundswellError
from stream.records import ContentId
from stream.settings import Settings
from stream.stores.redis import RedisStore
from stream.versions import ModelVersion

_DOING: Final = "applying the configuration"


@dataclass(frozen=True, slots=True)
class Held:
    """One version of one content in the configuration topic."""

    identity: ContentId
    size_bytes: int
    offset: int
    active_in: tuple[int, ...] | None = None
    """Partitions whose state has it active; None where Redis was not asked."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What ``apply`` did."""

    contents: tuple[ContentId, ...]
    changes: dict[ContentId, str] = field(default_factory=dict)
    """By content, ``new``, ``changed`` or ``unchanged`` since it was last applied."""
    dropped: tuple[ContentId, ...] = ()
    """The last versions of what the topic knows and is not active from here on."""
    partitions: int = 0
    transaction: bool = True
    """False: the broker knows no transactions, so contents were written first, then the activations."""
    trials: tuple[ModelVersion, ...] = ()
    """Shadows and canaries that go on."""

    def __str__(self) -> str:
        """Return what changed, one line each."""
        lines = [
            f"{self.changes[content]:>9}  {content.kind} {content.name}  {content.sha256[:12]}"
            for content in self.contents
        ]
        lines += [f"{'inactive':>9}  {content.kind} {content.name}  {content.sha256[:12]}" for content in self.dropped]
        lines += [f"{one.role:>9}  model {one.name}  {one.sha256[:12]}, goes on" for one in self.trials]
        how = "in one transaction" if self.transaction else "without a transaction, which this broker does not know"
        lines.append(f"{len(self.contents)} contents activated in {self.partitions} partitions {how}")
        return "\n".join(lines)


def apply(settings: Settings, directory: Path | None = None, *, keep_trials: bool = True) -> Applied:
    """Prove the files of ``directory`` (the settings' own where None) and activate them, and only them.

    Shadows and canaries of their models go on, unless ``keep_trials`` is False or they are the files' versions now.
    Raises ConfigurationError before anything is written, TopicError where a topic is missing,
    KafkaUnavailableError where it could not be written, or no answer came: apply it again, twice does no harm.
    StoreUnavailableError where Redis does not say what is on trial; with a keyring also StateMismatchError, where it
    does not fit the state.
    """
    contents = read_contents(directory or settings.configuration)
    with changing(settings, _DOING) as change:
        return _activate(change, contents, keep_trials=keep_trials)


def apply_first(settings: Settings, directory: Path | None = None) -> Applied | None:
    """Do as ``apply`` where nothing is active yet; else write nothing, look at no file, and return None.

    Errors as ``apply``'s. A broker without transactions may have taken an activation for some partitions alone, when
    the first one was broken off: only ``apply`` mends that.
    """
    # Without a claim at first: it would break off another command that is at work.
    if last_activation(settings, read_library(settings)).contents:
        return None
    contents = read_contents(directory or settings.configuration)
    with changing(settings, _DOING) as change:
        return None if change.before.contents else _activate(change, contents, keep_trials=True)


def _activate(change: Change, contents: Sequence[Content], *, keep_trials: bool) -> Applied:
    identities = [content.identity for content in contents]
    activation = applied(change.before, identities, now_ms(), keep_trials=keep_trials)
    partitions, transaction = change.write(activation, contents)
    last = _last_versions(change.library)
    names = {(content.kind, content.name) for content in activation.contents}
    return Applied(
        activation.contents,
        {content: _change(content, last) for content in activation.contents},
        tuple(sorted(content for key, content in last.items() if key not in names)),
        partitions,
        transaction,
        tuple(one for one in activation.versions if one.is_trial),
    )


def show(settings: Settings) -> list[Held]:
    """Return every version in the configuration topic, once each, and where it is active if Redis answers."""
    library = read_library(settings)
    active = _active(settings, facts(settings).partition_count)
    return [
        Held(
            content,
            len(library.get(content) or b""),
            library.offsets[content],
            None if active is None else tuple(active.get(content, ())),
        )
        for content in sorted(
            library.identities, key=lambda content: (content.kind, content.name, library.offsets[content])
        )
    ]


def _active(settings: Settings, partitions: int) -> dict[ContentId, list[int]] | None:
    try:
        headers = asyncio.run(read_headers(settings, partitions, RedisStore.read_header))
    except GroundswellError:
        return None
    active: dict[ContentId, list[int]] = {}
    for number, header in headers.items():
        for content in [] if header is None else active_contents(header):
            active.setdefault(content, []).append(number)
    return active


def _last_versions(library: ReadContents) -> dict[tuple[str, str], ContentId]:
    """Return by kind and name the version that was written last."""
    written = sorted(library.identities, key=lambda content: library.offsets[content])
    return {(content.kind, content.name): content for content in written}


def _change(content: ContentId, last: dict[tuple[str, str], ContentId]) -> str:
    before = last.get((content.kind, content.name))
    if before is None:
        return "new"
    return "unchanged" if before == content else "changed"
