"""``groundswell train``: rows from the log, a model file from them, and a card that judges it."""

from __future__ import annotations

import hashlib
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from stream.commands.dataset import DatasetOptions, require_complete
from stream.commands.imports import Imported, import_model
from stream.commands.rows import parquet
from stream.commands.temporary import temporary_directory, temporary_storage
from stream.commands.training import card, plots
from stream.commands.training.fitting import Fitted, fit, library
from stream.commands.training.judgement import Judgement, judge
from stream.commands.training.provenance import require_made_so
from stream.commands.training.recipes import SUFFIX, Recipe, read_recipe
from stream.commands.training.rows import DataSet, chosen_rows, read_data_set
from stream.commands.training.watching import watched
from stream.commands.training.writing import places, require_writable, write_model
from stream.errors import ConfigurationError
from stream.features import FEATURES

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
    Raises ConfigurationError where rows, recipe or installation do not allow it, what is missing or wrong of itself
    before ``write`` is asked; nothing of a former model is lost then.
    """
    require_ready(recipe, out, treatment)
    with temporary_directory() as place:
        data = _data(recipe, write, {"rows": rows, "treatment": treatment}, place)
        first = data["rows"]
        chosen = chosen_rows(recipe, first, data.get("treatment"))
        fitted = fit(recipe, chosen)
        with temporary_storage():
            imported = watched(recipe, model_file(recipe, fitted, place), chosen, place)
    judgement = judge(recipe, chosen, imported.content, codes or {})
    command = command or shlex.join(["groundswell", "train", recipe.name])
    digest = hashlib.sha256(imported.content).hexdigest()
    # Wherever the rows happened to lie.
    meta = {**first.meta, "command": options_of(recipe).command(Path("rows.parquet"))}
    made = card.Made(recipe, fitted, judgement, meta, digest, len(imported.content), command)
    model = write_model(out, recipe.name, imported.content, card.files(made))
    return Trained(model, places(out, recipe.name)[1] / card.PAGE, imported, fitted, judgement)


def require_ready(recipe: Recipe, out: Path, treatment: Path | None = None) -> None:
    """Raise ConfigurationError for what would stop training once all rows are there: hours later, of a long log."""
    for load in (parquet, library, plots.pyplot):
        load()
    recipe.columns(FEATURES)
    if treatment is not None and recipe.holdout is None:
        message = f"recipe {recipe.name!r} has no [holdout], expected no rows of its treatment ({treatment})"
        raise ConfigurationError(message)
    require_writable(out, recipe.name)


def _data(recipe: Recipe, write: Writer, given: Mapping[str, Path | None], place: Path) -> dict[str, DataSet]:
    """Return the data sets that a recipe asks for.

    Those that are given come first: whatever is wrong with them is found before the log is read.
    """
    data: dict[str, DataSet] = {}
    wanted = {"rows": options_of(recipe), "treatment": treatment_of(recipe)}
    for name, options in sorted(wanted.items(), key=lambda item: given[item[0]] is None):
        if options is None:
            continue
        file = given[name]
        if file is None:
            write(options, place / f"{name}.parquet")
        data[name] = read_data_set(file or place / f"{name}.parquet", FEATURES)
        require_made_so(options, data[name].meta, file, recipe.name)
        if name == "rows":
            meta = data[name].meta
            require_complete(recipe.label, meta["begin_ms"], meta["end_ms"], meta["complete_until_ms"])
    return data


def model_file(recipe: Recipe, fitted: Fitted, place: Path) -> Imported:
    """Return the model file, made as any other of LightGBM's is; ``place`` is a directory for what lies between."""
    text, calibration = place / "model.txt", place / "calibration.json"
    text.write_text(fitted.text)
    calibration.write_bytes(orjson.dumps({"slope": fitted.slope, "intercept": fitted.intercept}))
    return import_model(text, recipe.name, calibration, description=recipe.description)
