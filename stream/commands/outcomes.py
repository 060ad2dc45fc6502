"""What became of voters: the first of two passes over a log collects what decides labels, or ends them; no feature."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from stream.columns import Columns
from stream.commands.classes import activated, by_class
from stream.commands.labels import Label
from stream.commands.moments import Schedule
from stream.features.taxonomy import Taxonomy
from stream.interfaces import Decoded, Library
from stream.records import CONSENT_GRANTED, CONSENT_WITHDRAWN, USE_CONSENT, USE_ERASE, USE_FOLD

_EVENT: Final = np.dtype([("voter", "<u8"), ("now", "<i8"), ("time", "<i8"), ("says", "i1")])
"""An event that a label rests on: its voter (``moments.hashed``), log time and own time in ms, and what it says."""
_UNFIT, _FITS, _ENDS = 0, 1, 2
"""The label is decided, one way or the other; or nothing is known of the voter from here on."""
_EVER: Final = np.iinfo(np.int64).max
NAMING: Final = ("campaign", "event", "form", "list", "message", "platform", "role", "shift")
"""Fields of data that name something of the campaign's own, never a voter or what one says."""
_MOST_NAMES: Final = 10_000
"""So many different ones are counted."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where moments lie in a partition's log; one element for each, in order."""

    moments: NDArray[np.int64]
    """ms since the epoch, log time."""
    offsets: NDArray[np.int64]
    """Of the first row whose log time has reached the moment."""


class Outcomes:
    """The events of one partition that decide its voters' labels, or end them, by voter."""

    def __init__(self, events: NDArray[np.void], horizon_ms: int) -> None:
        """Take events (``_EVENT``[n]) in the order of the log."""
        order = np.argsort(events["voter"], kind="stable")
        voters = events["voter"][order]
        self._horizon_ms = horizon_ms
        self._now = events["now"][order]
        self._time = events["time"][order]
        self._says = events["says"][order]
        self._ends = np.flatnonzero(self._says == _ENDS)
        self._voters, self._starts = np.unique(voters, return_index=True)
        self._stops = np.append(self._starts[1:], len(voters))

    @classmethod
    def none(cls, horizon_ms: int) -> Outcomes:
        """Return that nothing happened."""
        return cls(np.empty(0, _EVENT), horizon_ms)

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self._now)

    def places(self, voters: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each voter's (``hashed``) events begin and end (int64[n] each) for ``decide``."""
        starts = np.zeros(len(voters), np.int64)
        stops = np.zeros(len(voters), np.int64)
        if len(self._voters):
            found = np.minimum(np.searchsorted(self._voters, voters), len(self._voters) - 1)
            known = self._voters[found] == voters
            starts[known] = self._starts[found[known]]
            stops[known] = self._stops[found[known]]
        return starts, stops

    def decide(
        self, places: NDArray[np.int64], stops: NDArray[np.int64], moment_ms: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether each voter's label of a moment is decided, what it is then, and whether it cannot be.

        All bool[n]. By the first of the events from ``places`` to before ``stops`` (int64[n]) that came into the log
        after the moment and within the horizon, and happened after the moment too. Where consent was withdrawn within
        the horizon nothing can be decided, whatever came before: nobody knows what the others who withdrew would have
        done, and the rows of those who had fit by then would stand without theirs. ``places`` are moved past what came
        before the moment, in place: a voter's moments are asked for in order.
        """
        now, time, until_ms = self._now, self._time, moment_ms + self._horizon_ms
        active = np.flatnonzero(places < stops)
        while len(active):
            active = active[now[places[active]] <= moment_ms]
            places[active] += 1
            active = active[places[active] < stops[active]]
        found = places.copy()
        active = np.flatnonzero(found < stops)
        while len(active):
            active = active[(now[found[active]] <= until_ms) & (time[found[active]] <= moment_ms)]
            found[active] += 1
            active = active[found[active] < stops[active]]
        met = found < stops
        met[met] = now[found[met]] <= until_ms
        says = np.full(len(places), _UNFIT, np.int8)
        says[met] = self._says[found[met]]
        ended = np.zeros(len(places), np.bool_)
        if len(self._ends):
            ends = self._ends[np.minimum(np.searchsorted(self._ends, places), len(self._ends) - 1)]
            ended = (places <= ends) & (ends < stops) & (now[ends] <= until_ms)
        return met & ~ended, (says == _FITS) & ~ended, ended


class Collector:
    """Told the rows of one partition in order (``Replay.observe``), notes what labels and moments rest on."""

    def __init__(
        self, label: Label, schedule: Schedule, log_time_ms: int, taxonomy: Taxonomy, library: Library
    ) -> None:
        """Begin where log time is ``log_time_ms`` (0: not known yet), under a taxonomy; ``library`` has later ones."""
        self._label = label
        self._taxonomy = taxonomy
        self._library = library
        self._schedule = schedule
        self._cuts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._events: list[NDArray[np.void]] = []
        self.begin_ms = log_time_ms
        """The first known log time; 0: there is none."""
        self.end_ms = log_time_ms
        """The last one."""
        self.barred: set[int] = set()
        """Voters (``hashed``) who were erased, or have withdrawn consent as things stand."""
        named = {condition.field for condition in label.conditions if condition.comparison == "="}
        self.seen: dict[str, Counter[str]] = {field: Counter() for field in NAMING if field in named}
        """By field of NAMING that the label compares, how often events of its types gave which value."""

    def observe(self, columns: Columns, decoded: Decoded, use: NDArray[np.int64]) -> None:
        """Take one batch's rows."""
        if len(decoded):
            self._note_moments(columns.offsets, decoded.now)
            self._note_consent(decoded, use)
            self._note_events(columns, decoded, use)

    def cuts(self) -> Cuts:
        """Return where the moments lie that the log has reached."""
        moments = [np.empty(0, np.int64), *(moments for moments, _ in self._cuts)]
        offsets = [np.empty(0, np.int64), *(offsets for _, offsets in self._cuts)]
        return Cuts(np.concatenate(moments), np.concatenate(offsets))

    def outcomes(self) -> Outcomes:
        """Return the events that decide labels; what was collected of them is forgotten."""
        events = np.concatenate([np.empty(0, _EVENT), *self._events])
        self._events = []
        return Outcomes(events, self._label.horizon_ms)

    def _note_moments(self, offsets: NDArray[np.int64], now: NDArray[np.int64]) -> None:
        if not self.begin_ms:
            # Nobody could say when a row before that came.
            self.begin_ms = self.end_ms = int(now[np.argmax(now > 0)])
        if self.begin_ms:
            moments = self._schedule.between(self.end_ms, int(now[-1]))
            if len(moments):
                self._cuts.append((moments, offsets[np.searchsorted(now, moments)]))
            self.end_ms = int(now[-1])

    def _note_consent(self, decoded: Decoded, use: NDArray[np.int64]) -> None:
        for row in np.flatnonzero((use == USE_CONSENT) | (use == USE_ERASE)).tolist():
            voter = xxh3_64_intdigest(decoded.voters[row])
            if decoded.kinds[row] == CONSENT_GRANTED:
                self.barred.discard(voter)
            else:
                self.barred.add(voter)

    def _note_events(self, columns: Columns, decoded: Decoded, use: NDArray[np.int64]) -> None:
        """Note the events that decide a label, or end it; what was not used (duplicates, no consent) does neither."""
        label = self._label
        begins, taxonomies = self._taxonomies(decoded)
        ends = (use == USE_ERASE) | ((use == USE_CONSENT) & (decoded.kinds == CONSENT_WITHDRAWN))
        decides = np.isin(decoded.kinds, label.kinds) & ((use == USE_FOLD) | (use == USE_CONSENT))
        found = list[tuple[int, int, int, int]]()
        for row in np.flatnonzero(ends | decides).tolist():
            if ends[row]:
                # Whenever it happened: from this row on what the voter does is not used.
                found.append((xxh3_64_intdigest(decoded.voters[row]), int(decoded.now[row]), _EVER, _ENDS))
                continue
            data = (orjson.loads(columns.value(row)).get("data") if label.reads_data else None) or {}
            self._count_names(data)
            if label.reads_classes:
                taxonomy = taxonomies[bisect_right(begins, row) - 1]
                data = by_class(int(decoded.kinds[row]), data, decoded.signals[row], taxonomy)
            verdict = label.judge(data)
            if verdict is not None:
                voter = xxh3_64_intdigest(decoded.voters[row])
                says = _FITS if verdict else _UNFIT
                found.append((voter, int(decoded.now[row]), int(decoded.times[row]), says))
        if found:
            self._events.append(np.array(found, _EVENT))

    def _taxonomies(self, decoded: Decoded) -> tuple[list[int], list[Taxonomy]]:
        """Return from which rows on which taxonomies are active, in order."""
        begins, taxonomies = [0], [self._taxonomy]
        for row in sorted(decoded.activations):
            if not decoded.reject[row]:
                begins.append(row)
                taxonomies.append(activated(decoded.activations[row], self._library))
        self._taxonomy = taxonomies[-1]
        return begins, taxonomies

    def _count_names(self, data: Mapping[str, Any]) -> None:
        for field, names in self.seen.items():
            name = data.get(field)
            if isinstance(name, str) and (name in names or len(names) < _MOST_NAMES):
                names[name] += 1
