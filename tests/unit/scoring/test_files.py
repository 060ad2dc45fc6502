"""Model files: what is read, and what is refused with its words quoted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.features import FEATURES as CATALOGUE
from stream.scoring import read_model
from stream.scoring.files import MAX_MODEL_BYTES

FEATURES = ("likes", "shares", "days")
CONFIGS = Path(__file__).parents[3] / "configs" / "models"


def content(**changes: Any) -> bytes:
    fields = {"name": "support", "kind": "linear", "bias": 0.1, "weights": {"shares": 2, "likes": -0.5}, **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_model(data, FEATURES)
    return str(caught.value)


def test_weights_are_sorted_by_the_catalogue() -> None:
    model = read_model(content(), FEATURES)
    assert (model.name, model.kind, model.bias) == ("support", "linear", 0.1)
    assert model.weights == ((0, -0.5), (1, 2.0))
    assert model.calibration is None


def test_training_may_name_the_features_that_have_a_weight_and_no_others() -> None:
    histogram = {"edges": [0.5], "counts": [1, 2]}
    training = read_model(content(training={"features": {"likes": histogram}}), FEATURES).training
    assert training is not None
    assert (training.score, [index for index, _ in training.features]) == (None, [0])
    words = "model 'support': training.features names 'days', expected features that the model asks for"
    assert words in refusal(content(training={"features": {"days": histogram}}))
    assert "model 'support': training is None" in refusal(content(training=None))


def test_optional_parts_are_read() -> None:
    model = read_model(content(calibration={"slope": 2, "intercept": -1}, description="why"), FEATURES)
    assert (model.calibration, model.description) == ((2.0, -1.0), "why")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weigths": {}}, "unknown key 'weigths'"),
        ({"bias": ...}, "lacks the key 'bias'"),
        ({"name": "Support"}, "'Support'"),
        ({"name": "a" * 65}, "1 to 64 characters"),
        ({"name": "support\n"}, "'support\\n'"),
        ({"name": 5}, "name is 5"),
        ({"kind": "tree"}, "'tree', expected one of linear, logistic, trees"),
        ({"kind": []}, "kind is []"),
        ({"bias": True}, "bias is True, expected a number"),
        ({"bias": "0.1"}, "bias is '0.1'"),
        ({"bias": None}, "bias is None"),
        ({"bias": 1e101}, "bias is 1e+101"),
        ({"weights": [0.1, 0.2]}, "weights is [0.1, 0.2], expected an object"),
        ({"weights": {"retweets": 1}}, "unknown feature 'retweets'"),
        ({"weights": {"likes": [1]}}, "weight of 'likes' is [1]"),
        ({"weights": {"likes": False}}, "weight of 'likes' is False"),
        ({"calibration": None}, "calibration is None"),
        ({"calibration": {"slope": 1}}, "calibration lacks the key 'intercept'"),
        ({"calibration": {"slope": 1, "intercept": 0, "x": 0}}, "calibration has the unknown key 'x'"),
        ({"calibration": {"slope": True, "intercept": 0}}, "calibration slope is True"),
        ({"description": 5}, "description is 5"),
    ],
)
def test_unfit_model_is_refused_with_the_words_quoted(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(content(**changes))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_not_finite_is_refused(number: str) -> None:
    assert "expected a number" in (text := refusal(content(bias=7).replace(b"7", number.encode()))) or "JSON" in text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not readable as JSON"),
        (b"\xff{}", "not readable as JSON"),
        (b'{"name":', "not readable as JSON"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"bias":' + b"[" * 900 + b"]" * 900 + b"}", "lacks the key"),
        (content().replace(b'"likes": -0.5', b'"shares": 1'), "'shares' is given twice"),
        (b" " * (MAX_MODEL_BYTES + 1), "8388609 bytes is too large"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, words: str) -> None:
    text = refusal(data)
    assert words in text
    assert len(text) < 600


def test_largest_file_that_is_allowed_is_read() -> None:
    small = content()
    assert read_model(small + b" " * (MAX_MODEL_BYTES - len(small)), FEATURES).name == "support"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_in_any_place_is_read_or_refused(value: Any) -> None:
    for key in ("name", "kind", "bias", "weights", "calibration", "description"):
        try:
            model = read_model(content(**{key: value}), FEATURES)
        except ConfigurationError:
            continue
        assert abs(model.bias) <= 1e100


def test_files_in_configs_are_fit_and_named_as_their_files() -> None:
    files = sorted(CONFIGS.glob("*.json"))
    assert len(files) >= 3
    for file in files:
        assert read_model(file.read_bytes(), CATALOGUE).name == file.stem
