from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stream.columns import columns_of
from stream.commands.activating import activation_event
from stream.commands.contents import read_contents
from stream.commands.roles import applied
from stream.errors import ConfigurationError
from stream.events import decode
from stream.records import CONFIG_ACTIVATED, MAX_CAMPAIGNS, MAX_MODELS, Activation

ROOT = Path(__file__).parents[3]


def model(directory: Path, name: str, file: str | None = None, **changes: object) -> Path:
    path = directory / "models" / (file or f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name, "kind": "linear", "bias": 0.0, "weights": {}, **changes}))
    return path


def campaign(directory: Path, name: str, of: str, file: str | None = None, threshold: str = "0.5") -> Path:
    path = directory / "campaigns" / (file or f"{name}.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'name = "{name}"', f'model = "{of}"', 'direction = "up"', f"threshold = {threshold}", "rearm = 0.25"]
    path.write_text("\n".join([*lines, 'cooldown = "1d"']))
    return path


def refusal(directory: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_contents(directory)
    return str(caught.value)


def test_contents_are_the_files_bytes_by_kind_and_name(tmp_path: Path) -> None:
    second, first = model(tmp_path, "b"), model(tmp_path, "a")
    third = campaign(tmp_path, "z", "a")
    (tmp_path / "models" / ".hidden").write_text("an editor's")
    contents = read_contents(tmp_path)
    assert [content.file for content in contents] == [third, first, second]
    for content in contents:
        assert content.data == content.file.read_bytes()
        assert content.identity.sha256 == hashlib.sha256(content.data).hexdigest()


def test_shipped_configuration_can_be_applied() -> None:
    kinds = [content.identity.kind for content in read_contents(ROOT / "configs")]
    assert kinds.count("model") == 3
    assert kinds.count("campaign") == 5
    assert kinds.count("taxonomy") == 1


def test_every_unusable_file_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    model(tmp_path, "fine")
    bad_model = model(tmp_path, "bad", weights={"social.shout": 1.0})
    bad_campaign = campaign(tmp_path, "worse", "fine", threshold="nan")
    stray = tmp_path / "models" / "notes.txt"
    stray.write_text("x")
    text = refusal(tmp_path)
    assert f"{bad_model}: " in text
    assert "social.shout" in text
    assert f"{bad_campaign}: " in text
    assert "threshold" in text
    assert f"{stray}: " in text
    assert "fine.json" not in text


def test_taxonomy_stands_beside_and_goes_by_its_files_name(tmp_path: Path) -> None:
    model(tmp_path, "a")
    campaign(tmp_path, "c", "a")
    assert [content.identity.kind for content in read_contents(tmp_path)] == ["campaign", "model"]
    (tmp_path / "taxonomy.toml").write_text('channels.mail = ["email"]\n')
    (content,) = (content for content in read_contents(tmp_path) if content.identity.kind == "taxonomy")
    assert content.identity.key().startswith("taxonomy/taxonomy/")


def test_mistakes_are_quoted_with_file_line_and_key(tmp_path: Path) -> None:
    model(tmp_path, "a")
    path = campaign(tmp_path, "c", "a", threshold="'x'")
    words = tmp_path / "taxonomy.toml"
    words.write_text('# ours\n[[pages]]\nclass = "home"\npaths = ["/"]\n\n[[pages]]\nclass = "shop"\npaths = []\n')
    text = refusal(tmp_path)
    assert f"{path}: line 4, campaign 'c': threshold is 'x', expected a number" in text
    assert f"{words}: line 7, pages[2].class is 'shop', expected home" in text
    words.write_text("[[pages]\n")
    assert f"{words}: a taxonomy is not readable as TOML: " in refusal(tmp_path)
    assert "(at line 1" in refusal(tmp_path)
    words.write_text("\n\ntopics = []\n")
    assert f"{words}: line 3, a taxonomy has the unknown key 'topics'" in refusal(tmp_path)


def test_name_given_twice_is_refused(tmp_path: Path) -> None:
    first, second = model(tmp_path, "same", "1.json"), model(tmp_path, "same", "2.json")
    campaign(tmp_path, "c", "same")
    assert f"{second}: name is 'same', which {first} has too" in refusal(tmp_path)


def test_campaign_of_an_unknown_model_is_refused(tmp_path: Path) -> None:
    model(tmp_path, "known")
    path = campaign(tmp_path, "c", "unknown")
    assert refusal(tmp_path) == f"{path}: line 2, model is 'unknown', expected one of known"


def test_missing_directory_is_refused_rather_than_taken_for_none(tmp_path: Path) -> None:
    model(tmp_path, "a")
    assert str(tmp_path / "campaigns") in refusal(tmp_path)


@pytest.mark.parametrize(("models", "campaigns"), [(MAX_MODELS + 1, 1), (1, MAX_CAMPAIGNS + 1)])
def test_more_than_the_records_have_room_for_are_refused(tmp_path: Path, models: int, campaigns: int) -> None:
    for number in range(models):
        model(tmp_path, f"m{number}")
    for number in range(campaigns):
        campaign(tmp_path, f"c{number:02}", "m0")
    assert str(max(models, campaigns)) in refusal(tmp_path)


def test_fullest_configuration_gives_an_activation_that_the_log_accepts(tmp_path: Path) -> None:
    for number in range(MAX_MODELS):
        model(tmp_path, f"{'m' * 62}{number:02}")
    for number in range(MAX_CAMPAIGNS):
        campaign(tmp_path, f"{'c' * 62}{number:02}", f"{'m' * 62}00")
    identities = [content.identity for content in read_contents(tmp_path)]
    activation = applied(Activation(1), identities, 2**53)
    value = activation_event(activation, "an-id")
    decoded = decode(columns_of(0, [0], [1], [None], [value], [()]), 1, 0)
    assert decoded.kinds.tolist() == [CONFIG_ACTIVATED]
    assert decoded.activations == {0: activation}
    assert len(activation.contents) == MAX_MODELS + MAX_CAMPAIGNS
