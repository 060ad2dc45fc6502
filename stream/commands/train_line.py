"""``groundswell train``, as it is typed; the work is in ``stream.commands.training``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.commands.given import settings_of

if TYPE_CHECKING:
    from stream.commands.dataset import DatasetOptions


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or name in models/ of the configuration.")],
    rows: Annotated[
        Path | None, typer.Option(help="Rows that `dataset` wrote; else they are taken from the log.", metavar="FILE")
    ] = None,
    treatment: Annotated[
        Path | None, typer.Option(help="Rows of a holdout's treatment; else from the log.", metavar="FILE")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the model file and its card.", metavar="DIR")] = Path(),
) -> None:
    """Make a model of the log's own history, and a card that judges it.

    Fits LightGBM as the recipe says, calibrates, judges it by voters, or later moments, that it never saw, and writes
    NAME.json, as `model import` does, with NAME.card beside it.
    """
    settings = settings_of(context)
    from stream.commands.broker import readable_errors
    from stream.commands.dataset import write_dataset
    from stream.commands.labels import Label
    from stream.commands.temporary import ended_in_order
    from stream.commands.training.training import find_recipe, names_of_codes, train, treatment_of

    directory = settings.configuration
    found = find_recipe(recipe, directory)
    later = treatment_of(found) if treatment is None else None

    def write(options: DatasetOptions, file: Path) -> None:
        # The treatment's rows come last: what is wrong with their label is not to be found out only then.
        labels = [] if later is None else [Label.parse(later.label)]
        with readable_errors(settings, "reading the log"):
            written = write_dataset(settings, options, file, labels=labels, complete=True)
        typer.echo(written.told(f"taken from the log ({file.stem})"))

    with ended_in_order():
        typer.echo(str(train(found, write, out, rows, treatment, names_of_codes(directory))))
