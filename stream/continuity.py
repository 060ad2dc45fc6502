"""Whether a partition's state and a log belong together, and what mends it where they do not: said here alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stream.errors import StateMismatchError
from stream.records import ENGINE_VERSION, Header

ANEW: Final = (
    "begin a new deployment under another namespace, with topics of its own (`groundswell topics create`, "
    "`groundswell config apply`) to which publishers and subscribers move"
)


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One partition of the events topic, as the broker describes it."""

    topic: str
    topic_id: str
    """Empty where the broker gives none."""
    partition_count: int
    begin: int
    """Offset of the first record."""
    end: int
    """Offset after the last one."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a state cannot go on with a log."""

    found: str
    """To be read after the state's name: ``was made for 3 partitions, but ...``."""
    mend: str
    """What to do, as an order without a full stop."""


def foreign(state: Header, log: LogFacts) -> Misfit | None:
    """Return why a state is not of this log, or not for this build; None where it is."""
    if state.topic_id and log.topic_id and state.topic_id != log.topic_id:
        ours = f"{log.topic!r} has id {log.topic_id!r}"
        return Misfit(f"is of topic id {state.topic_id!r}, but {ours}: a topic made anew", ANEW)
    if state.partition_count != log.partition_count:
        found = f"was made for {state.partition_count} partitions, but {log.topic!r} has {log.partition_count}"
        return Misfit(found, ANEW)
    if state.engine != ENGINE_VERSION:
        found = f"was decided by engine {state.engine}, and this build is engine {ENGINE_VERSION}"
        return Misfit(found, f"run the build of that engine, or {ANEW}")
    return None


def out_of_reach(offset: int, log: LogFacts) -> Misfit | None:
    """Return why a log cannot be read on from ``offset``; None where it can."""
    if offset < log.begin:
        found = f"stands at offset {offset}, but the log begins at {log.begin}: retention passed it"
        return Misfit(found, f"run `groundswell restore` if there is a newer snapshot, else {ANEW}")
    if offset > log.end:
        found = f"stands at offset {offset}, but the log ends at {log.end}: the log was cut"
        return Misfit(found, f"run `groundswell restore` to bring back state that fits, or {ANEW}")
    return None


def misfit(state: Header, log: LogFacts) -> Misfit | None:
    """Return why a worker must not go on with a state on this log; None where it may."""
    return foreign(state, log) or out_of_reach(state.offset, log)


def lost(partition: int, log_start: int) -> StateMismatchError:
    """Return the error for a partition that has no state though its log does not begin at 0."""
    message = (
        f"partition {partition} has no state, and its log begins at offset {log_start}, not 0. If state was lost, "
        "`groundswell restore` brings it back from a snapshot, if there is one. For a new start run "
        f"`groundswell init --from {log_start}`"
    )
    return StateMismatchError(message)
