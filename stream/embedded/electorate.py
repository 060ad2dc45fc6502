"""A seeded electorate: who does what when, as the CloudEvents that trackers would publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.embedded.leanings import Leanings
from stream.embedded.occasions import (
    AMOUNTS,
    ARRIVALS,
    ATTENDED,
    BY_MAIL,
    COMPLETED,
    CONVERSIONS,
    DATA,
    DAY_MS,
    DEVICES,
    ENTRIES,
    ISSUES,
    MESSAGES,
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
from stream.embedded.register import SURVEYED, VOTED, registered
from stream.embedded.spelling import BREAKAGES, spell
from stream.embedded.truth import answers, draw_truth
from stream.records import KIND

_PAGE_SECONDS: Final = 35.0
_BURST_HALF_LIFE_MS: Final = 25 * 60_000
_BURST_GAP_MS: Final = 4 * 3_600_000
_SURVEY_SHARE: Final = 0.8
"""Of the updates of profiles; the others repeat what the register says."""
_REGISTER_MS: Final = 2 * 3_600_000
_HALF_DAY_MS: Final = 12 * 3_600_000
_ANSWERING: Final = 0.9
"""The share of the voters that answers the survey that asks all."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
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
class Calendar:
    """What comes to all of the electorate at a time (ms since the epoch); None: never."""

    register_ms: int | None = None
    """The voter register is taken in: everybody's ward, age band, language and zone, within two hours."""
    letter_ms: int | None = None
    """The letter is delivered to all whom its experiment does not hold out, within two hours."""
    survey_ms: int | None = None
    """Most are asked whom they support, within twelve hours."""
    election_ms: int | None = None
    """The register says who has voted, within twelve hours."""


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

    def __init__(
        self,
        seed: int,
        start_ms: int,
        *,
        voters: int = 20_000,
        flaws: Flaws | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        """Draw ``voters`` people; their events begin at ``start_ms`` (ms since the epoch)."""
        self.flaws = Flaws() if flaws is None else flaws
        self.now_ms = start_ms
        """Where ``until`` goes on."""
        self._chance = np.random.Generator(np.random.PCG64(seed))
        self.names = [f"voter-{number:06d}" for number in range(voters)]
        self._calendar = Calendar() if calendar is None else calendar
        self.truth = draw_truth(seed, voters)
        self.leanings = Leanings(self.truth, self.names, self._calendar.letter_ms)
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
        happened = [*self._quiet(first_ms, stop_ms, mean), self._viral(first_ms, stop_ms, mean)]
        rows = _join([self._later, *happened, *self._dated(first_ms, stop_ms)])
        order = np.argsort(rows[0], kind="stable")
        due = int(np.searchsorted(rows[0][order], stop_ms))
        self._later = _take(rows, order[due:])
        return self._spell(_take(rows, order[:due]))

    # --- who does what when ------------------------------------------------------------------------------

    def _voters(self, n: int, name: str) -> Ints:
        """Return who it is that ``n`` occasions of a kind of QUIET_MIX come to."""
        chosen = np.searchsorted(self.leanings.cumulative(name), self._chance.random(n))
        return np.minimum(chosen, len(self.names) - 1)

    def _moments(self, n: int, first_ms: int, stop_ms: int) -> Ints:
        return first_ms + (self._chance.random(n) * (stop_ms - first_ms)).astype(np.int64)

    def _later_by(self, times: Ints, mean_seconds: float) -> Ints:
        return times + 1 + (self._chance.exponential(1000 * mean_seconds, len(times))).astype(np.int64)

    def _happen(self, times: Ints, voters: Ints, kind: int) -> _Rows:
        """Return events of one kind, each with data that fits its voter, else one of its kind's."""
        variants = self._chance.integers(0, len(DATA[kind]), len(times))
        if kind == KIND["canvass.contacted"]:
            variants = variants % len(ISSUES) + len(ISSUES) * (self._answers(times, voters) - 1)
        elif kind == KIND["profile.updated"]:
            surveyed = self._chance.random(len(times)) < _SURVEY_SHARE
            variants = np.where(surveyed, self._surveyed(times, voters), self._registered(voters))
        elif kind == KIND["donation.completed"]:
            variants = variants % len(AMOUNTS)
        return times, voters, np.full(len(times), kind), variants

    def _answers(self, times: Ints, voters: Ints) -> Ints:
        return answers(self.truth, voters, self.leanings.persuaded(voters, times), self._chance)

    def _surveyed(self, times: Ints, voters: Ints) -> Ints:
        return SURVEYED - 1 + self._answers(times, voters)

    def _registered(self, voters: Ints) -> Ints:
        truth = self.truth
        return registered(truth.wards[voters], truth.bands[voters], truth.languages[voters])

    def _quiet(self, first_ms: int, stop_ms: int, mean: float) -> list[_Rows]:
        middle = (first_ms + stop_ms) / 2 % DAY_MS / DAY_MS * 24
        rhythm = float(np.interp(middle, np.arange(25), np.append(RHYTHM, RHYTHM[0])))
        counts = self._chance.poisson(
            mean * rhythm / self._events_by_occasion * np.array(list(QUIET_MIX.values()))
        ).tolist()
        happened: list[_Rows] = []
        arrivals: list[tuple[Ints, Ints, Ints]] = []
        for name, n in zip(QUIET_MIX, counts, strict=True):
            times, voters = self._moments(n, first_ms, stop_ms), self._voters(n, name)
            if name == "site.page_view":
                ways = self._chance.choice(len(ARRIVALS), n, p=[chance for _, _, chance in ARRIVALS])
                arrivals.append((times, voters, ways))
            elif name == "message.delivered":
                arrivals.append(self._message(times, voters, happened))
            elif name == "donation.completed":
                by_post = len(AMOUNTS) + self._chance.integers(0, len(AMOUNTS), n)
                happened.append((times, voters, np.full(n, KIND[name]), by_post))
            else:
                happened.append(self._happen(times, voters, KIND[name]))
        times, voters, ways = (np.concatenate(part) for part in zip(*arrivals, strict=True))
        self._visit(times, voters, ways, happened)
        return happened

    def _dated(self, first_ms: int, stop_ms: int) -> list[_Rows]:
        """Return what the calendar has begin from ``first_ms`` to before ``stop_ms``."""
        calendar = self._calendar
        dates = (
            (calendar.register_ms, self._take_in_the_register),
            (calendar.letter_ms, self._deliver_the_letter),
            (calendar.survey_ms, self._ask_all),
            (calendar.election_ms, self._say_who_voted),
        )
        return [happen(at_ms) for at_ms, happen in dates if at_ms is not None and first_ms <= at_ms < stop_ms]

    def _take_in_the_register(self, at_ms: int) -> _Rows:
        everybody = np.arange(len(self.names))
        return self._within(at_ms, _REGISTER_MS, everybody, "profile.updated", self._registered(everybody))

    def _deliver_the_letter(self, at_ms: int) -> _Rows:
        reached = np.flatnonzero(~self.leanings.held_out)
        return self._within(at_ms, _REGISTER_MS, reached, "message.delivered", np.full(len(reached), MESSAGES))

    def _ask_all(self, at_ms: int) -> _Rows:
        answering = np.flatnonzero(self._chance.random(len(self.names)) < _ANSWERING)
        variants = self._surveyed(np.full(len(answering), at_ms), answering)
        return self._within(at_ms, _HALF_DAY_MS, answering, "profile.updated", variants)

    def _say_who_voted(self, at_ms: int) -> _Rows:
        everybody = np.arange(len(self.names))
        return self._within(
            at_ms, _HALF_DAY_MS, everybody, "profile.updated", VOTED + self.truth.votes.astype(np.int64)
        )

    def _within(self, at_ms: int, span_ms: int, voters: Ints, name: str, variants: Ints) -> _Rows:
        return self._moments(len(voters), at_ms, at_ms + span_ms), voters, np.full(len(voters), KIND[name]), variants

    def _message(self, times: Ints, voters: Ints, happened: list[_Rows]) -> tuple[Ints, Ints, Ints]:
        """Deliver messages, and return who came to the site by them, when, and in which way."""
        truth, sent = self.truth, self._chance.integers(0, MESSAGES, len(times))

        def follow(name: str, chances: Floats, mean_seconds: float) -> tuple[Ints, Ints, Ints]:
            chosen = self._chance.random(len(times)) < chances
            later, who, what = self._later_by(times[chosen], mean_seconds), voters[chosen], sent[chosen]
            happened.append((later, who, np.full(len(who), KIND[name]), what))
            return later, who, what

        happened.append((times, voters, np.full(len(times), KIND["message.delivered"]), sent))
        times, voters, sent = follow("message.opened", truth.opens[voters, sent // len(ISSUES)], 1200)
        follow("message.replied", np.full(len(voters), REPLIED), 120)
        follow("message.unsubscribed", UNSUBSCRIBED * truth.leaves[voters], 120)
        times, voters, _ = follow("message.clicked", truth.clicks[voters], 20)
        return times + 500, voters, np.full(len(times), BY_MAIL)

    def _some(
        self, times: Ints, voters: Ints, chance: float, mean_seconds: float, more_often: Floats | None = None
    ) -> tuple[Ints, Ints]:
        """Return a share of the given, some time later; ``more_often`` multiplies the chance, by voter."""
        chances = chance if more_often is None else chance * more_often[voters]
        chosen = self._chance.random(len(times)) < chances
        return self._later_by(times[chosen], mean_seconds), voters[chosen]

    def _visit(self, times: Ints, voters: Ints, ways: Ints, happened: list[_Rows]) -> None:
        """Walk the pages from each arrival (one of ARRIVALS) until all have left."""
        more_often = {KIND["donation.started"]: self.truth.online, KIND["volunteer.signed_up"]: self.truth.help}
        entries, steps = np.cumsum(ENTRIES), np.cumsum(TRANSITIONS, axis=1)
        pages = np.searchsorted(entries, self._chance.random(len(times)) * entries[-1])
        devices = self._chance.integers(0, len(DEVICES), len(times))
        while len(times):
            happened.append(
                (times, voters, np.full(len(times), VISIT), (pages * len(DEVICES) + devices) * len(ARRIVALS) + ways)
            )
            for page, (kind, chance) in CONVERSIONS.items():
                here = pages == page
                when, who = self._some(times[here], voters[here], chance, 40, more_often.get(kind))
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
            concerned = self._voters(int(self._chance.poisson(weight * len(ISSUES))), "social.like")
            concerned = concerned[self.truth.issues[concerned] == burst.issue]
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
