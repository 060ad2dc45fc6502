"""Labels go by the taxonomy that was active at each event's place in the log, as features do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stream.commands.classes import CLASSED
from stream.commands.dataset import DatasetOptions, write_sources
from stream.commands.labels import Label
from stream.commands.rows import read_metadata
from stream.errors import ConfigurationError
from stream.events.fields import FIELDS
from tests.logs import BEGIN_MS, Log
from tests.oracle import Row
from tests.simulation.topics import MemoryDeployment, MemoryReader

HOUR_MS = 3_600_000
FIRST = """
[[issues]]
name = "economy"
[[accounts]]
side = "own"
names = ["us"]
[[pages]]
class = "donate"
paths = ["/give"]
[referrers]
search = ["google.com"]
[[devices]]
class = "phone"
words = ["iphone"]
[channels]
text = ["sms"]
[methods]
online = ["card"]
[profile]
regions = ["North", ["South", "Süd"]]
"""
SECOND = FIRST.replace('["card"]', '["venmo"]').replace('"North", ["South", "Süd"]', '["Up", "North"], "South"')


class Told:
    """A log told row by row, an hour apart, of the voter ``v`` unless another is named."""

    def __init__(self) -> None:
        self.log = Log(0, 0, 1, {}, [])

    def add(self, kind: str, data: dict[str, Any] | None = None, voter: str | None = "v") -> Told:
        number = len(self.log.rows)
        fields: dict[str, Any] = {"specversion": "1.0", "id": f"e{number}", "source": "/s", "type": kind}
        fields |= {"subject": voter} if voter else {}
        fields |= {"data": data} if data else {}
        key = voter.encode() if voter else None
        self.log.rows.append(Row(number, BEGIN_MS + number * HOUR_MS, key, json.dumps(fields).encode()))
        return self

    def activate(self, text: str, sha256: str | None = None) -> Told:
        sha256 = sha256 or hashlib.sha256(text.encode()).hexdigest()
        self.log.contents["taxonomy", "taxonomy", sha256] = text.encode()
        content = {"kind": "taxonomy", "name": "taxonomy", "sha256": sha256}
        return self.add("config.activated", {"engine": 1, "contents": [content]}, None)


async def positives(log: Log, label: str, out: Path, page: int = 1000) -> list[int]:
    """Return after which rows of the log an event comes that the label counts."""
    made = MemoryDeployment([log])
    sources = made.sources()
    object.__setattr__(sources, "reader", lambda name, number: MemoryReader(made.topic(name, number), page))
    await write_sources(sources, DatasetOptions(f"{label} within 1h", every="1h"), out)
    rows = pq.read_table(out).to_pylist()
    return sorted((row["time_ms"] - BEGIN_MS) // HOUR_MS + 1 for row in rows if row["label"])


def spell(label: str, data: Sequence[dict[str, Any]]) -> tuple[Told, str]:
    kind = label.partition(" ")[0]
    told = Told().activate(FIRST).add("social.like")
    for one in data:
        told.add(kind, one)
    return told.add("social.like"), label


MONEY = {"amount": 5, "currency": "USD"}
CASES = [
    ("donation.completed where method=online", [{**MONEY, "method": "Card"}, {**MONEY, "method": "online"}], [0]),
    ("donation.completed where method!=online", [{**MONEY, "method": "card"}, {**MONEY, "method": "cash"}, MONEY], [1]),
    ("donation.completed where method=other", [{**MONEY, "method": "shells"}, {**MONEY, "method": ""}], [0]),
    ("message.opened where channel=text", [{"channel": "SMS"}, {"channel": "text"}], [0]),
    ("site.page_view where device=phone", [{"device": "iPhone 17"}, {"device": "tv"}, {"url": "/"}], [0]),
    ("site.page_view where page=donate", [{"url": "https://x.org/give"}, {"url": "/"}, {"device": "tv"}], [0]),
    ("site.page_view where page=donate", [{"page": "donate"}, {"page": "home", "url": "https://x.org/give"}], [1]),
    ("site.page_view where origin=search", [{"referrer": "https://www.google.com/"}, {"url": "/"}], [0]),
    ("site.page_view where origin=direct", [{"referrer": "https://www.google.com/"}, {"url": "/"}], [1]),
    ("social.follow where side=own", [{"account": "@Us"}, {"account": "them"}, {"url": "/"}], [0]),
    ("social.like where side=own", [{"side": "own"}, {"side": "ally", "account": "us"}], [1]),
    ("canvass.contacted where issue=economy", [{"issue": "Economy"}, {"issue": "taxes"}, {"support": 3}], [0]),
    ("canvass.contacted where issue=other", [{"issue": "Economy"}, {"issue": "taxes"}, {"support": 3}], [1]),
    ("canvass.contacted where issue=other", [{"issue": ""}, {"issue": "taxes"}], [1]),
    ("profile.updated where region=South", [{"region": "süd"}, {"region": "North"}, {"region": "West"}], [0]),
    ("profile.updated where region=other", [{"region": "süd"}, {"region": "North"}, {"region": "West"}], [2]),
    ("profile.updated where time_zone=Europe/Berlin", [{"time_zone": "europe/berlin"}, {"time_zone": "UTC"}], [0]),
    ("site.page_view where url=/give", [{"url": "/give"}, {"url": "https://x.org/give"}], [0]),
]


@pytest.mark.parametrize(("label", "data", "counted"), CASES)
async def test_label_counts_what_the_taxonomy_makes_of_an_event(
    label: str, data: list[dict[str, Any]], counted: list[int], tmp_path: Path
) -> None:
    told, text = spell(label, data)
    found = await positives(told.log, text, tmp_path / "rows.parquet")
    assert found == [2 + place for place in counted]


@pytest.mark.parametrize("page", [1, 3, 1000])
async def test_taxonomy_of_the_events_place_counts(page: int, tmp_path: Path) -> None:
    told = Told().add("social.like").add("donation.completed", {**MONEY, "method": "card"})
    told.add("donation.completed", {**MONEY, "method": "online"}).add("social.like").activate(FIRST)
    told.add("donation.completed", {**MONEY, "method": "card"}).add("profile.updated", {"region": "North"})
    # One that nobody can read changes nothing.
    told.add("social.like").activate("regions = 3").add("profile.updated", {"region": "North"})
    told.activate(SECOND).add("donation.completed", {**MONEY, "method": "card"})
    told.add("donation.completed", {**MONEY, "method": "venmo"}).add("profile.updated", {"region": "North"})
    told.add("social.like")
    out = tmp_path / "rows.parquet"
    assert await positives(told.log, "donation.completed where method=online", out, page) == [2, 5, 12]
    assert await positives(told.log, "profile.updated where region=North", out, page) == [6, 9]
    assert await positives(told.log, "profile.updated where region=Up", out, page) == [13]


NAMED, TYPED = "profile.updated where region=Nrth within 1d", "social.like within 1d"


@pytest.mark.parametrize(("label", "others"), [(NAMED, []), (TYPED, [TYPED, NAMED])])
async def test_name_that_no_taxonomy_lists_is_refused_before_the_log_is_read(
    label: str, others: list[str], tmp_path: Path
) -> None:
    made = MemoryDeployment([Told().activate(FIRST).activate(SECOND).log])
    sources = made.sources()
    read: list[str] = []

    def reader(name: str, partition: int) -> MemoryReader:
        read.append(name)
        return MemoryReader(made.topic(name, partition))

    object.__setattr__(sources, "reader", reader)
    labels = [Label.parse(text) for text in others]
    with pytest.raises(ConfigurationError) as raised:
        await write_sources(sources, DatasetOptions(label), tmp_path / "rows.parquet", labels=labels)
    words = "region is 'Nrth', expected one of the regions that the taxonomy lists: North, South, Up, other"
    assert words in str(raised.value)
    assert read == ["config"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("donation.completed where method=card", 33, "'card', expected a class of method: online, post, other"),
        ("donation.* where method=5", 25, "'5', expected a class of method"),
        ("message.opened where channel=email", 30, "'email', expected a class of channel: mail, text, push, social"),
        ("message.opened or consent.granted where channel=email", 49, "'email', expected a class of channel: mail"),
        ("message.opened or consent.granted where channel=phone", 49, "'phone', expected a class of channel: email"),
        ("site.page_view where device=iphone", 29, "'iphone', expected a class of device: phone, tablet"),
        ("site.page_view where page=home1", 27, "'home1', expected a class of page: home, issue, donate"),
        ("social.* where side=ours", 21, "'ours', expected a class of side: own, ally"),
        (
            "profile.updated where time_zone=Berlin",
            33,
            "'Berlin', expected a class of time_zone: UTC, America/New_York",
        ),
        (
            "site.page_view where side=own",
            22,
            "'side', expected a field of site.page_view: url, referrer, title, device",
        ),
        ("donation.completed where method>online", 32, "'>', expected = or !="),
    ],
)
def test_class_that_there_is_not_is_refused_with_those_that_there_are(text: str, place: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Label.parse(f"{text} within 1d")
    assert f"at character {place} there is {words}" in str(raised.value)


def test_of_many_classes_some_are_shown() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Label.parse("profile.updated where time_zone=Berlin within 1d")
    assert str(raised.value).endswith(", ...")
    assert len(str(raised.value)) < 600
    with pytest.raises(ConfigurationError, match=r"of the regions that the taxonomy lists: other$"):
        Label.parse(NAMED).require_listed([])


def test_every_class_is_about_a_field_that_events_have() -> None:
    for kind, fields in CLASSED.items():
        for name, classed in fields.items():
            assert classed.given in {"", *FIELDS[kind]}
            assert name == classed.given or name not in FIELDS[kind]


async def test_names_that_events_gave_stand_in_the_file(tmp_path: Path) -> None:
    told = Told().add("social.like").add("message.delivered", {"channel": "mail", "campaign": "letter"})
    told.add("message.delivered", {"channel": "mail", "campaign": "ask"})
    told.add("message.delivered", {"channel": "mail", "campaign": "ask"})
    told.add("message.replied", {"channel": "mail", "campaign": "other", "text": "a secret"}).add("social.like")
    out = tmp_path / "rows.parquet"
    await positives(told.log, "message.delivered where campaign=lettr", out)
    assert read_metadata(out)["seen"] == {"campaign": ["ask", "letter"]}
    await positives(told.log, 'message.replied where text="a secret"', out)
    assert read_metadata(out)["seen"] == {}
