"""What is active: contents of the configuration topic, compiled to arrays by slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError
from stream.features import FEATURES, NO_TAXONOMY, CompiledTaxonomy, taxonomy_of
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
from stream.scoring import Canary, Models, Watch, canary, compile_models, read_model, watch
from stream.triggers import Campaigns, compile_campaigns, read_campaign
from stream.versions import ACTIVE, CANARY, SHADOW, ModelVersion, excesses

Slots = list[list[str] | None]


@dataclass(frozen=True, slots=True)
class Active:
    """One configuration, compiled: what steps 5 to 7 read by."""

    models: Models
    model_names: tuple[str | None, ...]
    """By slot; None: a free slot."""
    campaigns: Campaigns
    empty: NDArray[np.float64]
    """float64[2, MAX_MODELS]: by slot, the scores where every feature is 0: of active versions, then of canaries."""
    canaries: tuple[Canary, ...] = ()
    shadows: tuple[tuple[str, int], ...] = ()
    """By name, in which column of the scores each is."""
    watch: Watch | None = None
    """Whose drift is measured."""
    taxonomy: CompiledTaxonomy = NO_TAXONOMY


def activate(header: Header, activation: Activation, library: Library) -> Active | None:
    """Make ``activation`` the header's active set, in place, and compile it.

    Returns None, and leaves the header as it was, where a content is unusable or missing, or there are too many.
    """
    try:
        slots = {
            kind: place(header.slots[kind], [content for content in activation.contents if content.kind == kind], kind)
            for kind in CONTENT_KINDS
        }
        active = build(slots, library, activation.versions)
    except ConfigurationError:
        return None
    header.engine = activation.engine
    header.slots = slots
    header.versions = [version.to_entry() for version in sorted(activation.versions)]
    return active


async def restore(header: Header, library: Library) -> Active:
    """Compile what the header says is active, once its contents are in hand."""
    contents = active_contents(header)
    versions = [ModelVersion.of_entry(entry) for entry in header.versions]
    await library.wait_for([*contents, *on_trial(versions)])
    return build(header.slots, library, versions)


def on_trial(versions: Iterable[ModelVersion]) -> list[ContentId]:
    """Return the contents that are scored beside the active ones, in the order of their columns of scores."""
    return [ContentId("model", version.name, version.sha256) for version in _trials(versions)]


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


def build(slots: dict[str, Slots], library: Library, versions: Sequence[ModelVersion] = ()) -> Active:
    """Read and compile the contents in the slots, and the versions on trial.

    Raises ConfigurationError, naming it, for an unusable one, for more trials than there is room for, and for a canary
    of a model that is not active.
    """
    trials = _trials(versions)
    _refuse_trials(trials, versions, slots["model"])
    items = slots["model"]
    if trials:
        items = [*items, *[None] * (MAX_MODELS - len(items)), *([trial.name, trial.sha256] for trial in trials)]
    models = [None if item is None else read_model(_read(library, "model", item), FEATURES) for item in items]
    campaigns = [
        None if item is None else read_campaign(_read(library, "campaign", item)) for item in slots["campaign"]
    ]
    for kind, places, contents in (("model", items, models), ("campaign", slots["campaign"], campaigns)):
        for item, content in zip(places, contents, strict=True):
            if item is not None and content is not None and content.name != item[0]:
                message = f"{kind} {item[0]!r} names itself {content.name!r} in its content"
                raise ConfigurationError(message)
    compiled = compile_models(models, _tags(items, "model", MAX_MODELS + len(trials)))
    slot_of = {item[0]: slot for slot, item in enumerate(slots["model"]) if item is not None}
    drawing = [
        canary(trial.name, trial.sha256, trial.share, column, slot_of[trial.name])
        for column, trial in enumerate(trials, MAX_MODELS)
        if trial.role == CANARY
    ]
    empty = np.stack([compiled.empty[:MAX_MODELS]] * 2)
    for one in drawing:
        empty[1, one.slot] = compiled.empty[one.column]
    roles = {column: trial.role for column, trial in enumerate(trials, MAX_MODELS)}
    scoring = [
        (model, item[1], roles.get(column, ACTIVE), column)
        for column, (item, model) in enumerate(zip(items, models, strict=True))
        if item is not None and model is not None
    ]
    return Active(
        models=compiled,
        model_names=tuple(None if item is None else item[0] for item in slots["model"]),
        campaigns=compile_campaigns(
            campaigns,
            _tags(slots["campaign"], "campaign", MAX_CAMPAIGNS),
            slots["campaign"],
            slots["model"],
            {slot_of[trial.name]: trial.sha256 for trial in trials if trial.role == CANARY},
        ),
        empty=empty,
        canaries=tuple(drawing),
        shadows=tuple((trial.name, column) for column, trial in enumerate(trials, MAX_MODELS) if trial.role == SHADOW),
        watch=watch(scoring, compiled.columns, FEATURES),
        taxonomy=_taxonomy(slots["taxonomy"], library),
    )


def _taxonomy(items: Slots, library: Library) -> CompiledTaxonomy:
    for item in items:
        if item is not None:
            return taxonomy_of(_read(library, "taxonomy", item))
    return NO_TAXONOMY


def _trials(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    return sorted(version for version in versions if version.is_trial)


def _refuse_trials(trials: Sequence[ModelVersion], versions: Iterable[ModelVersion], models: Slots) -> None:
    for excess in excesses(versions):
        raise ConfigurationError(excess)
    active = {item[0] for item in models if item is not None}
    for trial in trials:
        if trial.role == CANARY and trial.name not in active:
            message = f"model {trial.name!r} has a canary and no active version in whose place it would score"
            raise ConfigurationError(message)


def active_contents(header: Header) -> list[ContentId]:
    """Return what is active by a partition's header, by kind and slot; versions on trial are not among it."""
    return [
        ContentId(kind, item[0], item[1]) for kind in CONTENT_KINDS for item in header.slots[kind] if item is not None
    ]


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
