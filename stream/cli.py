"""The command line: what an operator types, each command's work imported when it is asked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.commands import config_line, dataset_line, keys_line, model_line, train_line, worker_line
from stream.commands.given import settings_of
from stream.errors import ConfigurationError, GroundswellError

if TYPE_CHECKING:
    from rich.console import Console

    from stream.settings import Settings

INTERRUPTED: Final = 130

app = typer.Typer(
    name="groundswell",
    help="Real-time engagement stream processor: CloudEvents in, triggers out, on Kafka and Redis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_topics = typer.Typer(help="The Kafka topics of this deployment.", no_args_is_help=True)
_voter = typer.Typer(help="What is kept about a voter.", no_args_is_help=True)
app.add_typer(_topics, name="topics")
app.add_typer(config_line.config, name="config")
app.add_typer(keys_line.keys, name="keys")
app.add_typer(model_line.model, name="model")
app.add_typer(_voter, name="voter")
app.command("dataset")(dataset_line.dataset)
app.command("train")(train_line.train)
app.command("worker")(worker_line.worker)


@dataclass
class _Given:
    """What the flags before a command say."""

    config: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> Settings:
        from stream.settings import Settings

        return Settings.load(self.config, self.flags)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"groundswell {version('groundswell')}")
        raise typer.Exit


@app.callback()
def groundswell(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file; else GROUNDSWELL_CONFIG.", metavar="FILE")] = None,
    namespace: Annotated[str | None, typer.Option(help="Prefix of topics, keys and transactional ids.")] = None,
    kafka: Annotated[str | None, typer.Option(help="Kafka's bootstrap servers.", metavar="HOST:PORT")] = None,
    redis: Annotated[str | None, typer.Option(help="Redis' URL, without a password.", metavar="URL")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", metavar="LEVEL")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, e.g. worker.tick_seconds=2.", metavar="KEY=VALUE"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Read the flags that every command shares: they prevail over the environment, and that over the settings file."""
    named = {"namespace": namespace, "kafka.bootstrap_servers": kafka, "redis.url": redis, "log.level": log_level}
    flags: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    for pair in setting or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            message = f"{pair!r}, expected KEY=VALUE such as worker.tick_seconds=2"
            raise typer.BadParameter(message, param_hint="--set")
        flags[key] = value
    context.obj = _Given(config, flags)


def _console() -> Console:
    from rich.console import Console

    return Console()


@_topics.command("create")
def topics_create(context: typer.Context) -> None:
    """Create the topics that are missing.

    Topics that are there are left as they are; what does not suit about them is said, with how to mend it.
    """
    settings = settings_of(context)
    from stream.commands import topics

    for name in topics.create(settings):
        typer.echo(f"created {name}")
    unfit = False
    for finding in topics.inspect(settings):
        if finding.level == "ok":
            typer.echo(f"{finding.subject}: {finding.found}")
        else:
            typer.echo(f"{finding.subject}: {finding.level}: {finding.found}; {finding.remedy}", err=True)
        unfit = unfit or finding.level == "error"
    raise typer.Exit(int(unfit))


@app.command()
def check(context: typer.Context) -> None:
    """Say whether all that a worker needs is fit.

    Configuration, Kafka, topics, Redis, state and kernels, and how to mend what is not.
    """
    settings = settings_of(context)
    from stream.commands.check import check, is_fit, show

    found = check(settings)
    show(found, _console())
    raise typer.Exit(0 if is_fit(found) else 1)


@app.command()
def publish(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="CloudEvents, one a line (gzip and zstd too); - for standard input.")],
    rate: Annotated[float | None, typer.Option(help="Events a second; else as fast as they are taken.")] = None,
    follow_time: Annotated[bool, typer.Option("--follow-time", help="Keep the gaps between events.")] = False,
    speed: Annotated[float, typer.Option(help="With --follow-time: how many times faster.")] = 1.0,
    key: Annotated[str | None, typer.Option(help="Key that signs erasures; else the keyring's only one.")] = None,
) -> None:
    """Publish events from a file or a pipe.

    Names the line and the reason of each one refused, and says how many went; exit status 1 if any was refused.
    """
    settings = settings_of(context)
    from stream.commands.publish import Pace, Published, publish

    pace, published = Pace(rate, follow_time, speed), Published()
    try:
        publish(settings, file, pace, published, key=key)
    except KeyboardInterrupt:
        typer.echo(f"broken off: {published}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except GroundswellError:
        typer.echo(f"broken off: {published}", err=True)
        raise
    typer.echo(str(published))
    raise typer.Exit(1 if published.refused else 0)


@app.command()
def watch(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="The CloudEvents as they are.")] = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All that are still kept, too.")] = False,
    most: Annotated[int | None, typer.Option("--max", min=1, help="End after so many.")] = None,
) -> None:
    """Print triggers as they come."""
    settings = settings_of(context)
    from stream.commands.watch import watch

    def ready() -> None:
        if sys.stderr.isatty():
            typer.echo("watching; Ctrl-C ends it", err=True)

    def tell(line: str) -> None:
        print(line, flush=True)

    try:
        watch(settings, tell, raw=json, from_beginning=from_beginning, most=most, ready=ready)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python's own flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


@_voter.command("show")
def voter_show(
    context: typer.Context,
    voter: Annotated[str, typer.Argument(help="The voter id.", metavar="ID")],
    why: Annotated[
        str | None, typer.Option(help="And what the score by this model is made of.", metavar="MODEL")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The fields that are 0, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="All, as one JSON object.")] = False,
) -> None:
    """Decode a voter's record.

    The fields with names and units, scores, campaigns, and the event that was last folded in.
    """
    settings = settings_of(context)
    from stream.commands.voter import show

    report = show(settings, voter, why)
    if json:
        typer.echo(report.to_json())
    else:
        _console().print(report.to_table(everything=everything))


@app.command()
def features(
    json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page in the docs, docs/features.md.")] = False,
) -> None:
    """List every feature that a model may name.

    Name, unit, horizon, provenance, whether it can reveal opinion, source events and meaning.
    """
    from stream.commands.features import to_json, to_lines, to_markdown

    if json:
        typer.echo(to_json())
    elif markdown:
        typer.echo(to_markdown(), nl=False)
    else:
        typer.echo(to_lines())


@app.command()
def verify(
    context: typer.Context,
    from_: Annotated[str | None, typer.Option("--from", help="Compare from this offset or time on.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Compare up to this offset or time.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
) -> None:
    """Replay the log and compare with what stands outside.

    Prints the first difference to the trigger topic, the rejects or Redis in full, and exits 1.
    """
    settings = settings_of(context)
    from stream.commands.broker import readable_errors
    from stream.commands.verify import verify

    with readable_errors(settings, "verifying"):
        report = verify(settings, from_, to, partition)
    typer.echo(str(report))
    raise typer.Exit(report.exit_status)


@app.command()
def init(
    context: typer.Context,
    from_: Annotated[str, typer.Option("--from", help="Offset, or time such as 2026-11-24T21:22:31Z.")],
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
) -> None:
    """Begin a new deployment on an older log.

    At an offset of every partition, or at a time. Refuses where state exists.
    """
    settings = settings_of(context)
    from stream.commands.init import init

    for begun in init(settings, from_, partition):
        typer.echo(f"partition {begun.partition} begins at offset {begun.offset} of {begun.begin} to {begun.end}")
    typer.echo("run `groundswell config apply`: what was activated before these offsets is not active")


@app.command()
def snapshot(
    context: typer.Context,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Take none; list those that there are.")] = False,
) -> None:
    """Take a snapshot of every partition now.

    The worker that holds a partition takes it, beside its work; where no worker is at work it is copied from Redis.
    """
    settings = settings_of(context)
    from stream.commands.snapshot import listing, take

    if list_:
        for listed in listing(settings, partition):
            typer.echo(str(listed))
        return
    done = take(settings, partition, lambda taken: typer.echo(str(taken), err=taken.is_error))
    raise typer.Exit(0 if done else 1)


@app.command()
def restore(
    context: typer.Context,
    at: Annotated[str | None, typer.Option(help="From the newest snapshot of this time or before.")] = None,
    no_snapshot: Annotated[bool, typer.Option("--no-snapshot", help="From the log alone.")] = False,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring lost or damaged state back.

    Deletes what a partition has in Redis, loads its newest snapshot that fits, and has workers replay the log from
    there; without a snapshot, from where its deployment began. Triggers that were sent are not sent again.
    """
    settings = settings_of(context)
    from stream.commands.restore import plan, restore
    from stream.commands.verify import Bound

    if at is not None and no_snapshot:
        message = "--at and --no-snapshot exclude each other"
        raise ConfigurationError(message)
    bound = Bound.parse(at)
    if bound is not None and bound.time_ms is None:
        message = f"--at is {at!r}, expected a time like 2026-11-24T21:22:31Z"
        raise ConfigurationError(message)
    plans = plan(settings, partition, None if bound is None else bound.time_ms, from_snapshots=not no_snapshot)
    for planned in plans:
        typer.echo(str(planned))
    if not yes:
        if not sys.stdin.isatty():
            message = "all that these partitions have in Redis is to be deleted: say --yes where nobody can be asked"
            raise ConfigurationError(message)
        typer.confirm("Delete all that these partitions have in Redis?", abort=True)
    for line in restore(settings, plans):
        typer.echo(line)
    typer.echo("workers replay from there; once they are through, run `groundswell verify`")


@app.command()
def embedded() -> None:
    """Run a broker and a Redis for a laptop.

    Both are in memory only, until Ctrl-C.
    """
    from stream.commands.embedded import run

    run(_console())


@app.command()
def demo(
    context: typer.Context,
    seconds: Annotated[float | None, typer.Option(min=1, help="Else until Ctrl-C, or 30 s without a terminal.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Events a second at an average hour.")] = 5000.0,
    seed: Annotated[int, typer.Option(help="Another one, another electorate.")] = 2026,
) -> None:
    """Show everything at work, and have it verified.

    A seeded electorate on a broker and a Redis that are started for it, and are gone afterwards.
    """
    settings = settings_of(context)
    from stream.commands.demo import DemoOptions, demo

    raise typer.Exit(demo(DemoOptions(seconds, rate, seed), settings.configuration, _console()))


def main() -> None:
    """Run the command line; an error raised on purpose is one clear text and exit status 1."""
    try:
        app(prog_name="groundswell")
    except GroundswellError as error:
        print(f"groundswell: {error}", file=sys.stderr)
        sys.exit(1)
