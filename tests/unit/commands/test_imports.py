"""Model files of other tools: what is wrong with one is quoted, and nothing is made of it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from stream.commands.imports import import_model
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.scoring import read_model

SMALL = f"""tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:2
feature_names={FEATURES[0]} {FEATURES[1]}
feature_infos=[0:1] [0:1]
tree_sizes=1

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=0.5 2.0000000000000004
decision_type=10 8
left_child=1 -1
right_child=-2 -3
leaf_value=1 2 3
is_linear=0
shrinkage=1


end of trees

parameters:
[boosting: gbdt]
end of parameters
"""


def imported(directory: Path, text: str | bytes, name: str = "model.txt") -> bytes:
    file = directory / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_model(file, "m").content


def test_trees_by_pointers_come_in_preorder_with_thresholds_of_singles(tmp_path: Path) -> None:
    model = read_model(imported(tmp_path, SMALL), FEATURES)
    forest = model.forest
    assert forest is not None
    assert forest.features.tolist() == [0, 1]
    assert forest.lefts.tolist() == [2, 1]
    assert forest.values.tolist() == [1.0, 3.0, 2.0]
    assert forest.thresholds.tolist() == [0.5, 2.0]
    assert forest.rules.tolist() == [1, 2]
    assert (forest.link, model.calibration) == ("logistic", (2.0, 0.0))


@pytest.mark.parametrize(("classes", "number"), [(1, 0), (3, 3), (3, -1)])
def test_a_class_that_there_is_not_is_refused(classes: int, number: int, tmp_path: Path) -> None:
    file = tmp_path / "model.txt"
    there = f"num_class={classes}\nnum_tree_per_iteration={classes}"
    file.write_text(SMALL.replace("num_class=1\nnum_tree_per_iteration=1", there))
    expected = "has one score, expected no --class, which is 0" if classes == 1 else f"--class is {number}: say which"
    with pytest.raises(ConfigurationError, match=expected):
        import_model(file, "m", number=number)
    own = tmp_path / "own.json"
    own.write_bytes(imported(tmp_path, SMALL))
    with pytest.raises(ConfigurationError, match="has one score"):
        import_model(own, "m", number=number)


def test_calibration_and_description_go_into_the_file(tmp_path: Path) -> None:
    file, calibration = tmp_path / "model.txt", tmp_path / "calibration.json"
    file.write_text(SMALL)
    calibration.write_text('{"slope": 0.5, "intercept": -0.25}')
    model = read_model(import_model(file, "m", calibration, description="who likes").content, FEATURES)
    assert (model.calibration, model.description) == ((1.0, -0.25), "who likes")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left_child=1 -1", "left_child=0 -1", "split 0 is reached twice"),
        ("left_child=1 -1", "left_child=-1 1", "split 1 is reached twice|leaf 0 is|are reached, expected all"),
        ("left_child=1 -1", "left_child=5 -1", "left_child holds 5, expected integers from -3 to 1"),
        ("right_child=-2 -3", "right_child=-1 -3", "are reached, expected all"),
        ("leaf_value=1 2 3", "leaf_value=1 2", "leaf_value has 2 numbers, expected 3"),
        ("leaf_value=1 2 3", "leaf_value=1 nan 3", "leaf_value holds nan, expected numbers"),
        ("threshold=0.5", "threshold=nan", "threshold holds nan"),
        ("threshold=0.5", "threshold=x", "threshold: could not convert"),
        ("num_leaves=3", "num_leaves=1000000000", "num_leaves holds 1000000000, expected integers from 1 to 4096"),
        ("split_feature=0 1", "split_feature=0 2", "split_feature holds 2, expected integers from 0 to 1"),
        ("decision_type=10 8", "decision_type=10 12", "decision_type is 12, expected a missing type"),
        ("decision_type=10 8", "decision_type=10 1", "num_cat holds 0, expected integers from 1"),
        (FEATURES[1], "age", "unknown feature 'age', expected one of the catalogue's"),
        ("num_class=1", "num_class=3", "num_class is 3, expected num_tree_per_iteration's 1"),
        ("num_class=1\nnum_tree_per_iteration=1", "num_class=3\nnum_tree_per_iteration=3", "has 3 classes: say which"),
        ("num_class=1", "num_class=0", "num_class holds 0, expected integers from 1 to 1000"),
        ("is_linear=0", "is_linear=1", "is_linear is '1', expected 0: train with linear_tree=false"),
        ("objective=binary sigmoid:2", "objective=multiclass num_class:3", "one model for each class, against all"),
        ("objective=binary sigmoid:2", "objective=regression sqrt", "objective 'regression sqrt' is not read"),
        ("Tree=0", "Tree=7", "'Tree=7', expected Tree=0"),
        ("end of trees", "", "it is cut off"),
    ],
)
def test_what_is_wrong_in_lightgbms_text_is_quoted(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in SMALL
    with pytest.raises(ConfigurationError, match=message):
        imported(tmp_path, SMALL.replace(old, new))


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"tree\xff\xfe", "model.txt", "is not UTF-8"),
        (b"tree of life\n", "model.txt", "begins with 'tree of life', expected 'tree'"),
        (b"tree\nend of trees\n", "model.txt", "unknown feature ''"),
        (b"\x80\x04\x95", "model.pkl", "a pickle runs whatever code is in it.*treelite.sklearn.import_model"),
        (b"\x80\x04\x95", "model.tl", "a pickle runs"),
        (b"PK\x03\x04", "model.onnx", "begins with .*which is not read; expected a LightGBM text model"),
        (b"{", "model.json", "does not name its columns"),
        (b'{"learner": {"feature_names": ["sessions"]}}', "model.json", "is not read by treelite"),
    ],
)
def test_what_is_no_model_is_refused_with_what_would_be(data: bytes, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        imported(tmp_path, data, name)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        import_model(tmp_path / "none.txt", "m")
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(ConfigurationError, match="has 68157440 bytes, expected at most"):
        import_model(large, "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "expected an object of slope and intercept"), ("{", "is not JSON"), ('{"slope": 1}', "lacks the key")],
)
def test_an_unusable_calibration_is_quoted(text: str, message: str, tmp_path: Path) -> None:
    file, calibration = tmp_path / "model.txt", tmp_path / "calibration.json"
    file.write_text(SMALL)
    calibration.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        import_model(file, "m", calibration)


def test_of_a_training_file_the_features_that_the_model_uses_most_are_kept(tmp_path: Path) -> None:
    file, training = tmp_path / "model.txt", tmp_path / "training.json"
    file.write_text(SMALL)
    histogram = {"edges": [0.5, 2.0], "counts": [5.0, 3.0, 2.0]}
    training.write_bytes(orjson.dumps({"score": histogram, "features": dict.fromkeys(FEATURES, histogram)}))
    made = import_model(file, "m", training=training)
    assert made.watched == (FEATURES[0], FEATURES[1])
    model = read_model(made.content, FEATURES)
    assert model.training is not None
    assert model.training.score is not None
    assert [index for index, _ in model.training.features] == [0, 1]
    assert import_model(file, "m").watched == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "training is .., expected an object of score and features"),
        ("{", "is not JSON"),
        ('{"features": {"age": {"edges": [1], "counts": [1, 2]}}}', "unknown feature 'age'"),
    ],
)
def test_an_unusable_training_file_is_quoted(text: str, message: str, tmp_path: Path) -> None:
    file, training = tmp_path / "model.txt", tmp_path / "training.json"
    file.write_text(SMALL)
    training.write_text(text)
    with pytest.raises(ConfigurationError, match=f"training.json.*{message}"):
        import_model(file, "m", training=training)


def test_a_weighted_sum_is_read_from_its_own_file_and_keeps_what_is_not_given_anew(tmp_path: Path) -> None:
    file, calibration = tmp_path / "support.json", tmp_path / "calibration.json"
    training = {"score": {"edges": [0.5], "counts": [1.0, 1.0]}}
    fields = {
        "name": "support",
        "kind": "logistic",
        "bias": 0.5,
        "weights": {FEATURES[2]: 2.0},
        "calibration": {"slope": 3.0, "intercept": 1.0},
        "training": training,
    }
    file.write_bytes(orjson.dumps(fields))
    made = import_model(file, "turnout", description="who votes")
    assert orjson.loads(made.content) == {**fields, "name": "turnout", "description": "who votes"}
    assert (made.trees, made.leaves, made.features) == (0, 0, (FEATURES[2],))
    calibration.write_text('{"slope": 1, "intercept": 0}')
    assert read_model(import_model(file, "turnout", calibration).content, FEATURES).calibration == (1.0, 0.0)
    # The old scores are not the new one's; histograms that are given with it are.
    assert read_model(import_model(file, "turnout", calibration).content, FEATURES).training is None
    both = {**training, "features": {FEATURES[2]: training["score"]}}
    file.write_bytes(orjson.dumps({**fields, "training": both}))
    kept = orjson.loads(import_model(file, "turnout", calibration).content)["training"]
    assert kept == {"features": both["features"]}
    beside = tmp_path / "training.json"
    beside.write_bytes(orjson.dumps(both))
    again = orjson.loads(import_model(file, "turnout", calibration, training=beside).content)["training"]
    assert again == both
    file.write_bytes(orjson.dumps({**fields, "weights": {"age": 1}}))
    with pytest.raises(ConfigurationError, match="unknown feature 'age'"):
        import_model(file, "turnout")


def test_a_name_that_no_campaign_can_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a model's name is 'No Name'"):
        import_model(tmp_path / "none.txt", "No Name")


def test_what_is_written_is_the_shortest_form_that_reads_back(tmp_path: Path) -> None:
    fields = orjson.loads(imported(tmp_path, SMALL))
    assert fields["trees"]["threshold"] == [0.5, 2.0]
    assert fields["features"] == [FEATURES[0], FEATURES[1]]
