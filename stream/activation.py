"""What is active: contents of the configuration topic, compiled to arrays by slot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.interfaces import Library
from stream.records import (
    CONTENT_KINDS,
    MAX_CAMPAIGNS,
    MAX_MODELS,
    SLOTS,
    Activation,
    ContentId,
    Header,
)
from stream.scoring import Models, compile_models, read_model
from stream.triggers import Campaigns, compile_campaigns, read_campaign

Slots = list[list[str] | None]


@dataclass(frozen=True, slots=True)
class Active:
    """One configuration, compiled: what steps 5 to 7 read."""

    models: Models
    model_names: tuple[str | None, ...]
    """By slot; None: a free slot."""
    campaigns: Campaigns


def activate(header: Header, activation: Activation, library: Library) -> Active | None:
    """Make ``activation`` the header's active set, in place, and compile it.

    Returns None, and leaves the header as it was, where a content is unusable or missing, or there are too many.
    """
    try:
        slots = {
            kind: place(header.slots[kind], [content for content in activation.contents if content.kind == kind], kind)
            for kind in CONTENT_KINDS
        }
        active = build(slots, library)
    except ConfigurationError:
        return None
    header.engine = activation.engine
    header.slots = slots
    return active


async def restore(header: Header, library: Library) -> Active:
    """Compile what the header says is active, once its contents are in hand."""
    await library.wait_for([content for kind in CONTENT_KINDS for content in _contents(header.slots[kind], kind)])
    return build(header.slots, library)


def place(slots: Slots, contents: list[ContentId], kind: str) -> Slots:
    """Return the slots for ``contents``: a name keeps its slot, a new one takes the lowest free, others are freed.

    Raises ConfigurationError where there are more than the records have room for.
    """
    if len(contents) > SLOTS[kind]:
        message = f"{len(contents)} contents of kind {kind!r} are more than the {SLOTS[kind]} that can be active"
        raise ConfigurationError(message)
    wanted = {content.name: content.sha256 for content in contents}
    placed: Slots = [[item[0], wanted.pop(item[0])] if item and item[0] in wanted else None for item in slots]
    for name in sorted(wanted):
        free = placed.index(None) if None in placed else len(placed)
        placed[free : free + 1] = [[name, wanted[name]]]
    return placed


def build(slots: dict[str, Slots], library: Library) -> Active:
    """Read and compile the contents in the slots; raise ConfigurationError, naming it, for an unusable one."""
    models = [None if item is None else read_model(_read(library, "model", item), FEATURES) for item in slots["model"]]
    campaigns = [
        None if item is None else read_campaign(_read(library, "campaign", item)) for item in slots["campaign"]
    ]
    for kind, contents in (("model", models), ("campaign", campaigns)):
        for item, content in zip(slots[kind], contents, strict=True):
            if item is not None and content is not None and content.name != item[0]:
                message = f"{kind} {item[0]!r} names itself {content.name!r} in its content"
                raise ConfigurationError(message)
    return Active(
        models=compile_models(models, _tags(slots["model"], "model", MAX_MODELS)),
        model_names=tuple(None if item is None else item[0] for item in slots["model"]),
        campaigns=compile_campaigns(
            campaigns,
            _tags(slots["campaign"], "campaign", MAX_CAMPAIGNS),
            slots["campaign"],
            slots["model"],
        ),
    )


def _contents(slots: Slots, kind: str) -> list[ContentId]:
    return [ContentId(kind, item[0], item[1]) for item in slots if item is not None]


def _read(library: Library, kind: str, item: list[str]) -> bytes:
    content = library.get(ContentId(kind, item[0], item[1]))
    if content is None:
        message = f"{kind} {item[0]!r} of version {item[1]!r} is not in the configuration topic"
        raise ConfigurationError(message)
    return content


def _tags(slots: Slots, kind: str, capacity: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    tags = np.zeros(capacity, np.uint32)
    for slot, item in enumerate(slots):
        if item is not None:
            tags[slot] = ContentId(kind, item[0], item[1]).tag()
    return tags
