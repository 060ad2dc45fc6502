"""Keys are made, put in force without haste, and signed for each partition by what is in force there."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from stream.commands.control import Signing, control_records
from stream.commands.keys import findings, new, refuse_haste, rotation_event
from stream.errors import ConfigurationError, StateMismatchError
from stream.records import Header
from stream.settings import Settings
from stream.signatures import Keyring
from tests.signed_logs import SECRETS, sign

TOPIC = "engagement.events"
KEYRING = Keyring(SECRETS)


def test_key_is_put_at_the_end_of_a_keyring_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    assert str(file) in new("main", file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text().rstrip("\n"))
    new("next", file)
    keyring = Keyring.parse(file.read_text())
    assert keyring.ids == ["main", "next"]
    assert len({found for _, found in keyring.named(keyring.ids)}) == 2
    before = file.read_text()
    with pytest.raises(ConfigurationError, match="names key 'next' a second time"):
        new("next", file)
    with pytest.raises(ConfigurationError, match="key id 'No'"):
        new("No", file)
    assert file.read_text() == before
    with pytest.raises(ConfigurationError, match="cannot be written"):
        new("main", tmp_path / "none" / "keyring")


def test_key_without_a_file_is_a_line_for_one() -> None:
    line = new("main", None)
    assert Keyring.parse(line).ids == ["main"]
    assert line != new("main", None)


def test_key_in_force_goes_only_once_the_newest_is_in_force_everywhere() -> None:
    first, both, second = KEYRING.named(["first"]), KEYRING.named(["first", "second"]), KEYRING.named(["second"])
    refuse_haste({0: first, 1: first}, both)
    refuse_haste({0: both, 1: both}, second)
    for in_force in ({0: first, 1: first}, {0: both, 1: first}):
        with pytest.raises(ConfigurationError, match="`groundswell keys rotate first second`"):
            refuse_haste(in_force, second)


def test_each_partition_is_signed_for_by_its_newest_key_and_above_its_last_counter() -> None:
    begun = Header.fresh("t", 2, "", 0, KEYRING.root)
    begun.keys = KEYRING.named(["first", "second"])
    begun.counters = {"config.activated": 2**62}
    signing = Signing(KEYRING, TOPIC, {0: None, 1: begun})
    fresh, later = control_records("config.activated", [b"a", b"b"], signing)
    assert (fresh.partition, later.partition) == (0, 1)
    counter = int(fresh.headers[0][1].split(b":")[1])
    assert fresh.headers == (sign(0, None, b"a", counter=counter),)
    assert later.headers == (sign(1, None, b"b", name="second", counter=2**62 + 1),)
    assert [record.headers for record in control_records("config.activated", [b"a"], None)] == [()]


def test_commands_do_not_sign_for_a_state_that_does_not_fit() -> None:
    with pytest.raises(StateMismatchError, match=r"engagement\.events partition 0 began without a keyring"):
        Signing(KEYRING, TOPIC, {0: Header("t", 1, "", 0, 0)})


def test_rotation_names_its_keys_in_order() -> None:
    event = orjson.loads(rotation_event(KEYRING.named(["second", "first"]), "r-1"))
    assert event["type"] == "keys.rotated"
    assert [key["id"] for key in event["data"]["keys"]] == ["second", "first"]


def test_check_warns_of_a_deployment_that_nobody_signs_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = findings(Settings())
    assert found.level == "warning"
    assert "groundswell keys new" in found.remedy
    monkeypatch.setenv("GROUNDSWELL_SECURITY__KEYS", new("main", None))
    (found,) = findings(Settings())
    assert (found.level, found.found) == ("ok", "signed, by a keyring of main")
