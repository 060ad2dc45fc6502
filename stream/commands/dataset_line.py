"""``groundswell dataset``, as it is typed; the work is in ``stream.commands.dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.given import settings_of


def dataset(  # noqa: PLR0913 (one argument for each option)
    context: typer.Context,
    label: Annotated[str, typer.Option(help='E.g. "donation.completed where method=online within 14d".')],
    out: Annotated[Path, typer.Option(help="The Parquet file.", metavar="FILE")],
    *,
    every: Annotated[str, typer.Option(help="Log time from one row of a voter to the next.", metavar="TIME")] = "1d",
    negatives: Annotated[float, typer.Option(help="Share that is kept of rows whose label is not 1.")] = 1.0,
    split: Annotated[
        str, typer.Option(help="Whether voters are drawn to test, or the last of the time: voter or time.")
    ] = "voter",
    test: Annotated[float, typer.Option(help="Share of voters, or of the time, that tests.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Another one draws other rows.")] = 0,
    check: Annotated[
        int, typer.Option(min=0, help="Prove for so many moments that rows know nothing of the future.")
    ] = 0,
) -> None:
    """Write rows for training from the log.

    Each voter as the stream knew them at each moment, and what became of them within the label's time. Nothing of
    voters who were erased or are without consent.
    """
    settings = settings_of(context)
    from stream.commands.broker import readable_errors
    from stream.commands.dataset import DatasetOptions, write_dataset
    from stream.commands.temporary import ended_in_order

    options = DatasetOptions(label, every, negatives, split, test, seed, check)
    with ended_in_order(), readable_errors(settings, "reading the log"):
        written = write_dataset(settings, options, out)
    typer.echo(str(written))
