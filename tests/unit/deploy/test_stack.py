"""docker-compose.yml and what it mounts: valid, complete, closed to the outside, with no usable default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.exposure import require_guard
from server.settings import Settings, variable_of
from server.settings_sources import load_settings
from tests.unit.deploy.conftest import ROOT, compose

SECRETS = [
    *("UNDERSTUDY_JOIN_KEY", "UNDERSTUDY_API_KEY", "UNDERSTUDY_WORKER_SECRET", "UNDERSTUDY_METRICS_SECRET"),
    *("UNDERSTUDY_TURN_SECRET", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "REDIS_PASSWORD"),
]
OURS = ["signaling", "signaling-2", "worker", "worker-gpu"]


def values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_services(stack: dict[str, Any]) -> None:
    assert set(stack["services"]) == {
        *("caddy", "signaling", "worker", "worker-gpu", "postgres", "coturn", "prometheus", "grafana"),
        *("signaling-2", "redis"),
    }
    assert stack["services"]["worker-gpu"]["profiles"] == ["gpu"]
    assert stack["services"]["worker"]["profiles"] == ["cpu"]


def test_example_names_what_is_needed_and_sets_nothing(env_file: Path) -> None:
    example = values((ROOT / ".env.example").read_text())
    assert set(example.values()) == {""}
    assert set(SECRETS) <= set(example)
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert required | {"COMPOSE_PROFILES"} == set(example)
    made = values(env_file.read_text())
    assert list(made) == list(example)
    assert all(made.values())
    assert all(len(made[name]) == 64 for name in SECRETS)
    assert len({made[name] for name in SECRETS}) == len(SECRETS)


@pytest.mark.parametrize("missing", [*SECRETS, "DOMAIN", "HOST_IP", "PUBLIC_IP"])
def test_nothing_starts_without_a_secret(missing: str, env_file: Path, tmp_path: Path) -> None:
    poor = tmp_path / ".env"
    poor.write_text(re.sub(rf"^{missing}=.*$", f"{missing}=", env_file.read_text(), flags=re.MULTILINE))
    done = compose("--env-file", poor, "config", "-q")
    assert done.returncode != 0
    assert missing in done.stderr


@pytest.mark.parametrize("service", OURS)
def test_settings_are_accepted_and_the_service_is_by_invitation(stack: dict[str, Any], service: str) -> None:
    environment = stack["services"][service]["environment"]
    known = {variable_of(name) for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("UNDERSTUDY_")} <= known
    settings = load_settings(environ={"UNDERSTUDY_CONFIG": "", **environment}).settings
    assert settings.log_format == "json"
    assert len(settings.worker_secret.get_secret_value()) == 64
    if service.startswith("signaling"):
        require_guard(settings)
        assert settings.join_key.get_secret_value()
        assert settings.metrics_secret.get_secret_value()
    else:  # what lets people in is none of a worker's business
        for name in ("JOIN_KEY", "API_KEY", "METRICS_SECRET", "TURN_SECRET", "AUDIT_URL", "REDIS_URL"):
            assert f"UNDERSTUDY_{name}" not in environment


@pytest.mark.parametrize("service", OURS)
def test_own_services_have_few_rights(stack: dict[str, Any], service: str) -> None:
    options = stack["services"][service]
    assert options["read_only"] is True
    assert options["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in options["security_opt"]
    assert options["network_mode"] == "host"  # media ports are not known beforehand
    assert options["healthcheck"]["test"][-1].endswith("/healthz")
    targets = re.findall(r" AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert options["build"]["target"] in targets


def test_only_proxy_relay_and_media_listen_outside(stack: dict[str, Any]) -> None:
    services = stack["services"]
    assert not [name for name, service in services.items() if service.get("ports")]
    assert services["postgres"]["network_mode"] == "none"
    assert services["signaling"]["environment"]["UNDERSTUDY_HOST"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_what_is_mounted_exists(stack: dict[str, Any]) -> None:
    binds = [
        Path(volume["source"])
        for service in stack["services"].values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert len(binds) == 5
    for source in binds:
        assert source.exists(), source


def test_what_compose_copies_in_has_somewhere_to_go(stack: dict[str, Any]) -> None:
    """Configs and secrets that are no files are written into the container: none may be read-only then."""
    for kind in ("configs", "secrets"):
        copied = {name for name, source in stack[kind].items() if "file" not in source}
        assert copied
        for name, service in stack["services"].items():
            if copied & {use["source"] for use in service.get(kind) or ()}:
                assert not service.get("read_only"), name


def test_images_are_pinned(stack: dict[str, Any]) -> None:
    for service in stack["services"].values():
        assert re.search(r":(?!latest)[\w.-]+$", service["image"])


def test_parts_agree_on_addresses(stack: dict[str, Any]) -> None:
    services = stack["services"]
    caddy = (ROOT / "deploy/caddy/Caddyfile").read_text()
    nodes = {
        f"127.0.0.1:{services[n]['environment']['UNDERSTUDY_PORT']}" for n in ("signaling", "signaling-2")
    }
    assert len(nodes) == 2
    balanced = re.search(r"reverse_proxy (.*) \{", caddy)
    assert balanced is not None
    assert set(balanced[1].split()) == nodes
    registers = services["worker"]["environment"]["UNDERSTUDY_SIGNALING_URL"]
    assert registers.replace("ws://", "http://").removesuffix("/worker") + " {" in caddy
    redis = services["redis"]
    password = services["signaling"]["environment"]["UNDERSTUDY_REDIS_URL"].split(":")[2].split("@")[0]
    assert redis["environment"]["REDISCLI_AUTH"] == password
    assert f"requirepass {password}\n" in stack["configs"]["redis"]["content"]
    assert "bind 127.0.0.1\n" in stack["configs"]["redis"]["content"]
    hidden = re.search(r"@inside path (.*)", caddy)
    assert hidden is not None
    assert {"/worker", "/metrics"} <= set(hidden[1].split())
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    scraped = {t for job in prometheus["scrape_configs"] for c in job["static_configs"] for t in c["targets"]}
    assert scraped == {
        *nodes,
        f"127.0.0.1:{services['worker']['environment']['UNDERSTUDY_METRICS_PORT']}",
    }
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://127.0.0.1:9090"


def test_a_worker_may_drain_before_it_is_killed(stack: dict[str, Any]) -> None:
    worker = stack["services"]["worker"]
    assert worker["stop_grace_period"] == "1m30s"
    assert float(worker["environment"]["UNDERSTUDY_DRAIN_S"]) < 90


def test_nothing_secret_goes_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", ".git"} <= set(ignored)
    assert ".env" in (ROOT / ".gitignore").read_text().split()
