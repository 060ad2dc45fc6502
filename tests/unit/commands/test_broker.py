from __future__ import annotations

import pytest
from kafka.errors import TopicAuthorizationFailedError

from stream.commands.broker import readable_errors
from stream.commands.reach import reach
from stream.errors import ConfigurationError, KafkaUnavailableError
from stream.settings import Settings


def at(servers: str) -> Settings:
    return Settings.load(flags={"kafka.bootstrap_servers": servers})


def test_errors_of_kafka_say_what_was_done_and_where() -> None:
    with (
        pytest.raises(
            KafkaUnavailableError,
            match=r"failed while watching: .*TopicAuthorizationFailed.*; this client lacks a permission: docs",
        ),
        readable_errors(at("k:1"), "watching"),
    ):
        raise TopicAuthorizationFailedError


@pytest.mark.parametrize("error", [BrokenPipeError(), ConfigurationError("x"), KeyboardInterrupt()])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, readable_errors(at("k:1"), "watching"):
        raise error
    assert caught.value is error


def test_servers_that_are_away_are_each_named() -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1: .*refused.*; 127\.0\.0\.1:2: .*refused"):
        reach(at("127.0.0.1:1, 127.0.0.1:2").kafka)


@pytest.mark.parametrize("servers", ["", "host", "host:", "host:x", "host:1,", "host:1 host:2"])
def test_server_without_a_port_is_refused(servers: str) -> None:
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap_servers"):
        at(servers)
