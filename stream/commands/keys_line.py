"""``groundswell keys``, as it is typed; the work is in ``stream.commands.keys``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.given import in_partitions, settings_of

keys = typer.Typer(help="The secrets that sign control records.", no_args_is_help=True)


@keys.command("new")
def new(
    name: Annotated[str, typer.Argument(help="1 to 32 characters of a-z, 0-9, _ and -.", metavar="ID")],
    file: Annotated[Path | None, typer.Option(help="Keyring to put it into; else it is printed.")] = None,
) -> None:
    """Make a key.

    Put it into the keyring of every worker and operator before it is put in force.
    """
    from stream.commands.keys import new

    typer.echo(new(name, file))


@keys.command("show")
def show(context: typer.Context) -> None:
    """List the keyring's ids and fingerprints, and where each is in force."""
    settings = settings_of(context)
    from stream.commands.keys import show

    for key in show(settings):
        place = in_partitions(key.in_force, "Kafka or Redis does not answer")
        typer.echo(f"{key.name}  {key.fingerprint}  in force: {place}")


@keys.command("rotate")
def rotate(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="All that shall be in force, the newest last.", metavar="ID")],
    at_once: Annotated[bool, typer.Option("--at-once", help="Even if what a key signed is still on its way.")] = False,
) -> None:
    """Put keys in force, and no others.

    By a record in every partition of the log; workers sign with the last one from there on.
    """
    settings = settings_of(context)
    from stream.commands.keys import rotate

    partitions = rotate(settings, ids, at_once=at_once)
    typer.echo(f"in force from here on in {partitions} partitions: {', '.join(ids)}; new records carry {ids[-1]}")
