"""Where Redis is and how it is reached."""

from __future__ import annotations

import pytest
from redis.asyncio import SSLConnection

from stream.errors import ConfigurationError
from stream.stores.endpoint import RedisEndpoint


def test_url_is_read_in_full() -> None:
    endpoint = RedisEndpoint.from_url("rediss://ann:p%40ss@[::1]:7000/4")
    assert (endpoint.host, endpoint.port, endpoint.database, endpoint.tls) == ("::1", 7000, 4, True)
    assert (endpoint.username, endpoint.password) == ("ann", "p@ss")


def test_url_without_port_and_database_has_redis_own() -> None:
    assert RedisEndpoint.from_url("redis://redis.internal") == RedisEndpoint(host="redis.internal")


def test_credentials_beside_the_url_prevail() -> None:
    endpoint = RedisEndpoint.from_url("redis://ann:old@redis", username="bea", password="new")  # noqa: S106
    assert (endpoint.username, endpoint.password) == ("bea", "new")


@pytest.mark.parametrize("url", ["http://redis", "redis://", "redis://ann:secret@h:port", "redis://h/db", "redis", ""])
def test_unusable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis://host:port/database") as caught:
        RedisEndpoint.from_url(url)
    assert "secret" not in str(caught.value)


def test_password_shows_in_no_representation() -> None:
    assert "secret" not in repr(RedisEndpoint(password="secret", tls_key_password="secret"))  # noqa: S106


def test_cluster_knows_no_other_database() -> None:
    with pytest.raises(ConfigurationError, match="only database 0; 4 was set"):
        RedisEndpoint(database=4, cluster=True)


def test_tls_settings_reach_the_connection() -> None:
    endpoint = RedisEndpoint(tls=True, tls_ca_file="ca.pem", tls_certificate_file="c.pem", tls_key_file="k.pem")
    connection = endpoint.connection()
    assert isinstance(connection, SSLConnection)
    assert (connection.ca_certs, connection.certfile, connection.keyfile) == ("ca.pem", "c.pem", "k.pem")
    assert connection.check_hostname
    unchecked = RedisEndpoint(tls=True, tls_check_hostname=False).connection()
    assert isinstance(unchecked, SSLConnection)
    assert not unchecked.check_hostname


def test_connection_retries_nothing() -> None:
    assert RedisEndpoint().connection().retry.get_retries() == 0
