"""``groundswell model``, as it is typed; the work is in ``stream.commands.imports``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.errors import ConfigurationError

model = typer.Typer(help="Models of other tools.", no_args_is_help=True)


@model.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="LightGBM's text, XGBoost's .json or .ubj, treelite's .tl.")],
    name: Annotated[str, typer.Option(help="What campaigns call it.")],
    calibration: Annotated[Path | None, typer.Option(help="JSON of slope and intercept, before the link.")] = None,
    features: Annotated[Path | None, typer.Option(help="The columns' names, one a line, if FILE has none.")] = None,
    description: Annotated[str, typer.Option(help="For those who see it in lists.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write it; else NAME.json.", metavar="FILE")] = None,
) -> None:
    """Make a model file of another tool's.

    `config apply` activates it, from the directory's models/.
    """
    from stream.commands.imports import import_model

    made = import_model(file, name, calibration, features, description)
    target = out or Path(f"{name}.json")
    try:
        target.write_bytes(made.content)
    except OSError as error:
        message = f"{target} cannot be written: {error}"
        raise ConfigurationError(message) from error
    typer.echo(
        f"{target}: {made.trees} trees, {made.leaves} leaves, {len(made.content)} bytes, "
        f"{len(made.features)} features: {', '.join(made.features)}"
    )
