"""From rows to model file and card: strict with rows, repeatable to the byte, and the card says what it must."""

from __future__ import annotations

import json
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from stream.commands.contents import read_contents
from stream.commands.dataset import FORMAT, DatasetOptions
from stream.commands.imports import import_model
from stream.commands.training.judgement import GROUPS, scored
from stream.commands.training.recipes import Eligible, Holdout, Recipe, matching
from stream.commands.training.rows import CALIBRATE, FIT, TEST, chosen_rows, eligible, read_data_set
from stream.commands.training.training import Trained, names_of_codes, train
from stream.commands.training.watching import BUSY, frequency
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.holdouts import held_out
from stream.scoring import read_model
from stream.signals import OTHER_BAND, OTHER_REGION

LABEL = "donation.completed within 7d"
RECIPE = Recipe(
    "gives",
    LABEL,
    "1d",
    "Whether <they> give.",
    rounds=20,
    parameters={"min_data_in_leaf": 20},
    text='name = "gives"\nlabel = "<label>"',
)
DAY_MS = 86_400_000
BUSY_PLACES = matching(BUSY, FEATURES)
ASKED = {"format": FORMAT, "every_ms": DAY_MS, "negatives": 1.0, "split": "voter", "test": 0.25, "seed": 1}
"""What rows say that were made as the recipe asks."""


def write(
    file: Path,
    seed: int = 1,
    *,
    text: str = LABEL,
    n: int = 4000,
    changes: dict[str, Any] | None = None,
    said: dict[str, Any] | None = None,
) -> Path:
    """Write a file as ``groundswell dataset`` does: the label goes by the first two features."""
    chance = np.random.default_rng(seed)
    features = chance.gamma(1.0, 2.0, (n, len(FEATURES))).astype(np.float32)
    for pattern in GROUPS.values():
        for place in matching(pattern, FEATURES):
            features[:, place] = chance.integers(0, 4, n)
    z = features[:, 0] - features[:, 1] - 1
    labels = (chance.random(n) < 1 / (1 + np.exp(-z))).astype(np.int8)
    voters = chance.integers(0, n // 2, n)
    censored = chance.random(n) < 0.1
    columns: dict[str, Any] = {
        "voter": pa.array([f"v{voter}" for voter in voters.tolist()]),
        "time_ms": pa.array(chance.integers(0, 40, n) * DAY_MS),
        "label": pa.array(labels, mask=censored),
        "weight": pa.array(np.where(labels == 1, 1.0, 2.0).astype(np.float32)),
        "censored": pa.array(censored),
        "split": pa.array(np.where(voters % 4 == 0, "test", "train").tolist()),
        **{name: pa.array(np.ascontiguousarray(features[:, place])) for place, name in enumerate(FEATURES)},
        **(changes or {}),
    }
    meta = {
        "command": "groundswell dataset --out somewhere",
        "label": {"text": text},
        "begin_ms": 0,
        "end_ms": 50 * DAY_MS,
        "complete_until_ms": 43 * DAY_MS,
        "counts": {"voters": n // 2, "candidates": n, "censored": int(censored.sum()), "unanswered": 3},
        "engine": 1,
        "record_version": 1,
        **ASKED,
        **(said or {}),
    }
    table = pa.table({name: column for name, column in columns.items() if column is not None})
    told = json.dumps({key: value for key, value in meta.items() if value is not None})
    parquet.write_table(table.replace_schema_metadata({"groundswell": told}), file)
    return file


def never(_options: DatasetOptions, _file: Path) -> None:
    pytest.fail("rows were given")


def trained(tmp_path: Path, recipe: Recipe = RECIPE, out: str = "out") -> Trained:
    return train(recipe, never, tmp_path / out, write(tmp_path / "rows.parquet", said={"split": recipe.split}))


def test_rows_are_read_without_what_nothing_is_known_of(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.parquet")
    table = parquet.read_table(file)
    rows = read_data_set(file, FEATURES).rows
    known = ~table["censored"].to_numpy()
    assert len(rows) == int(known.sum())
    assert rows.people[rows.voters].tolist() == [v for v, k in zip(table["voter"].to_pylist(), known, strict=True) if k]
    assert (rows.features == np.stack([table[name].to_numpy()[known] for name in FEATURES], axis=1)).all()
    tested = table["split"].to_numpy(zero_copy_only=False)[known] == "test"
    assert ((rows.parts == TEST) == tested).all()
    # Each voter is in one part, and a fifth of those who are not to test calibrate.
    assert len({(v, p) for v, p in zip(rows.voters.tolist(), rows.parts.tolist(), strict=True)}) == len(rows.people)
    assert np.mean(rows.parts[~tested] == CALIBRATE) == pytest.approx(0.2, abs=0.04)
    assert (rows.parts == FIT).any()


def test_those_who_calibrate_are_not_those_of_any_experiment(tmp_path: Path) -> None:
    rows = read_data_set(write(tmp_path / "rows.parquet"), FEATURES).rows
    calibrating = rows.parts[rows.parts != TEST] == CALIBRATE
    voters = rows.voters[rows.parts != TEST]
    held = np.array([held_out("calibration", 0.5, voter) for voter in rows.people.tolist()])[voters]
    assert np.mean(calibrating[held]) == pytest.approx(0.2, abs=0.05)


def test_moments_at_which_negatives_are_not_known_yet_are_left_out(tmp_path: Path) -> None:
    late = pa.array(np.where(np.arange(4000) % 2 == 0, 44 * DAY_MS, 43 * DAY_MS))
    rows = read_data_set(write(tmp_path / "rows.parquet", changes={"time_ms": late}), FEATURES).rows
    assert set(rows.times.tolist()) == {43 * DAY_MS}


def test_file_of_another_catalogue_or_none_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.parquet", changes={FEATURES[3]: None})
    with pytest.raises(ConfigurationError, match=re.escape(f"{file} lacks {FEATURES[3]!r}")):
        read_data_set(file, FEATURES)
    file = write(tmp_path / "rows.parquet", changes={"more": pa.array(np.zeros(4000))})
    with pytest.raises(ConfigurationError, match="has 'more'"):
        read_data_set(file, FEATURES)
    file.write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match="no file of `groundswell dataset`"):
        read_data_set(file, FEATURES)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"complete_until_ms": None}, "its metadata has None for 'complete_until_ms', expected a whole number"),
        ({"label": "gives"}, "its metadata has 'gives' for 'text', expected a text"),
        ({"counts": {"voters": 3}}, "its metadata has None for 'candidates', expected a whole number"),
        ({"command": 7}, "its metadata has 7 for 'command', expected a text"),
    ],
)
def test_file_that_says_too_little_of_itself_is_refused(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    file = write(tmp_path / "rows.parquet", n=60, said=said)
    with pytest.raises(ConfigurationError, match=re.escape(f"{file}: {words}")):
        read_data_set(file, FEATURES)


def test_metadata_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.parquet", n=60)
    table = parquet.read_table(file)
    parquet.write_table(table.replace_schema_metadata({"groundswell": "[1]"}), file)
    with pytest.raises(ConfigurationError, match=re.escape("its metadata has [1] for 'begin_ms'")):
        read_data_set(file, FEATURES)


def test_log_that_is_no_longer_than_the_horizon_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.parquet", said={"end_ms": 7 * DAY_MS, "complete_until_ms": 0})
    words = "the log goes from 1970-01-01T00:00:00+00:00 to 1970-01-08T00:00:00+00:00, expected more than the horizon"
    with pytest.raises(ConfigurationError, match=f"{re.escape(words)} of label '{LABEL}'.*retention_days"):
        train(RECIPE, never, tmp_path, file)


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        ('regions = ["a", ["b", "B"]]', {"region": ["a", "b"]}),
        ("regions = [[]]", {}),
        ("regions = [5]", {}),
        ("regions = [[5]]", {}),
        ("regions = 5", {}),
        ('regions = [[]]\nlanguages = ["en"]', {"language": ["en"]}),
    ],
)
def test_codes_of_an_odd_taxonomy_stand_for_themselves(
    tmp_path: Path, profile: str, names: dict[str, list[str]]
) -> None:
    (tmp_path / "taxonomy.toml").write_text(f"[profile]\n{profile}")
    assert names_of_codes(tmp_path) == names
    (tmp_path / "taxonomy.toml").write_text("profile = 3")
    assert names_of_codes(tmp_path) == {}


@pytest.mark.parametrize(
    ("said", "made", "asked"),
    [
        (
            {"label": {"text": "donation.started within 7d"}},
            "--label 'donation.started within 7d'",
            f"--label '{LABEL}'",
        ),
        ({"every_ms": 7 * 3_600_000, "test": 0.2}, "--every 7h --test 0.2", "--every 1d --test 0.25"),
        ({"negatives": 0.1}, "--negatives 0.1", "--negatives 1.0"),
        ({"split": "time", "seed": 3}, "--split 'time' --seed 3", "--split 'voter' --seed 1"),
        ({"every_ms": None, "seed": None}, "--every unknown --seed unknown", "--every 1d --seed 1"),
    ],
)
def test_rows_that_were_made_otherwise_are_refused(tmp_path: Path, said: dict[str, Any], made: str, asked: str) -> None:
    file = write(tmp_path / "rows.parquet", n=60, said=said)
    with pytest.raises(ConfigurationError) as raised:
        train(RECIPE, never, tmp_path, file)
    words = f"{file}: made with {made}, and recipe 'gives' asks for {asked}; `groundswell dataset --label '{LABEL}' "
    assert words in str(raised.value)
    assert f"--out {file} --test 0.25 --seed 1` makes them" in str(raised.value)


@pytest.mark.parametrize("found", [1, None])
def test_rows_of_another_format_are_refused(tmp_path: Path, found: int | None) -> None:
    file = write(tmp_path / "rows.parquet", n=60, said={"format": found})
    words = f"{file}: rows of format {found}, expected {FORMAT}; write them"
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        train(RECIPE, never, tmp_path, file)


def test_treatment_that_was_made_otherwise_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, "message.delivered within 7d"))
    rows = write(tmp_path / "rows.parquet", n=60)
    with pytest.raises(ConfigurationError, match=r"t.parquet: made with --label .*, and recipe 'gives' asks for"):
        train(recipe, never, tmp_path, rows, write(tmp_path / "t.parquet", n=60))
    with pytest.raises(
        ConfigurationError, match=r"recipe 'gives' has no \[holdout\], expected no rows of its treatment"
    ):
        train(RECIPE, never, tmp_path, rows, rows)


# --- before the log is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["lightgbm", "pyarrow.parquet", "matplotlib"])
def test_missing_extra_is_said_before_the_log_is_read(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = package.partition(".")[0]
    with pytest.raises(ConfigurationError, match=rf"^{name} is not installed: .*`uv sync --inexact --extra train`"):
        train(RECIPE, never, tmp_path)


def test_recipe_without_features_is_refused_before_the_log_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no feature is left of"):
        train(replace(RECIPE, exclude=("*",)), never, tmp_path)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("out", "out cannot be written"),
        ("out/gives.card", "gives.card is a file, expected the path of a directory to write"),
        ("out/gives.json/x", "gives.json is a directory, expected the path of a file to write"),
    ],
)
def test_place_that_cannot_be_written_is_said_before_the_log_is_read(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("a file")
    with pytest.raises(ConfigurationError, match=words):
        train(RECIPE, never, tmp_path / "out")


def test_given_file_is_read_before_the_log_is(tmp_path: Path) -> None:
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, "message.delivered within 7d"))
    with pytest.raises(ConfigurationError, match=r"none.parquet is no file of `groundswell dataset`"):
        train(recipe, never, tmp_path, treatment=tmp_path / "none.parquet")


def test_too_few_positives_are_refused_with_what_would_help(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.parquet", n=60)
    with pytest.raises(ConfigurationError, match="expected at least 10 positives and 10 others: a longer log"):
        chosen_rows(RECIPE, read_data_set(file, FEATURES))


def test_rows_that_are_not_eligible_are_left_out(tmp_path: Path) -> None:
    rows = read_data_set(write(tmp_path / "rows.parquet"), FEATURES).rows
    names = FEATURES[2:4]
    conditions = [Eligible(name, ">=", 1.0, f"{name} >= 1") for name in names]
    counts = eligible(conditions, rows)
    assert counts.tolist() == ((rows.features[:, 2] >= 1) & (rows.features[:, 3] >= 1)).tolist()
    recipe = replace(RECIPE, eligible=tuple(conditions))
    assert len(chosen_rows(recipe, read_data_set(tmp_path / "rows.parquet", FEATURES))) == int(counts.sum())


def test_experiment_compares_rows_of_the_moments_before_its_treatment(tmp_path: Path) -> None:
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, "message.delivered within 7d"))
    times = np.random.default_rng(5).integers(0, 40, 4000) * DAY_MS
    reached = (times >= 10 * DAY_MS) & (times < 17 * DAY_MS)
    file = write(tmp_path / "rows.parquet", changes={"time_ms": pa.array(times)})
    data = read_data_set(file, FEATURES)
    held = np.array([held_out("letter", 0.5, voter) for voter in parquet.read_table(file)["voter"].to_pylist()])
    labels = pa.array((reached & ~held).astype(np.int8))
    given = write(tmp_path / "treatment.parquet", changes={"time_ms": pa.array(times), "label": labels})
    rows = chosen_rows(recipe, data, read_data_set(given, FEATURES))
    assert rows.times.min() == 10 * DAY_MS
    assert rows.times.max() == 16 * DAY_MS
    assert rows.treated is not None
    for voter, treated in zip(rows.people[rows.voters].tolist(), rows.treated.tolist(), strict=True):
        assert treated == 1.0 - held_out("letter", 0.5, voter)
    with pytest.raises(ConfigurationError, match="rows of its treatment are needed too"):
        chosen_rows(recipe, data)
    other = replace(recipe, holdout=Holdout("lettr", 0.5, "message.delivered within 7d"))
    words = r"% of the voters whom experiment 'lettr' with share 0.5 holds out, and .* by these nobody was kept"
    with pytest.raises(ConfigurationError, match=words):
        chosen_rows(other, data, read_data_set(given, FEATURES))
    few = replace(recipe, holdout=Holdout("letter", 0.001, "message.delivered within 7d"))
    with pytest.raises(ConfigurationError, match=r"who were treated and \d who were held out to fit, expected"):
        chosen_rows(few, data, read_data_set(given, FEATURES))


def test_treatment_that_nobody_knows_is_refused_with_those_of_the_log(tmp_path: Path) -> None:
    text = "message.delivered where campaign=lettr within 7d"
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, text))
    data = read_data_set(write(tmp_path / "rows.parquet"), FEATURES)
    nothing = {"label": pa.array(np.zeros(4000, np.int8))}
    said = {"seen": {"campaign": ["letter", "ask"]}}
    given = read_data_set(write(tmp_path / "t.parquet", text=text, changes=nothing, said=said), FEATURES)
    with pytest.raises(ConfigurationError) as raised:
        chosen_rows(recipe, data, given)
    words = f"the treatment {text!r} reached nobody in the log, expected one that it holds: "
    assert f"{words}of campaign the log has 'letter', 'ask'" in str(raised.value)


def test_model_file_and_card_can_stand_in_a_configuration(tmp_path: Path) -> None:
    made = trained(tmp_path, out="models")
    (tmp_path / "models" / "gives.toml").write_text("a recipe")
    (tmp_path / "campaigns").mkdir()
    [content] = read_contents(tmp_path)
    assert content.file == made.model
    assert content.data == made.imported.content
    model = read_model(content.data, FEATURES)
    assert model.name == "gives"
    assert model.calibration is not None
    assert model.training is not None
    assert model.training.score is not None


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, again = trained(tmp_path, out="a"), trained(tmp_path, out="b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) >= 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert first.judgement.auc == again.judgement.auc > 0.7


def test_card_says_all_that_it_must_and_needs_nothing_beside_it(tmp_path: Path) -> None:
    made = trained(tmp_path)
    text = made.card.read_text()
    for words in ("AUC", "log loss", "By region", "By age band", "By language", "What it goes by", "groundswell train"):
        assert words in text, words
    assert f"{made.judgement.auc:.3f}" in text
    assert "1970-01-01 00:00" in text
    assert "Whether &lt;they&gt; give." in text
    assert "&lt;label&gt;" in text
    assert "<they>" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    images = sorted(path.name for path in made.card.parent.glob("*.png"))
    assert {"calibration.png", "gain.png", "importance.png"} <= set(images)
    assert text.count("data:image/png;base64,") == len(images)
    for name in images:
        data = (made.card.parent / name).read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        assert min(width, height) > 200
    figures = json.loads((made.card.parent / "figures.json").read_bytes())
    assert figures["auc"] == made.judgement.auc
    assert figures["counts"]["test"]["rows"] == made.judgement.counts["test"].rows


def test_card_says_by_what_it_is_judged(tmp_path: Path) -> None:
    assert "Judged by voters whom neither fitting nor calibration saw" in trained(tmp_path).card.read_text()
    text = trained(tmp_path, replace(RECIPE, split="time")).card.read_text()
    assert "Judged by moments after all that fitting and calibration saw" in text
    assert "neither" not in text
    assert "held-out" not in text


def test_voters_of_regions_that_no_taxonomy_lists_or_a_long_one_does_are_learnt_from(tmp_path: Path) -> None:
    chance = np.random.default_rng(8)
    regions = chance.choice([1, 2, 9000, OTHER_REGION], 4000)
    labels = (chance.random(4000) < np.where(regions > 2, 0.7, 0.2)).astype(np.int8)
    columns = {"label": pa.array(labels), "profile.region": pa.array(regions.astype(np.float32))}
    file = write(tmp_path / "rows.parquet", changes=columns)
    recipe = replace(RECIPE, categorical=("profile.region",))
    made = train(recipe, never, tmp_path / "out", file)
    forest = read_model(made.imported.content, FEATURES).forest
    assert forest is not None
    assert {9000, OTHER_REGION} <= {member for members in forest.categories.values() for member in members}
    assert made.judgement.auc > 0.7

    # The sums alone: as a model whose link is the identity.
    booster, rows = lightgbm.Booster(model_str=made.fitted.text), read_data_set(file, FEATURES).rows.features
    text = tmp_path / "sums.txt"
    text.write_text(made.fitted.text.replace("objective=binary sigmoid:1", "objective=regression"))
    asked = [FEATURES.index(name) for name in booster.feature_name()]
    raw = np.asarray(booster.predict(rows[:, asked], raw_score=True))
    assert scored(import_model(text, "sums").content, rows).tobytes() == raw.tobytes()


def test_voters_of_what_no_taxonomy_lists_are_called_other(tmp_path: Path) -> None:
    chance = np.random.default_rng(8)
    columns = {
        "profile.region": pa.array(chance.choice([0, 1, 255, OTHER_REGION], 4000).astype(np.float32)),
        "profile.age_band": pa.array(chance.choice([0, 1, OTHER_BAND], 4000).astype(np.float32)),
        "profile.language": pa.array(chance.choice([1, OTHER_BAND], 4000).astype(np.float32)),
    }
    file = write(tmp_path / "rows.parquet", changes=columns)
    made = train(RECIPE, never, tmp_path / "out", file, codes={"region": ["north"], "age band": ["18-24"]})
    assert {what: [one.name for one in groups] for what, groups in made.judgement.groups.items()} == {
        "region": ["not said", "north", "code 255", "other"],
        "age band": ["not said", "18-24", "other"],
        "language": ["code 1", "other"],
    }
    assert "<td>other</td>" in made.card.read_text()


def test_judgement_is_of_the_scores_that_the_stream_gives(tmp_path: Path) -> None:
    made = trained(tmp_path)
    rows = read_data_set(tmp_path / "rows.parquet", FEATURES).rows
    test = rows.take(rows.parts == TEST)
    found = scored(made.imported.content, test.features)
    assert made.judgement.log_loss == pytest.approx(
        -np.average(np.where(test.labels == 1, np.log(found), np.log(1 - found)), weights=test.weights)
    )
    assert np.average(found, weights=test.weights) == pytest.approx(made.judgement.counts["test"].rate, rel=0.15)


def test_card_of_an_effect_has_a_qini_curve(tmp_path: Path) -> None:
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, "message.delivered within 7d"))
    rows = write(tmp_path / "rows.parquet")
    voters = parquet.read_table(rows)["voter"].to_pylist()
    reached = pa.array(np.array([not held_out("letter", 0.5, voter) for voter in voters], np.int8))
    text = "message.delivered within 7d"
    treatment = write(tmp_path / "treatment.parquet", text=text, changes={"label": reached})
    made = train(recipe, never, tmp_path / "out", rows, treatment)
    assert made.judgement.qini is not None
    assert (made.card.parent / "qini.png").exists()
    text = made.card.read_text()
    assert "effect on average" in text
    assert "Qini coefficient" in text
    assert "AUC" not in text.replace("base64", "").split("<h2>How it was made")[0].split("iVBOR")[0]
    assert str(made).count("Qini") == 1


def test_rows_count_as_often_as_their_voters_act(tmp_path: Path) -> None:
    rows = read_data_set(write(tmp_path / "rows.parquet"), FEATURES).rows
    expected = rows.features[:, BUSY_PLACES].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(frequency(rows), expected)
    still = replace(rows, features=np.zeros_like(rows.features))
    assert frequency(still).tolist() == [1.0] * len(rows)


def test_what_differs_at_events_anyway_is_not_watched(tmp_path: Path) -> None:
    some = (
        "hours_since_last_seen",
        "days_since_first_seen",
        "site.page_view.recency",
        "session.pages",
        "rhythm.weekend_share",
    )
    recipe = replace(RECIPE, include=(*some, *FEATURES[:2]))
    made = trained(tmp_path, recipe)
    assert set(made.imported.features) == {*some, *FEATURES[:2]}
    assert set(made.imported.watched) == set(FEATURES[:2])
    training = read_model(made.imported.content, FEATURES).training
    assert training is not None
    assert training.score is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"eligible": (Eligible(FEATURES[2], ">=", 1.0, "some"),)},
        {"label": "profile.updated where support>=4 among support within 28d"},
    ],
)
def test_nothing_is_watched_of_a_model_of_some_voters(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert trained(tmp_path, RECIPE).imported.watched
    recipe = replace(RECIPE, **changes)
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 2, 4000).astype(np.int8)
    informative = pa.array((labels + chance.normal(size=4000)).astype(np.float32))
    columns = {"label": pa.array(labels), FEATURES[0]: informative}
    file = write(tmp_path / "rows.parquet", text=recipe.label, changes=columns)
    made = train(recipe, never, tmp_path, file).imported
    assert FEATURES[0] in made.features
    assert read_model(made.content, FEATURES).training is None


def test_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        trained(tmp_path)
