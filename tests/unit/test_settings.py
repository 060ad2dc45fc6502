from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from stream.errors import ConfigurationError
from stream.settings import PREFIX, Settings, environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(file: Path | None = None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, flags)
    return str(caught.value)


def test_flag_prevails_over_environment_and_that_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "s.toml", '[kafka]\nbootstrap_servers = "file:1"\nrequest_timeout_seconds = 11\n')
    assert Settings.load(file).kafka.bootstrap_servers == "file:1"
    monkeypatch.setenv("GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS", "environment:1")
    assert Settings.load(file).kafka.bootstrap_servers == "environment:1"
    settings = Settings.load(file, {"kafka.bootstrap_servers": "flag:1"})
    assert settings.kafka.bootstrap_servers == "flag:1"
    assert settings.kafka.request_timeout_seconds == 11


def test_file_is_found_by_flag_then_environment_then_its_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().file is None
    usual = written(tmp_path / "configs" / "groundswell.toml", 'namespace = "usual"\n')
    assert Settings.load().namespace == "usual"
    monkeypatch.setenv("GROUNDSWELL_CONFIG", str(written(tmp_path / "e.toml", 'namespace = "environment"\n')))
    assert Settings.load().namespace == "environment"
    settings = Settings.load(usual)
    assert (settings.namespace, settings.file) == ("usual", usual)


def test_shipped_file_says_the_defaults() -> None:
    assert Settings.load(ROOT / "configs" / "groundswell.toml").model_dump() == Settings.load().model_dump()


def test_two_loads_do_not_share_their_files(tmp_path: Path) -> None:
    first = Settings.load(written(tmp_path / "a.toml", 'namespace = "a"\n'))
    second = Settings.load(written(tmp_path / "b.toml", '[log]\nlevel = "debug"\n'))
    assert (first.namespace, second.namespace, first.log.level, second.log.level) == ("a", "", "info", "debug")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[kafka]\nsasl_password = "hush"\n', "kafka.sasl_password"),
        ('[kafka]\ntls_key_password = "hush"\n', "kafka.tls_key_password"),
        ('[redis]\npassword = "hush"\n', "redis.password"),
        ('[redis]\nurl = "redis://user:hush@host:6379/0"\n', "redis.url"),
        ('[snapshot]\nurl = "ftp://user:hush@host/snapshots"\n', "snapshot.url"),
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str, key: str) -> None:
    message = refusal(written(tmp_path / "s.toml", text))
    assert key in message
    assert str(tmp_path / "s.toml") in message
    assert "hush" not in message


def test_unusable_value_of_a_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(flags={"redis.password": ["hush"]})
    assert "redis.password" in message
    assert "hush" not in message


def test_errors_name_the_place_the_key_and_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "s.toml", "[topics]\npartitions = 0\n")
    monkeypatch.setenv("GROUNDSWELL_WEB__PORT", "seventy")
    lines = refusal(file, {"log.level": "loud"}).splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{file}: topics.partitions = 0: ") for line in lines)
    assert any(line.startswith("environment variable GROUNDSWELL_WEB__PORT: web.port = 'seventy': ") for line in lines)
    assert any(line.startswith("flag: log.level = 'loud': ") for line in lines)


def test_mistyped_key_is_refused_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kafka.bootstrap_server " in refusal(written(tmp_path / "s.toml", '[kafka]\nbootstrap_server = "x"\n'))
    assert "nothing" in refusal(flags={"nothing": "x"})
    monkeypatch.setenv("GROUNDSWELL_REDIS__URI", "x")
    assert "GROUNDSWELL_REDIS__URI" in refusal()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GROUNDSWELL_REDIS_URL", "GROUNDSWELL_REDIS__URL"),
        ("groundswell_redis_url", "GROUNDSWELL_REDIS__URL"),
        ("GROUNDSWELL_KAFKA_BOOTSTRAP_SERVERS", "GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS"),
        ("GROUNDSWELL_KAFKA_BOOTSTRAP__SERVERS", "GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS"),
        ("GROUNDSWELL_WEB_PORT", "GROUNDSWELL_WEB__PORT"),
        ("GROUNDSWELL_SNAPSHOTS__URL", "GROUNDSWELL_SNAPSHOT__URL"),
        ("GROUNDSWELL__REDIS__URL", "GROUNDSWELL_REDIS__URL"),
        ("GROUNDSWELL_NAMESPCE", "GROUNDSWELL_NAMESPACE"),
        ("GROUNDSWELL_NAME_SPACE", "GROUNDSWELL_NAMESPACE"),
        ("GROUNDSWELL_NAME__SPACE", "GROUNDSWELL_NAMESPACE"),
        ("GROUNDSWELL_CONFIGURATION_DIR", "GROUNDSWELL_CONFIGURATION_DIRECTORY"),
        ("GROUNDSWELL_CONFG", "GROUNDSWELL_CONFIG"),
    ],
)
def test_mistyped_variable_is_refused_with_the_one_that_was_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hush")
    assert refusal() == f"environment variable {name!r} sets nothing, expected {meant}, which is probably meant"


def test_every_mistyped_variable_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROUNDSWELL_STORE__PLACE", "GROUNDSWELL_NAMESPACE__X", "GROUNDSWELL_LOG_LEVEL", "GROUNDSWELL_PORT"):
        monkeypatch.setenv(name, "x")
    groups = "a group of settings (kafka, log, redis, security, snapshot, topics, web, worker)"
    start, end = "environment variable 'GROUNDSWELL_", "which is probably meant"
    assert refusal().splitlines() == [
        f"{start}LOG_LEVEL' sets nothing, expected GROUNDSWELL_LOG__LEVEL, {end}",
        f"{start}NAMESPACE__X' sets nothing, expected GROUNDSWELL_NAMESPACE, {end}",
        f"{start}STORE__PLACE' sets nothing, expected {groups}",
    ]


def test_what_platforms_inject_is_named_once_and_sets_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment._warn.cache_clear()
    address = "tcp://10.0.0.1:6066"
    of_service = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "6066", "SERVICE_PORT_HTTP": "6066", "PORT": address}
    of_port = {"PORT_6066_TCP": address, "PORT_6066_TCP_ADDR": "10.0.0.1", "PORT_6066_TCP_PROTO": "tcp"}
    # A Service of a group's name, whose port's variable looks like a setting's.
    named = {
        f"GROUNDSWELL_{service}{name}": value
        for service in ("", "WEB_", "CONFIG_", "KAFKA_", "NAMESPACE_", "_CANARY_", "A__B_")
        for name, value in {**of_service, **of_port}.items()
    }
    usual = Settings.load().model_dump()
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert [Settings.load().model_dump() for _ in range(2)] == [usual, usual]
    [message] = caplog.messages
    assert message == f"the environment holds what is no setting: {', '.join(sorted(named))}"


def test_what_the_repository_uses_itself_is_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment._warn.cache_clear()
    places = ("Makefile", "docker-compose.yml", "README.md", ".ci", "configs", "docs", "load_tests", "stream")
    files = [file for place in places for file in (ROOT / place, *(ROOT / place).rglob("*")) if file.is_file()]
    used = {
        name
        for file in [*files, *(ROOT / "tests" / "integration").glob("*.py")]
        for name in re.findall(r"\bGROUNDSWELL_[A-Z0-9_]*[A-Z0-9]\b", file.read_bytes().decode(errors="ignore"))
    }
    assert {"GROUNDSWELL_CONFIG", "GROUNDSWELL_TEST_KAFKA", "GROUNDSWELL_SHOW_LOGS"} < used
    environment.require_known(used, Settings.dotted_keys())
    assert caplog.messages == []


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    assert "missing.toml" in refusal(tmp_path / "missing.toml")
    assert "not readable as TOML" in refusal(written(tmp_path / "s.toml", "namespace ="))


@pytest.mark.parametrize("namespace", ["Upper", "a.b", "a_b", "a b", "ä", "x" * 65])
def test_namespace_holds_only_what_topics_and_keys_allow(namespace: str) -> None:
    assert "namespace" in refusal(flags={"namespace": namespace})


def test_namespace_prefixes_topics_keys_groups_and_transactional_ids() -> None:
    plain, prefixed = Settings.load(), Settings.load(flags={"namespace": "north"})
    assert plain.topic("events") == "engagement.events"
    assert prefixed.topic("config") == "north.engagement.config"
    assert (plain.key_prefix(17), prefixed.key_prefix(17)) == ("{17}:", "{north:17}:")
    names = {
        settings.transactional_id(output, partition)
        for settings in (plain, prefixed)
        for output in ("triggers", "rejects")
        for partition in (1, 2)
    }
    assert len(names) == 8
    assert plain.group() != prefixed.group()
    with pytest.raises(ValueError, match="'event'"):
        plain.topic("event")


def test_triggers_and_rejects_are_kept_a_day_longer_than_events() -> None:
    topics = Settings.load(flags={"topics.retention_days": "2"}).topics
    assert topics.retention_ms("events") == 2 * 86_400_000
    assert topics.retention_ms("triggers") == topics.retention_ms("rejects") == 3 * 86_400_000


def certificate(directory: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, cert = directory / "key.pem", directory / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-passout", "pass:hush", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    return key, cert


def test_tls_and_sasl_reach_every_client(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path)
    secret = written(tmp_path / "sasl", "hush\n")
    flags: dict[str, object] = {
        "kafka.security_protocol": "SASL_SSL",
        "kafka.tls_ca_file": str(cert),
        "kafka.tls_certificate_file": str(cert),
        "kafka.tls_key_file": str(key),
        "kafka.tls_key_password_file": str(secret),
        "kafka.tls_check_hostname": "false",
        "kafka.sasl_mechanism": "SCRAM-SHA-256",
        "kafka.sasl_username": "worker",
        "kafka.sasl_password_file": str(secret),
    }
    kafka = Settings.load(flags=flags).kafka
    for arguments in (kafka.aiokafka(), kafka.kafka_python(), kafka.security()):
        context = arguments["ssl_context"]
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert not context.check_hostname
        assert context.get_ca_certs()
        assert arguments["security_protocol"] == "SASL_SSL"
        assert arguments["sasl_mechanism"] == "SCRAM-SHA-256"
        assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("worker", "hush")
    confluent = kafka.confluent()
    assert confluent["ssl.key.password"] == confluent["sasl.password"] == "hush"
    assert confluent["ssl.ca.location"] == str(cert)
    assert confluent["ssl.endpoint.identification.algorithm"] == "none"


def test_librdkafka_takes_every_setting_it_is_given(tmp_path: Path) -> None:
    _, cert = certificate(tmp_path)
    flags: dict[str, object] = {"kafka.security_protocol": "SASL_SSL", "kafka.tls_ca_file": str(cert)}
    flags |= {"kafka.sasl_username": "worker", "kafka.sasl_password": "hush", "kafka.bootstrap_servers": "127.0.0.1:1"}
    settings = {**Settings.load(flags=flags).kafka.confluent(), "log_level": 0}
    with pytest.raises(KafkaException, match="misspelt"):
        Producer({**settings, "misspelt": "1"})
    Producer(settings)


def test_sasl_without_a_password_is_refused() -> None:
    message = refusal(flags={"kafka.security_protocol": "SASL_PLAINTEXT", "kafka.sasl_username": "worker"})
    assert "sasl_password_file" in message


def test_unusable_files_are_named_when_they_are_used(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    kafka = Settings.load(flags={"kafka.security_protocol": "SSL", "kafka.tls_ca_file": absent}).kafka
    with pytest.raises(ConfigurationError, match="absent"):
        kafka.aiokafka()
    redis = Settings.load(flags={"redis.password_file": absent}).redis
    with pytest.raises(ConfigurationError, match=r"password_file is .*absent"):
        redis.endpoint()


def test_redis_endpoint_has_credentials_tls_and_time_outs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDSWELL_REDIS__PASSWORD", "hush")
    flags: dict[str, object] = {
        "redis.url": "rediss://host:7000/0",
        "redis.username": "worker",
        "redis.cluster": "true",
        "redis.tls_ca_file": str(tmp_path / "ca.pem"),
        "redis.answer_timeout_seconds": "2.5",
    }
    settings = Settings.load(flags=flags)
    endpoint = settings.redis.endpoint()
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.cluster) == ("host", 7000, True, True)
    assert (endpoint.username, endpoint.password) == ("worker", "hush")
    assert (endpoint.tls_ca_file, endpoint.answer_timeout_seconds) == (str(tmp_path / "ca.pem"), 2.5)
    assert "hush" not in repr(settings)
    assert "hush" not in repr(endpoint)


def test_several_servers_reach_every_client() -> None:
    kafka = Settings.load(flags={"kafka.bootstrap_servers": "a:1, [::1]:2 ,c:3"}).kafka
    assert kafka.bootstrap_servers == kafka.confluent()["bootstrap.servers"] == "a:1,[::1]:2,c:3"
    assert kafka.kafka_python()["bootstrap_servers"] == ["a:1", "[::1]:2", "c:3"]


# --- the keyring -----------------------------------------------------------------------------------------


def test_keyring_is_read_from_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    assert Settings.load().keyring() is None
    file = written(tmp_path / "keyring", f"main:{'s' * 32}\n")
    file.chmod(0o600)
    keyring = Settings.load(None, {"security.keys_file": str(file)}).keyring()
    assert keyring is not None
    assert keyring.ids == ["main"]
    for mode in (0o640, 0o604, 0o666):
        file.chmod(mode)
        with pytest.raises(ConfigurationError, match=rf"has mode {mode:04o}, expected 0600: chmod 600"):
            Settings.load(None, {"security.keys_file": str(file)}).keyring()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(None, {"security.keys_file": str(tmp_path / "none")}).keyring()


def test_keyring_may_stand_in_the_environment_and_never_in_a_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refusal(written(tmp_path / "s.toml", f'[security]\nkeys = "main:{"s" * 32}"\n'))
    assert "GROUNDSWELL_SECURITY__KEYS" in text
    assert "sss" not in text
    monkeypatch.setenv("GROUNDSWELL_SECURITY__KEYS", f"main:{'s' * 32}\nnext:{'t' * 32}")
    settings = Settings.load()
    assert "sss" not in repr(settings)
    keyring = settings.keyring()
    assert keyring is not None
    assert keyring.ids == ["main", "next"]
