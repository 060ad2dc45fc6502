"""The keys of a partition."""

from __future__ import annotations

from redis.crc import key_slot

from stream.stores.names import header_key, outbox_key, partition_prefix, pseudonym, voter_prefix


def test_keys_stand_as_documented() -> None:
    prefix = partition_prefix("", 17)
    assert header_key(prefix) == "{17}:header"
    assert voter_prefix(prefix) + "ada" == "{17}:v:ada"
    assert outbox_key(partition_prefix("north", 17), "triggers") == "{north:17}:outbox:triggers"


def test_all_keys_of_a_partition_share_a_slot_whatever_the_voter_is_called() -> None:
    prefix = partition_prefix("north", 3)
    keys = [header_key(prefix), outbox_key(prefix, "rejects"), voter_prefix(prefix) + "{17}:v:ada"]
    assert len({key_slot(key.encode()) for key in keys}) == 1


def test_pseudonym_is_stable_and_does_not_show_the_voter() -> None:
    assert pseudonym("ada") == pseudonym("ada") != pseudonym("bob")
    assert "ada" not in pseudonym("ada")
