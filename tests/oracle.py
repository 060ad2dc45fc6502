"""What a partition's log decides, told a second time in plain Python: the judge of the engine.

It shares no code with the package: one row after another, Python numbers, ``struct`` for the bytes of a record.
It is slow, and short enough to be checked by eye.
"""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import xxhash

from tests.oracle_events import (
    CONTROL,
    DAY_MS,
    SIGNED,
    Event,
    fingerprint_of,
    format_time,
    origin_of,
    read_event,
    signature_of,
    unsigned,
    withheld,
)
from tests.oracle_record import FEATURES, Signal, Voter, fold
from tests.oracle_record import Row as FeatureRow
from tests.oracle_signals import say

UNKNOWN, YES, NO, ERASED = range(4)

Key = tuple[str, str, str]
"""Kind, name and sha256 of a configuration content."""


@dataclass(frozen=True)
class Row:
    """One record of ``engagement.events``; ``append_time`` in ms, None where the broker gives none."""

    offset: int
    append_time: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True)
class Output:
    """One record of an output topic, and the log offset of the row that made it."""

    sequence: int
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    made_at: int


# --- arithmetic ---------------------------------------------------------------------------------------


def exp2(x: float) -> float:
    """Return 2**x by the documented steps: nearest integer, Taylor to degree 13, powers by squaring."""
    if x < -1021.0:
        return 0.0
    if x > 1023.0:
        return float("inf")
    whole = int(x)
    part = x - whole
    if part > 0.5:
        whole, part = whole + 1, part - 1.0
    elif part < -0.5:
        whole, part = whole - 1, part + 1.0
    t = part * 0.6931471805599453
    total = 1.0
    for k in range(13, 0, -1):
        total = 1.0 + total * t / k
    base = 2.0 if whole >= 0 else 0.5
    for bit in reversed(bin(abs(whole))[2:]):
        if bit == "1":
            total *= base
        base *= base
    return total


def single(x: float) -> float:
    """Return the nearest number of 32 bits that is finite; NaN for NaN."""
    most = (2.0 - 2.0**-23) * 2.0**127
    x = most if x > most else -most if x < -most else x
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def logistic(x: float) -> float:
    """Return the logistic function of x."""
    denominator = 1.0 + exp2(-x * 1.4426950408889634)
    return 1.0 / denominator


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2, sign bit cleared."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for position in range(0, whole, 4):
        k = int.from_bytes(data[position : position + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def tag_of(kind: str, name: str) -> int:
    """Return the tag of 16 bits, FNV-1a of 32 folded, of a content's kind and name."""
    h = 2166136261
    for byte in f"{kind}/{name}".encode():
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return (h >> 16 ^ h & 0xFFFF) or 1


# --- configuration ------------------------------------------------------------------------------------


Content = TypeVar("Content")


@dataclass
class Model:
    """A model as its file says."""

    name: str
    sha256: str
    tag: int
    logistic: bool
    bias: float
    weights: list[tuple[int, float]]
    calibration: tuple[float, float] | None
    means: dict[int, float]

    def score(self, x: Sequence[float]) -> float:
        """Return the score of one feature row."""
        z = self.bias
        for feature, weight in self.weights:
            z = z + weight * x[feature]
        if self.calibration is not None:
            z = self.calibration[0] * z + self.calibration[1]
        return logistic(z) if self.logistic else z

    def contributions(self, x: Sequence[float]) -> list[dict[str, Any]]:
        """Return the five features that contribute most to the score of a feature row, before its link."""
        slope = 1.0 if self.calibration is None else self.calibration[0]
        found = [
            (feature, slope * (weight * (x[feature] - self.means.get(feature, 0.0))))
            for feature, weight in self.weights
        ]
        strongest = sorted((item for item in found if item[1] != 0.0), key=lambda item: (-abs(item[1]), item[0]))[:5]
        return [{"feature": FEATURES[f], "value": x[f], "contribution": contribution} for f, contribution in strongest]


@dataclass
class Campaign:
    """A campaign as its file says."""

    name: str
    sha256: str
    tag: int
    model: str
    up: bool
    threshold: float
    rearm: float
    cooldown_ms: int
    action: dict[str, Any]


def read_model(name: str, sha256: str, content: bytes) -> Model:
    """Read a model file."""
    fields = json.loads(content)
    weights = sorted((FEATURES.index(feature), float(weight)) for feature, weight in fields["weights"].items())
    calibration = fields.get("calibration")
    slope = None if calibration is None else (float(calibration["slope"]), float(calibration["intercept"]))
    kind = fields["kind"] == "logistic"
    means = {FEATURES.index(feature): float(mean) for feature, mean in fields.get("means", {}).items()}
    return Model(name, sha256, tag_of("model", name), kind, float(fields["bias"]), weights, slope, means)


def read_campaign(name: str, sha256: str, content: bytes) -> Campaign:
    """Read a campaign file."""
    fields = tomllib.loads(content.decode())
    cooldown = str(fields["cooldown"])
    units = {"d": DAY_MS, "h": 3600000, "m": 60000, "s": 1000}
    cooldown_ms = 0 if cooldown == "0" else int(cooldown[:-1]) * units[cooldown[-1]]
    return Campaign(
        name,
        sha256,
        tag_of("campaign", name),
        fields["model"],
        fields["direction"] == "up",
        float(fields["threshold"]),
        float(fields["rearm"]),
        cooldown_ms,
        dict(sorted(fields.get("action", {}).items())),
    )


# --- the partition ------------------------------------------------------------------------------------


class Partition:
    """One partition of the events topic, fed row by row."""

    def __init__(
        self,
        partition: int,
        count: int,
        contents: Mapping[Key, bytes],
        topic: str,
        start: int = 0,
        secrets: Mapping[str, bytes] | None = None,
    ) -> None:
        """Begin with nothing known, at the offset ``start``; the first of ``secrets`` is in force, if there is one."""
        self.secrets = dict(secrets or {})
        self.root = [[name, fingerprint_of(self.secrets[name])] for name in list(self.secrets)[:1]]
        self.keys = self.root
        self.counters: dict[str, int] = {}
        self.partition, self.count, self.contents, self.topic = partition, count, contents, topic
        self.start = self.offset = start
        self.now = 0
        self.voters: dict[str, Voter] = {}
        self.slots: dict[str, list[list[str] | None]] = {"model": [], "campaign": [], "policy": [], "taxonomy": []}
        self.models: list[Model | None] = []
        self.campaigns: list[Campaign | None] = []
        self.versions: list[dict[str, Any]] = []
        self.canaries: dict[int, tuple[Model, float]] = {}
        self.taxonomy: dict[str, Any] = {}
        self.outputs: dict[str, list[Output]] = {"triggers": [], "rejects": [], "forwards": []}
        self.origins: dict[str, int] = {}
        self.totals = dict.fromkeys(("rows", "folded", "duplicates", "suppressed", "rejected"), 0)

    def feed(self, row: Row) -> None:
        """Take one row of the log."""
        self.offset = row.offset + 1
        self.totals["rows"] += 1
        if row.append_time is not None:
            self.now = max(self.now, row.append_time)
        counter = self.counter_of(row)
        event: Event | str = "not_authorised"
        if not self.root or counter or origin_of(row.headers) is None:
            event = read_event(row.value, self.now, lambda kind: self.judge(kind, counter))
        kind = "" if isinstance(event, str) else event.type
        if event == "again" or (event != "not_authorised" and kind not in CONTROL and self.is_repeated(row)):
            self.totals["duplicates"] += 1
        elif isinstance(event, str):
            self.reject(row, event)
        elif kind == "clock.tick":
            if row.append_time is None and event.time is not None:
                self.now = max(self.now, event.time)
        elif kind == "config.activated":
            if not self.activate(event.data):
                self.reject(row, "bad_data")
        elif kind == "keys.rotated":
            self.keys = [[entry["id"], entry["fingerprint"]] for entry in event.data["keys"]]
            assert all(fingerprint_of(self.secrets[name]) == found for name, found in self.keys), (
                "the worker stops here"
            )
        else:
            self.route(row, event)

    def counter_of(self, row: Row) -> int:
        """Return the counter of the row's signature, 0 where no key in force made it."""
        texts = [text for name, text in row.headers if name == "groundswell-signature" and text is not None]
        match = re.fullmatch(rb"([^:]+):([1-9][0-9]{0,18}):([0-9a-f]{64})", texts[0]) if texts else None
        if not match or match[1].decode("latin-1") not in [name for name, _ in self.keys]:
            return 0
        origin = origin_of(row.headers)
        place = None if origin is None else f"{origin[0]}:{origin[1]}".encode()
        signed = (b"groundswell-control-1", self.topic.encode(), match[1], str(self.partition).encode(), match[2])
        expected = signature_of(self.secrets[match[1].decode()], (*signed, row.key, row.value, place))
        return int(match[2]) if expected.encode() == match[3] else 0

    def judge(self, kind: str, counter: int) -> str:
        """Return why a type does not count in this row, "again" for what was taken just before, "" if it does."""
        if not self.root:
            return unsigned(kind)
        if kind in SIGNED and not counter:
            return "not_authorised"
        if kind in {"config.activated", "keys.rotated"}:
            last = self.counters.get(kind, 0)
            if counter <= last:
                return "again" if counter == last else "not_authorised"
            self.counters[kind] = counter
        return ""

    def is_repeated(self, row: Row) -> bool:
        """Note where a forwarded row came from; return whether it, or a later one from there, was taken before."""
        origin = origin_of(row.headers)
        if origin is None or origin[0] >= self.count:
            return False
        last = self.origins.get(str(origin[0]), -1)
        self.origins[str(origin[0])] = max(last, origin[1])
        return origin[1] <= last

    def put(self, output: str, partition: int, key: bytes | None, value: bytes | None, headers: Any, at: int) -> None:
        sequence = len(self.outputs[output]) + 1
        headers = (*headers, ("groundswell-sequence", str(sequence).encode()))
        self.outputs[output].append(Output(sequence, partition, key, value, headers, at))

    def reject(self, row: Row, reason: str) -> None:
        self.totals["rejected"] += 1
        place = {"partition": self.partition, "offset": row.offset, "time": self.now}
        texts = {"reason": reason, "topic": self.topic, **place}
        headers = [(name, str(text).encode()) for name, text in texts.items()]
        self.put("rejects", self.partition, row.key, withheld(row.value or b""), headers, row.offset)

    def route(self, row: Row, event: Event) -> None:
        key = event.voter.encode()
        home = murmur2(key) % self.count
        if home == self.partition:
            self.gate(row.offset, event)
        elif origin_of(row.headers) is not None:
            self.reject(row, "wrong_partition")
        else:
            here = (("groundswell-origin", f"{self.partition}:{row.offset}".encode()),)
            self.put("forwards", home, key, row.value, here, row.offset)

    def gate(self, offset: int, event: Event) -> None:
        voter = self.voters.setdefault(event.voter, Voter())
        if voter.consent == ERASED:
            self.totals["suppressed"] += 1
            return
        name = xxhash.xxh3_64_intdigest(event.source.encode() + b"\0" + event.id.encode()) or 1
        if name in voter.ring:
            self.totals["duplicates"] += 1
            return
        if event.type == "privacy.erased":
            self.voters[event.voter] = Voter(version=2, consent=ERASED, last_offset=offset)
            return
        voter.ring[voter.ring_next] = name
        voter.ring_next = (voter.ring_next + 1) % 16
        voter.version, voter.last_offset = 2, offset
        if event.type == "consent.granted":
            voter.consent = YES
        elif event.type == "consent.withdrawn":
            voter.consent = NO
        elif voter.consent == NO:
            self.totals["suppressed"] += 1
        else:
            self.totals["folded"] += 1
            self.decide(offset, event, voter, self.fold(event, voter))

    def fold(self, event: Event, voter: Voter) -> Sequence[float]:
        """Fold an event into its voter's record; return the feature row."""
        previous = voter.last_ms
        fresh = voter.first_s == 0
        said = Signal(**say(event.type, event.data, self.taxonomy))
        fold(voter, event.type, self.now if event.time is None else event.time, said)
        at = max(self.now, voter.last_ms)
        return FeatureRow(voter, at, at if fresh else previous)

    def decide(self, offset: int, event: Event, voter: Voter, x: Sequence[float]) -> None:
        """Score a feature row with every model, and fire the campaigns whose thresholds it crossed."""
        models = [self.drawn(slot, event.voter) for slot in range(len(self.models))]
        after = {slot: model.score(x) for slot, model in enumerate(models) if model}
        for c, campaign in enumerate(self.campaigns):
            places = [slot for slot, model in enumerate(models) if campaign and model and model.name == campaign.model]
            if campaign is None or not places:
                continue
            m = places[0]
            model = models[m]
            assert model is not None
            empty = model.score([0.0] * len(FEATURES))
            before = voter.score[m] if voter.score_tag[m] == model.tag else empty
            sign = 1.0 if campaign.up else -1.0
            bit = 1 << c
            if voter.campaign_tag[c] != campaign.tag:
                voter.campaign_tag[c], voter.fired_s[c] = campaign.tag, 0
                voter.armed = voter.armed | bit if sign * empty <= sign * campaign.rearm else voter.armed & ~bit
            if voter.armed & bit:
                if sign * after[m] >= sign * campaign.threshold:
                    voter.armed &= ~bit
                    since_ms = self.now - voter.fired_s[c] * 1000
                    if voter.fired_s[c] == 0 or campaign.cooldown_ms == 0 or since_ms >= campaign.cooldown_ms:
                        voter.fired_s[c] = max(-(-self.now // 1000), 1)
                        strongest = model.contributions(x)
                        self.fire(offset, event, campaign, models, (before, after[m]), strongest)
            elif sign * after[m] <= sign * campaign.rearm:
                voter.armed |= bit
        for m, model in enumerate(models):
            if model:
                voter.score[m], voter.score_tag[m] = single(after[m]), model.tag

    def drawn(self, slot: int, voter: str) -> Model | None:
        """Return the version that scores a voter in a slot: the active one, or the canary that draws the voter."""
        if slot in self.canaries:
            canary, share = self.canaries[slot]
            name = f"{canary.name}\0{canary.sha256}\0{voter}".encode()
            if (xxhash.xxh3_64_intdigest(name) >> 11) / 2**53 < share:
                return canary
        return self.models[slot]

    def fire(
        self,
        offset: int,
        event: Event,
        campaign: Campaign,
        models: Sequence[Model | None],
        scores: tuple[float, float],
        strongest: list[dict[str, Any]],
    ) -> None:
        before, after = scores
        sequence = len(self.outputs["triggers"]) + 1
        verb = "rose" if campaign.up else "fell"
        crossed = f"{campaign.model} {verb} from {before:.4f} to {after:.4f} and crossed {campaign.threshold!r}"
        cause: dict[str, Any] = {"id": event.id, "source": event.source, "type": event.type}
        cause["time"] = format_time(self.now if event.time is None else event.time)
        cause |= {"partition": self.partition, "offset": offset}
        data = {
            "campaign": campaign.name,
            "campaign_version": campaign.sha256,
            "model": campaign.model,
            "models": {model.name: model.sha256 for model in models if model},
            "score_before": before,
            "score_after": after,
            "cause": cause,
            "log_time_ms": self.now,
            "sequence": sequence,
            "why": f"{crossed} after {event.type}",
            "contributions": strongest,
            "action": campaign.action,
        }
        value: dict[str, Any] = {"specversion": "1.0", "id": f"{self.partition}-{offset}-{campaign.name}"}
        value |= {"source": f"/{self.topic}/{self.partition}", "type": "campaign.triggered", "subject": event.voter}
        if self.now:
            value["time"] = format_time(self.now)
        value |= {"datacontenttype": "application/json", "sequence": str(sequence), "data": data}
        kind = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
        self.put("triggers", self.partition, event.voter.encode(), orjson.dumps(value), kind, offset)

    def activate(self, data: Any) -> bool:
        """Make the listed contents, and no others, active; return False where that cannot be."""
        entries = [{"role": "active"} | {k: v for k, v in entry.items() if v is not None} for entry in data["contents"]]
        contents = [entry for entry in entries if entry["role"] == "active"]
        active = {entry["name"] for entry in contents if entry["kind"] == "model"}
        roles = [entry["role"] for entry in entries]
        if len([role for role in roles if role in {"shadow", "canary"}]) > 4 or roles.count("previous") > 12:
            return False
        if any(entry["role"] == "canary" and entry["name"] not in active for entry in entries):
            return False
        listed = [{entry["name"] for entry in contents if entry["kind"] == kind} for kind in self.slots]
        assert data["engine"] == 1, "another engine decides from here on"
        if any(len(names) > most for names, most in zip(listed, (8, 12, 0, 1), strict=True)):
            return False
        for kind, slots in self.slots.items():
            wanted = {entry["name"]: entry["sha256"] for entry in contents if entry["kind"] == kind}
            for slot, entry in enumerate(slots):
                if entry is not None:
                    name = entry[0]
                    slots[slot] = [name, wanted.pop(name)] if name in wanted else None
            for name in sorted(wanted):
                if None not in slots:
                    slots.append(None)
                slots[slots.index(None)] = [name, wanted[name]]
        self.versions = [
            {"share": 0.0, "since_ms": 0} | {name: entry[name] for name in entry if name != "kind"}
            for entry in sorted(entries, key=lambda entry: (entry["name"], entry["sha256"], entry["role"]))
            if entry["kind"] == "model" and (entry["role"] != "active" or entry.get("since_ms"))
        ]
        self.models = self.read_slots("model", read_model)
        self.canaries = {}
        for version in self.versions:
            if version["role"] == "canary":
                name, sha256 = version["name"], version["sha256"]
                (slot,) = [m for m, model in enumerate(self.models) if model and model.name == name]
                canary = read_model(name, sha256, self.contents["model", name, sha256])
                self.canaries[slot] = (canary, version["share"])
        self.campaigns = self.read_slots("campaign", read_campaign)
        taxonomies = self.read_slots("taxonomy", lambda _name, _sha256, content: tomllib.loads(content.decode()))
        self.taxonomy = next((table for table in taxonomies if table is not None), {})
        return True

    def read_slots(self, kind: str, read: Callable[[str, str, bytes], Content]) -> list[Content | None]:
        slots = self.slots[kind]
        keys = [(kind, entry[0], entry[1]) if entry else None for entry in slots]
        return [read(key[1], key[2], self.contents[key]) if key else None for key in keys]

    def header(self) -> dict[str, Any]:
        """Return the header's content, all but the owner and what is not decided by the log."""
        return {
            "partition_count": self.count,
            "start": self.start,
            "offset": self.offset,
            "log_time_ms": self.now,
            "engine": 1,
            "slots": self.slots,
            "versions": self.versions,
            "sequences": {output: len(rows) for output, rows in self.outputs.items()},
            "origins": self.origins,
            "totals": self.totals,
            "root": self.root,
            "keys": self.keys,
            "counters": self.counters,
        }

    def records(self) -> dict[str, bytes]:
        """Return the bytes of every record that was ever changed, by voter."""
        return {name: voter.pack() for name, voter in self.voters.items() if voter.version}
