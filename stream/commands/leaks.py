"""Proof that rows for training know nothing of the future: the log is replayed as if it ended at their moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from stream.commands.outcomes import Cuts, Outcomes
from stream.commands.reading import PartitionReader, Record
from stream.commands.rows import read_moment
from stream.commands.sampling import Design, Rows, Sampler, sample
from stream.commands.surveys import Survey
from stream.commands.verify import Sources
from stream.errors import LeakFoundError
from stream.features import FEATURES
from stream.interfaces import Library
from stream.partitioning import partitions_of
from stream.spans import Spans
from stream.stores.names import pseudonym


class Ending:
    """A log (stream.commands.reading.PartitionReader) of which nothing from an offset on exists."""

    def __init__(self, log: PartitionReader, end: int) -> None:
        """Cut ``log`` off before ``end``."""
        self._log = log
        self._end = end

    @property
    def position(self) -> int:
        """Offset of the next record that ``read`` can give."""
        return min(self._log.position, self._end)

    @position.setter
    def position(self, offset: int) -> None:
        """Be where ``seek`` or ``read`` has come to."""
        self._log.position = offset

    def bounds(self) -> tuple[int, int]:
        """Return the offset of the first record, and where the log ends here."""
        first, end = self._log.bounds()
        return first, min(end, self._end)

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        self._log.seek(offset)

    def read(self, stop: int) -> list[Record]:
        """Return the next records before ``stop``, in order."""
        return self._log.read(min(stop, self._end))

    def offset_at(self, time_ms: int) -> int:
        """Return the offset of the first record of that time or later, the end where there is none."""
        return min(self._log.offset_at(time_ms), self._end)

    def close(self) -> None:
        """Close the log."""
        self._log.close()


async def check_moment(
    sources: Sources, library: Library, survey: Survey, design: Design, path: Path, moment: tuple[int, int]
) -> int:
    """Derive one partition's rows of a moment again, without all that came later; return how many were compared.

    ``moment`` is its time in ms and its offset, ``path`` the file. Raises LeakFoundError for a row or feature that
    differs: it was read from what came after.
    """
    moment_ms, offset = moment
    derived: list[Rows] = []
    replay = await survey.replay(sources, library, Ending(sources.reader("events", survey.partition), offset))
    try:
        nothing = Outcomes.none(design.label.horizon_ms)
        sampler = Sampler(replace(design, negatives=1.0), nothing, frozenset(), moment_ms)
        cuts = Cuts(np.array([moment_ms]), np.array([offset]))
        await sample(replay, cuts, sampler, lambda rows, _: derived.append(rows))
    finally:
        replay.close()
    written = read_moment(path, moment_ms, ["voter", *FEATURES])
    places = [place for place, home in enumerate(_homes(written["voter"], sources)) if home == survey.partition]
    known = {voter: (rows, place) for rows in derived for place, voter in enumerate(rows.voters)}
    for place in places:
        voter = written["voter"][place]
        when = f"at {datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat()}, partition {survey.partition}"
        if voter not in known:
            message = f"{pseudonym(voter)} has a row {when}, and the log before that knows nothing of this voter"
            raise LeakFoundError(message)
        rows, at = known[voter]
        found = np.array([written[name][place] for name in FEATURES], np.float32)
        differs = np.flatnonzero(found.view(np.uint32) != rows.features[at].view(np.uint32))
        if len(differs):
            feature = int(differs[0])
            message = (
                f"feature {FEATURES[feature]!r} of {pseudonym(voter)} {when} is {found[feature]} in the file, and "
                f"{rows.features[at, feature]} by the log before that: it knows the future"
            )
            raise LeakFoundError(message)
    return len(places)


def spread(moments: Sequence[tuple[int, int, int]], count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` of the moments (or all), the last one and others evenly before it."""
    places = np.linspace(len(moments), 0, min(count, len(moments)), endpoint=False)
    return [moments[int(np.ceil(place)) - 1] for place in places]


def _homes(voters: Sequence[str], sources: Sources) -> list[int]:
    """Return each voter's partition."""
    spans = Spans.of_texts(voters)
    homes = np.empty(len(voters), np.int64)
    partitions_of(spans.buffer, spans.starts, spans.stops, sources.partition_count, homes)
    return homes.tolist()
