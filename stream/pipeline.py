"""The way of an event, in order: ``process_batch`` is steps 1 to 7, ``take_commit`` is step 8.

A batch is a pure function of the partition's state, the log's rows and the configuration's contents:
the same log gives the same bytes, however it is cut into batches and however often it is replayed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream.activation import Active, activate, on_trial, restore
from stream.ahead import Ahead
from stream.columns import ORIGIN_HEADER, Columns
from stream.errors import ConfigurationError, StateMismatchError
from stream.events import decode, rejected
from stream.features import FEATURES, CompiledTaxonomy, count_unknown, fold
from stream.interfaces import Authority, Both, Decoded, Library, NoProfile, Profiler, VoterTable
from stream.privacy import gate
from stream.records import (
    ENGINE_VERSION,
    OUTPUTS,
    REJECT,
    REJECT_REASONS,
    SEQUENCE_HEADER,
    USE_CONSENT,
    USE_DUPLICATE,
    USE_ERASE,
    USE_FOLD,
    USE_SUPPRESSED,
    Commit,
    Header,
    OutboxRow,
)
from stream.scoring import Sample, Watch, rank, sample, score, scored_by, take_canaries
from stream.signatures import Keyring, require_keyring
from stream.spans import Spans
from stream.triggers import compose, decide, spell
from stream.versions import ACTIVE, CANARY, SHADOW

_NOT_AUTHORISED = REJECT["not_authorised"]

_CHANGES = np.zeros(USE_ERASE + 1, np.bool_)
_CHANGES[[USE_FOLD, USE_CONSENT, USE_ERASE, USE_SUPPRESSED]] = True
"""By what a row was used for, whether the gate or a later step changed its voter's record."""

Load = Callable[[Spans], Awaitable[list[bytes | None]]]


@dataclass(slots=True)
class PartitionState:
    """All that a partition's decisions rest on, and what its last batches have not committed yet."""

    partition: int
    topic: str
    """Full name of the events topic: it names the triggers' source."""
    header: Header
    table: VoterTable
    active: Active
    outbox: dict[str, list[OutboxRow]] = field(default_factory=lambda: {output: [] for output in OUTPUTS})
    """By output, the rows since the last commit was taken."""
    erased: set[str] = field(default_factory=set)
    """Voters erased since the last commit was taken."""
    before_change: Callable[[NDArray[np.int64]], None] | None = None
    """Told, while a snapshot is taken, the slots whose records a batch may change next; decides nothing."""
    observe: Callable[[Columns, Decoded, NDArray[np.int64]], None] | None = None
    """Told each batch's rows, and what each was used for (USE_*), once all is decided; decides nothing."""
    keyring: Keyring | None = None
    """What checks signatures; None: control records of this deployment are not signed."""
    reference: bool = False
    """Whether library code decodes, in the place of the scanner: slower, and the same columns."""
    both: Both | None = None
    """What lets a second thread take half of the scoring; decides nothing."""
    profiler: Profiler = field(default_factory=NoProfile)
    """Told which step runs; decides nothing."""

    @classmethod
    async def open(
        cls,
        partition: int,
        topic: str,
        header: Header,
        table: VoterTable,
        library: Library,
        keyring: Keyring | None = None,
    ) -> PartitionState:
        """Start from a header: wait for the contents that it says are active, and compile them.

        Raises StateMismatchError where the header's keys in force and the keyring do not fit each other, or where what
        is active is nothing that this build can use.
        """
        where = f"{topic} partition {partition}"
        require_keyring(header, keyring, where)
        try:
            active = await restore(header, library)
        except ConfigurationError as error:
            message = (
                f"the state of {where} has contents active that this build cannot use: {error}; with the build before, "
                "make others active that both builds know, then start this one"
            )
            raise StateMismatchError(message) from error
        return cls(partition, topic, header, table, active, keyring=keyring)

    @property
    def authority(self) -> Authority | None:
        """Whose control records count from here on."""
        if self.keyring is None:
            return None
        return Authority(self.topic, self.keyring, self.header.keys, self.header.counters)


@dataclass(slots=True)
class Outcome:
    """What one batch came to, for metrics: decisions themselves are in the state's outbox."""

    rows: int
    folded: int
    duplicates: int
    suppressed: int
    rejects: dict[str, int]
    """By reason."""
    forwards: int
    triggers: dict[str, int]
    """By campaign."""
    scores: dict[tuple[str, str], NDArray[np.float64]]
    """By model and role, the scores of the folded rows; a canary's rows are not the active version's."""
    watch: Watch | None
    """Whose drift is measured after the batch."""
    samples: list[Sample]
    """Of what is watched, in order."""
    unknown: dict[str, int] = field(default_factory=dict)
    """By name in UNKNOWN, how many folded rows had a text that the taxonomy does not list."""


@dataclass(slots=True)
class _Batch:
    """A batch on its way through the steps."""

    columns: Columns
    decoded: Decoded
    slots: NDArray[np.int64]
    use: NDArray[np.int64]
    away: NDArray[np.bool_]
    """Rows that belong to another partition and are forwarded there."""
    repeated: NDArray[np.bool_]
    """Forwarded rows and control records that were taken before."""
    origins: dict[str, int]
    """The header's origins after this batch."""
    canaries: NDArray[np.int64]
    """Bit ``m``: model slot ``m``'s score of the row is its canary's."""
    read_by: CompiledTaxonomy | None
    """Under which its signals were read before its turn."""
    triggers: dict[str, int] = field(default_factory=dict)
    scores: dict[tuple[str, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)


async def process_batch(
    state: PartitionState, columns: Columns, library: Library, load: Load, ahead: Ahead | None = None
) -> Outcome:
    """Take the batch's rows through steps 1 to 7; change ``state`` only when nothing more is awaited.

    ``ahead`` is what was read of the batch before its turn. ``load`` returns the record bytes of voters (None for one
    never seen). Whatever it or ``library`` raises leaves the state as it was.
    """
    header = state.header
    # 1 decode: bytes to columns; what cannot be read is rejected with its reason
    with state.profiler.step("decode"):
        count, log_time_ms, authority = header.partition_count, header.log_time_ms, state.authority
        decoded = decode(
            columns, count, log_time_ms, authority, reference=state.reference, facts=ahead.facts if ahead else None
        )
        if ahead is not None:
            decoded.signals, decoded.unknown = ahead.signals, ahead.unknown
    for row, activation in decoded.activations.items():
        if activation.engine != ENGINE_VERSION:
            message = (
                f"partition {state.partition} activates engine {activation.engine} at offset {columns.offsets[row]}, "
                f"and this build is engine {ENGINE_VERSION}: run the build that has engine {activation.engine}"
            )
            raise StateMismatchError(message)
    # 2 index: voter ids to slots in this partition's table
    with state.profiler.step("index"):
        away, repeated, origins = _route(state, columns, decoded)
        slots, unknown = state.table.index(decoded.voters.without(away | repeated))
    # 3 load: voters not in memory, and contents that an activation names
    try:
        for activation in decoded.activations.values():
            await library.wait_for([*activation.contents, *on_trial(activation.versions)])
        if len(unknown):
            loaded = await load(state.table.voters(unknown))
            with state.profiler.step("load"):
                state.table.fill(unknown, loaded, header.offset)
    except BaseException:
        state.table.forget(unknown)
        raise
    if state.before_change is not None:
        state.before_change(slots)
    use, canaries = np.zeros(len(columns), np.int64), np.zeros(len(columns), np.int64)
    batch = _Batch(columns, decoded, slots, use, away, repeated, origins, canaries, ahead.taxonomy if ahead else None)
    first = 0
    for row in sorted(decoded.activations):
        _decide_rows(state, batch, first, row)
        active = activate(state.header, decoded.activations[row], library)
        if active is None:
            decoded.reject[row] = REJECT["bad_data"]
        else:
            state.active = active
        first = row
    _decide_rows(state, batch, first, len(columns))
    with state.profiler.step("decide"):
        outcome = _conclude(state, batch)
    if state.observe is not None:
        state.observe(columns, decoded, use)
    return outcome


def _route(
    state: PartitionState, columns: Columns, decoded: Decoded
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], dict[str, int]]:
    """Return which rows belong to another partition, which were taken before, and the last origins taken."""
    away = (decoded.homes >= 0) & (decoded.homes != state.partition) & (decoded.reject == 0)
    repeated = decoded.again.copy()
    taken = dict(state.header.origins)
    for row in (columns.origin_partitions >= 0).nonzero()[0].tolist():
        origin = int(columns.origin_partitions[row])
        is_control = decoded.reject[row] == 0 and decoded.homes[row] < 0
        is_forged = decoded.reject[row] == _NOT_AUTHORISED
        if origin >= state.header.partition_count or is_control or is_forged:
            continue
        offset = int(columns.origin_offsets[row])
        if offset <= taken.get(str(origin), -1):
            repeated[row] = True
            decoded.reject[row] = 0
        taken[str(origin)] = max(offset, taken.get(str(origin), -1))
    return away & ~repeated, repeated, taken


def _decide_rows(state: PartitionState, batch: _Batch, first: int, stop: int) -> None:
    """Take the rows from ``first`` to before ``stop`` through steps 4 to 7 under one configuration."""
    if first == stop:
        return
    records, active = state.table.records, state.active
    columns, decoded, slots, use = batch.columns, batch.decoded, batch.slots, batch.use
    step = state.profiler.step
    # 4 gate: duplicates, consent and erasure: which events may be used
    with step("gate"):
        gate(records, slots, decoded.kinds, decoded.hashes, columns.offsets, first, stop, use)
    # 5 update: what each event says by the taxonomy; fold each into its voter's record, one feature row for each
    rows = np.empty((len(columns), len(active.models.columns)))
    with step("update"):
        if batch.read_by is not active.taxonomy:
            active.taxonomy.read(decoded.details, decoded.kinds, first, stop, decoded.signals, decoded.unknown)
        said = (decoded.kinds, decoded.times, decoded.now, decoded.signals)
        fold(records, slots, *said, use, first, stop, active.models.columns, rows)
    # 6 score: every model, every row; a canary in the active version's place for the voters that it draws
    scores = np.empty((len(columns), len(active.models.tags)))
    with step("score"):
        score(active.models, rows, use, first, stop, scores, state.both)
        take_canaries(active.canaries, decoded.voters, use, first, stop, scores, batch.canaries)
    # 7 decide: campaigns; what fired becomes a trigger
    with step("decide"):
        now, tags, canaries, campaigns = decoded.now, active.models.tags, batch.canaries, active.campaigns
        fired = decide(records, slots, now, use, scores, tags, active.empty, canaries, campaigns, first, stop)
        sequence = state.header.sequences["triggers"] + 1
        contributions: list[bytes] = []
        if len(fired.rows):
            scorers = scored_by(active.canaries, campaigns.models[fired.campaigns], fired.canaries)
            contributions = spell(rank(active.models, rows, fired.rows, scorers), FEATURES)
        triggers = compose(fired, contributions, columns, decoded, campaigns, state.topic, state.partition, sequence)
    state.outbox["triggers"] += triggers
    state.header.sequences["triggers"] += len(triggers)
    for slot in fired.campaigns.tolist():
        name = campaigns.names[slot]
        batch.triggers[name] = batch.triggers.get(name, 0) + 1
    is_folded = use[first:stop] == USE_FOLD
    _keep_scores(batch.scores, active, scores[first:stop], batch.canaries[first:stop], is_folded)
    if active.watch is not None:
        seen = sample(active.watch, first + np.flatnonzero(is_folded), rows, scores, batch.canaries, decoded.now)
        batch.samples += [] if seen is None else [seen]


def _keep_scores(
    kept: dict[tuple[str, str], list[NDArray[np.float64]]],
    active: Active,
    scores: NDArray[np.float64],
    canaries: NDArray[np.int64],
    is_folded: NDArray[np.bool_],
) -> None:
    """Note the scores of folded rows by model and role, for metrics."""
    tried = {one.slot for one in active.canaries}
    for slot, model in enumerate(active.model_names):
        if model is None:
            continue
        found = scores[:, slot][is_folded]
        if slot in tried:
            drawn = canaries[is_folded] >> slot & 1 == 1
            kept.setdefault((model, CANARY), []).append(found[drawn])
            found = found[~drawn]
        kept.setdefault((model, ACTIVE), []).append(found)
    for model, column in active.shadows:
        kept.setdefault((model, SHADOW), []).append(scores[:, column][is_folded])


def _conclude(state: PartitionState, batch: _Batch) -> Outcome:
    """Write rejects and forwards to the outbox, mark what changed, and move the header past the batch."""
    header, columns, decoded, use = state.header, batch.columns, batch.decoded, batch.use
    rejects: dict[str, int] = {}
    for row in decoded.reject.nonzero()[0].tolist():
        reason = REJECT_REASONS[decoded.reject[row]]
        rejects[reason] = rejects.get(reason, 0) + 1
        _append(state, "rejects", state.partition, *rejected(columns, row, reason, state.topic, int(decoded.now[row])))
    away = batch.away.nonzero()[0].tolist()
    for row in away:
        _forward(state, columns, decoded, row)
    header.origins = batch.origins
    if decoded.authority is not None:
        header.keys = decoded.authority.keys
        header.counters = dict(decoded.authority.counters)
    state.table.mark(batch.slots[_CHANGES[use]])
    counts = np.bincount(use, minlength=len(_CHANGES)).tolist()
    if counts[USE_ERASE]:
        state.erased.update(decoded.voters[row].decode() for row in (use == USE_ERASE).nonzero()[0].tolist())
    outcome = Outcome(
        rows=len(columns),
        folded=counts[USE_FOLD],
        duplicates=counts[USE_DUPLICATE] + int(np.count_nonzero(batch.repeated)),
        suppressed=counts[USE_SUPPRESSED],
        rejects=rejects,
        forwards=len(away),
        triggers=batch.triggers,
        scores={key: parts[0] if len(parts) == 1 else np.concatenate(parts) for key, parts in batch.scores.items()},
        unknown=count_unknown(decoded.unknown, use),
        watch=state.active.watch,
        samples=batch.samples,
    )
    header.offset = columns.next
    if len(columns):
        header.log_time_ms = max(header.log_time_ms, int(decoded.now[-1]))
    for name, count in (
        ("rows", outcome.rows),
        ("folded", outcome.folded),
        ("duplicates", outcome.duplicates),
        ("suppressed", outcome.suppressed),
        ("rejected", sum(rejects.values())),
    ):
        header.totals[name] += count
    return outcome


def _append(
    state: PartitionState,
    output: str,
    partition: int,
    key: bytes | None,
    value: bytes,
    headers: tuple[tuple[str, bytes], ...],
) -> None:
    """Put a row into an output's outbox under the output's next sequence."""
    sequence = state.header.sequences[output] + 1
    state.header.sequences[output] = sequence
    numbered = (*headers, (SEQUENCE_HEADER, b"%d" % sequence))
    state.outbox[output].append(OutboxRow(sequence, partition, key, value, numbered))


def _forward(state: PartitionState, columns: Columns, decoded: Decoded, row: int) -> None:
    """Send a row to the partition that its voter belongs to."""
    headers = ((ORIGIN_HEADER, b"%d:%d" % (state.partition, columns.offsets[row])),)
    key = decoded.voters[row]
    _append(state, "forwards", int(decoded.homes[row]), key, columns.value(row), headers)


def take_commit(state: PartitionState, expected_offset: int) -> Commit:
    """8 commit: copy out, without an await, all that changed since the last commit was taken.

    ``expected_offset`` is what the header in the store must still hold. Triggers of voters erased meanwhile
    that were not sent yet leave as tombstones of their sequence.
    """
    triggers = state.outbox["triggers"]
    if state.erased:
        keys = {voter.encode() for voter in state.erased}
        triggers = [row.tombstone() if row.key in keys else row for row in triggers]
    outbox = {**state.outbox, "triggers": triggers}
    # A header's other fields are never changed in place, only replaced.
    sequences, totals = dict(state.header.sequences), dict(state.header.totals)
    commit = Commit(
        expected_offset=expected_offset,
        header=replace(state.header, sequences=sequences, totals=totals),
        records=state.table.take_dirty(),
        outbox={output: rows for output, rows in outbox.items() if rows},
        erased=frozenset(state.erased),
    )
    state.outbox = {output: [] for output in OUTPUTS}
    state.erased = set()
    return commit
