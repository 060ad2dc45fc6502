"""Who claims the writing of control records, and how often a broker is asked for a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka.errors import KafkaError, UnknownError, UnsupportedVersionError

from stream.commands import control
from stream.commands.control import control_writer
from stream.settings import Settings

# As kafka-python hands up what a broker answers to a request for a producer's id.
TOLD = KafkaError("Unexpected error in InitProducerIdResponse: [Error -1] UnknownError")


class Client:
    """A producer whose broker gives one answer."""

    def __init__(self, answer: Exception | None) -> None:
        self._answer = answer

    def init_transactions(self) -> None:
        if self._answer is not None:
            raise self._answer


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """The broker's answers, in turn: each producer gets one."""
    given: list[Exception | None] = []

    @contextmanager
    def producer(_: Settings, _doing: str, **_arguments: Any) -> Iterator[Client]:
        yield Client(given.pop(0))

    monkeypatch.setattr(control, "producer", producer)
    monkeypatch.setattr(control, "AGAIN_SECONDS", (0.0, 0.0, 0.0))
    return given


def is_transactional() -> bool:
    with control_writer(Settings.load(), "testing") as writer:
        return writer._client is not None


@pytest.mark.parametrize("passing", [UnknownError(), TOLD], ids=["itself", "in the text of another"])
def test_passing_server_error_is_no_broker_without_transactions(
    answers: list[Exception | None], passing: Exception
) -> None:
    answers += [passing, passing, passing, None]
    assert is_transactional()
    assert answers == []


def test_server_error_that_stays_is_a_broker_without_transactions(answers: list[Exception | None]) -> None:
    answers += [UnknownError()] * 4
    assert not is_transactional()
    assert answers == []


def test_server_error_that_stays_otherwise_is_told(answers: list[Exception | None]) -> None:
    answers += [TOLD] * 4
    with pytest.raises(KafkaError, match="UnknownError"):
        is_transactional()
    assert answers == []


def test_broker_that_knows_no_such_request_is_asked_once(answers: list[Exception | None]) -> None:
    answers.append(UnsupportedVersionError())
    assert not is_transactional()
    assert answers == []


def test_error_in_what_is_done_is_not_taken_for_the_brokers(answers: list[Exception | None]) -> None:
    answers += [None, None]
    with pytest.raises(UnknownError), control_writer(Settings.load(), "testing"):
        raise UnknownError
    assert answers == [None]
