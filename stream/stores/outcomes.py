"""What an error of Redis means for a commit, and which error the caller gets.

==========================================  ======================  ==============================================
what came                                   error raised            why
==========================================  ======================  ==============================================
no connection; lost or timed out before     StoreUnavailableError   MULTI was not sent: nothing changed
MULTI was sent
lost, timed out or cancelled after MULTI    CommitUnknownError      EXEC may have been executed, its answer lost
was sent (cancelled: CancelledError)
EXEC answers nil                            (tried again)           WATCH saw the header touched; nothing changed
header has another token or offset          CommitRefusedError      another owner, or state that went back
an error in EXEC's list of answers          StoreFailedError        EXEC does not roll back: half is written
EXECABORT                                   by the error that       nothing changed; the reason is the error that
                                            queueing met            a queued command was answered with
LOADING, BUSY                               StoreUnavailableError   the server is starting, or in a script
READONLY, MASTERDOWN                        StoreUnavailableError   a failover; the next connection is a new one
MOVED, ASK, TRYAGAIN, CLUSTERDOWN           StoreUnavailableError   slots move; the node is looked up again
NOREPLICAS                                  StoreUnavailableError   replicas may come back
OOM, MISCONF                                StoreFailedError        memory or disk is full: an operator is needed
NOAUTH, WRONGPASS, NOPERM, a certificate    StoreFailedError        credentials, ACL, certificate authorities
that is not trusted
CROSSSLOT, WRONGTYPE, ERR, any other        StoreFailedError        not this server, or not our keys
==========================================  ======================  ==============================================

Every error but EXEC's nil drops the connection. No text of Redis is quoted beyond its first words, since some of its
errors repeat a command's arguments, and these name voters.
"""

from __future__ import annotations

from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stream import handshakes
from stream.errors import GroundswellError, StoreFailedError, StoreUnavailableError

_CODES: Final[tuple[tuple[type[RedisError], str], ...]] = (
    # Derived classes before those that they derive from.
    (BusyLoadingError, "LOADING"),
    (AuthenticationError, "NOAUTH"),
    (AuthorizationError, "NOAUTH"),
    (AuthenticationWrongNumberOfArgsError, "NOAUTH"),
    (NoPermissionError, "NOPERM"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (ClusterCrossSlotError, "CROSSSLOT"),
    (TryAgainError, "TRYAGAIN"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (ReadOnlyError, "READONLY"),
    (OutOfMemoryError, "OOM"),
)

_TRANSIENT: Final = frozenset(
    ("LOADING", "BUSY", "READONLY", "MASTERDOWN", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS")
)

_MEANINGS: Final = {
    "LOADING": "it is still loading its data",
    "BUSY": "it is busy with a script",
    "READONLY": "it has become a replica",
    "MASTERDOWN": "its primary is down",
    "MOVED": "the partition's slot has moved to another node",
    "ASK": "the partition's slot is moving to another node",
    "TRYAGAIN": "the partition's slot is moving to another node",
    "CLUSTERDOWN": "the cluster does not cover the partition's slot",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write)",
    "OOM": "it has reached maxmemory; raise maxmemory, keep maxmemory-policy noeviction",
    "MISCONF": "it cannot write its snapshot or append-only file; look at its log and its disk",
    "NOAUTH": "it wants other credentials than those in redis.username and redis.password (or redis.password_file)",
    "NOPERM": "the user in redis.username lacks a permission; docs/security.md lists them by role",
    "CROSSSLOT": "it is a Redis Cluster; set redis.cluster",
    "WRONGTYPE": "a key of the partition holds another type",
    "EXECABORT": "it discarded the transaction",
}


def code_of(error: Exception) -> str:
    """Return the first word of an error answer of Redis, e.g. ``READONLY``."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, ExecAbortError):
        # "Transaction discarded because of: NOREPLICAS Not enough ...": the reason that EXEC itself met.
        text, default = str(error).partition("because of: ")[2], "EXECABORT"
    else:
        text, default = str(error), "ERR"
    word = text.partition(" ")[0]
    return word if word.isalpha() and word.isupper() else default


def is_lost(error: BaseException) -> bool:
    """Return whether ``error`` says that the connection broke or no answer came, rather than an answer."""
    if isinstance(error, BusyLoadingError | AuthenticationError | AuthorizationError):
        return False
    return isinstance(error, RedisConnectionError | RedisTimeoutError | OSError)


def nothing_changed(error: Exception, address: str) -> GroundswellError:
    """Return the error to raise where ``error`` met a read, or a transaction that was not executed."""
    failed = handshakes.failure(error, f"Redis at {address}", handshakes.REDIS)
    if failed is not None:
        return StoreFailedError(failed)
    if is_lost(error):
        return StoreUnavailableError(f"Redis at {address} cannot be reached: {str(error) or type(error).__name__}")
    code = code_of(error)
    text = f"Redis at {address} answered {code}: {_MEANINGS.get(code, 'an error that is not expected of it')}"
    return StoreUnavailableError(text) if code in _TRANSIENT else StoreFailedError(text)
