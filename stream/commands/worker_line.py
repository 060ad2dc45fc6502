"""``groundswell worker``, as it is typed; the work is in ``stream.app``."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stream.commands.given import settings_of

if TYPE_CHECKING:
    from stream.agents.cold_start import SecondProcess
    from stream.settings import Settings


def worker(
    context: typer.Context,
    web_port: Annotated[int | None, typer.Option(help="Port of /metrics, /healthz and /readyz.")] = None,
    reference: Annotated[
        bool | None,
        typer.Option("--reference", help="Library code, not compiled loops: slower, the same bytes."),
    ] = None,
    profile: Annotated[
        bool | None, typer.Option("--profile", help="Print at the end where the processor's time went, step by step.")
    ] = None,
) -> None:
    """Process events until SIGTERM.

    The signal finishes the batch in hand, commits, and leaves the group.
    """
    given = context.obj
    if web_port is not None:
        given.flags["web.port"] = web_port
    for name, flag in (("worker.reference", reference), ("worker.profile", profile)):
        if flag is not None:
            given.flags[name] = flag
    from stream.agents.cold_start import second_process

    # Before all that is imported next, settings among it, which takes seconds where nothing is cached.
    with second_process() as second:
        _run(settings_of(context), second)


def _run(settings: Settings, second: SecondProcess | None) -> None:
    # Before all that is imported and compiled next: with Python's own threshold a tenth of that is looking for garbage.
    gc.set_threshold(settings.worker.garbage_objects, *gc.get_threshold()[1:])
    sys.setswitchinterval(settings.worker.switch_ms / 1000)
    from stream.commands.fitness import require_redis
    from stream.commands.topics import require

    topic = require(settings)
    require_redis(settings)
    from stream.app import run_worker

    run_worker(settings, topic.topic_id, topic.partition_count, second)
