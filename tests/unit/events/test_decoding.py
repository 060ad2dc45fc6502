"""Each reason by its example, their order, and what an accepted row holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
import xxhash

from stream.columns import columns_of
from stream.events import decode, misfit
from stream.interfaces import Decoded
from stream.partitioning import partition_of
from stream.records import EVENT_TYPES, KIND, MAX_EVENT_BYTES, REJECT_REASONS, Activation, ContentId
from stream.versions import ModelVersion

LOG_MS = 1_795_555_555_000
"""2026-11-24T21:25:55Z."""
COUNT = 4
SHA256 = "0123456789abcdef" * 4
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "https://tracker.example/site",
    "type": "social.share",
    "subject": "voter-7",
    "time": "2026-11-24T21:25:54.250Z",
    "datacontenttype": "application/json",
    "data": {"account": "page", "post": "p1"},
}
TICK = {**EVENT, "type": "clock.tick", "data": {}}
ACTIVATION = {
    **EVENT,
    "type": "config.activated",
    "data": {
        "engine": 1,
        "contents": [
            {"kind": "model", "name": "support", "sha256": SHA256},
            {"kind": "campaign", "name": "support", "sha256": SHA256[::-1]},
        ],
    },
}
HOME = partition_of(b"voter-7", COUNT)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


def rows(*values: Any, log_times: list[int] | None = None, before: int = 0, partition: int = HOME) -> Decoded:
    """Decode events (or raw bytes, or None) as one batch, appended at LOG_MS."""
    raw = [value if value is None or isinstance(value, bytes) else orjson.dumps(value) for value in values]
    n = len(raw)
    times = [LOG_MS] * n if log_times is None else log_times
    return decode(columns_of(partition, range(n), times, [None] * n, raw, [()] * n), COUNT, before)


def reason(value: Any, **where: Any) -> str:
    return REJECT_REASONS[rows(value, **where).reject[0]]


def any_of(*values: Any) -> tuple[Any, ...]:
    return values


def data(kind: str, **fields: Any) -> dict[str, Any]:
    return {**EVENT, "type": kind, "data": fields}


RAW = orjson.dumps(EVENT)
BY_REASON: dict[str, list[Any]] = {
    "too_large": [RAW + b" " * (MAX_EVENT_BYTES + 1 - len(RAW)), b"x" * (MAX_EVENT_BYTES + 1)],
    "not_json": [
        *[None, b"", b" ", b"{", b"nonsense", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}'],
        *[RAW + b"}", RAW[:-1], b"\xef\xbb\xbf" + RAW, b"[" * 60_000, b'{"a": "\xed\xa0\x80"}'],
    ],
    "not_cloudevent": [
        *[[], [EVENT], "text", 7, True, b"null", {}],
        *[without(name) for name in ("specversion", "id", "source", "type")],
        *[{**EVENT, "specversion": odd} for odd in any_of("0.3", 1.0, None, ["1.0"], "1.0 ")],
        *[{**EVENT, name: odd} for name in ("id", "source") for odd in any_of("", None, 7, True, [], {}, "x" * 257)],
        *[{**EVENT, "type": odd} for odd in any_of("", None, 7, [], {})],
        *[{**EVENT, "datacontenttype": odd} for odd in any_of("text/plain", "", 7, "application/json; charset=utf-8")],
    ],
    "unknown_type": [
        {**EVENT, "type": odd} for odd in any_of("social", "Social.share", "social.share ", "campaign.triggered")
    ],
    "bad_subject": [
        without("subject"),
        *[{**EVENT, "subject": odd} for odd in any_of("", None, 7, True, [], {}, "x" * 65, "ü" * 33, "🗳" * 17)],
        *[{**EVENT, "subject": f"a{odd}b"} for odd in any_of("\0", "\n", "\x1f", "\x7f")],
    ],
    "bad_time": [
        *[
            {**EVENT, "time": odd}
            for odd in any_of("", "now", 7, 1.5, True, [], {}, "ü", "2026-11-24", "1999-12-31T23:59:59.999Z")
        ],
        *[{**EVENT, "time": odd} for odd in any_of("2026-11-25T21:25:55.001Z", "2000-01-01T00:59:59.999+01:00")],
        {**TICK, "time": None},
        {**TICK, "time": "then"},
    ],
    "bad_data": [
        *[{**EVENT, "data": odd} for odd in any_of([], "text", 7, True, {"account": 7}, {"url": "x" * 2049})],
        data("social.comment", text="x" * 10_001),
        data("site.page_view", device="x" * 513),
        {**data("donation.completed"), "data": None},
        data("donation.completed", amount=5),
        *[data("donation.completed", amount=odd, currency="EUR") for odd in any_of(0, -1, True, "5", None, 1e10)],
        *[data("donation.completed", amount=5, currency=odd) for odd in any_of("eur", "EURO", "EU1", "ÄÖÜ", 7, None)],
        *[data("message.opened", channel=odd) for odd in any_of("x" * 65, "", None, [], {})],
        data("message.opened"),
        data("event.rsvp", guests=1.5),
        *[{**TICK, "data": odd} for odd in any_of([], 7)],
        *[{**ACTIVATION, "data": odd} for odd in any_of(None, {}, {"engine": 1}, {"contents": []}, [])],
        *[data("config.activated", engine=odd, contents=[]) for odd in any_of(0, -1, True, "1", 1.5, None, 2**31)],
        *[data("config.activated", engine=1, contents=odd) for odd in any_of(None, {}, "x", [7], [None], [[]])],
        *[
            data("config.activated", engine=1, contents=[{"kind": "model", "name": "m", "sha256": SHA256, **odd}])
            for odd in any_of(
                *[{"kind": "mode"}, {"kind": None}, {"kind": []}],
                *[{"name": name} for name in ("", "M", "1m", "m m", "m\n", "m" * 65, 7)],
                *[
                    {"sha256": text}
                    for text in (SHA256[1:], SHA256 + "0", SHA256.upper(), SHA256[1:] + "\n", "g" * 64, 7)
                ],
            )
        ],
        data("config.activated", engine=1, contents=[{"kind": "model", "name": "m", "sha256": SHA256}] * 2),
        *[
            data("config.activated", engine=1, contents=[{"kind": "model", "name": "m", "sha256": SHA256, **odd}])
            for odd in any_of(
                *[
                    {"role": "champion"},
                    {"role": 1},
                    {"role": []},
                    {"role": "canary"},
                    {"role": "canary", "share": "1"},
                ],
                *[{"role": "canary", "share": share} for share in (0, 1, -0.5, 1.5, None)],
                *[{"share": 0.5}, {"role": "shadow", "share": 0.5}, {"role": "previous", "kind": "campaign"}],
                *[{"since_ms": since} for since in (-1, 0.5, "1", 2**53 + 1)],
            )
        ],
    ],
}
EXAMPLES = [(name, value) for name, values in BY_REASON.items() for value in values]


@pytest.mark.parametrize("value", BY_REASON["bad_data"])
def test_what_does_not_fit_is_named_by_its_field(value: dict[str, Any]) -> None:
    told = misfit(value["type"], value.get("data"))
    fields = value["data"] if isinstance(value.get("data"), dict) else {}
    assert told == "data is no object" or told.split()[0] in {
        *fields,
        "amount",
        "currency",
        "channel",
        "engine",
        "contents",
    }


def test_nothing_is_named_where_data_fit() -> None:
    assert misfit("donation.completed", {"amount": 5, "currency": "EUR", "method": None, "more": []}) == ""
    assert misfit("donation.completed", {"amount": 5}) == "currency is not given"
    assert misfit("donation.completed", {"amount": -5, "currency": "EUR"}) == "amount does not fit"
    assert misfit("social.like", None) == ""


@pytest.mark.parametrize(("name", "value"), EXAMPLES, ids=[f"{name}-{n}" for n, (name, _) in enumerate(EXAMPLES)])
def test_each_broken_event_has_its_reason(name: str, value: Any) -> None:
    assert reason(value) == name


def test_every_reason_is_shown_by_an_example() -> None:
    assert {*BY_REASON, "", "wrong_partition", "not_authorised"} == set(REJECT_REASONS)


def test_broken_rows_do_not_touch_their_neighbours() -> None:
    values = [odd for _, value in EXAMPLES for odd in any_of(value, EVENT)]
    decoded = rows(*values)
    assert [REJECT_REASONS[code] for code in decoded.reject[::2]] == [name for name, _ in EXAMPLES]
    assert not decoded.reject[1::2].any()
    assert set(list(decoded.voters)[1::2]) == {b"voter-7"}
    for texts in (decoded.voters, decoded.ids, decoded.sources):
        assert set(list(texts)[::2]) == {b""}
    assert (decoded.kinds[::2] == -1).all()
    assert (decoded.homes[::2] == -1).all()
    assert len(set(decoded.hashes[1::2].tolist())) == 1


def test_first_failing_check_gives_the_reason() -> None:
    wrong_everywhere = {"specversion": "2", "type": "no", "subject": "", "time": "", "data": []}
    broken: dict[str, Any] = {**EVENT, **wrong_everywhere}
    for attribute, expected in (
        ("specversion", "not_cloudevent"),
        ("type", "unknown_type"),
        ("subject", "bad_subject"),
        ("time", "bad_time"),
        ("data", "bad_data"),
    ):
        assert reason(broken) == expected
        broken[attribute] = EVENT[attribute]
    assert reason(broken) == ""


def test_accepted_row_holds_the_event() -> None:
    decoded = rows(EVENT)
    assert len(decoded) == 1
    assert decoded.kinds.tolist() == [KIND["social.share"]]
    assert decoded.reject.tolist() == [0]
    assert decoded.times.tolist() == [LOG_MS - 750]
    assert decoded.now.tolist() == [LOG_MS]
    assert decoded.hashes.tolist() == [xxhash.xxh3_64_intdigest(b"https://tracker.example/site\0e-1")]
    texts = (decoded.voters[0], decoded.ids[0], decoded.sources[0])
    assert texts == (b"voter-7", b"e-1", EVENT["source"].encode())
    assert decoded.homes.tolist() == [HOME]
    assert decoded.activations == {}
    arrays = (decoded.kinds, decoded.reject, decoded.times, decoded.now, decoded.homes)
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}
    assert decoded.hashes.dtype == np.uint64


def test_empty_batch_is_decoded() -> None:
    decoded = rows()
    assert len(decoded) == 0
    assert list(decoded.voters) == []


def test_every_type_is_accepted() -> None:
    special = ("message.", "donation.completed", "config.", "keys.")
    plain = [name for name in EVENT_TYPES if not name.startswith(special)]
    decoded = rows(*[data(name) for name in plain], *[{**EVENT, "type": name, "data": None} for name in plain])
    assert not decoded.reject.any()
    assert decoded.kinds.tolist() == [KIND[name] for name in plain] * 2


def test_limits_themselves_are_accepted() -> None:
    subjects = ("x" * 64, "ü" * 32, "🗳" * 16, " ", "\x80", "a\u2028b")
    decoded = rows(
        RAW + b" " * (MAX_EVENT_BYTES - len(RAW)),
        {**EVENT, "id": "x" * 256, "source": "🗳" * 256},
        {**EVENT, "time": "2026-11-25T21:25:55Z"},
        {**EVENT, "time": "2000-01-01T00:00:00Z"},
        data("social.comment", text="ü" * 10_000),
        data("site.page_view", device="ü" * 512),
        data("donation.completed", amount=0.01, currency="USD", other={"any": ["thing"]}),
        *[{**EVENT, "subject": subject} for subject in subjects],
    )
    assert not decoded.reject.any()
    homes = [partition_of(subject.encode(), COUNT) for subject in subjects]
    assert decoded.homes[-len(subjects) :].tolist() == homes


def test_null_attribute_and_null_field_count_as_absent() -> None:
    event = {**EVENT, "time": None, "datacontenttype": None, "data": {"account": None, "post": None}}
    decoded = rows(event, {**EVENT, "data": None})
    assert not decoded.reject.any()
    assert decoded.times[0] == LOG_MS


def test_last_of_repeated_keys_counts() -> None:
    assert rows(RAW[:-1] + b',"subject":"voter-8"}').voters[0] == b"voter-8"


def test_control_records_need_no_subject_and_have_no_voter() -> None:
    decoded = rows(
        *[{**control, "subject": odd} for control in (TICK, ACTIVATION) for odd in any_of(None, 7, "x" * 99, "v")]
    )
    assert not decoded.reject.any()
    assert set(decoded.voters) == {b""}
    assert (decoded.homes == -1).all()


def test_activation_is_parsed_in_the_order_given() -> None:
    contents = (ContentId("model", "support", SHA256), ContentId("campaign", "support", SHA256[::-1]))
    decoded = rows(EVENT, ACTIVATION, EVENT, data("config.activated", engine=2.0, contents=[]))
    assert decoded.activations == {1: Activation(1, contents), 3: Activation(2)}


def test_append_times_move_the_log_time_and_never_backwards() -> None:
    decoded = rows(EVENT, b"", EVENT, EVENT, log_times=[LOG_MS, LOG_MS + 5, LOG_MS - 9, LOG_MS + 6], before=LOG_MS + 1)
    assert (decoded.now - LOG_MS).tolist() == [1, 5, 5, 6]


def test_only_accepted_ticks_move_time_where_rows_have_no_append_time() -> None:
    second = {**TICK, "time": "2026-11-24T21:25:57Z"}
    late = {**TICK, "time": "2000-01-01T00:00:00Z"}
    broken = {**TICK, "time": "2027-01-01T00:00:00Z", "data": []}
    timeless = {**EVENT, "time": None}
    decoded = rows(timeless, EVENT, TICK, timeless, broken, second, late, timeless, log_times=[0] * 8)
    assert decoded.now.tolist() == [0, 0, *[LOG_MS - 750] * 3, *[LOG_MS + 2000] * 3]
    assert decoded.times[[0, 3, 7]].tolist() == [0, LOG_MS - 750, LOG_MS + 2000]


def test_tick_moves_nothing_beside_an_append_time() -> None:
    assert rows({**TICK, "time": "2030-01-01T00:00:00Z"}, log_times=[LOG_MS]).now.tolist() == [LOG_MS]


def test_any_time_from_2000_on_is_accepted_while_the_log_time_is_unknown() -> None:
    assert reason({**EVENT, "time": "9999-12-31T23:59:59Z"}, log_times=[0]) == ""


def test_tick_may_be_far_ahead() -> None:
    assert reason({**TICK, "time": "2036-01-01T00:00:00Z"}, log_times=[0], before=LOG_MS) == ""
    assert reason({**ACTIVATION, "time": "2036-01-01T00:00:00Z"}) == "bad_time"


def test_row_of_another_partition_is_rejected_only_if_it_was_forwarded() -> None:
    elsewhere = (HOME + 1) % COUNT
    assert reason(EVENT, partition=elsewhere) == ""
    forwarded = [(("groundswell-origin", b"3:17"),)]
    value = orjson.dumps(EVENT)
    for partition, expected in ((elsewhere, "wrong_partition"), (HOME, "")):
        decoded = decode(columns_of(partition, [5], [LOG_MS], [None], [value], forwarded), COUNT, 0)
        assert REJECT_REASONS[decoded.reject[0]] == expected


def test_activation_tells_active_contents_from_versions_in_other_roles() -> None:
    named = {"kind": "model", "name": "support", "sha256": SHA256}
    entries = [
        {**named, "role": "active", "since_ms": 7.0},
        {**named, "role": "canary", "share": 0.25},
        {**named, "role": "shadow", "since_ms": None},
        {**named, "name": "turnout", "role": "previous"},
        {**named, "kind": "campaign", "role": None, "since_ms": 9},
    ]
    decoded = rows(data("config.activated", engine=1, contents=entries))
    contents = (ContentId("model", "support", SHA256), ContentId("campaign", "support", SHA256))
    versions = (
        ModelVersion("support", SHA256, "active", since_ms=7),
        ModelVersion("support", SHA256, "canary", 0.25),
        ModelVersion("support", SHA256, "shadow"),
        ModelVersion("turnout", SHA256, "previous"),
    )
    assert decoded.activations == {0: Activation(1, contents, versions)}
