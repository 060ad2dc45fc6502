"""Logs made from a seed: everything that the events topic may hold, in doses that make decisions meet."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle import Key, Row, murmur2
from tests.oracle_events import COUNTED, format_time
from tests.oracle_record import FEATURES

TOPIC = "engagement.events"
BEGIN_MS = 1_790_000_000_000
"""Log time at which every log begins (September 2026)."""
HOUR_MS = 3_600_000


@dataclass
class Log:
    """One partition's log, and the configuration contents that its activations name."""

    seed: int
    partition: int
    count: int
    contents: dict[Key, bytes]
    rows: list[Row] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    """By key id; none where nothing is signed."""

    @property
    def start(self) -> int:
        """Offset at which reading begins."""
        return self.rows[0].offset


def generate(seed: int, length: int = 150) -> Log:
    """Return the log of a seed: ``length`` rows of one partition."""
    return Generator(seed, trials=True).run(length)


def told(*events: tuple[int, str, str, dict[str, Any] | None]) -> Log:
    """Return a log of (hours since its beginning, voter, type, data)."""
    rows = []
    for offset, (hours, voter, kind, data) in enumerate(events):
        fields: dict[str, Any] = {"specversion": "1.0", "id": f"e{offset}", "source": "/s"}
        fields |= {"type": kind, "subject": voter}
        fields |= {"data": data} if data else {}
        rows.append(Row(offset, BEGIN_MS + hours * HOUR_MS, voter.encode(), json.dumps(fields).encode()))
    return Log(0, 0, 1, {}, rows)


# Rising and falling kinds: a model weighs the first up and the second down, so that scores swing within a batch.
RISING = ("social.share", "social.like", "donation.started", "site.page_view", "signup.completed")
FALLING = ("message.unsubscribed", "message.delivered")
RISING_FEATURES = (
    *([f"{kind}.decayed_{life}" for life in ("1d", "7d", "30d", "90d")] for kind in RISING[:2]),
    *([f"{kind}.decayed_7d", f"{kind}.recency"] for kind in RISING[2:4]),
    ["signup.completed.count", "taking_part.recency"],
)
FALLING_FEATURES = (
    ["message.unsubscribed.channels", "message.unsubscribed.mail"],
    ["message.delivered.decayed_4w", "message.delivered.recency"],
)
CHANNELS = ("email", "text", "push", "call", "mail", "door", "social", "ad")


def _channel(chance: random.Random) -> dict[str, Any]:
    return {"channel": chance.choice(CHANNELS), "message": "m-1"}


def _money(chance: random.Random) -> dict[str, Any]:
    return {"amount": chance.choice([5, 0.5, 27.0, 1e9]), "currency": chance.choice(["USD", "EUR"]), "form": None}


DATA: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "social.comment": lambda chance: {"text": chance.choice(["", "ünï 🗳", "x" * 500]), "unknown": [1]},
    "site.page_view": lambda chance: {"url": "https://example.org/issues", "device": chance.choice(["phone", None])},
    "donation.started": _money,
    "donation.completed": lambda chance: {**_money(chance), "recurring": chance.choice([True, False, None])},
    "event.rsvp": lambda chance: {"answer": chance.choice(["yes", "no", "maybe"]), "guests": chance.choice([0, 2.0])},
    "message.delivered": _channel,
    "message.opened": _channel,
    "message.clicked": _channel,
    "message.replied": _channel,
    "message.unsubscribed": _channel,
    "canvass.contacted": lambda chance: {"support": chance.randint(1, 5)},
    "profile.updated": lambda chance: {"region": chance.choice(["North", "Süd"])},
    "consent.granted": lambda chance: {"channel": chance.choice(CHANNELS), "purpose": "news"},
    "privacy.erased": lambda chance: {"reason": chance.choice(["asked", ""])},
}
"""By type, data that fits it."""

UNFIT_DATA: dict[str, list[Any]] = {
    "donation.completed": [None, {}, {"amount": 0, "currency": "USD"}, {"amount": 5}],
    "donation.started": [{"amount": True}, {"amount": "5"}, {"amount": 1e10}, {"currency": "usd"}, {"currency": "ÄÖÜ"}],
    "message.opened": [None, {}, {"channel": ""}, {"channel": None}, {"channel": "text", "message": 5}],
    "event.rsvp": [{"guests": 1001}, {"guests": 1.5}, {"answer": "Yes"}, {"guests": False}],
    "social.share": [5, "x", [], {"url": "x" * 2049}, {"post": 7}],
    "canvass.contacted": [{"support": 0}, {"support": 6}, {"support": "3"}],
}
"""By type, data that does not fit it."""

UNFIT: dict[str, list[Any]] = {
    "specversion": ["0.3", 1.0, None],
    "id": ["", 5, None, [], "x" * 257],
    "source": ["", 5, None, {}, "ü" * 257],
    "type": ["", 5, None, [], "social.poke", "Social.Like", "clock"],
    "datacontenttype": ["text/xml", "application/json; charset=utf-8", [], 1],
    "subject": ["", 5, None, "x" * 65, "é" * 33, "a\x00b", "a\x1f", "\x7f"],
    "time": [
        *["", 5, True, "yesterday", "2026-09-21", "2026-09-21T10:00:00", "2026-09-21 10:00:00Z"],
        *["2026-02-30T00:00:00Z", "2026-09-21T24:00:00Z", "2026-09-21T10:00:00+25:00", "1999-12-31T23:59:59.999Z"],
    ],
}
"""By CloudEvents attribute, values for which an event is refused."""


class Generator:
    """Writes one log, row by row, from one seed."""

    def __init__(
        self,
        seed: int,
        place: tuple[int, int] | None = None,
        steady_from_ms: int | None = None,
        *,
        trials: bool = False,
    ) -> None:
        """Draw the log's manner: partition, voters, pace, append times, configuration.

        ``place`` (partition, count) is drawn where None. ``steady_from_ms`` makes time begin there and pass evenly,
        for a log that a broker will stamp itself. ``trials``: activations also name other roles and a taxonomy.
        """
        self.chance = random.Random(seed)
        self.has_trials = trials
        # Of its own, so that whatever is not on trial is drawn as if nothing were.
        self.trying = random.Random(f"trials of {seed}")
        chance = self.chance
        count = chance.choice([1, 2, 4, 7])
        drawn = (chance.randrange(count), count)
        self.log = Log(seed, *(place or drawn), {})
        count = self.log.count
        self.append_times = chance.choice(["all", "all", "all", "none", "some"])
        self.now = BEGIN_MS
        self.pace_ms = chance.choice([0, 20, 5_000, 600_000, 20_000_000])
        self.offset = chance.choice([0, 0, 1000, 2**40])
        self.gaps = chance.choice([0.0, 0.1])
        self.voters, self.strangers = self.draw_voters(chance.choice([1, 3, 8, 30]))
        self.origins = {str(p): 0 for p in range(count)}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.configurations = [self.draw_configuration() for _ in range(chance.randint(2, 4))]
        self.serial = 0
        self.last_ms = self.now
        self.jumps = 0.01
        if steady_from_ms is not None:
            self.now, self.pace_ms, self.jumps = steady_from_ms, 20, 0.0

    def run(self, length: int) -> Log:
        """Write ``length`` rows."""
        quiet = self.chance.choice([0, 0, 0, 10])
        for number in range(length):
            self.pass_time()
            if number == quiet or self.chance.random() < 0.03:
                self.write(self.activation())
            else:
                self.write_any()
        return self.log

    # --- voters and time -------------------------------------------------------------------------------

    def draw_voters(self, most: int) -> tuple[list[str], list[str]]:
        """Return voters whose home is this partition, and voters of other partitions."""
        mine: list[str] = []
        others: list[str] = []
        shapes = ["v{}", "voter-{:08}", "Zoë {}", "選民{}", "🗳{}", "{}" + "x" * 54, 'q"u\\o{}te']
        number = 0
        while len(mine) < most or (self.log.count > 1 and len(others) < 3):
            number += 1
            voter = self.chance.choice(shapes).format(self.chance.randrange(10**8))
            home = murmur2(voter.encode()) % self.log.count
            (mine if home == self.log.partition else others).append(voter)
        return mine[:most], others[:5]

    def voter(self) -> str:
        """Return a voter, the first ones far more often than the rest."""
        return self.voters[min(int(self.chance.expovariate(0.5)), len(self.voters) - 1)]

    def pass_time(self) -> None:
        """Let log time go on (now and then by days), and offsets too."""
        if self.pace_ms:
            self.now += int(self.chance.expovariate(1 / self.pace_ms))
        if self.chance.random() < self.jumps:
            self.now += self.chance.choice([3_600_000, 86_400_000, 10 * 86_400_000])
        if self.chance.random() < self.gaps:
            self.offset += self.chance.choice([1, 2, 50])

    def moment(self) -> str:
        """Return an event time: mostly just before now, sometimes late or a little ahead, in varied spelling."""
        ms = self.now - int(self.chance.expovariate(1 / 500))
        dice = self.chance.random()
        if dice < 0.08:
            ms = self.now - self.chance.choice([0, 1, 60_000, 3_600_000, 5 * 86_400_000, 300 * 86_400_000])
        elif dice < 0.11:
            ms = self.now + self.chance.choice([1, 1_000, 7_200_000, 86_400_000, 86_400_001])
        elif dice < 0.25:
            # So that a session's longest gap is met to the millisecond, and missed by one.
            ms = self.last_ms + self.chance.choice([1_799_999, 1_800_000, 1_800_001])
        self.last_ms = ms
        text = format_time(ms)
        spelling = self.chance.randrange(8)
        if spelling == 0:
            return text[:-5] + "Z"
        if spelling == 1:
            return text[:-1] + "456789Z"
        if spelling == 2:
            return text.lower()
        if spelling == 3:
            return format_time(ms + 5_400_000)[:-1] + "+01:30"
        if spelling == 4:
            return format_time(ms - 18_000_000)[:-1] + "-05:00"
        return text

    # --- rows ------------------------------------------------------------------------------------------

    def write(self, value: bytes | None, key: bytes | None = None, headers: Any = ()) -> None:
        """Append a row."""
        given = self.append_times == "all" or (self.append_times == "some" and self.chance.random() < 0.5)
        append_time = self.now if given else None
        if append_time is not None and self.chance.random() < 0.03:
            append_time -= self.chance.choice([1, 1_000, 90_000_000])
        self.log.rows.append(Row(self.offset, append_time, key, value, tuple(headers)))
        self.offset += 1

    def write_any(self) -> None:
        """Append a row of some sort."""
        dice = self.chance.random()
        if dice < 0.70:
            self.write_event(self.event(self.voter()))
        elif dice < 0.75 and self.sent:
            voter, fields = self.chance.choice(self.sent[-25:])
            self.write(self.spell(fields), voter.encode())
        elif dice < 0.79:
            kinds = ["consent.granted"] * 3 + ["consent.withdrawn"]
            self.write_event(self.event(self.voter(), self.chance.choice(kinds)))
        elif dice < 0.793:
            self.write_event(self.event(self.voter(), "privacy.erased"))
        elif dice < 0.85:
            self.write_tick()
        elif dice < 0.90:
            self.write_forwarded()
        elif dice < 0.93 and self.strangers:
            self.write_event(self.event(self.chance.choice(self.strangers)))
        else:
            self.write_bad()

    def write_event(self, fields: dict[str, Any], headers: Any = ()) -> None:
        """Append an event as it is, and remember it for a duplicate later."""
        voter = fields["subject"]
        self.sent.append((voter, fields))
        key = self.chance.choice([voter.encode()] * 9 + [None])
        self.write(self.spell(fields), key, headers)

    def event(self, voter: str, kind: str | None = None) -> dict[str, Any]:
        """Return a fit event."""
        if kind is None:
            kind = self.chance.choice([*RISING, *FALLING, *RISING, *FALLING, *COUNTED, "profile.updated"])
        self.serial += 1
        source = self.chance.choice(["//tracker/site", "https://social.example/a?b=c"])
        fields = {"specversion": "1.0", "id": f"e{self.serial}", "source": source, "type": kind, "subject": voter}
        if self.chance.random() < 0.9:
            fields["time"] = self.moment()
        if self.chance.random() < 0.01:
            fields["time"] = self.chance.choice(["2000-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z"])
        if self.chance.random() < 0.02:
            fields["id" if self.chance.random() < 0.5 else "source"] = "é" * self.chance.choice([256, 257])
        if self.chance.random() < 0.3:
            fields["datacontenttype"] = "application/json"
        if self.chance.random() < 0.1:
            fields["extension"] = self.chance.choice(["x", "ünï"])
        return {**fields, **self.data(kind)}

    def data(self, kind: str) -> dict[str, Any]:
        """Return the ``data`` member that fits a type, or none."""
        return {"data": DATA[kind](self.chance)} if kind in DATA else {}

    def spell(self, fields: dict[str, Any]) -> bytes:
        """Return JSON, its members in any order, escaped and spaced in any manner."""
        names = list(fields)
        if self.chance.random() < 0.3:
            self.chance.shuffle(names)
        compact = self.chance.random() < 0.5
        text = json.dumps(
            {name: fields[name] for name in names},
            ensure_ascii=self.chance.random() < 0.5,
            separators=(",", ":") if compact else None,
        )
        return text.encode()

    def write_tick(self) -> None:
        """Append a tick, sometimes behind time."""
        ms = self.now - self.chance.choice([0, 0, 0, 5_000])
        self.serial += 1
        fields = {"specversion": "1.0", "id": f"t{self.serial}", "source": "/clock", "type": "clock.tick"}
        fields["time"] = format_time(ms)
        self.write(self.spell({**fields, **self.data("clock.tick")}))

    def write_forwarded(self) -> None:
        """Append a row that came from another partition: new, repeated, or under a damaged header."""
        origin = str(self.chance.randrange(self.log.count))
        step = self.chance.choice([1, 1, 5, 0, -1])
        self.origins[origin] = max(0, self.origins[origin] + step)
        place = f"{origin}:{self.origins[origin]}".encode()
        header = self.chance.choice([place] * 8 + [b"x:1", b"", b"0:-4", None])
        headers = [("traceparent", b"00-1"), ("groundswell-origin", header)]
        if self.chance.random() < 0.1:
            self.write(b"{", None, headers)
        elif self.chance.random() < 0.1 and self.strangers:
            self.write_event(self.event(self.chance.choice(self.strangers)), headers)
        else:
            self.write_event(self.event(self.voter()), headers)

    def write_bad(self) -> None:
        """Append a row that is refused for one reason or another."""
        chance = self.chance
        good = self.event(self.voter())
        texts = [None, b"", b"{", b"\xff\xfe", b"[1,2]", b'"x"', b"17", b"null", b'{"a":NaN}', b'{"a":"\\ud800"}']
        if chance.random() < 0.3:
            self.write(chance.choice(texts), chance.choice([None, b"", b"\x00\xff"]))
            return
        if chance.random() < 0.05:
            size = chance.choice([65_536, 65_537, 70_000])
            bare = self.spell({**good, "filler": ""})
            self.write(bare.replace(b'"filler":', b'"filler":' + b" " * (size - len(bare))))
            return
        if chance.random() < 0.25:
            kind = chance.choice(list(UNFIT_DATA))
            self.write(self.spell({**self.event(self.voter(), kind), "data": chance.choice(UNFIT_DATA[kind])}))
            return
        name = chance.choice(list(UNFIT))
        item = chance.choice([*UNFIT[name], *([format_time(self.now + 10**9)] * 3 if name == "time" else ())])
        missing = name not in {"datacontenttype", "time"} and chance.random() < 0.15
        fields = {**good, name: item}
        if missing:
            del fields[name]
        self.write(self.spell(fields), None)

    # --- configuration ---------------------------------------------------------------------------------

    def put(self, kind: str, name: str, content: bytes) -> dict[str, str]:
        """Keep a content; return how an activation names it."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.log.contents[kind, name, sha256] = content
        return {"kind": kind, "name": name, "sha256": sha256}

    def draw_configuration(self) -> list[dict[str, str]]:
        """Return the contents of one configuration: some models, and campaigns on them."""
        names = self.chance.sample(
            ["support", "donate", "turnout", "volunteer", "churn", "reach"], k=self.chance.randint(1, 6)
        )
        models = [self.draw_model(name) for name in names]
        numbers = self.chance.sample(range(14), k=self.chance.randint(1, 12))
        campaigns = [self.draw_campaign(f"campaign-{number}", self.chance.choice(names)) for number in numbers]
        return [*models, *campaigns]

    def draw_trials(self, names: list[str]) -> list[dict[str, Any]]:
        """Return versions of some models in other roles, seldom more of them than there is room for."""
        chance, entries = self.trying, list[dict[str, Any]]()
        for name in chance.sample([*names, "unheard-of"], k=min(chance.choice([0, 0, 1, 2, 4, 5]), len(names))):
            for role in chance.sample(["shadow", "canary", "canary", "previous"], k=chance.choice([1, 1, 1, 2])):
                entry: dict[str, Any] = {**self.draw_model(name, chance), "role": role}
                if role == "canary":
                    entry |= {"share": chance.choice([0.1, 0.5, 0.5, 0.999, 2**-60])}
                if chance.random() < 0.3:
                    entry |= {"since_ms": BEGIN_MS}
                if (name, role) not in {(other["name"], other["role"]) for other in entries}:
                    entries.append(entry)
        return entries

    def draw_taxonomies(self) -> list[dict[str, str]]:
        """Return a taxonomy or none, seldom more of them than there is room for."""
        chance = self.trying
        names = chance.sample(["words", "other"], k=chance.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 2]))
        known = chance.choice(['"example.org/issues"', '"nurses"'])
        return [
            self.put("taxonomy", name, f'accounts = [{{side = "own", names = [{known}]}}]'.encode()) for name in names
        ]

    def draw_model(self, name: str, chance: random.Random | None = None) -> dict[str, str]:
        """Return a model whose score swings around 0 (linear) or 0.5 (logistic)."""
        chance = chance or self.chance
        weights = {chance.choice(features): chance.uniform(0.1, 1) for features in RISING_FEATURES}
        weights |= {chance.choice(features): -chance.uniform(0.5, 2) for features in FALLING_FEATURES}
        weights |= {feature: chance.uniform(-0.05, 0.05) for feature in chance.sample(FEATURES, k=chance.randint(0, 9))}
        items = list(weights.items())
        chance.shuffle(items)
        fields: dict[str, Any] = {"name": name, "kind": chance.choice(["linear", "logistic"])}
        fields |= {"bias": chance.choice([0, -0.3, 0.25, 0.0]), "weights": dict(items)}
        if chance.random() < 0.4:
            fields["calibration"] = {"slope": chance.uniform(0.5, 2), "intercept": chance.choice([0, -0.1, 0.2])}
        if chance.random() < 0.3:
            fields["description"] = f"version {chance.random()}"
        fields["means"] = dict.fromkeys(sorted(weights)[::2], 0.375)
        return self.put("model", name, json.dumps(fields).encode())

    def draw_campaign(self, name: str, model: str) -> dict[str, str]:
        """Return a campaign whose threshold is crossed often."""
        chance = self.chance
        threshold = round(chance.uniform(-0.3, 1.2), 2)
        up = chance.random() < 0.7
        distance = chance.choice([0.0, 0.05, 0.2])
        rearm = round(threshold - distance if up else threshold + distance, 2)
        cooldown = chance.choice(["0", "0", '"45s"', '"30m"', '"12h"', '"7d"'])
        lines = [f'name = "{name}"', f'model = "{model}"', f'direction = "{"up" if up else "down"}"']
        lines += [f"threshold = {threshold}", f"rearm = {rearm}", f"cooldown = {cooldown}"]
        if chance.random() < 0.5:
            lines += ["[action]", 'template = "thank-you ünï"', 'channel = "mail"']
        return self.put("campaign", name, "\n".join(lines).encode())

    def activation(self) -> bytes:
        """Return the activation of one configuration, sometimes of only a part of its campaigns."""
        contents = list(self.chance.choice(self.configurations))
        if self.chance.random() < 0.3:
            contents = [entry for entry in contents if entry["kind"] == "model" or self.chance.random() < 0.7]
        self.chance.shuffle(contents)
        if self.has_trials:
            contents += self.draw_trials([entry["name"] for entry in contents if entry["kind"] == "model"])
            contents += self.draw_taxonomies()
        self.serial += 1
        fields = {"specversion": "1.0", "id": f"a{self.serial}", "source": "/config", "type": "config.activated"}
        return self.spell({**fields, "data": {"engine": 1, "contents": contents}})
