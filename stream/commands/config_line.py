"""``groundswell config``, as it is typed; the work is in ``stream.commands.config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.given import in_partitions, settings_of
from stream.errors import printable

config = typer.Typer(help="Models, campaigns and the taxonomy.", no_args_is_help=True)


@config.command("apply")
def apply(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(help="Holds models/, campaigns/, taxonomy.toml; else what the settings say.")
    ] = None,
    end_trials: Annotated[bool, typer.Option("--end-trials", help="Shadows and canaries end, too.")] = False,
    first: Annotated[bool, typer.Option("--first", help="Only where nothing is active yet; else do nothing.")] = False,
) -> None:
    """Activate all models and campaigns of a directory, and its taxonomy.

    Validates them first, then activates them, and only them, in one Kafka transaction. Shadows and canaries of models
    that are in the directory go on.
    """
    if first and end_trials:
        message = "where nothing is active yet no trial is under way either: give --first or --end-trials"
        raise typer.BadParameter(message)
    settings = settings_of(context)
    from stream.commands.config import apply, apply_first

    if first:
        done = apply_first(settings, directory)
        typer.echo("something is active already, and is left as it is" if done is None else str(done))
        return
    typer.echo(str(apply(settings, directory, keep_trials=not end_trials)))


@config.command("show")
def show(context: typer.Context) -> None:
    """List every known version, and where it is active."""
    settings = settings_of(context)
    from stream.commands.config import show

    for held in show(settings):
        active = in_partitions(held.active_in, "Redis does not answer")
        identity = held.identity
        typer.echo(
            f"{identity.kind} {printable(identity.name)}  {identity.sha256}  {held.size_bytes} bytes  active: {active}"
        )
