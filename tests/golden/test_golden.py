"""The golden logs give the bytes that they have always given, on every processor."""

from __future__ import annotations

import json

import pytest

from tests.golden.golden import NAMES, derive, load, spell, summary_path, triggers_path


@pytest.mark.parametrize("reference", [False, True], ids=["compiled", "reference"])
@pytest.mark.parametrize("name", NAMES)
async def test_fixed_log_gives_the_exact_trigger_bytes(name: str, reference: bool) -> None:
    triggers, summary = await derive(load(name), reference=reference)
    assert triggers == triggers_path(name).read_bytes().splitlines()
    assert spell(summary) == summary_path(name).read_text()


def test_signed_log_rotates_and_holds_forgeries() -> None:
    header = json.loads(summary_path("signed").read_text())["header"]
    assert header["root"] != header["keys"]
    assert set(header["counters"]) == {"config.activated", "keys.rotated"}
    assert header["origins"]
    assert header["sequences"]["rejects"] >= 20


def test_golden_logs_hold_enough_to_lose() -> None:
    assert sum(len(triggers_path(name).read_bytes().splitlines()) for name in NAMES) >= 200
