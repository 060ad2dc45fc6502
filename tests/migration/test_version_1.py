"""Records that version 1 wrote, as this one reads them: what it kept is kept, and the rest is as documented."""

from __future__ import annotations

import numpy as np
import pytest

from stream.features import FEATURES
from stream.layout import MARKS, MOMENTS, SOCIAL_TYPES
from stream.migration import migrated
from stream.records import RECORD_VERSION, VOTER, ContentId
from tests.migration.fixtures import Written, written_by_version_1
from tests.voters import features_of

LAST_OFFSET = slice(8, 16)
each_log = pytest.mark.parametrize("written", written_by_version_1(), ids=lambda _: "log")


def read(written: Written) -> np.ndarray:
    return np.frombuffer(b"".join(map(migrated, written.records)), VOTER)


@each_log
def test_features_that_both_versions_know_are_the_same(written: Written) -> None:
    for old, new in zip(written.rows, features_of(read(written), written.log_time_ms), strict=True):
        # Sessions stop at 65,535; days since the first event are told by its second.
        for name in old.keys() & set(FEATURES):
            assert new[name] == pytest.approx(old[name], rel=1e-9, abs=2e-5), name


def test_enough_features_are_known_to_both() -> None:
    shared = written_by_version_1()[0].rows[0].keys() & set(FEATURES)
    assert len(shared) == 4 * 3 + 3 + 4


@each_log
def test_what_the_gate_and_campaigns_keep_stays(written: Written) -> None:
    for old, new in zip(written.records, read(written), strict=True):
        assert new["version"] == RECORD_VERSION
        assert old[2:6] == new["consent"].tobytes() + new["ring_next"].tobytes() + new["armed"].tobytes()
        assert old[LAST_OFFSET] == new["last_offset"].tobytes()
        assert old[40:168] == new["ring"].tobytes()
        scores = np.frombuffer(old[552:600], "<f8")
        assert new["score"][:6].tolist() == scores.astype("<f4").tolist()
        fired = np.frombuffer(old[624:720], "<i8")
        assert new["fired_s"].tolist() == [-(-int(at) // 1000) for at in fired]


def test_state_of_active_models_and_campaigns_goes_on_under_their_tags() -> None:
    electorate = written_by_version_1()[-1]
    records = read(electorate)
    for kind, name in (("model", "score_tag"), ("campaign", "campaign_tag")):
        tags = [ContentId(kind, slot[0], slot[1]).tag() for slot in electorate.slots[kind] if slot is not None]
        scored = records[records["score_tag"][:, 0] != 0]
        assert len(scored) > 20
        assert (scored[name][:, : len(tags)] == tags).all()
    assert (records["fired_s"] != 0).any()


@each_log
def test_latest_events_are_dated_no_earlier_than_they_can_have_been(written: Written) -> None:
    for old, new in zip(written.rows, read(written), strict=True):
        for place, moment in enumerate(MOMENTS[: len(SOCIAL_TYPES)]):
            last_s, count = int(new["last_s"][place]), old[f"{moment}.decayed_1d"]
            assert (last_s == 0) == (count == 0)
            # An event that is all there is now weighs no more than it would, had it come then.
            if last_s:
                assert count >= 2.0 ** (-(written.log_time_ms / 1000 - last_s) / 86_400) * 0.4999


@each_log
def test_what_was_not_kept_is_empty_or_a_bound(written: Written) -> None:
    for old, new in zip(written.rows, read(written), strict=True):
        assert not any(new[name].any() for name in ("hours", "days", "messages", "tallies", "parts_of_day"))
        signups = new["marks"][MARKS.index("signup.completed")]
        assert signups >= int(old["signup.completed.decayed_30d"])
        gone = old["message.unsubscribed.decayed_30d"] > 0
        assert (new["marks"][MARKS.index("unsubscribed")] != 0) == gone


def test_other_bytes_are_left_alone() -> None:
    record = np.zeros(1, VOTER)
    record["version"] = RECORD_VERSION
    for data in (b"", b"\1\0", bytes(768), record.tobytes(), b"\1\0" + bytes(767)):
        assert migrated(data) == data


def test_damaged_records_raise_nothing() -> None:
    chance = np.random.default_rng(3)
    sound = written_by_version_1()[-1].records
    for number in range(400):
        data = bytearray(sound[number % len(sound)])
        for _ in range(int(chance.integers(1, 30))):
            place = 8 * int(chance.integers(1, 96))
            data[place : place + 8] = [b"\xff" * 8, b"\0" * 7 + b"\x80", b"\0" * 6 + b"\xf0\x7f", chance.bytes(8)][
                int(chance.integers(0, 4))
            ]
        assert len(migrated(bytes(data))) == VOTER.itemsize
