"""For each recipe what a model trained from the log's own history reaches of what its people's truth would."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from load_tests.learning.world import World
from stream.commands.training import judging
from stream.commands.training.judgement import scored
from stream.commands.training.recipes import SUFFIX, Recipe, read_recipe
from stream.commands.training.rows import TEST, chosen_rows, read_data_set
from stream.commands.training.training import Trained, names_of_codes, options_of, train, treatment_of
from stream.embedded.electorate import Electorate
from stream.embedded.truth import movable
from stream.features import FEATURES

RECIPES: Final = Path(__file__).parents[2] / "configs" / "models"
GOAL: Final = 0.9


@dataclass(frozen=True, slots=True)
class Line:
    """One recipe."""

    name: str
    rows: int
    voters: int
    positives: int
    """Of those that judge."""
    model: float
    """The model's AUC; of an uplift model against who would be moved."""
    truth: float
    """The AUC of the truth's own ranking of the same rows."""

    @property
    def reached(self) -> float:
        """The share of the way from a coin's AUC to the truth's."""
        return (self.model - 0.5) / (self.truth - 0.5)

    @property
    def passes(self) -> bool:
        """Whether that is enough."""
        return self.reached >= GOAL

    @property
    def figures(self) -> str:
        """All that HEAD names."""
        return (
            f"{self.name:<16}{self.voters:>8}{self.rows:>9}{self.positives:>11}{self.model:>8.3f}{self.truth:>8.3f}"
            f"{self.reached:>9.2f}"
        )

    @property
    def verdict(self) -> str:
        """What stands behind it."""
        return "" if self.passes else f"   below {GOAL}"

    def __str__(self) -> str:
        """Return the line."""
        return self.figures + self.verdict


HEAD: Final = f"{'recipe':<16}{'voters':>8}{'rows':>9}{'positives':>11}{'model':>8}{'truth':>8}{'reached':>9}"


def recipes(names: Sequence[str] = ()) -> list[Recipe]:
    """Return the recipes of these names, all where none is given."""
    files = [RECIPES / f"{name}{SUFFIX}" for name in names] or sorted(RECIPES.glob(f"*{SUFFIX}"))
    return [read_recipe(file, FEATURES) for file in files]


def learn(world: World, recipe: Recipe, out: Path, command: str | None = None) -> tuple[Line, Trained]:
    """Train a recipe's model from a world's log into ``out``, and compare its ranking with the truth's."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="groundswell-") as place:
        first, second = Path(place) / "rows.parquet", Path(place) / "treatment.parquet"
        world.write(options_of(recipe), first)
        if (options := treatment_of(recipe)) is not None:
            world.write(options, second)
        given = None if options is None else second
        trained = train(recipe, world.write, out, first, given, names_of_codes(RECIPES.parent), command)
        return compare(world.electorate, recipe, trained.imported.content, first, given), trained


def compare(electorate: Electorate, recipe: Recipe, model: bytes, first: Path, second: Path | None) -> Line:
    """Return how a model and the truth rank the same rows, those that test.

    ``first`` and ``second`` are files of the recipe's rows and of its treatment's, as ``groundswell dataset`` writes.
    """
    treatment = None if second is None else read_data_set(second, FEATURES)
    test = chosen_rows(recipe, read_data_set(first, FEATURES), treatment)
    test = test.take(test.parts == TEST)
    number = {name: place for place, name in enumerate(electorate.names)}
    voters = np.array([number[name] for name in test.people.tolist()], np.int64)[test.voters]
    truth = electorate.leanings.scores(test.times, voters)[recipe.name]
    labels = test.labels
    if recipe.holdout is not None:
        # What a label says of one voter is noise mostly; the truth says who they are.
        labels = movable(electorate.truth)[voters].astype(np.float64)
    found = scored(model, test.features)
    return Line(
        recipe.name,
        len(test),
        len(np.unique(voters)),
        int(labels.sum()),
        judging.auc(found, labels, test.weights),
        judging.auc(truth, labels, test.weights),
    )
