"""Campaigns as rows of arrays for one kernel: a new campaign compiles nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.interfaces import Fired
from stream.records import MAX_CAMPAIGNS, USE_FOLD
from stream.triggers.files import Campaign
from stream.triggers.kernels import decide_rows
from stream.triggers.templates import template


@dataclass(frozen=True, slots=True)
class Campaigns:
    """The active campaigns by slot: arrays of MAX_CAMPAIGNS elements, and what their triggers say."""

    tags: NDArray[np.uint32]
    """The tag that voter records carry; 0: a free slot."""
    models: NDArray[np.int64]
    """Slot of the campaign's model; -1: no such model is active, and the campaign rests."""
    upward: NDArray[np.uint8]
    thresholds: NDArray[np.float64]
    rearms: NDArray[np.float64]
    cooldowns_ms: NDArray[np.int64]
    names: tuple[str, ...]
    """Empty: a free slot."""
    templates: Mapping[tuple[int, int], bytes]
    """What triggers have in common (``stream.triggers.templates``), by campaign slot and ``Fired.canaries``."""


def compile_campaigns(
    campaigns: Sequence[Campaign | None],
    tags: NDArray[np.uint32],
    slots: Sequence[Sequence[str] | None],
    model_slots: Sequence[Sequence[str] | None],
    canaries: Mapping[int, str] | None = None,
) -> Campaigns:
    """Return the arrays of ``campaigns`` by slot (None: a free slot; at most MAX_CAMPAIGNS).

    ``tags`` uint32[MAX_CAMPAIGNS]; ``slots`` and ``model_slots`` are the header's (name, sha256) by slot, ``canaries``
    the sha256 of each canary by model slot.
    """
    places = {item[0]: slot for slot, item in enumerate(model_slots) if item is not None}
    active = [(slot, campaign) for slot, campaign in enumerate(campaigns) if campaign is not None]
    names = [""] * MAX_CAMPAIGNS
    templates: dict[tuple[int, int], bytes] = {}
    versions = dict(_versions(model_slots, canaries or {}))
    compiled_tags = np.zeros(MAX_CAMPAIGNS, np.uint32)
    models = np.full(MAX_CAMPAIGNS, -1, np.int64)
    upward = np.zeros(MAX_CAMPAIGNS, np.uint8)
    thresholds, rearms = np.zeros(MAX_CAMPAIGNS), np.zeros(MAX_CAMPAIGNS)
    cooldowns_ms = np.zeros(MAX_CAMPAIGNS, np.int64)
    for slot, campaign in active:
        item = slots[slot]
        names[slot] = campaign.name
        for drawn, model_versions in versions.items():
            templates[slot, drawn] = template(campaign, "" if item is None else item[1], model_versions)
        compiled_tags[slot] = tags[slot]
        models[slot] = places.get(campaign.model, -1)
        upward[slot] = campaign.direction == "up"
        thresholds[slot], rearms[slot] = campaign.threshold, campaign.rearm
        cooldowns_ms[slot] = campaign.cooldown_ms
    return Campaigns(
        compiled_tags,
        models,
        upward,
        thresholds,
        rearms,
        cooldowns_ms,
        tuple(names),
        templates,
    )


def _versions(
    model_slots: Sequence[Sequence[str] | None], canaries: Mapping[int, str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the sha256 by which each model scores, by name, for whatever set of canaries (bits) draws a voter."""
    sets = [0]
    for slot in canaries:
        sets += [drawn | 1 << slot for drawn in sets]
    for drawn in sets:
        yield (
            drawn,
            {
                item[0]: canaries[slot] if drawn >> slot & 1 else item[1]
                for slot, item in enumerate(model_slots)
                if item is not None
            },
        )


def decide(  # noqa: PLR0913, PLR0917 (the pipeline hands over arrays, not rooms)
    records: NDArray[Any],
    slots: NDArray[np.int64],
    now: NDArray[np.int64],
    use: NDArray[np.int64],
    scores: NDArray[np.float64],
    model_tags: NDArray[np.uint32],
    model_empty: NDArray[np.float64],
    canaries: NDArray[np.int64],
    campaigns: Campaigns,
    first: int,
    stop: int,
) -> Fired:
    """Return the triggers of the rows from ``first`` to before ``stop`` that USE_FOLD marks.

    ``records`` (VOTER by slot) changes in place: campaigns' state, then scores. ``slots``, ``now`` (log time, ms),
    ``use`` int64[n]; ``scores`` float64[n, MAX_MODELS or more]; ``model_tags`` uint32[MAX_MODELS or more]. In
    ``canaries`` (int64[n]) bit ``m`` says that slot ``m``'s score is its canary's; ``model_empty`` float64[2,
    MAX_MODELS] is what active versions, then canaries give where every feature is 0. The rows of the result count from
    the start of the arrays.
    """
    room = int(np.count_nonzero(use[first:stop] == USE_FOLD)) * int(np.count_nonzero(campaigns.tags))
    rows, places = np.empty(room, np.int64), np.empty(room, np.int64)
    before, after = np.empty(room), np.empty(room)
    count = decide_rows(
        records,
        slots,
        now,
        use,
        scores,
        model_tags,
        model_empty,
        canaries,
        campaigns.tags,
        campaigns.models,
        campaigns.upward,
        campaigns.thresholds,
        campaigns.rearms,
        campaigns.cooldowns_ms,
        first,
        stop,
        rows,
        places,
        before,
        after,
    )
    rows = rows[:count].copy()
    return Fired(rows, places[:count].copy(), before[:count].copy(), after[:count].copy(), canaries[rows])
