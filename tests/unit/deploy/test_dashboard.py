"""Every metric that the dashboard and the alerts ask for is really exported by the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from server import metrics
from server.composition import compose
from server.settings import Settings
from signaling.vocabulary import DriverState
from tests.unit.deploy.conftest import ROOT

DASHBOARD = ROOT / "deploy/grafana/dashboards/understudy.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"


def asked(text: str) -> set[str]:
    return set(re.findall(r"\bunderstudy_[a-z_]+", text))


def queries() -> str:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return "\n".join(target["expr"] for panel in panels for target in panel["targets"])


def names(text: str) -> set[str]:
    """What can be queried: samples, and those that appear with the first event."""
    found = set()
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        found |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return found


async def exported(tmp_path: Path) -> set[str]:
    app = compose(Settings(data_dir=tmp_path), needs_worker=False)
    async with TestClient(TestServer(app)) as client:
        main = await (await client.get("/metrics")).text()
    return names(main) | names(metrics.exposition().decode())


async def test_every_metric_asked_for_is_exported(tmp_path: Path) -> None:
    there = await exported(tmp_path)
    assert len(asked(queries())) > 20
    assert asked(queries()) - there == set()
    assert asked(ALERTS.read_text()) - there == set()


def test_states_asked_for_exist() -> None:
    states = set(DriverState.__args__)  # type: ignore[attr-defined]
    assert set(re.findall(r'state="(\w+)"', queries())) <= states


def test_panels_do_not_overlap_and_use_the_provisioned_source() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(panels)
    source = (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
    assert {p["datasource"]["uid"] for p in panels} == set(re.findall(r"uid: (\w+)", source))


def test_drivers_by_state() -> None:
    registry = CollectorRegistry()
    gauge = metrics.DriversByState(registry)

    def value(state: str) -> float | None:
        return registry.get_sample_value("understudy_drivers_by_state", {"state": state})

    gauge.show(["live", "no_face", "live"])
    assert (value("live"), value("no_face"), value("late")) == (2, 1, 0)
    gauge.show(["no_face"])
    assert (value("live"), value("no_face")) == (0, 1)
