"""For each recipe the rows and the model that the commands make of a live broker's log, and what they take."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from load_tests.learning.deployment import CommandFailedError, Deployment, Ran
from load_tests.learning.table import HEAD, Line, compare
from stream.commands.dataset import DatasetOptions
from stream.commands.training.recipes import Recipe
from stream.commands.training.training import options_of, treatment_of
from stream.embedded.electorate import Electorate


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One recipe, and what its commands took: for the rows, of the treatment as well, and for the model."""

    line: Line
    dataset: Ran
    train: Ran

    @property
    def passes(self) -> bool:
        """Whether what is reached is enough."""
        return self.line.passes

    def __str__(self) -> str:
        """Return the line."""
        took = "".join(
            f"{ran.seconds:>9.1f}{ran.processor:>7.1f}{ran.peak / 1e6:>6.0f}" for ran in (self.dataset, self.train)
        )
        return f"{self.line.figures}{took}{self.line.verdict}"


COMMAND_HEAD: Final = f"{HEAD}{'dataset s':>10}{'CPU s':>6}{'MB':>6}{'train s':>9}{'CPU s':>7}{'MB':>6}"


def learn_by_command(deployment: Deployment, electorate: Electorate, recipe: Recipe, out: Path) -> CommandLine:
    """Have the commands make a recipe's rows and its model, into ``out``, and compare its ranking with the truth's.

    Rows lie in the deployment's directory, but ``train`` takes its own from the log, as it does where it is told a
    recipe and nothing else. Raises CommandFailedError where one fails.
    """
    first, second = (deployment.directory / f"{recipe.name}{name}.parquet" for name in ("", ".treatment"))
    dataset = _dataset(deployment, options_of(recipe), first)
    if (options := treatment_of(recipe)) is not None:
        dataset = dataset.then(_dataset(deployment, options, second))
    out.mkdir(parents=True, exist_ok=True)
    train = deployment.run("train", recipe.name, "--out", str(out))
    model = (out / f"{recipe.name}.json").read_bytes()
    return CommandLine(compare(electorate, recipe, model, first, None if options is None else second), dataset, train)


def _dataset(deployment: Deployment, options: DatasetOptions, file: Path) -> Ran:
    return deployment.run(*shlex.split(options.command(file))[1:])


def take_in(deployment: Deployment, name: str, out: Path) -> str:
    """Import a model that was trained into ``out``, try it out as a shadow, and have it listed; return what was said.

    Raises CommandFailedError where a command fails, or the list has another model than was trained.
    """
    file = deployment.directory / f"{name}.json"
    said = [deployment.run("model", "import", str(out / file.name), "--name", name, "--out", str(file)).output]
    said.append(deployment.run("model", "shadow", name, str(file)).output)
    versions = orjson.loads(deployment.run("model", "list", "--json").output)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    if (name, sha256) not in {(one["name"], one["version"]) for one in versions}:
        message = f"`groundswell model list` does not have version {sha256} of {name}: {versions}"
        raise CommandFailedError(message)
    return "".join(said)
