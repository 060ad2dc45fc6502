"""Has one consumer of aiokafka hand over Columns instead of ConsumerRecords.

aiokafka's Fetcher builds its readers of an answer by two global names. ``install`` gives the one fetcher that it is
told the same function with other readers behind these names; aiokafka's module, and every other consumer in the
process, stay as they are. What this rests on is looked up first (``differences``), so that another aiokafka costs
speed and not rows.
"""

from __future__ import annotations

import ast
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, Final

import aiokafka
from aiokafka.consumer import fetcher as fetching
from aiokafka.structs import TopicPartition

from stream.columns import Columns
from stream.transport.batches import Answer, is_columnar

logger = logging.getLogger(__name__)


class _Records:
    """In the place of aiokafka's MemoryRecords: the same answers, and the bytes, which that keeps to itself."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.memory = fetching.MemoryRecords(data)
        self.has_next: Callable[[], bool] = self.memory.has_next
        self.size_in_bytes: Callable[[], int] = self.memory.size_in_bytes


class ColumnRecords:
    """In the place of aiokafka's PartitionRecords: an iterator over Columns."""

    def __init__(self, answer: Answer) -> None:
        """``answer`` is read as far as it is asked for."""
        self._answer = answer

    @property
    def next_fetch_offset(self) -> int:
        """Where the fetch stands after what was handed over."""
        return self._answer.next

    @property
    def is_over(self) -> bool:
        """Whether it is known that nothing is left."""
        return self._answer.is_over

    def __iter__(self) -> Iterator[Columns]:
        """Return itself."""
        return self

    def __next__(self) -> Columns:
        """Return the next Columns."""
        return next(self._answer)


def _reader(  # noqa: PLR0913, PLR0917 (aiokafka's own arguments)
    max_records: int,
    tp: TopicPartition,
    records: _Records,
    aborted_transactions: Any,
    fetch_offset: int,
    key_deserializer: Any,
    value_deserializer: Any,
    check_crcs: bool,
    isolation_level: int,
) -> Any:
    """Return what reads an answer: aiokafka's own reader where it holds message sets of before Kafka 0.11."""
    if not is_columnar(records.data):
        return fetching.PartitionRecords(
            tp,
            records.memory,
            aborted_transactions,
            fetch_offset,
            key_deserializer,
            value_deserializer,
            check_crcs,
            isolation_level,
        )
    return ColumnRecords(
        Answer(
            tp,
            records.data,
            fetch_offset,
            aborted_transactions or (),
            max_records=max_records,
            check_crcs=check_crcs,
            read_committed=isolation_level == fetching.READ_COMMITTED,
        )
    )


def install(fetcher: Any, max_records: int) -> bool:
    """Let what this fetcher fetches from now on come as Columns of at most ``max_records`` rows.

    Returns False, and logs a warning, where this aiokafka is not the one that it was written for: then all stays as
    it is.
    """
    found = differences()
    if found:
        logger.warning(
            "rows are read as aiokafka's ConsumerRecords, which costs more time: aiokafka %s is not as expected: %s",
            aiokafka.__version__,
            "; ".join(found),
        )
        return False
    own = fetching.Fetcher._proc_fetch_request  # noqa: SLF001
    names = {
        **own.__globals__,
        "MemoryRecords": _Records,
        "PartitionRecords": functools.partial(_reader, max_records),
    }
    function = FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)
    function.__kwdefaults__ = own.__kwdefaults__
    fetcher._proc_fetch_request = MethodType(function, fetcher)  # noqa: SLF001
    return True


async def take(fetcher: Any, partition: TopicPartition, max_records: int | None) -> list[Any]:
    """Return what is fetched of a partition, without waiting, and move aiokafka's position behind it.

    It is one Columns, some of aiokafka's records (``max_records`` at most; of what was fetched before ``install``, or
    is a message set), or nothing. Raises what aiokafka raises.
    """
    result = fetcher._records.get(partition)  # noqa: SLF001
    if result is None:
        return []
    reader = result._partition_records if type(result) is fetching.FetchResult else None  # noqa: SLF001
    if not isinstance(reader, ColumnRecords):
        if reader is not None:
            # Half of the time of fetching goes into aiokafka's ConsumerRecords, of which nothing is needed.
            reader._consumer_record = _as_it_is  # noqa: SLF001
        records: list[Any] = (await fetcher.fetched_records([partition], 0, max_records)).get(partition, [])
        return records
    columns: list[Any] = (await fetcher.fetched_records([partition], 0, 1)).get(partition, [])
    if columns and reader.is_over:
        # Whatever is asked for next finds the end, upon which aiokafka fetches again: so that happens now.
        await fetcher.fetched_records([partition], 0, 1)
    return columns


def _as_it_is(_: TopicPartition, record: Any) -> Any:
    return record


# --- what it rests on ----------------------------------------------------------------------------------

_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Fetcher._proc_fetch_request": ("self", "assignment", "node_id", "request"),
    "Fetcher.fetched_records": ("self", "partitions", "timeout", "max_records"),
    "FetchResult.getall": ("self", "max_records"),
    "FetchResult.__init__": ("self", "tp", "assignment", "partition_records", "backoff"),
    "PartitionRecords.__init__": (
        *("self", "tp", "records", "aborted_transactions", "fetch_offset", "key_deserializer", "value_deserializer"),
        *("check_crcs", "isolation_level"),
    ),
    "PartitionRecords._consumer_record": ("self", "tp", "record"),
}
"""Of what is called, the arguments."""

_MEMORY: Final = ("has_next", "size_in_bytes")

_USES: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("Fetcher._proc_fetch_request", "records"): frozenset(f"records.{name}" for name in _MEMORY),
    ("Fetcher._proc_fetch_request", "partition_records"): frozenset(),
    ("FetchResult", "self._partition_records"): frozenset({"self._partition_records.next_fetch_offset"}),
}
"""Of what is replaced, all that aiokafka asks it for."""

_STATEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Fetcher._proc_fetch_request": (
        "records = MemoryRecords(part_data[-1])",
        "partition_records = PartitionRecords(tp, records, aborted_transactions, fetch_offset, "
        "self._key_deserializer, self._value_deserializer, self._check_crcs, self._isolation_level)",
        "self._records[tp] = FetchResult(tp, partition_records=partition_records, assignment=assignment, "
        "backoff=self._prefetch_backoff)",
    ),
    "Fetcher._fetch_requests_routine": ("self._proc_fetch_request(assignment, node_id, request)",),
    "Fetcher.fetched_records": (
        "if type(res_or_error) is FetchResult:",
        "records = res_or_error.getall(max_records)",
        "if not res_or_error.has_more():",
        "self._notify(self._wait_consume_future)",
    ),
    "FetchResult.getall": (
        "for msg in self._partition_records:",
        "if max_records is not None and len(ret_list) >= max_records:",
        "self._update_position()",
        "self._partition_records = None",
    ),
    "FetchResult._update_position": ("state.consumed_to(self._partition_records.next_fetch_offset)",),
    "FetchResult.check_assignment": ("if position != self._partition_records.next_fetch_offset:",),
}
"""What must still be said, whatever its layout."""

_NOTHING: Final = ast.Module(body=[], type_ignores=[])


def differences(source: str | None = None) -> list[str]:
    """Return in what aiokafka's fetcher differs from what this module was written against; nothing is best.

    ``source`` is the text of its module, that of the installed one if it is not given.
    """
    own = getattr(fetching.Fetcher, "_proc_fetch_request", None)
    if not isinstance(own, FunctionType) or own.__globals__ is not vars(fetching) or own.__closure__:
        return ["Fetcher._proc_fetch_request is no plain function of its module"]
    try:
        definitions = dict(_definitions(ast.parse(source or inspect.getsource(fetching))))
    except (OSError, SyntaxError) as error:
        return [f"the source of its fetcher cannot be read: {error}"]
    found = [f"MemoryRecords has no {name}" for name in _MEMORY if not hasattr(fetching.MemoryRecords, name)]
    for name, parameters in _PARAMETERS.items():
        actual = _parameters(definitions.get(name))
        if actual != parameters:
            found.append(f"{name} takes {', '.join(actual)}, expected {', '.join(parameters)}")
    for (name, reader), expected in _USES.items():
        added = _uses(definitions.get(name), reader) - expected
        if added:
            found.append(f"{name} uses {', '.join(sorted(added))}, which is new")
    for name, statements in _STATEMENTS.items():
        text = ast.unparse(definitions.get(name, _NOTHING))
        found += [f"{name} no longer says {statement!r}" for statement in statements if statement not in text]
    return found


def _definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every class and function of a module with its dotted name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")


def _parameters(definition: ast.AST | None) -> tuple[str, ...]:
    """Return the names of a function's parameters; none where there is no function."""
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return ()
    given = definition.args
    return tuple(each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs))


def _uses(definition: ast.AST | None, reader: str) -> set[str]:
    """Return every attribute that is asked of ``reader`` within a definition, as it is written there."""
    return {
        ast.unparse(node)
        for node in ast.walk(definition or _NOTHING)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == reader
    }
