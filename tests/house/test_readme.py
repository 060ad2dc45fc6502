"""The README names what there is, all of it and nothing else; its examples run in tests/integration/test_clients.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from stream.cli import app
from stream.columns import columns_of
from stream.events import decode
from stream.events.fields import FIELDS
from stream.features import FEATURES
from stream.metrics import Metrics
from stream.records import EVENT_TYPES, PRIVACY_ERASED, REJECT_REASONS
from stream.scoring import read_model
from stream.settings import Settings
from stream.triggers import read_campaign

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def column(heading: str) -> list[str]:
    """Return the first cells of the table whose first heading is ``heading``, without code marks."""
    table = README.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from settings_of(type(field.default), f"{prefix}{name}.")
        else:
            yield prefix + name, field.default


def commands_of(command: Any, prefix: str) -> Iterator[str]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    for name, subcommand in inner.items():
        yield from commands_of(subcommand, f"{prefix} {name}")
    if not inner:
        yield prefix


def test_every_event_type_is_listed() -> None:
    assert column("type") == [f"`{name}`" for name in EVENT_TYPES]


def test_every_reject_reason_is_listed() -> None:
    assert column("reason") == [f"`{reason}`" for reason in REJECT_REASONS[1:]]


def test_every_setting_is_listed_with_its_default() -> None:
    table = README.split("\n| setting |", 1)[1].split("\n\n", 1)[0]
    listed = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines()[2:]]
    expected = []
    for name, default in settings_of(Settings):
        shown = json.dumps(default) if isinstance(default, bool) or default == "" else str(default)
        expected.append((f"`{name}`", "" if default is None else f"`{shown}`"))
    assert listed == expected


def test_every_metric_is_listed_with_its_type() -> None:
    table = README.split("\n| metric |", 1)[1].split("\n\n", 1)[0]
    listed = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    exposed = [
        [f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type]
        for family in Metrics().registry.collect()
    ]
    assert [[name.split(" {")[0], kind] for name, kind in listed] == exposed


def test_every_command_is_listed() -> None:
    listed = {re.sub(r"( [A-Z]+)*`$", "", cell).strip("`") for cell in column("command")}
    assert listed == set(commands_of(typer.main.get_command(app), "groundswell"))


def test_make_targets_exist() -> None:
    named = set(re.findall(r"`?make ([a-z]+)", README))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench"} <= named
    assert named <= targets


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:configs|stream|\.ci)/[\w./-]+)`", README) + re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("number", range(3))
def test_published_example_is_python_that_compiles(number: int) -> None:
    blocks = re.findall(r"<!-- publish: \S+ -->\n```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    compile(blocks[number], f"README {number}", "exec")


def test_example_campaign_is_the_one_that_is_shipped() -> None:
    [text] = re.findall(r"```toml\n(name = .*?)```", README, re.DOTALL)
    shipped = read_campaign((ROOT / "configs/campaigns/welcome_supporter.toml").read_bytes())
    assert read_campaign(text.encode()) == replace(shipped, description="")


def test_example_model_is_one() -> None:
    [text] = re.findall(r"<!-- model -->\n```json\n(.*?)```", README, re.DOTALL)
    assert read_model(text.encode(), FEATURES).kind == "logistic"


def test_example_erasure_is_one() -> None:
    [text] = re.findall(r"<!-- erase -->\n```sh\necho '(.*?)' \| groundswell publish -\n```", README, re.DOTALL)
    decoded = decode(columns_of(0, [0], [0], [None], [text.encode()], [()]), 1, 0)
    assert (decoded.reject[0], decoded.kinds[0]) == (0, PRIVACY_ERASED)


def test_fields_that_features_read_are_all_named() -> None:
    [text] = re.findall(r"^Beside type and time, features read of `data`: .*$", README, re.MULTILINE)
    read = {name for rules in FIELDS.values() for name, rule in rules.items() if rule.column >= 0}
    named = set(re.findall(r"`([a-z_]+)`", text)) - {"data", "campaign"}
    assert named == read


def test_example_trigger_has_the_fields_of_a_trigger() -> None:
    [text] = re.findall(r"<!-- trigger -->\n```json\n(.*?)```", README, re.DOTALL)
    trigger = json.loads(text)
    schema = json.loads((ROOT / "stream/events/schemas/campaign.triggered.json").read_text())
    assert set(schema["properties"]) >= set(trigger)
    assert set(schema["properties"]["data"]["required"]) == set(trigger["data"])
    decoded = decode(columns_of(0, [0], [0], [None], [text.encode()], [()]), 1, 0)
    assert REJECT_REASONS[decoded.reject[0]] == "unknown_type"
