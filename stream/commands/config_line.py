"""``groundswell config``, as it is typed; the work is in ``stream.commands.config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.given import settings_of
from stream.errors import printable

config = typer.Typer(help="Models and campaigns.", no_args_is_help=True)


@config.command("apply")
def apply(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(help="Holds models/ and campaigns/; else what the settings say.")
    ] = None,
) -> None:
    """Activate all models and campaigns of a directory.

    Validates them first, then activates them, and only them, in one Kafka transaction.
    """
    settings = settings_of(context)
    from stream.commands.config import apply

    typer.echo(str(apply(settings, directory)))


@config.command("show")
def show(context: typer.Context) -> None:
    """List every known version, and where it is active."""
    settings = settings_of(context)
    from stream.commands.config import show

    for held in show(settings):
        active = "unknown: Redis does not answer" if held.active_in is None else "no"
        if held.active_in:
            active = f"in partitions {', '.join(map(str, held.active_in))}"
        identity = held.identity
        typer.echo(
            f"{identity.kind} {printable(identity.name)}  {identity.sha256}  {held.size_bytes} bytes  active: {active}"
        )
