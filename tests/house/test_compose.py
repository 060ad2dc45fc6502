"""The compose file, alert rules and dashboard are valid, and name only what exists.

compose-spec.json is the Compose Specification's own schema (Copyright 2020 The Compose Specification Authors,
Apache-2.0).
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stream.metrics import Metrics
from stream.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
DASHBOARD = json.loads((ROOT / "configs/grafana/dashboards/groundswell.json").read_text())
ALERTS = yaml.safe_load((ROOT / "configs/prometheus/alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def validate(compose: dict[str, Any]) -> None:
    jsonschema.Draft201909Validator(SCHEMA).validate(compose)


def exported() -> set[str]:
    """Return the name of every series that a worker exposes."""
    names = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names


def series(expression: str) -> set[str]:
    return set(re.findall(r"\bgroundswell_\w+", expression))


def is_balanced(expression: str) -> bool:
    depth = 0
    for letter in re.sub(r'"[^"]*"', "", expression):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(letter, 0)
        if depth < 0:
            return False
    return depth == 0


def test_compose_file_fits_the_specification() -> None:
    validate(COMPOSE)


@pytest.mark.parametrize(
    ("service", "field", "value"),
    [("worker", "imagine", "groundswell"), ("redis", "ports", 6379), ("init", "depends_on", {"kafka": "healthy"})],
)
def test_schema_refuses_what_compose_would(service: str, field: str, value: object) -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["services"][service][field] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


def test_docker_itself_takes_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode:
        pytest.skip("docker compose is not installed here")
    done = subprocess.run(
        [docker, "compose", "-f", "docker-compose.yml", "config", "--quiet"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_image_is_pinned() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if "build" not in service}
    assert set(images) == {"kafka", "redis", "prometheus", "grafana"}
    assert [image for image in images.values() if not re.search(r":v?\d+\.\d+", image)] == []


def test_redis_keeps_what_it_was_given() -> None:
    command = SERVICES["redis"]["command"]
    pairs = dict(itertools.pairwise(command))
    assert pairs["--appendonly"] == "yes"
    assert pairs["--maxmemory-policy"] == "noeviction"


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_worker_waits_for_topics_and_configuration() -> None:
    assert SERVICES["worker"]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
    assert {"kafka", "redis"} <= {
        name for name, wait in SERVICES["init"]["depends_on"].items() if wait == {"condition": "service_healthy"}
    }
    assert "healthcheck" in SERVICES["kafka"]
    assert "healthcheck" in SERVICES["redis"]


def test_another_start_takes_no_promoted_model_back() -> None:
    [command] = SERVICES["init"]["command"]
    assert "groundswell config apply --first" in command


def test_every_mounted_and_built_file_exists() -> None:
    sources = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {name for name in named if not name.startswith("./")} == set(COMPOSE["volumes"])
    dockerfile = ROOT / SERVICES["worker"]["build"]["dockerfile"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []


def test_worker_understands_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["worker"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kafka.bootstrap_servers == "kafka:19092"
    assert settings.redis.url == "redis://redis:6379/0"


def test_prometheus_scrapes_the_port_that_the_worker_serves() -> None:
    scraped = yaml.safe_load((ROOT / "configs/prometheus/prometheus.yml").read_text())
    [found] = scraped["scrape_configs"][0]["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert SERVICES["worker"]["expose"] == [str(found["port"])]
    assert Settings().web.port == found["port"]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_alert_rests_on_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert series(rule["expr"]) <= exported()
    assert is_balanced(rule["expr"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["action"]


@pytest.mark.parametrize("name", ["groundswell_standstill_seconds", "groundswell_relay_standstill_seconds"])
def test_one_partition_that_stands_still_pages_whatever_others_do(name: str) -> None:
    pages = [rule["expr"] for rule in RULES if rule["labels"]["severity"] == "page"]
    assert f"{name} > 300" in pages


def test_dashboard_shows_drift_and_the_age_of_snapshots() -> None:
    shown = {name for panel in DASHBOARD["panels"] for target in panel["targets"] for name in series(target["expr"])}
    assert {"groundswell_model_score_psi", "groundswell_snapshot_timestamp_seconds"} <= shown


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=[panel["title"] for panel in DASHBOARD["panels"]])
def test_panel_shows_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "timeseries", "heatmap"}
    assert panel["description"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    expressions = [target["expr"] for target in panel["targets"]]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(expressions)])
    assert expressions
    for expression in expressions:
        assert series(expression) <= exported()
        assert series(expression) or "up{" in expression
        assert is_balanced(expression)


def test_panels_lie_beside_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        covered = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not covered & cells
        cells |= covered
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_dashboard_is_provisioned_from_where_it_is_mounted() -> None:
    provider = yaml.safe_load((ROOT / "configs/grafana/provisioning/dashboards/groundswell.yml").read_text())
    source = yaml.safe_load((ROOT / "configs/grafana/provisioning/datasources/prometheus.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./configs/grafana/dashboards"] == provider["providers"][0]["options"]["path"]
    assert mounts["./configs/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["datasources"][0]["uid"] == "prometheus"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['providers'][0]['options']['path']}/groundswell.json"
