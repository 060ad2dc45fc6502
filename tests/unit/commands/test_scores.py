"""Two versions over stored records: scores as of now, their figures, and how alike they rank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from stream.commands.reading import ReadContents
from stream.commands.scores import Sample, comparison, rank_correlation, sample_of, score_samples
from stream.errors import StateMismatchError
from stream.records import RECORD_VERSION, VOTER, ContentId, Header
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.triggers import Campaign
from tests.voters import features_of, put_social

DAY_MS = 86_400_000
NOW_MS = 1_790_000_000_000


def model(weight: float, bias: float = 0.0) -> bytes:
    fields = {"name": "likes", "kind": "linear", "bias": bias, "weights": {"social.like.decayed_1d": weight}}
    return orjson.dumps(fields)


def sample(*likes: float, age_ms: int = 0) -> Sample:
    records = np.zeros(len(likes), VOTER)
    records["version"] = RECORD_VERSION
    records["last_seen_ms"] = NOW_MS - age_ms
    records["first_seen_s"] = (NOW_MS - age_ms) // 1000
    put_social(records, "social.like", "1d", likes, NOW_MS - age_ms)
    return Sample(records, NOW_MS)


def test_scores_are_as_of_the_logs_time() -> None:
    scores = score_samples([model(1.0), model(2.0, 0.5)], [sample(1.0, 4.0), sample(8.0, age_ms=DAY_MS)])
    assert scores.round(12).tolist() == [[1.0, 2.5], [4.0, 8.5], [4.0, 8.5]]


def test_figures_name_each_campaigns_share() -> None:
    contents = {ContentId("model", "likes", sha256): model(weight) for sha256, weight in (("a", 2.0), ("b", 1.0))}
    up, down = Campaign("fan", "likes", "up", 4.0, 1.0, 0), Campaign("lost", "likes", "down", 2.0, 9.0, 0)
    found = comparison("likes", ("a", "b"), ReadContents(contents), [up, down], [sample(1.0, 2.0, 3.0, 4.0)])
    rows = {title: (first, second) for title, first, second in found.rows}
    assert rows["mean"] == (5.0, 2.5)
    assert rows["quantile 0.5"] == (5.0, 2.5)
    assert rows["standard deviation"] == pytest.approx((5**0.5, 1.25**0.5))
    assert rows["beyond 4 (fan)"] == (0.75, 0.25)
    assert rows["beyond 2 (lost)"] == (0.25, 0.5)
    assert found.voters == 4
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.to_dict()["figures"]["mean"] == {"version": 5.0, "against": 2.5}


def test_rank_correlation_is_spearmans() -> None:
    first, second = np.array([1.0, 2.0, 2.0, 9.0]), np.array([-1.0, -3.0, -2.0, -50.0])
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1.0)
    # Ranks 1, 2.5, 2.5, 4 and 4, 2, 3, 1: covariance -4.5, variances 4.5 and 5.
    assert rank_correlation(first, second) == pytest.approx(-4.5 / (4.5 * 5.0) ** 0.5)
    assert np.isnan(rank_correlation(first, np.ones(4)))


async def test_sample_is_of_so_many_voters_with_events() -> None:
    server = MemoryServer()
    store = MemoryStore(server, partition_prefix("test", 0))
    header = replace(Header("topic", 1, "me", 0, 0), log_time_ms=NOW_MS)
    await store.claim("me", header)
    await store.begin_restore(replace(header, restoring=True))
    records = sample(*(float(number) for number in range(9))).records
    records["first_seen_s"][0] = 0
    pairs = [(f"v{number}", records[number].tobytes()) for number in range(9)]
    await store.fill_restore("me", pairs, {})
    await store.finish_restore(header)
    found = features_of((await sample_of(store, 100)).records)
    assert sorted(row["social.like.decayed_1d"] for row in found) == pytest.approx(list(range(1, 9)))
    assert 3 <= len((await sample_of(store, 4)).records) <= 4
    assert (await sample_of(store, 100)).log_time_ms == NOW_MS


@pytest.mark.parametrize("data", [b"\x09" + bytes(VOTER.itemsize - 1), b"\x02\x00"], ids=["version 9", "two bytes"])
async def test_record_that_this_build_cannot_read_is_told_not_scored(data: bytes) -> None:
    store = MemoryStore(MemoryServer(), partition_prefix("test", 0))
    header = Header("topic", 1, "me", 0, NOW_MS)
    await store.claim("me", header)
    await store.begin_restore(replace(header, restoring=True))
    await store.fill_restore("me", [("v1", data)], {})
    with pytest.raises(StateMismatchError, match=rf"{len(data)} bytes; expected version"):
        await sample_of(store, 10)
