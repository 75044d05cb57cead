"""The dashboard and the alert rules, held to the metrics that services really export."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.answers import take_down
from support.brokers import Broker
from support.platform import Names, confirm, new_item_id, platform
from support.processes import ROOT
from support.served import served

MONITORING = ROOT / "operations" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
EXAMPLES = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana" / "takedown.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

FROM_PROMETHEUS = {"instance", "job"}
NOT_PROVOKED = {("status", "500"), ("status", "502")}
"""Values that take a defect or a broken Kafka."""

Exported = dict[str, dict[str, set[str]]]
"""Every sample's name, with its labels and their values."""


def _add(exported: Exported, text: str) -> None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = exported[sample.name]
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)


async def _scrape(http: aiohttp.ClientSession, admin: str, exported: Exported) -> None:
    async with http.get(f"{admin}/metrics") as answer:
        assert answer.status == 200
        _add(exported, await answer.text())


async def _exported(broker: Broker) -> Exported:
    exported: Exported = defaultdict(dict)
    more: dict[str, Any] = {"kafka_fetch_max_wait": broker.fetch_max_wait}
    names = Names()
    async with (
        served(broker.address, names, pool_max=1, **more) as service,
        platform(broker.address, names) as items,
    ):
        await take_down(service.http, service.api, new_item_id())  # 404
        await take_down(service.http, service.api, "x")  # 400
        stuck = await service.item(items)
        first = asyncio.create_task(service.take_down(stuck, wait=1))  # 504
        await items.wait_for_requests(stuck, 1)
        assert (await service.take_down(await service.item(items))).status == 503
        assert (await first).status == 504
        items.on_request = confirm
        await service.until_200(items)
        await _scrape(service.http, service.admin, exported)
    async with served(
        broker.address, Names(), ready=False, catalogue_url="http://127.0.0.1:9", **more
    ) as service:
        await _scrape(service.http, service.admin, exported)
    async with served(broker.address, Names(), workers=2, **more) as service:
        await _scrape(service.http, service.admin, exported)
    return exported


@pytest.fixture(scope="module")
def exported(broker: Broker) -> Exported:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_exported(broker))


# ---------------------------------------------------------------------------- expressions


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


def _parsed(expression: str) -> promql.Expr:
    return promql.parse(expression.replace("$__rate_interval", "5m"))


def _nodes(expression: str, kind: type) -> list[Any]:
    found: list[Any] = []

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, kind):
            found.append(node)
        return True

    promql.walk(_parsed(expression), visit)
    return found


EXPRESSIONS = [pytest.param(text, id=name) for name, text in _expressions()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_in_an_expression_is_exported(
    expression: str, exported: Exported
) -> None:
    selectors = _nodes(expression, promql.VectorSelector)
    assert selectors
    for selector in selectors:
        assert selector.name in exported, selector.name
        labels = exported[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name in FROM_PROMETHEUS:
                continue
            assert matcher.name in labels, f"{selector.name} has no label {matcher.name}"
            for value in matcher.value.split("|"):
                if (matcher.name, value) not in NOT_PROVOKED:
                    assert value in labels[matcher.name], f"{matcher} is never so"
    known = {label for s in selectors for label in exported[s.name]} | FROM_PROMETHEUS
    for aggregation in _nodes(expression, promql.AggregateExpr):
        if aggregation.modifier is not None:
            assert set(aggregation.modifier.labels) <= known


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rates_are_of_counters_and_of_buckets_only(expression: str) -> None:
    for call in _nodes(expression, promql.Call):
        if call.func.name in {"rate", "increase"}:
            (argument,) = call.args
            name = argument.vector_selector.name
            assert name.endswith(("_total", "_bucket")), name


def test_no_expression_is_looked_at_in_vain(exported: Exported) -> None:
    """What the checks above look for is there: they can fail."""
    assert "takedown_ready" in exported
    assert "worker" in exported["takedown_worker_up"]
    assert exported["takedown_rejected_total"]["reason"] == {"overloaded"}
    assert "takedown_readyy" not in exported


# --------------------------------------------------------------------------------- alerts


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_what_it_means_and_where_to_read_on(
    rule: dict[str, Any], exported: Exported
) -> None:
    annotations = rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    labels = {
        label
        for selector in _nodes(rule["expr"], promql.VectorSelector)
        for label in exported[selector.name]
    }
    named = set(re.findall(r"\$labels\.(\w+)", annotations["summary"]))
    assert named <= labels | FROM_PROMETHEUS
    file, _, anchor = annotations["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_run_book_explains_no_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^#+ (Takedown\w+)$", text, re.MULTILINE)) == {
        rule["alert"] for rule in ALERTS
    }


def test_of_each_alert_an_example_fires_and_another_does_not() -> None:
    fires: dict[str, set[bool]] = defaultdict(set)
    for test in EXAMPLES["tests"]:
        for example in test["alert_rule_test"]:
            fires[example["alertname"]].add(bool(example.get("exp_alerts")))
    assert dict(fires) == {rule["alert"]: {True, False} for rule in ALERTS}


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        assert os.environ.get("REQUIRE_PROMTOOL") != "1", "promtool is required, and missing"
        pytest.skip("needs promtool, of Prometheus")
    return path


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")]
)
def test_prometheus_itself_agrees_with_the_rules_and_the_examples(
    arguments: tuple[str, ...], promtool: str
) -> None:
    ran = subprocess.run(
        [promtool, *arguments],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# ------------------------------------------------------------------------------ dashboard


def test_the_dashboards_panels_have_names_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_says_what_it_shows_and_its_legend_names_labels_that_there_are(
    panel: dict[str, Any], exported: Exported
) -> None:
    assert panel["description"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        aggregations = _nodes(target["expr"], promql.AggregateExpr)
        left = {
            label
            for selector in _nodes(target["expr"], promql.VectorSelector)
            for label in exported[selector.name]
        } | FROM_PROMETHEUS
        if aggregations:
            modifier = aggregations[0].modifier
            left = set() if modifier is None else set(modifier.labels)
        assert named <= left, target["legendFormat"]


def test_the_dashboard_is_of_this_service_wherever_it_is_scraped() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "instance"}
    for name, text in _expressions():
        if not name.startswith("Takedown"):
            for selector in _nodes(text, promql.VectorSelector):
                assert "instance" in {m.name for m in selector.matchers.matchers}, name


def test_nothing_here_names_a_machine() -> None:
    for path in Path(MONITORING).rglob("*.*"):
        assert not re.search(r"localhost|127\.0\.0\.1|https?://", path.read_text()), path
