"""``groundswell model``, as it is typed; the work is in ``stream.commands``: ``imports``, ``models``, ``scores``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.given import settings_of
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

model = typer.Typer(help="The life of models, and those of other tools.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The model's name.", metavar="NAME")]
File = Annotated[Path | None, typer.Argument(help="A model file; else give --version.", metavar="[FILE]")]
Version = Annotated[str | None, typer.Option(help="Its SHA-256, or how that begins.", metavar="SHA")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@model.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="LightGBM's text, XGBoost's .json or .ubj, treelite's .tl, ours.")],
    name: Annotated[str, typer.Option(help="What campaigns call it.")],
    calibration: Annotated[Path | None, typer.Option(help="JSON of slope and intercept, before the link.")] = None,
    features: Annotated[Path | None, typer.Option(help="The columns' names, one a line, if FILE has none.")] = None,
    description: Annotated[str, typer.Option(help="For those who see it in lists.")] = "",
    training: Annotated[Path | None, typer.Option(help="JSON of histograms of the training data, for drift.")] = None,
    number: Annotated[int | None, typer.Option("--class", help="Which of several classes is scored, from 0.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it; else NAME.json.", metavar="FILE")] = None,
) -> None:
    """Make a model file of another tool's.

    `config apply` activates it, from the directory's models/; `model shadow` and `model canary` try it out.
    """
    from stream.commands.imports import import_model
    from stream.scoring.shapley import MOST_WORK

    made = import_model(file, name, calibration, features, description, training, number)
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
    if made.work > MOST_WORK:
        typer.echo(
            f"triggers will have no contributions: a row takes {made.work:,} splits times points to be explained, and "
            f"more than {MOST_WORK:,} would hold all events up; `voter show --why` explains it still"
        )
    if made.watched:
        typer.echo(f"drift is measured of {', '.join(made.watched)}")


@model.command("list")
def list_(context: typer.Context, json: AsJson = False) -> None:
    """List every version of every model.

    With its role, since when, and in which partitions.
    """
    settings = settings_of(context)
    from stream.commands.models import listing, to_lines

    rows = listing(settings)
    _print([row.to_dict() for row in rows], to_lines(rows), json=json)


@model.command()
def activate(context: typer.Context, name: Name, version: Version = None) -> None:
    """Make a version active.

    Without --version the canary's, else the shadow's. The version that was active is kept for `model rollback`.
    """
    settings = settings_of(context)
    from stream.commands.models import activate

    typer.echo(str(activate(settings, name, version)))


@model.command()
def shadow(context: typer.Context, name: Name, file: File = None, version: Version = None) -> None:
    """Score every event with a version too, for metrics alone.

    It takes the place of the model's last shadow, and can cause no trigger.
    """
    settings = settings_of(context)
    from stream.commands.models import try_out

    typer.echo(str(try_out(settings, name, version, file, None)))


@model.command()
def canary(
    context: typer.Context,
    name: Name,
    share: Annotated[float, typer.Option(help="Of the voters, above 0 and below 1.")],
    file: File = None,
    version: Version = None,
) -> None:
    """Let a version decide for a share of the voters.

    Without --version or a file the shadow's. Which voters depends on voter and version alone, so that they stay the
    same. It takes the place of the model's last canary.
    """
    settings = settings_of(context)
    from stream.commands.models import try_out

    typer.echo(str(try_out(settings, name, version, file, share)))


@model.command()
def rollback(context: typer.Context, name: Name) -> None:
    """Go back to the version that was active before."""
    settings = settings_of(context)
    from stream.commands.models import roll_back

    typer.echo(str(roll_back(settings, name)))


@model.command()
def retire(context: typer.Context, name: Name, version: Version = None) -> None:
    """Take a model out of use.

    Or only one version of it, such as a shadow. Refused while an active campaign reads the model.
    """
    settings = settings_of(context)
    from stream.commands.models import retire

    typer.echo(str(retire(settings, name, version)))


@model.command()
def compare(
    context: typer.Context,
    name: Name,
    version: Version = None,
    against: Annotated[str | None, typer.Option(help="Else the active version.", metavar="SHA")] = None,
    voters: Annotated[int, typer.Option(min=1, help="How many at most.")] = 10_000,
    json: AsJson = False,
) -> None:
    """Score stored voters with two versions.

    Without --version the canary's, else the shadow's. Mean, spread, quantiles, rank correlation, and the share of
    voters beyond each campaign's threshold, as of now.
    """
    settings = settings_of(context)
    from stream.commands.scores import compare

    report = compare(settings, name, version, against, voters)
    _print(report.to_dict(), report.to_table(), json=json)


def _print(document: Any, table: RenderableType, *, json: bool) -> None:
    import orjson
    from rich.console import Console

    if json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    elif isinstance(table, str):
        typer.echo(table)
    else:
        Console(soft_wrap=True).print(table)
