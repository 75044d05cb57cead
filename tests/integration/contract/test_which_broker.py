"""Which broker and which topic are read: in an empty one that was just made, no item is known.

Without servers nothing starts a broker unless it is asked to, and no topic is made of a wrong name.
"""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from support.answers import take_down
from support.brokers import Broker
from support.platform import NOW, Names, confirm, containers, new_item_id, platform
from support.processes import running
from support.served import answer_once_ready, served

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics

PORTS = {"http_port": 0, "admin_port": 0, "items_http_port": 0, "log_format": "json"}
SERVERS = "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS"
EMBEDDED = "TAKEDOWN_EMBEDDED_BROKER"


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("serve", "--workers", "2"),
        ("serve", "--embedded-broker=false"),
        ("items-service",),
    ],
    ids=" ".join,
)
def test_without_servers_it_ends_with_status_2_and_names_both_settings(
    command: tuple[str, ...],
) -> None:
    with running(*command, **PORTS) as process:
        assert process.wait() == 2
        (line,) = process.lines
    assert line.startswith(f"takedown: {SERVERS} must be set")
    assert EMBEDDED in line
    assert "--embedded-broker" in line


@pytest.mark.parametrize("command", ["serve", "demo", "items-service"])
def test_servers_and_the_embedded_broker_together_end_with_status_2_and_name_both(
    command: str,
) -> None:
    with running(command, "--embedded-broker", kafka_bootstrap_servers="a:1", **PORTS) as process:
        assert process.wait() == 2
        (line,) = process.lines
    assert line.startswith("takedown: ")
    assert SERVERS in line
    assert EMBEDDED in line


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (["--embedded-broker"], {}),
        (["--embedded-broker=true"], {}),
        (["--embedded-broker", "true"], {}),
        ([], {"embedded_broker": "true"}),
    ],
)
def test_the_embedded_broker_is_started_when_it_is_asked_for(
    flags: list[str], settings: dict[str, str]
) -> None:
    implied = {"topics_create": "", "catalogue_may_be_empty": ""}
    with running("serve", *flags, **PORTS, **implied, **settings) as process:
        process.wait_for_event("ready")
        assert process.stop() == 0


def test_the_demo_needs_neither_servers_nor_a_request_for_its_broker() -> None:
    implied = {"topics_create": "", "catalogue_may_be_empty": ""}
    with running("demo", "--embedded-broker=false", **PORTS, **implied) as process:
        process.wait_for_event("ready")
        assert process.stop() == 0


async def test_without_servers_no_item_gets_a_404_of_a_broker_that_was_just_started(
    http: aiohttp.ClientSession,
) -> None:
    implied = {"topics_create": "", "catalogue_may_be_empty": ""}
    with running("serve", **PORTS, **implied) as process:
        async with asyncio.timeout(20):
            while process.returncode is None:
                if ready := [each for each in process.events() if each["event"] == "ready"]:
                    got = await take_down(http, ready[0]["http"], new_item_id())
                    assert got.status != 404, "it has asked nobody"
                await asyncio.to_thread(process.read, 0.1)
        assert process.returncode == 2


async def test_a_wrong_topic_name_is_not_ready_and_no_404_for_the_items_of_the_right_one(
    broker: Broker, names: Names
) -> None:
    topics = [Topic(topic, 3) for topic in (names.deleted, names.published, names.reported)]
    await ensure_topics(Connection(broker.address), topics)
    wrong = names.published.replace("item_published", "item_publishd")
    settings = {
        "topics_create": "",
        "catalogue_may_be_empty": "",
        "topic_item_published": wrong,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
    }
    async with platform(broker.address, names) as items:
        item_id = new_item_id()
        await items.publish_item(item_id, containers(2))
        async with served(broker.address, names, ready=False, settings=settings) as service:
            status = await answer_once_ready(service, item_id, "catalogue", wrong)
            assert status != 404, "the item is published"
            assert status is None, "its topic is not the one that is read"


async def test_a_topic_that_never_had_a_record_is_not_ready_and_no_404_until_it_has_one(
    broker: Broker, names: Names
) -> None:
    right, wrong = names.published, f"{names.published}.new"
    compact = {"cleanup.policy": "compact"}
    await ensure_topics(
        Connection(broker.address),
        [
            Topic(names.deleted, 3),
            Topic(names.reported, 3),
            Topic(right, 3, config=compact),
            Topic(wrong, 3, config=compact),
        ],
    )
    settings = {
        "topics_create": "",
        "catalogue_may_be_empty": "",
        "topic_item_published": wrong,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
    }
    async with platform(broker.address, names, on_request=confirm) as items:
        item_id = new_item_id()
        await items.publish_item(item_id, containers(2))
        async with served(broker.address, names, ready=False, settings=settings) as service:
            reason = "never had a record"
            status = await answer_once_ready(service, item_id, "catalogue", wrong, reason)
            assert status != 404, "the item is published"
            assert status is None
            value = {"itemId": item_id, "containers": containers(2), "publishedAt": NOW}
            await items.send(wrong, value, key=item_id)
            await service.until_ready()
            assert (await service.take_down(item_id)).status == 200
