"""Recipes: read strictly, and refused by file, line and key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.commands.dataset import DatasetOptions
from stream.commands.training.recipes import Recipe, read_recipe
from stream.commands.training.training import find_recipe, options_of, treatment_of
from stream.errors import ConfigurationError
from stream.features import FEATURES

CONFIGS = Path(__file__).parents[4] / "configs"
NAMES = ("likes", "likes_week", "region", "views")
TEXT = """\
name = "gives"
description = "Whether they give."
label = "donation.completed within 14d"
every = "7d"
eligible = ["likes* >= 1", "views < 3"]
negatives = 0.5
test = 0.3

[features]
include = ["l*", "region"]
exclude = ["*_week"]
categorical = ["region"]

[model]
rounds = 40
seed = 3

[model.lightgbm]
num_leaves = 7
learning_rate = 0.1

[holdout]
experiment = "letter"
share = 0.25
treatment = "message.delivered where campaign=letter within 7d"
"""


def read(tmp_path: Path, text: str, name: str = "gives") -> Recipe:
    file = tmp_path / f"{name}.toml"
    file.write_text(text)
    return read_recipe(file, NAMES)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_all_that_a_recipe_may_say_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, TEXT)
    assert recipe.columns(NAMES) == [0, 2]
    assert recipe.categorical == ("region",)
    assert (recipe.rounds, recipe.seed, recipe.parameters) == (40, 3, {"num_leaves": 7, "learning_rate": 0.1})
    assert recipe.holdout is not None
    assert recipe.holdout.share == 0.25
    assert [one.holds(np.array([0, 1, 3])).tolist() for one in recipe.eligible] == [
        [False, True, True],
        [True, True, False],
    ]
    assert options_of(recipe) == DatasetOptions("donation.completed within 14d", "7d", 0.5, "voter", 0.3, 3)
    assert treatment_of(recipe) == DatasetOptions(recipe.holdout.treatment, "7d", 1.0, "voter", 0.3, 3)


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    recipe = read(tmp_path, 'name = "gives"\nlabel = "donation.completed within 14d"\nevery = "1d"')
    assert recipe.columns(NAMES) == [0, 1, 2, 3]
    assert (recipe.split, recipe.negatives, recipe.rounds, recipe.holdout) == ("voter", 1.0, 100, None)
    assert treatment_of(recipe) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "gives"', 'name = "takes"', "gives.toml:1: name is 'takes', expected 'gives'"),
        ('name = "gives"', 'name = "Gives!"', "gives.toml:1: name a recipe's name is 'Gives!', expected 1 to 64"),
        ('every = "7d"\n', "", "gives.toml lacks the key 'every'"),
        ('every = "7d"', 'every = "weekly"', "gives.toml:4: every is 'weekly', expected a duration of"),
        ('every = "7d"', 'every = "30s"', "gives.toml:4: every is '30s', expected a duration of a minute or more"),
        ("completed within", "done within", "gives.toml:3: label is no label: label 'donation.done within 14d'"),
        ("where campaign", "if campaign", "gives.toml:25: holdout.treatment is no label: label 'message.delivered if"),
        ('every = "7d"', "every = 7", "gives.toml:4: every is 7, expected a text"),
        ("negatives = 0.5", "negatives = 0", "gives.toml:6: negatives is 0, expected a number from 1e-06 to 1"),
        ("negatives = 0.5", "negatives = true", "gives.toml:6: negatives is True"),
        ("test = 0.3", "tset = 0.3", "gives.toml:7: tset is unknown, expected name, label"),
        ("test = 0.3", 'split = "day"', "gives.toml:7: split is 'day', expected 'voter' or 'time'"),
        ("views < 3", "views three", "gives.toml:5: eligible holds 'views three', expected such as"),
        ("views < 3", "visits < 3", "gives.toml:5: eligible holds 'visits', which fits none of 4 features"),
        ('["l*", "region"]', '"l*"', "gives.toml:10: features.include is 'l*', expected a list of texts"),
        (
            'exclude = ["*_week"]',
            'exclude = ["*_day"]',
            "gives.toml:11: features.exclude holds '*_day', which fits none",
        ),
        ("rounds = 40", "rounds = 0.5", "gives.toml:15: model.rounds is 0.5, expected a whole number from 1 to 5000"),
        ("seed = 3", "speed = 3", "gives.toml:16: model.speed is unknown, expected rounds, seed, lightgbm"),
        ("num_leaves = 7", "num_leafs = 7", "gives.toml:19: model.lightgbm.num_leafs is unknown, expected num_leaves"),
        ("num_leaves = 7", "num_leaves = 1", "gives.toml:19: model.lightgbm.num_leaves is 1, expected a whole number"),
        ("share = 0.25", "share = 1", "gives.toml:24: holdout.share is 1, expected a number from 0.001 to 0.999"),
        ('experiment = "letter"\n', "", "[holdout] of "),
        ('"letter"', '"groundswell:calibration"', "gives.toml:23: holdout.experiment is 'groundswell:calibration'"),
        ("[features]", "[feature]", "gives.toml:9: feature is unknown"),
        ("[features]", "[features", "gives.toml is not readable as TOML"),
    ],
)
def test_wrong_recipe_is_refused_by_file_line_and_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TEXT
    text = refusal(tmp_path, TEXT.replace(old, new))
    assert text.startswith(words)
    assert len(text) < 500


def test_recipe_that_leaves_no_feature_is_refused(tmp_path: Path) -> None:
    recipe = read(tmp_path, TEXT.replace('exclude = ["*_week"]', 'exclude = ["*"]'))
    with pytest.raises(ConfigurationError, match="no feature is left of"):
        recipe.columns(NAMES)


def test_large_or_missing_file_is_refused(tmp_path: Path) -> None:
    assert "expected at most 65536" in refusal(tmp_path, TEXT + "#" * 65536)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml", NAMES)


def test_recipes_are_found_by_name_or_file() -> None:
    assert find_recipe("support", CONFIGS).name == "support"
    assert find_recipe(str(CONFIGS / "models" / "support.toml"), Path("/nowhere")).name == "support"
    with pytest.raises(ConfigurationError, match=r"no such recipe, expected a file, or one of .*support.*woken"):
        find_recipe("fame", CONFIGS)


def test_every_question_that_a_campaign_asks_has_its_recipe() -> None:
    files = sorted((CONFIGS / "models").glob("*.toml"))
    recipes = {file.stem: read_recipe(file, FEATURES) for file in files}
    asked = {"support", "turnout", "gives_online", "gives_by_post", "volunteers", "persuadable", "woken"}
    assert set(recipes) == asked | {"opens_email", "opens_text", "opens_push"}
    for recipe in recipes.values():
        assert recipe.description
        options_of(recipe).design()
        assert (treatment_of(recipe) is not None) == (recipe.name == "persuadable")
