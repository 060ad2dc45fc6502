"""``groundswell embedded``: the laptop's broker and Redis in the foreground."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue

from rich.console import Console

from stream.embedded import EmbeddedServices
from stream.errors import GroundswellError

_LOOK_SECONDS = 0.5


class EmbeddedServiceEndedError(GroundswellError):
    """The broker or Redis ended by itself."""


def run(console: Console) -> None:
    """Run both until SIGINT or SIGTERM, and print the settings that lead to them.

    Raises EmbeddedServiceEndedError if one of them ends by itself. Call it in the main thread.
    """
    # Its put may be interrupted by itself, where two signals come at once; Event.set would wait for itself.
    told: SimpleQueue[int] = SimpleQueue()
    before = {
        number: signal.signal(number, lambda signalled, _: told.put(signalled))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with EmbeddedServices() as services:
            console.print("A broker and a Redis are running, both in memory only. In another terminal:\n")
            for name, value in services.settings().items():
                console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)
            console.print("  groundswell topics create\n  groundswell config apply\n  groundswell worker\n")
            console.print("Ctrl-C ends both, and everything in them is gone.")
            while services.running():
                with suppress(Empty):
                    told.get(timeout=_LOOK_SECONDS)
                    return
            message = "the embedded broker or Redis ended by itself; all that was in them is lost"
            raise EmbeddedServiceEndedError(message)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
