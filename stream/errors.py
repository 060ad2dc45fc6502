"""Every error that Groundswell raises on purpose, by what the caller should do about it."""


class GroundswellError(Exception):
    """Base of all errors raised on purpose; its text is fit for an operator to read."""


class ConfigurationError(GroundswellError):
    """A setting, model, campaign or activation is unusable; the text quotes what was wrong."""


class TopicError(GroundswellError):
    """A topic is missing, or a setting of it breaks the design; the text says how to mend it."""


class KafkaUnavailableError(GroundswellError):
    """Kafka does not answer, or refuses what was asked; the text says where and what."""


class StateMismatchError(GroundswellError):
    """State in Redis and the log do not fit each other. Stop; the text names the command that mends it."""


class StateMissingError(StateMismatchError):
    """There is no state where none may begin."""


class CommitRefusedError(GroundswellError):
    """The header holds another owner's token or another offset. Drop the memory; claim again or leave."""


class CommitUnknownError(GroundswellError):
    """No answer came: the commit may have been executed. Settle it on a new connection by reading the header."""


class StoreUnavailableError(GroundswellError):
    """The store cannot answer now (loading, failing over, unreachable). Nothing was changed; retry."""


class StoreFailedError(GroundswellError):
    """The store answered an error that no retry mends (out of memory, wrong type, no permission). Stop."""


class SnapshotStorageError(GroundswellError):
    """The snapshots' storage did not do what was asked (full, away, forbidden). Work goes on without."""


class SnapshotFailedError(GroundswellError):
    """A snapshot could not be taken. Work goes on without; the next one is tried in its time."""


class SnapshotRefusedError(GroundswellError):
    """A snapshot must not be used: torn, altered, foreign, or not of this build. The text says what to do."""


class TemporaryStorageError(GroundswellError):
    """Temporary files cannot be written (a full disk); the text names their directory."""


class LeakFoundError(GroundswellError):
    """A row for training holds what was not known at its moment: nothing that was learnt from it would hold."""


class RelayFencedError(GroundswellError):
    """A newer owner writes to this output. Discard the producer and start again if still assigned."""


class RelayGapError(GroundswellError):
    """The outbox does not continue the topic's tail: a row is missing. Stop rather than skip."""


def not_installed(package: str, extra: str) -> str:
    """Return an error's text for a package of an optional extra, and how the extra is installed."""
    return (
        f"{package} is not installed: in a checkout run `uv sync --inexact --extra {extra}`, and for an image "
        f'`docker build -f configs/Dockerfile --build-arg EXTRAS="--extra {extra}" -t groundswell .`'
    )


def quoted(value: object, most: int = 80) -> str:
    """Return ``repr(value)`` for an error's text, cut to ``most`` characters; never raises on hostile values."""
    if isinstance(value, str | bytes):
        value = value[:most]
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An integer of thousands of digits, or nesting as deep.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[:most]}..."


def printable(text: str) -> str:
    """Return ``text`` fit for a terminal, which obeys control characters that strangers may have written into it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
