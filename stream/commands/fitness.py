"""Whether a worker may start on the Redis that the settings name."""

from __future__ import annotations

import asyncio

from stream.errors import StoreFailedError
from stream.settings import Settings
from stream.stores.fitness import check_server


def require_redis(settings: Settings) -> None:
    """Return if Redis suits the design, however much it may warn of.

    Raises StoreFailedError, quoting each setting that breaks the design and how to mend it; StoreUnavailableError
    where Redis cannot be reached or does not answer yet: whoever started this starts it again.
    """
    unfit = [finding for finding in asyncio.run(check_server(settings.redis.endpoint())) if finding.level == "error"]
    if unfit:
        lines = [f"{finding.subject} is {finding.found}; {finding.remedy}" for finding in unfit]
        raise StoreFailedError("\n".join(lines))
