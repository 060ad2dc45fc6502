"""A seeded electorate: who does what when, as the CloudEvents that trackers would publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.embedded.occasions import (
    ARRIVALS,
    ATTENDED,
    BY_MAIL,
    CLICKED,
    COMPLETED,
    CONVERSIONS,
    DATA,
    DAY_MS,
    DEVICES,
    ENTRIES,
    ISSUES,
    OPENED,
    PAGES,
    QUIET_MIX,
    REPLIED,
    RHYTHM,
    TRANSITIONS,
    UNSUBSCRIBED,
    VIRAL_MIX,
    VISIT,
    WITHIN,
    events_by_occasion,
)
from stream.embedded.spelling import BREAKAGES, spell
from stream.records import KIND

_PAGE_SECONDS: Final = 35.0
_PROFILE: Final = KIND["profile.updated"]
_BURST_HALF_LIFE_MS: Final = 25 * 60_000
_BURST_GAP_MS: Final = 4 * 3_600_000
_ZIPF_EXPONENT: Final = 1.05
# Zipf and Mandelbrot's offset: without it the first voter alone would do a tenth of everything.
_ZIPF_OFFSET: Final = 20.0

Ints = NDArray[np.int64]
_Rows = tuple[Ints, Ints, Ints, Ints]
"""Event times in ms, voters' numbers, kind codes, variants of the data: one element for each event."""


@dataclass(frozen=True, slots=True)
class Flaws:
    """What share of the events arrives other than it should."""

    duplicates: float = 0.02
    """Sent a second time, a little later, byte for byte."""
    late: float = 0.03
    """Sent minutes to hours after they happened."""
    broken: float = 0.005
    """Not readable as an event, in one of the ways of ``BREAKAGES``."""
    misrouted: float = 0.001
    """Keyed by something other than the voter, so mostly in another partition."""


@dataclass(frozen=True, slots=True)
class _Burst:
    """Something that went viral: who cares about the issue likes, shares and comments for an hour or two."""

    begin_ms: float
    issue: int
    size: float
    """Events at its peak, in multiples of an average hour's."""

    def weight(self, first_ms: float, stop_ms: float) -> float:
        """Return the integral of the burst's intensity over [first, stop), in ms."""
        scale = _BURST_HALF_LIFE_MS / np.log(2)
        spent = [np.exp(-max(at - self.begin_ms, 0.0) / scale) for at in (first_ms, stop_ms)]
        return float(self.size * scale * (spent[0] - spent[1]))


class Electorate:
    """Voters who follow, like, share, comment, visit, give and change their minds, the same from each seed.

    Activity over voters follows Zipf's law, over hours a day's rhythm, over pages a Markov chain; now and then
    something goes viral. Times are events' own: nothing here reads a clock.
    """

    def __init__(self, seed: int, start_ms: int, *, voters: int = 20_000, flaws: Flaws | None = None) -> None:
        """Draw ``voters`` people; their events begin at ``start_ms`` (ms since the epoch)."""
        self.flaws = Flaws() if flaws is None else flaws
        self.now_ms = start_ms
        """Where ``until`` goes on."""
        self._chance = np.random.Generator(np.random.PCG64(seed))
        self.names = [f"voter-{number:06d}" for number in range(voters)]
        activity = (np.arange(voters) + 1 + _ZIPF_OFFSET) ** -_ZIPF_EXPONENT
        activity = activity[self._chance.permutation(voters)]
        self._activity = np.cumsum(activity) / activity.sum()
        self._interests = self._chance.integers(0, len(ISSUES), voters)
        self._bursts: list[_Burst] = []
        self._next_burst_ms = start_ms + self._chance.exponential(_BURST_GAP_MS / 4)
        self._later: _Rows = _join([])
        self._spelled = 0
        self._events_by_occasion = events_by_occasion()

    def until(self, stop_ms: int, mean: float) -> list[tuple[bytes, bytes]]:
        """Return (Kafka key, CloudEvent) of all that arrives from ``now_ms`` to before ``stop_ms``, in order.

        ``mean`` is how many events that span would have at an average hour without anything viral; there are
        fewer at night and more in the evening and in a burst.
        """
        first_ms, self.now_ms = self.now_ms, stop_ms
        rows = _join([self._later, *self._quiet(first_ms, stop_ms, mean), self._viral(first_ms, stop_ms, mean)])
        order = np.argsort(rows[0], kind="stable")
        due = int(np.searchsorted(rows[0][order], stop_ms))
        self._later = _take(rows, order[due:])
        return self._spell(_take(rows, order[:due]))

    # --- who does what when ------------------------------------------------------------------------------

    def _voters(self, n: int) -> Ints:
        return np.searchsorted(self._activity, self._chance.random(n))

    def _moments(self, n: int, first_ms: int, stop_ms: int) -> Ints:
        return first_ms + (self._chance.random(n) * (stop_ms - first_ms)).astype(np.int64)

    def _later_by(self, times: Ints, mean_seconds: float) -> Ints:
        return times + 1 + (self._chance.exponential(1000 * mean_seconds, len(times))).astype(np.int64)

    def _happen(self, times: Ints, voters: Ints, kind: int) -> _Rows:
        """Return events of one kind, each with one of its kind's data; of profiles each voter has one."""
        if kind == _PROFILE:
            return times, voters, np.full(len(times), kind), voters % len(DATA[kind])
        variants = self._chance.integers(0, len(DATA[kind]), len(times))
        return times, voters, np.full(len(times), kind), variants

    def _quiet(self, first_ms: int, stop_ms: int, mean: float) -> list[_Rows]:
        middle = (first_ms + stop_ms) / 2 % DAY_MS / DAY_MS * 24
        rhythm = float(np.interp(middle, np.arange(25), np.append(RHYTHM, RHYTHM[0])))
        counts = self._chance.poisson(
            mean * rhythm / self._events_by_occasion * np.array(list(QUIET_MIX.values()))
        ).tolist()
        happened: list[_Rows] = []
        arrivals: list[tuple[Ints, Ints, Ints]] = []
        for name, n in zip(QUIET_MIX, counts, strict=True):
            times = self._moments(n, first_ms, stop_ms)
            if name == "site.page_view":
                ways = self._chance.choice(len(ARRIVALS), n, p=[chance for _, _, chance in ARRIVALS])
                arrivals.append((times, self._voters(n), ways))
            elif name == "message.delivered":
                arrivals.append(self._message(times, happened))
            else:
                # Consent changes, unlike all else, come from the quiet as often as from the busy.
                is_consent = name.startswith(("consent.", "privacy."))
                voters = self._chance.integers(0, len(self.names), n) if is_consent else self._voters(n)
                happened.append(self._happen(times, voters, KIND[name]))
        times, voters, ways = (np.concatenate(part) for part in zip(*arrivals, strict=True))
        self._visit(times, voters, ways, happened)
        return happened

    def _message(self, times: Ints, happened: list[_Rows]) -> tuple[Ints, Ints, Ints]:
        """Deliver messages to anyone, and return who came to the site by them, when, and in which way."""
        voters = self._chance.integers(0, len(self.names), len(times))
        happened.append(self._happen(times, voters, KIND["message.delivered"]))
        times, voters = self._some(times, voters, OPENED, 1200)
        happened.append(self._happen(times, voters, KIND["message.opened"]))
        for name, chance in (("message.replied", REPLIED), ("message.unsubscribed", UNSUBSCRIBED)):
            happened.append(self._happen(*self._some(times, voters, chance, 120), KIND[name]))
        times, voters = self._some(times, voters, CLICKED, 20)
        happened.append(self._happen(times, voters, KIND["message.clicked"]))
        return times + 500, voters, np.full(len(times), BY_MAIL)

    def _some(self, times: Ints, voters: Ints, chance: float, mean_seconds: float) -> tuple[Ints, Ints]:
        """Return a share of the given, some time later."""
        chosen = self._chance.random(len(times)) < chance
        return self._later_by(times[chosen], mean_seconds), voters[chosen]

    def _visit(self, times: Ints, voters: Ints, ways: Ints, happened: list[_Rows]) -> None:
        """Walk the pages from each arrival (one of ARRIVALS) until all have left."""
        entries, steps = np.cumsum(ENTRIES), np.cumsum(TRANSITIONS, axis=1)
        pages = np.searchsorted(entries, self._chance.random(len(times)) * entries[-1])
        devices = self._chance.integers(0, len(DEVICES), len(times))
        while len(times):
            happened.append(
                (times, voters, np.full(len(times), VISIT), (pages * len(DEVICES) + devices) * len(ARRIVALS) + ways)
            )
            for page, (kind, chance) in CONVERSIONS.items():
                here = pages == page
                when, who = self._some(times[here], voters[here], chance, 40)
                happened.append(self._happen(when, who, kind))
                if kind == KIND["donation.started"]:
                    done = self._some(when, who, COMPLETED, 90)
                    happened.append(self._happen(*done, KIND["donation.completed"]))
                elif kind == KIND["event.rsvp"]:
                    happened.append(self._happen(*self._some(when, who, ATTENDED, 43_200), KIND["event.attended"]))
            pages = (steps[pages] < self._chance.random((len(pages), 1))).sum(axis=1)
            stay = pages < len(PAGES)
            times, voters, pages, devices = times[stay], voters[stay], pages[stay], devices[stay]
            ways = np.full(len(times), WITHIN)
            times = self._later_by(times, _PAGE_SECONDS)

    def _viral(self, first_ms: int, stop_ms: int, mean: float) -> _Rows:
        """Return what the bursts of these hours add; a burst draws on the voters whose issue it is."""
        while self._next_burst_ms < stop_ms:
            issue = int(self._chance.integers(0, len(ISSUES)))
            self._bursts.append(_Burst(self._next_burst_ms, issue, float(self._chance.uniform(1.5, 5.0))))
            self._next_burst_ms += self._chance.exponential(_BURST_GAP_MS)
        self._bursts = [burst for burst in self._bursts if first_ms - burst.begin_ms < 12 * _BURST_HALF_LIFE_MS]
        happened = []
        for burst in self._bursts:
            weight = mean * burst.weight(first_ms, stop_ms) / (stop_ms - first_ms)
            concerned = self._voters(int(self._chance.poisson(weight * len(ISSUES))))
            concerned = concerned[self._interests[concerned] == burst.issue]
            begin = max(first_ms, int(burst.begin_ms))
            times = self._moments(len(concerned), begin, stop_ms)
            kinds = self._chance.choice([KIND[name] for name in VIRAL_MIX], len(times), p=list(VIRAL_MIX.values()))
            # One post of the issue (data comes in the order of the issues), but all sorts of comments on it.
            by_issue = np.array([len(data) // len(ISSUES) for data in DATA])[kinds]
            said = (self._chance.random(len(times)) * by_issue).astype(np.int64)
            variants = by_issue * burst.issue + np.where(kinds == KIND["social.comment"], said, 0)
            happened.append((times, concerned, kinds, variants))
        return _join(happened)

    # --- how it arrives ----------------------------------------------------------------------------------

    def _spell(self, rows: _Rows) -> list[tuple[bytes, bytes]]:
        """Write events in the order in which they happened, and put in the flaws."""
        times, voters, kinds, variants = rows
        n = len(times)
        flaws = self.flaws
        late = self._chance.random(n) < flaws.late
        delays = 60_000 + self._chance.exponential(3_600_000, n).astype(np.int64)
        times = np.where(late, times - delays, times)
        values = spell(self._spelled, times, [self.names[voter] for voter in voters.tolist()], kinds, variants)
        self._spelled += n
        keys = [self.names[voter].encode() for voter in voters.tolist()]
        for row in np.flatnonzero(self._chance.random(n) < flaws.misrouted).tolist():
            keys[row] = b"device-%d" % self._chance.integers(0, 1_000_000)
        sent = list(zip(keys, values, strict=True))
        again = np.flatnonzero(self._chance.random(n) < flaws.duplicates)
        places = np.concatenate([np.arange(n), again + self._chance.uniform(0.5, 30.0, len(again))])
        sent += [sent[row] for row in again.tolist()]
        breakages = list(BREAKAGES.values())
        broken = self._chance.random(n) < flaws.broken
        for row in np.flatnonzero(broken).tolist():
            key, value = sent[row]
            sent[row] = (key, breakages[self._chance.integers(0, len(breakages))](value))
        return [sent[row] for row in np.argsort(places, kind="stable").tolist()]


def _join(parts: list[_Rows]) -> _Rows:
    empty = np.zeros(0, np.int64)
    times, voters, kinds, variants = (np.concatenate([empty, *[part[k] for part in parts]]) for k in range(4))
    return times, voters, kinds, variants


def _take(rows: _Rows, chosen: Ints) -> _Rows:
    times, voters, kinds, variants = rows
    return times[chosen], voters[chosen], kinds[chosen], variants[chosen]
