"""Which events may be used: duplicates, consent and erasure, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.privacy import gate
from stream.records import (
    CONSENT_ERASED,
    CONSENT_NO,
    CONSENT_YES,
    KIND,
    RECORD_VERSION,
    RING_LENGTH,
    USE_CONSENT,
    USE_DUPLICATE,
    USE_ERASE,
    USE_FOLD,
    USE_NOT,
    USE_SUPPRESSED,
    VOTER,
)

LIKE = KIND["social.like"]
GRANTED = KIND["consent.granted"]
WITHDRAWN = KIND["consent.withdrawn"]
ERASED = KIND["privacy.erased"]


def voters(n: int = 1) -> NDArray[Any]:
    return np.zeros(n, VOTER)


def pass_gate(
    records: NDArray[Any],
    kinds: list[int],
    hashes: list[int] | None = None,
    slots: list[int] | None = None,
    first_offset: int = 100,
) -> list[int]:
    n = len(kinds)
    use = np.full(n, -1, np.int64)
    gate(
        records,
        np.array([0] * n if slots is None else slots, np.int64),
        np.array(kinds, np.int64),
        np.array(range(first_offset, first_offset + n) if hashes is None else hashes, np.uint64),
        np.arange(first_offset, first_offset + n),
        0,
        n,
        use,
    )
    return use.tolist()


def test_new_event_is_folded_and_remembered() -> None:
    records = voters()
    assert pass_gate(records, [LIKE], [77]) == [USE_FOLD]
    record = records[0]
    assert record["ring"].tolist() == [77] + [0] * 15
    assert (record["ring_next"], record["version"], record["last_offset"]) == (1, RECORD_VERSION, 100)


def test_row_of_no_voter_touches_no_record() -> None:
    records = voters(2)
    before = records.tobytes()
    assert pass_gate(records, [-1, KIND["clock.tick"]], slots=[-1, -1]) == [USE_NOT, USE_NOT]
    assert records.tobytes() == before


def test_duplicate_is_dropped_and_changes_nothing() -> None:
    records = voters()
    pass_gate(records, [LIKE, LIKE], [5, 6])
    before = records.tobytes()
    assert pass_gate(records, [LIKE, GRANTED, ERASED], [5, 6, 5], first_offset=200) == [USE_DUPLICATE] * 3
    assert records.tobytes() == before


def test_another_voters_event_of_the_same_hash_is_no_duplicate() -> None:
    assert pass_gate(voters(2), [LIKE, LIKE], [5, 5], [0, 1]) == [USE_FOLD, USE_FOLD]


def test_last_sixteen_events_are_remembered_and_the_one_before_is_not() -> None:
    records = voters()
    pass_gate(records, [LIKE] * (RING_LENGTH + 1), list(range(1, RING_LENGTH + 2)))
    assert pass_gate(records, [LIKE, LIKE], [2, 1]) == [USE_DUPLICATE, USE_FOLD]


def test_largest_hash_is_compared_exactly() -> None:
    # As doubles these are equal.
    assert pass_gate(voters(), [LIKE, LIKE], [2**64 - 1, 2**64 - 2]) == [USE_FOLD, USE_FOLD]


def test_withdrawn_consent_suppresses_until_it_is_granted_again() -> None:
    records = voters()
    kinds = [LIKE, WITHDRAWN, LIKE, GRANTED, LIKE]
    assert pass_gate(records, kinds) == [USE_FOLD, USE_CONSENT, USE_SUPPRESSED, USE_CONSENT, USE_FOLD]
    assert records[0]["consent"] == CONSENT_YES


def test_suppressed_event_is_still_known_as_a_duplicate() -> None:
    records = voters()
    assert pass_gate(records, [WITHDRAWN, LIKE, LIKE], [1, 2, 2]) == [USE_CONSENT, USE_SUPPRESSED, USE_DUPLICATE]
    assert records[0]["consent"] == CONSENT_NO
    assert records[0]["last_offset"] == 101


@pytest.mark.parametrize("later", [LIKE, GRANTED, WITHDRAWN, ERASED])
def test_nothing_brings_an_erased_voter_back(later: int) -> None:
    records = voters()
    assert pass_gate(records, [GRANTED, LIKE, ERASED]) == [USE_CONSENT, USE_FOLD, USE_ERASE]
    before = records.tobytes()
    assert pass_gate(records, [later], first_offset=500) == [USE_SUPPRESSED]
    assert records.tobytes() == before


def test_erasure_leaves_its_mark_and_its_offset_alone() -> None:
    records = voters()
    pass_gate(records, [LIKE, LIKE, ERASED])
    expected = voters()
    expected["version"], expected["consent"], expected["last_offset"] = RECORD_VERSION, CONSENT_ERASED, 102
    assert records.tobytes() == expected.tobytes()
