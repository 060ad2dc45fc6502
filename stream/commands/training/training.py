"""``groundswell train``: rows from the log, a model file from them, and a card that judges it."""

from __future__ import annotations

import hashlib
import shlex
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from stream.commands.dataset import DatasetOptions
from stream.commands.imports import Imported, import_model
from stream.commands.training import card
from stream.commands.training.fitting import Fitted, fit
from stream.commands.training.judgement import Judgement, judge
from stream.commands.training.recipes import SUFFIX, Recipe, read_recipe
from stream.commands.training.rows import DataSet, chosen_rows, read_data_set
from stream.commands.training.watching import watched
from stream.errors import ConfigurationError
from stream.features import FEATURES

CARD_SUFFIX: Final = ".card"
"""Of the directory beside a model file that holds its card."""

_PROFILE: Final = {"region": "regions", "age band": "age_bands", "language": "languages"}

Writer = Callable[[DatasetOptions, Path], None]
"""Writes the rows that options ask for to a file."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made."""

    model: Path
    card: Path
    imported: Imported
    fitted: Fitted
    judgement: Judgement

    def __str__(self) -> str:
        """Return it in a few lines."""
        found = self.judgement
        counts = ", ".join(f"{of.rows} rows of {of.voters} voters to {part}" for part, of in found.counts.items())
        if found.qini is None:
            how = (
                f"AUC {found.auc:.3f} (+-{1.96 * found.auc_error:.3f}), log loss {found.log_loss:.4f} "
                f"({found.plain_loss:.4f} for the mean)"
            )
        else:
            how = (
                f"effect {100 * found.effect:+.1f} points (+-{196 * found.effect_error:.1f}), Qini coefficient "
                f"{100 * found.qini_coefficient:.2f} %"
            )
        gaps = sum(bool(one.gaps) for groups in found.groups.values() for one in groups)
        return (
            f"{counts}\n{how}; {gaps or 'no'} groups with gaps\n{self.model}: {self.imported.trees} trees, "
            f"{self.imported.leaves} leaves, {len(self.imported.features)} features; card: {self.card}"
        )


def find_recipe(given: str, directory: Path) -> Recipe:
    """Return the recipe in a file, or of a name in ``models`` of the configuration's directory."""
    file = Path(given)
    if file.suffix != SUFFIX and "/" not in given:
        file = directory / "models" / f"{given}{SUFFIX}"
        if not file.exists():
            found = ", ".join(sorted(path.stem for path in file.parent.glob(f"*{SUFFIX}"))) or "none"
            message = f"{file}: no such recipe, expected a file, or one of {found}"
            raise ConfigurationError(message)
    return read_recipe(file, FEATURES)


def names_of_codes(directory: Path) -> dict[str, list[str]]:
    """Return by what groups are formed by (``judgement.GROUPS``) the names of its codes, as the taxonomy says them.

    ``directory`` is the configuration's; without a readable taxonomy there are none, and codes stand for themselves.
    """
    try:
        profile = tomllib.loads((directory / "taxonomy.toml").read_text()).get("profile", {})
    except (OSError, ValueError, RecursionError):
        return {}
    named = {what: _names(profile.get(key, [])) for what, key in _PROFILE.items()} if isinstance(profile, dict) else {}
    return {what: names for what, names in named.items() if names}


def _names(entries: object) -> list[str]:
    """Return the first name of each entry of a taxonomy's list; none where it is not such a list."""
    if not isinstance(entries, list):
        return []
    firsts = [entry[0] if isinstance(entry, list) and entry else entry for entry in entries]
    return firsts if all(isinstance(first, str) for first in firsts) else []


def options_of(recipe: Recipe) -> DatasetOptions:
    """Return what rows a recipe asks ``groundswell dataset`` for."""
    return DatasetOptions(recipe.label, recipe.every, recipe.negatives, recipe.split, recipe.test, recipe.seed)


def treatment_of(recipe: Recipe) -> DatasetOptions | None:
    """Return what rows say whom the treatment reached; None where there is no holdout."""
    if recipe.holdout is None:
        return None
    return DatasetOptions(recipe.holdout.treatment, recipe.every, 1.0, "voter", recipe.test, recipe.seed)


def train(
    recipe: Recipe,
    write: Writer,
    out: Path,
    rows: Path | None = None,
    treatment: Path | None = None,
    codes: Mapping[str, Sequence[str]] | None = None,
    command: str | None = None,
) -> Trained:
    """Make the model of a recipe: ``NAME.json`` in ``out``, and its card in ``NAME.card`` beside it.

    ``rows`` and ``treatment`` are files that ``groundswell dataset`` wrote; what is not given is written by ``write``
    and gone afterwards. ``codes`` names the codes of groups, from 1 up, ``command`` is what the card says that made it.
    Raises ConfigurationError where rows, recipe or
    installation do not allow it; nothing of a former model is lost then.
    """
    with tempfile.TemporaryDirectory(prefix="groundswell-") as place:
        wanted = ((options_of(recipe), rows, "rows"), (treatment_of(recipe), treatment, "treatment"))
        data: list[DataSet | None] = []
        for options, given, name in wanted:
            if options is None:
                data.append(None)
                continue
            file = given
            if file is None:
                file = Path(place) / f"{name}.parquet"
                write(options, file)
            data.append(read_data_set(file, FEATURES))
        first, second = data
        assert first is not None  # noqa: S101 (a recipe always has rows)
        _check(recipe, first)
        chosen = chosen_rows(recipe, first, second)
        fitted = fit(recipe, chosen)
        imported = watched(recipe, model_file(recipe, fitted, Path(place)), chosen, Path(place))
    judgement = judge(recipe, chosen, imported.content, codes or {})
    command = command or shlex.join(["groundswell", "train", recipe.name])
    digest = hashlib.sha256(imported.content).hexdigest()
    # Wherever the rows happened to lie.
    meta = {**first.meta, "command": options_of(recipe).command(Path("rows.parquet"))}
    made = card.Made(recipe, fitted, judgement, meta, digest, len(imported.content), command)
    model, page = _write(made, imported, out)
    return Trained(model, page, imported, fitted, judgement)


def _check(recipe: Recipe, data: DataSet) -> None:
    """Raise ConfigurationError for rows of another label, and where the log is too short for any."""
    found = data.meta["label"]["text"]
    if found != recipe.label:
        message = f"the rows' label is {found!r}, expected the recipe's {recipe.label!r}"
        raise ConfigurationError(message)
    if data.meta["complete_until_ms"] <= data.meta["begin_ms"]:
        message = (
            f"the log goes from {card.period(data.meta)}, expected more than the horizon of label {found!r}, and time "
            "before it to learn from: `topics.retention_days` says how long the log is kept"
        )
        raise ConfigurationError(message)


def model_file(recipe: Recipe, fitted: Fitted, place: Path) -> Imported:
    """Return the model file, made as any other of LightGBM's is; ``place`` is a directory for what lies between."""
    text, calibration = place / "model.txt", place / "calibration.json"
    text.write_text(fitted.text)
    calibration.write_bytes(orjson.dumps({"slope": fitted.slope, "intercept": fitted.intercept}))
    return import_model(text, recipe.name, calibration, description=recipe.description)


def _write(made: card.Made, imported: Imported, out: Path) -> tuple[Path, Path]:
    images = card.pictures(made)
    model = out / f"{made.recipe.name}.json"
    directory = out / f"{made.recipe.name}{CARD_SUFFIX}"
    page = directory / "card.html"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in directory.glob("*.png"):
            file.unlink()
        for name, image in images.items():
            (directory / name).write_bytes(image)
        (directory / "figures.json").write_bytes(orjson.dumps(card.figures(made), option=orjson.OPT_INDENT_2) + b"\n")
        page.write_text(card.html(made, images))
        model.write_bytes(imported.content)
    except OSError as error:
        message = f"{out} cannot be written: {error}"
        raise ConfigurationError(message) from error
    return model, page
