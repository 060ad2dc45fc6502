"""What the agents' tests share."""

from __future__ import annotations

import asyncio

import pytest

from stream.agents.warmup import warm_up


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compile all kernels first, so that no bound on a wait has to hold a compiler's time."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(warm_up())
    loop.close()
